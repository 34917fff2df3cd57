//! Word vectors in a text file, as GloVe and word2vec have them, as an encoder's folder: a word table,
//! and a tokenizer of its words.
//!
//! A file is read once; `words/NAME-KEY/` in covalign's home keeps what came of it, for as long as the
//! file's place, size and time stay the same.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{json, Map, Value};
use sha2::{Digest, Sha256};

use crate::error::io_error;
use crate::telemetry::atomic;
use crate::telemetry::progress::Progress;
use crate::{bail_input, input_error};

/// What a row begins, ends and is filled up with, and what stands for unknown words.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
/// What files call the vector of unknown words.
const UNKNOWN: [&str; 3] = ["<unk>", "unk", "[UNK]"];
/// Words as the Penn Treebank cuts them, which GloVe was made of: `don't` is `do` and `n't`.
const WORD: &str = r"(?i)\w+(?=n't\b)|n't\b|'(?:s|m|d|ll|re|ve)\b|\w+|[^\w\s]";

/// A file's words with their vectors, one after the other.
struct Vectors {
    words: Vec<String>,
    values: Vec<f32>,
    width: usize,
}

/// The folder in covalign's `home` that was made of the file, now or earlier.
///
/// # Errors
/// Input errors that name the line.
pub fn folder(file: &Path, home: &Path) -> Result<PathBuf> {
    let made = home.join("words").join(name(file)?);
    if made.join("config.json").is_file() {
        return Ok(made);
    }
    let vectors = read(file)?;
    let above = made.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(above).map_err(|e| io_error(above, e))?;
    let making = tempfile::tempdir_in(above).map_err(|e| io_error(above, e))?;
    write(vectors, making.path())?;
    // Another process may have been faster, with the same.
    match std::fs::rename(making.keep(), &made) {
        Err(_) if made.join("config.json").is_file() => Ok(made),
        Err(e) => Err(io_error(&made, e)),
        Ok(()) => Ok(made),
    }
}

fn name(file: &Path) -> Result<String> {
    let place = file.canonicalize().map_err(|e| io_error(file, e))?;
    let data = place.metadata().map_err(|e| io_error(file, e))?;
    let told = (&place, data.len(), data.mtime(), data.mtime_nsec());
    let key = format!("{:x}", Sha256::digest(format!("1 {told:?}")));
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    Ok(format!("{stem}-{}", &key[..16]))
}

fn read(file: &Path) -> Result<Vectors> {
    let at = file.display();
    let open = File::open(file).map_err(|e| io_error(file, e))?;
    let size = open.metadata().map_or(0, |data| data.len());
    let bar = Progress::counter(size, &format!("reading {at}"));
    let mut lines = BufReader::with_capacity(1 << 20, open);
    let mut vectors = Vectors {
        words: Vec::new(),
        values: Vec::new(),
        width: 0,
    };
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let bytes = lines.read_until(b'\n', &mut line);
        let bytes = bytes.map_err(|e| io_error(file, e))?;
        if bytes == 0 {
            break;
        }
        bar.add(bytes as u64);
        let text = std::str::from_utf8(&line)
            .map_err(|_| input_error!("{at}:{number}: not UTF-8; save the file as UTF-8"))?;
        let fields: Vec<&str> = text.trim_end().split([' ', '\t']).collect();
        if number == 1 {
            // word2vec begins with the numbers of words and of columns.
            let header = fields.len() == 2 && fields.iter().all(|f| f.parse::<usize>().is_ok());
            if header {
                vectors.width = fields[1].parse()?;
                continue;
            }
            vectors.width = fields.len() - 1;
        }
        vectors.add(&fields, &format!("{at}:{number}"))?;
    }
    bar.finish();
    if vectors.words.is_empty() {
        bail_input!("{at}: no word with a vector in it");
    }
    Ok(vectors)
}

impl Vectors {
    fn add(&mut self, fields: &[&str], place: &str) -> Result<()> {
        let width = self.width;
        if width == 0 || fields.len() <= width {
            bail_input!(
                "{place}: {} fields; a word and {} numbers, separated by spaces, were expected",
                fields.len(),
                width.max(1)
            );
        }
        // Some words of GloVe have spaces in them.
        let (word, numbers) = fields.split_at(fields.len() - width);
        for number in numbers {
            let value = number.parse::<f32>().ok().filter(|value| value.is_finite());
            let Some(value) = value else {
                bail_input!("{place}: `{number}` is no finite number");
            };
            self.values.push(value);
        }
        self.words.push(word.join(" "));
        Ok(())
    }

    /// The vector of unknown words: the file's own, or the mean of all.
    fn unknown(&self) -> Vec<f32> {
        let rows = || self.values.chunks(self.width);
        let own = |word: &String| UNKNOWN.contains(&word.as_str());
        if let Some(at) = self.words.iter().position(own) {
            return self.values[at * self.width..(at + 1) * self.width].to_vec();
        }
        let mut sum = vec![0f64; self.width];
        for row in rows() {
            sum.iter_mut()
                .zip(row)
                .for_each(|(sum, x)| *sum += f64::from(*x));
        }
        let count = self.words.len() as f64;
        sum.into_iter().map(|sum| (sum / count) as f32).collect()
    }
}

fn write(vectors: Vectors, folder: &Path) -> Result<()> {
    let unknown = vectors.unknown();
    let Vectors {
        words,
        values,
        width,
    } = vectors;
    let cased = words
        .iter()
        .any(|word| word.chars().any(char::is_uppercase));
    let mut ids: HashMap<String, usize> = HashMap::with_capacity(words.len() + SPECIAL.len());
    let mut table: Vec<f32> = Vec::with_capacity(values.len() + SPECIAL.len() * width);
    for special in SPECIAL {
        ids.insert(special.to_owned(), ids.len());
        match special {
            "[UNK]" => table.extend(&unknown),
            _ => table.extend(std::iter::repeat_n(0.0, width)),
        }
    }
    // Of a word that is there twice, the first counts.
    for (word, vector) in words.into_iter().zip(values.chunks(width)) {
        if !ids.contains_key(&word) {
            ids.insert(word, ids.len());
            table.extend(vector);
        }
    }
    let count = ids.len();
    let data: Vec<u8> = table.iter().flat_map(|x| x.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![count, width], &data);
    let tensors = [(
        "embeddings.word_embeddings.weight",
        view.context("a word table")?,
    )];
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    let path = folder.join("model.safetensors");
    safetensors::serialize_to_file(tensors, Some(metadata), &path)
        .with_context(|| path.display().to_string())?;
    atomic::write_json(&folder.join("tokenizer.json"), &tokenizer(&ids, cased))?;
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    });
    atomic::write_json(&folder.join("tokenizer_config.json"), &config)?;
    let sizes = json!({"model_type": "word-vectors", "vocab_size": count, "hidden_size": width});
    atomic::write_json(&folder.join("config.json"), &sizes)
}

/// `tokenizer.json`: the words of [`WORD`], lower-cased where the file has no capitals.
fn tokenizer(ids: &HashMap<String, usize>, cased: bool) -> Value {
    let special = SPECIAL.iter().map(|token| {
        json!({
            "id": ids[*token], "content": token, "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    });
    let framed = ["[CLS]", "[SEP]"].map(|token| {
        let value = json!({"id": token, "ids": [ids[token]], "tokens": [token]});
        (token.to_owned(), value)
    });
    let token =
        |token: &str, segment: u8| json!({"SpecialToken": {"id": token, "type_id": segment}});
    let text = |text: &str, segment: u8| json!({"Sequence": {"id": text, "type_id": segment}});
    let single = [token("[CLS]", 0), text("A", 0), token("[SEP]", 0)];
    let pair = [text("B", 1), token("[SEP]", 1)];
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": special.collect::<Vec<_>>(),
        "normalizer": if cased { Value::Null } else { json!({"type": "Lowercase"}) },
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": WORD},
            "behavior": "Removed",
            "invert": true,
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": single.iter().chain(&pair).collect::<Vec<_>>(),
            "special_tokens": Map::from_iter(framed),
        },
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": "[UNK]"},
    })
}
