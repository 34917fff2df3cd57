//! Text to token ids, equal to those of transformers.
//!
//! [`settle`] makes one tokenizer of what an encoder's files say. Where that is plain BERT, which
//! most encoders have, [`plain`] does the work, several times faster; anything else, as added tokens
//! or another model, is Hugging Face's own `tokenizers`' ([`full`]).

mod added;
mod files;
mod full;
mod plain;
mod settle;

use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokenizers::models::ModelWrapper;

use self::files::Files;
use self::full::Full;
use self::plain::{Plain, SPECIAL};
use self::settle::{plain_casing, settle};
use crate::bail_input;

pub use self::plain::Words;

/// Rows of an embedding table may be there for its shape's sake; so many more than tokens are not.
const MOST_SPARE_ROWS: i64 = 1024;

/// An encoder's tokenizer.
pub struct Tokenizer {
    kind: Kind,
    pad: i32,
    unknown: Option<i32>,
    segments: bool,
    vocab_size: usize,
    fingerprint: String,
    description: String,
    config: Map<String, Value>,
    notes: Vec<String>,
    /// The file that the vocabulary is in.
    place: String,
}

enum Kind {
    Plain(Box<Plain>),
    Full(Box<Full>),
}

/// A row as the encoder reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// `[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`.
    pub ids: Vec<i32>,
    /// Where B starts; `ids.len()` for a single text.
    pub second_segment_at: usize,
    /// Ids before it was cut to the maximum length.
    pub full_length: usize,
}

impl Tokenizer {
    /// The tokenizer of a Hugging Face folder: what transformers 5 makes of its
    /// `tokenizer_config.json`, `tokenizer.json`, `vocab.txt`, `special_tokens_map.json` and
    /// `added_tokens.json`. See [`Tokenizer::notes`] for what they leave open.
    ///
    /// # Errors
    /// Input errors where a file is damaged or describes what cannot be read, where tokens and ids
    /// do not belong together, and where the vocabulary is not that of the table in `config.json`.
    pub fn from_folder(folder: &Path) -> Result<Tokenizer> {
        let files = Files::read(folder)?;
        let settled = settle(&files)?;
        let tokenizer = settled.tokenizer;
        let vocabulary = tokenizer.get_vocab(true);
        let vocab_size = check_ids(vocabulary.iter(), &files)?;
        let unknown = match tokenizer.get_model() {
            ModelWrapper::WordPiece(model) => Some(&model.unk_token),
            ModelWrapper::WordLevel(model) => Some(&model.unk_token),
            ModelWrapper::BPE(model) => model.unk_token.as_ref(),
            ModelWrapper::Unigram(_) => None,
        };
        let unknown = unknown.and_then(|token| vocabulary.get(token));
        let unknown = unknown.map(|&id| id as i32);
        let plain = plain_casing(&tokenizer);
        let description = describe(&tokenizer, plain.is_some());
        let fingerprint = {
            let whole = serde_json::to_string(&tokenizer)?;
            let more = (
                tokenizer.get_encode_special_tokens(),
                settled.pad,
                settled.segments,
                settled.cut_left,
            );
            let hash = Sha256::new().chain_update(format!("2 {more:?} {whole}"));
            format!("{:x}", hash.finalize())
        };
        let kind = match plain {
            Some(casing) => {
                let ids = SPECIAL.map(|token| vocabulary.get(token).map_or(0, |&id| id as i32));
                let tokens = vocabulary.into_iter();
                let values = tokens.map(|(token, id)| (token, i64::from(id))).collect();
                Kind::Plain(Box::new(Plain::new(values, ids, casing, settled.cut_left)?))
            }
            None => Kind::Full(Box::new(Full {
                tokenizer,
                segments: settled.segments,
                cut_left: settled.cut_left,
            })),
        };
        let mut tokenizer = Tokenizer {
            kind,
            pad: settled.pad as i32,
            unknown,
            segments: settled.segments,
            vocab_size,
            fingerprint,
            description,
            config: settled.config,
            notes: settled.notes,
            place: files.shown(files.vocabulary_file()),
        };
        if let Some(rows) = files.encoder["vocab_size"].as_i64() {
            let note = tokenizer.check_table(rows)?;
            tokenizer.notes.extend(note);
        }
        Ok(tokenizer)
    }

    /// Whether an embedding table of `rows` rows is of this vocabulary; a note where a few are more
    /// than the tokens.
    pub fn check_table(&self, rows: i64) -> Result<Option<String>> {
        let (count, place) = (self.vocab_size as i64, &self.place);
        if count > rows {
            bail_input!(
                "{place}: the vocabulary has {count} entries with the added tokens, the weights \
                 have embeddings for {rows} (vocab_size in config.json); they belong to different \
                 encoders"
            );
        }
        if rows - count >= MOST_SPARE_ROWS {
            bail_input!(
                "{place}: the vocabulary has {count} entries, the weights have embeddings for \
                 {rows} (vocab_size in config.json); it is cut short or of another encoder, so \
                 fetch it again"
            );
        }
        let note = || {
            format!(
                "{place}: the vocabulary has {count} entries, the weights have embeddings for \
                 {rows}; the last {} are never used",
                rows - count
            )
        };
        Ok((count < rows).then(note))
    }

    /// The largest id plus one.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    pub fn pad_id(&self) -> i32 {
        self.pad
    }

    /// What stands for a word that the vocabulary cannot spell, where there is such a token.
    pub fn unknown_id(&self) -> Option<i32> {
        self.unknown
    }

    /// Kind, casing and added tokens, for people.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What people should know of it: where files disagree, or where nothing in them settles what
    /// is done.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// A `tokenizer_config.json` that settles, beside copies of the folder's other files, what the
    /// folder left open.
    pub fn config(&self) -> &Map<String, Value> {
        &self.config
    }

    /// SHA-256, in hex, of all that decides which ids a text has.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The ids of a text or a pair, at most `max_length` of them with the special tokens; the longer
    /// text is cut first, as transformers' `longest_first` does.
    ///
    /// # Errors
    /// Where the model of a `tokenizer.json` has no ids for a text.
    pub fn encode(&self, a: &str, b: Option<&str>, max_length: usize) -> Result<Encoded> {
        self.encode_with(&mut Words::default(), a, b, max_length)
    }

    /// As [`Tokenizer::encode`], with a memory for words that the next call can use.
    pub fn encode_with(
        &self,
        words: &mut Words,
        a: &str,
        b: Option<&str>,
        max_length: usize,
    ) -> Result<Encoded> {
        let mut encoded = match &self.kind {
            Kind::Plain(plain) => plain.encode(words, a, b, max_length),
            Kind::Full(full) => full.encode(a, b, max_length)?,
        };
        if !self.segments {
            encoded.second_segment_at = encoded.ids.len();
        }
        Ok(encoded)
    }
}

/// The number of ids, of which each belongs to one token.
fn check_ids<'a>(
    vocabulary: impl Iterator<Item = (&'a String, &'a u32)>,
    files: &Files,
) -> Result<usize> {
    let place = files.shown(files.vocabulary_file());
    let mut tokens: Vec<(u32, &str)> = vocabulary.map(|(t, &id)| (id, t.as_str())).collect();
    tokens.sort_unstable();
    for pair in tokens.windows(2) {
        let ((id, token), (next, other)) = (pair[0], pair[1]);
        if id == next {
            bail_input!("{place}: `{token}` and `{other}` both have id {id}");
        }
    }
    let count = tokens.len();
    let hole = tokens.iter().zip(0..).find(|((id, _), at)| id != at);
    if let (Some((_, missing)), Some((last, _))) = (hole, tokens.last()) {
        bail_input!(
            "{place}: {count} tokens have ids up to {last}, and none has {missing}; fetch the \
             vocabulary again"
        );
    }
    Ok(count)
}

fn describe(tokenizer: &tokenizers::Tokenizer, plain: bool) -> String {
    let model = match tokenizer.get_model() {
        ModelWrapper::BPE(_) => "BPE",
        ModelWrapper::WordPiece(_) => "WordPiece",
        ModelWrapper::WordLevel(_) => "WordLevel",
        ModelWrapper::Unigram(_) => "Unigram",
    };
    let letters = settle::bert_letters(tokenizer).map(|letters| {
        let casing = letters.casing;
        let mut words = vec![if casing.lower { "lower-cased" } else { "cased" }];
        if casing.strip_accents != casing.lower {
            words.push(match casing.strip_accents {
                true => "accents stripped",
                false => "accents kept",
            });
        }
        if !letters.split_chinese {
            words.push("Chinese characters not set apart");
        }
        words.join(", ")
    });
    let steps = match letters {
        Some(letters) if plain => format!("BERT's {model}, {letters}"),
        Some(letters) => format!("{model} by `tokenizers`, {letters}"),
        None => format!("{model} by `tokenizers`, as tokenizer.json says"),
    };
    let mut added: Vec<(u32, String)> = tokenizer
        .get_added_tokens_decoder()
        .into_iter()
        .filter(|(_, token)| !SPECIAL.contains(&token.content.as_str()))
        .map(|(id, token)| (id, token.content))
        .collect();
    added.sort();
    let shown: Vec<&str> = added.iter().take(10).map(|(_, t)| t.as_str()).collect();
    match added.len() {
        0 => format!("{steps}; no added tokens"),
        n if n > shown.len() => format!("{steps}; {n} added tokens: {} …", shown.join(" ")),
        n => format!("{steps}; {n} added tokens: {}", shown.join(" ")),
    }
}
