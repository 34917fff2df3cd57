//! Text to token ids, equal to those of transformers' `BertTokenizer`.
//!
//! Special tokens in the text are found first, the words are made by [`super::normalize`], and
//! rust_tokenizers' WordPiece turns a word into ids.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Result;
use rust_tokenizers::tokenizer::{BertTokenizer, Tokenizer as _};
use rust_tokenizers::vocab::{BertVocab, Vocab};
use serde_json::{json, Value};
use sha2::{Digest, Sha256};

use super::normalize::Casing;
use crate::error::io_error;
use crate::{bail_input, input_error};

/// The tokens that every BERT vocabulary has.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// An encoder's tokenizer: its vocabulary and casing.
pub struct Tokenizer {
    word_piece: BertTokenizer,
    casing: Casing,
    special: [i32; 5],
    vocab_size: usize,
    fingerprint: String,
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

/// Words that one thread has seen, with their ids: most words of a corpus are repeats.
#[derive(Default)]
pub struct Words {
    known: HashMap<Box<str>, Box<[i32]>>,
    scratch: String,
}

/// Past this many words the memory starts anew.
const MOST_WORDS: usize = 200_000;

impl Tokenizer {
    /// The tokenizer of a Hugging Face folder: `vocab.txt` or else `tokenizer.json`, and the casing
    /// of `tokenizer_config.json`, else `tokenizer.json`, else lower case unless the folder's name
    /// says `cased`.
    pub fn from_folder(folder: &Path) -> Result<Tokenizer> {
        let config = read_json(&folder.join("tokenizer_config.json"))?;
        let full = read_json(&folder.join("tokenizer.json"))?;
        let (tokens, place) = read_vocabulary(folder, &full)?;
        Tokenizer::new(tokens, casing(folder, &config, &full), &place)
    }

    fn new(values: HashMap<String, i64>, casing: Casing, place: &str) -> Result<Tokenizer> {
        let mut special = [0; 5];
        for (id, token) in special.iter_mut().zip(SPECIAL) {
            match values.get(token) {
                Some(&found) => *id = found as i32,
                None => bail_input!("{place}: the vocabulary has no `{token}`; it is not BERT's"),
            }
        }
        // The map's type is not exported; it can be read as JSON.
        let map = serde_json::from_value(json!({
            "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]",
            "sep_token": "[SEP]", "mask_token": "[MASK]",
        }))?;
        let vocab_size = values.values().max().map_or(0, |&id| id as usize + 1);
        let fingerprint = fingerprint(&values, casing);
        let vocab = BertVocab::from_values_and_special_token_map(values, map)
            .map_err(|e| input_error!("{place}: {e}"))?;
        Ok(Tokenizer {
            // The words come with their case settled.
            word_piece: BertTokenizer::from_existing_vocab(vocab, false, false),
            casing,
            special,
            vocab_size,
            fingerprint,
        })
    }

    /// The largest id plus one.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    pub fn pad_id(&self) -> i32 {
        self.special[0]
    }

    /// Whether it lower-cases.
    pub fn lower_case(&self) -> bool {
        self.casing.lower
    }

    /// SHA-256 of vocabulary and casing, in hex.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The ids of a text or a pair, at most `max_length` of them with the special tokens; the longer
    /// text is cut first, as transformers' `longest_first` does.
    pub fn encode(&self, a: &str, b: Option<&str>, max_length: usize) -> Encoded {
        self.encode_with(&mut Words::default(), a, b, max_length)
    }

    /// As [`Tokenizer::encode`], with a memory for words that the next call can use.
    pub fn encode_with(
        &self,
        words: &mut Words,
        a: &str,
        b: Option<&str>,
        max_length: usize,
    ) -> Encoded {
        let [_, _, cls, sep, _] = self.special;
        let mut ids = vec![cls];
        self.push_text(words, a, &mut ids);
        let Some(b) = b else {
            let full_length = ids.len() + 1;
            ids.truncate(max_length.saturating_sub(1).max(1));
            ids.push(sep);
            return Encoded {
                second_segment_at: ids.len(),
                ids,
                full_length,
            };
        };
        let mut second = Vec::new();
        self.push_text(words, b, &mut second);
        let full_length = ids.len() + second.len() + 2;
        let (keep_a, keep_b) =
            longest_first(ids.len() - 1, second.len(), max_length.saturating_sub(3));
        ids.truncate(keep_a + 1);
        ids.push(sep);
        let second_segment_at = ids.len();
        ids.extend_from_slice(&second[..keep_b]);
        ids.push(sep);
        Encoded {
            ids,
            second_segment_at,
            full_length,
        }
    }

    fn push_text(&self, words: &mut Words, text: &str, ids: &mut Vec<i32>) {
        let mut rest = text;
        let mut from = 0;
        while let Some(at) = rest[from..].find('[').map(|at| at + from) {
            match SPECIAL.iter().position(|s| rest[at..].starts_with(s)) {
                Some(which) => {
                    self.push_words(words, &rest[..at], ids);
                    ids.push(self.special[which]);
                    rest = &rest[at + SPECIAL[which].len()..];
                    from = 0;
                }
                None => from = at + 1,
            }
        }
        self.push_words(words, rest, ids);
    }

    fn word_ids(&self, word: &str) -> Box<[i32]> {
        let pieces = self.word_piece.tokenize(word);
        // Among all of Unicode there are 339 rare characters at which rust_tokenizers' newer tables
        // split a word that `tokenizers` keeps whole; no vocabulary has them, so it is unknown.
        if !spell(&pieces, word) {
            return [self.special[1]].into();
        }
        let ids = self.word_piece.convert_tokens_to_ids(&pieces);
        ids.into_iter().map(|id| id as i32).collect()
    }

    fn push_words(&self, words: &mut Words, text: &str, ids: &mut Vec<i32>) {
        let Words { known, scratch } = words;
        if known.len() > MOST_WORDS {
            known.clear();
        }
        self.casing
            .for_each_word(text, scratch, |word| match known.get(word) {
                Some(found) => ids.extend_from_slice(found),
                None => {
                    let found = self.word_ids(word);
                    ids.extend_from_slice(&found);
                    known.insert(word.into(), found);
                }
            });
    }
}

/// Whether the pieces are WordPiece's of this one word, and not of several.
fn spell(pieces: &[String], word: &str) -> bool {
    let Some((first, rest)) = pieces.split_first() else {
        return false;
    };
    let letters: usize = rest.iter().map(|p| p.len().saturating_sub(2)).sum();
    rest.iter().all(|p| p.starts_with("##")) && first.len() + letters == word.len()
}

/// How much of two texts of `a` and `b` tokens stays within `most` in all: the longer is cut until
/// both are equal, then both; an odd token is the second's, as in `tokenizers`.
fn longest_first(a: usize, b: usize, most: usize) -> (usize, usize) {
    if a + b <= most {
        return (a, b);
    }
    let short = a.min(b);
    let long = if short > most {
        short
    } else {
        short.max(most - short)
    };
    let (short, long) = if short + long > most {
        (most / 2, most / 2 + most % 2)
    } else {
        (short, long)
    };
    if a > b {
        (long, short)
    } else {
        (short, long)
    }
}

/// The file's JSON, or null where there is no such file.
fn read_json(path: &Path) -> Result<Value> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|e| input_error!("{}: not readable as JSON: {e}", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(e) => Err(io_error(path, e)),
    }
}

fn read_vocabulary(folder: &Path, full: &Value) -> Result<(HashMap<String, i64>, String)> {
    let path = folder.join("vocab.txt");
    match std::fs::read(&path) {
        Ok(bytes) => {
            let place = path.display().to_string();
            let text = String::from_utf8(bytes)
                .map_err(|_| input_error!("{place}: not UTF-8; fetch the vocabulary again"))?;
            let tokens = text
                .strip_suffix('\n')
                .unwrap_or(&text)
                .split('\n')
                .enumerate();
            let values = tokens
                .map(|(id, token)| (token.trim_end().to_string(), id as i64))
                .collect();
            Ok((values, place))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let place = folder.join("tokenizer.json").display().to_string();
            let Some(vocabulary) = full["model"]["vocab"].as_object() else {
                bail_input!(
                    "{}: no vocab.txt (nor tokenizer.json) in this folder",
                    folder.display()
                );
            };
            let ids = vocabulary.iter();
            let values = ids
                .map(|(token, id)| Some((token.clone(), id.as_i64()?)))
                .collect();
            match values {
                Some(values) => Ok((values, place)),
                None => bail_input!("{place}: key `model.vocab` has an id that is no whole number"),
            }
        }
        Err(e) => Err(io_error(&path, e)),
    }
}

fn casing(folder: &Path, config: &Value, full: &Value) -> Casing {
    let normalizer = &full["normalizer"];
    let say = |key: &str, other: &str| {
        config
            .get(key)
            .and_then(Value::as_bool)
            .or_else(|| normalizer[other].as_bool())
    };
    let cased_by_name = || {
        let name = folder
            .file_name()
            .map(|n| n.to_string_lossy().to_lowercase());
        name.is_some_and(|n| n.contains("cased") && !n.contains("uncased"))
    };
    let lower = say("do_lower_case", "lowercase").unwrap_or_else(|| !cased_by_name());
    let strip_accents = say("strip_accents", "strip_accents").unwrap_or(lower);
    Casing {
        lower,
        strip_accents,
    }
}

fn fingerprint(values: &HashMap<String, i64>, casing: Casing) -> String {
    let mut tokens: Vec<(&i64, &String)> = values.iter().map(|(t, id)| (id, t)).collect();
    tokens.sort();
    let mut hash = Sha256::new();
    for (id, token) in tokens {
        hash.update(format!("{id} {token}\n"));
    }
    hash.update(format!("{casing:?}"));
    format!("{:x}", hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::longest_first;

    /// transformers' rule in words: take from the longer until it fits, from the first on a tie.
    fn one_by_one(mut a: usize, mut b: usize, most: usize) -> (usize, usize) {
        while a + b > most {
            if a >= b {
                a -= 1;
            } else {
                b -= 1;
            }
        }
        (a, b)
    }

    #[test]
    fn longest_first_keeps_what_taking_tokens_one_by_one_keeps() {
        for most in 0..30 {
            for a in 0..40 {
                for b in 0..40 {
                    let (x, y) = longest_first(a, b, most);
                    let (u, v) = one_by_one(a, b, most);
                    assert_eq!(x + y, u + v, "{a} {b} {most}");
                    // Only on an odd budget may the two differ: by which text gets the last token.
                    let odd = most % 2 == 1 && a.min(b) > most / 2;
                    assert!((x, y) == (u, v) || odd, "{a} {b} {most}: {x} {y}, {u} {v}");
                }
            }
        }
    }
}
