//! Plain BERT: the words are made by [`crate::data::normalize`], rust_tokenizers' WordPiece turns a
//! word into ids, and each word of a corpus is looked up once.

use std::collections::HashMap;

use anyhow::Result;
use rust_tokenizers::tokenizer::{BertTokenizer, Tokenizer as _};
use rust_tokenizers::vocab::{BertVocab, Vocab};
use serde_json::json;

use super::Encoded;
use crate::data::normalize::Casing;

/// The tokens that every plain BERT vocabulary has, and its only special ones.
pub const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Words that one thread has seen, with their ids: most words of a corpus are repeats.
#[derive(Default)]
pub struct Words {
    known: HashMap<Box<str>, Box<[i32]>>,
    scratch: String,
}

/// Past this many words the memory starts anew.
const MOST_WORDS: usize = 200_000;

pub struct Plain {
    word_piece: BertTokenizer,
    casing: Casing,
    special: [i32; 5],
    /// Whether a text that is too long loses its beginning.
    cut_left: bool,
}

impl Plain {
    /// `values` has all of [`SPECIAL`], whose ids are `special`.
    pub fn new(
        values: HashMap<String, i64>,
        special: [i32; 5],
        casing: Casing,
        cut_left: bool,
    ) -> Result<Plain> {
        // The map's type is not exported; it can be read as JSON.
        let map = serde_json::from_value(json!({
            "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]",
            "sep_token": "[SEP]", "mask_token": "[MASK]",
        }))?;
        let vocab = BertVocab::from_values_and_special_token_map(values, map)?;
        Ok(Plain {
            // The words come with their case settled.
            word_piece: BertTokenizer::from_existing_vocab(vocab, false, false),
            casing,
            special,
            cut_left,
        })
    }

    pub fn encode(
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
            self.cut(&mut ids, 1, max_length.saturating_sub(2));
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
        self.cut(&mut ids, 1, keep_a);
        ids.push(sep);
        let second_segment_at = ids.len();
        self.cut(&mut second, 0, keep_b);
        ids.append(&mut second);
        ids.push(sep);
        Encoded {
            ids,
            second_segment_at,
            full_length,
        }
    }

    /// Leaves `keep` of the ids from `start` on.
    fn cut(&self, ids: &mut Vec<i32>, start: usize, keep: usize) {
        if ids.len() - start <= keep {
        } else if self.cut_left {
            ids.drain(start..ids.len() - keep);
        } else {
            ids.truncate(start + keep);
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
