//! Text to words, as BERT's tokenizer in Hugging Face `tokenizers` does before WordPiece:
//! `BertNormalizer` (clean, set CJK apart, strip accents, lower-case), then `BertPreTokenizer`.
//!
//! rust_tokenizers does these steps after it has split on punctuation, which gives other words where
//! a character decomposes into punctuation (`≠`) or a control character sits inside a word. So the
//! words are made here, with the character tables of `tokenizers`, and WordPiece is left to it.

use unicode_categories::UnicodeCategories;
use unicode_normalization_alignments::UnicodeNormalization;

/// What a text's letters become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Casing {
    pub lower: bool,
    pub strip_accents: bool,
}

impl Casing {
    /// Calls `word` with each word of `text`; `scratch` is working space.
    pub fn for_each_word(self, text: &str, scratch: &mut String, mut word: impl FnMut(&str)) {
        scratch.clear();
        if text.is_ascii() {
            let kept = text
                .chars()
                .filter(|&c| is_ascii_space(c) || !c.is_ascii_control());
            scratch.extend(kept);
            if self.lower {
                scratch.make_ascii_lowercase();
            }
        } else {
            self.normalize(text, scratch);
        }
        for piece in scratch.split(char::is_whitespace) {
            let mut rest = piece;
            while let Some(at) = rest.find(is_punctuation) {
                let (before, from) = rest.split_at(at);
                let (mark, after) = from.split_at(from.chars().next().map_or(0, char::len_utf8));
                if !before.is_empty() {
                    word(before);
                }
                word(mark);
                rest = after;
            }
            if !rest.is_empty() {
                word(rest);
            }
        }
    }

    fn normalize(self, text: &str, out: &mut String) {
        let clean = text
            .chars()
            .filter(|&c| c != '\u{fffd}' && (is_ascii_space(c) || !c.is_other()));
        let spaced = clean.flat_map(|c| {
            let gap = is_cjk(c).then_some(' ');
            gap.into_iter().chain([c]).chain(gap)
        });
        if self.strip_accents {
            let bare = spaced
                .nfd()
                .map(|(c, _)| c)
                .filter(|c| !c.is_mark_nonspacing());
            self.push_lower(bare, out);
        } else {
            self.push_lower(spaced, out);
        }
    }

    fn push_lower(self, chars: impl Iterator<Item = char>, out: &mut String) {
        if self.lower {
            out.extend(chars.flat_map(char::to_lowercase));
        } else {
            out.extend(chars);
        }
    }
}

/// Control characters that count as space.
fn is_ascii_space(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r')
}

pub(super) fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || (!c.is_ascii() && c.is_punctuation())
}

/// The blocks that `tokenizers` sets apart, its slip in the sixth (2B820) included.
fn is_cjk(c: char) -> bool {
    matches!(c as u32,
        0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F
        | 0x2B740..=0x2B81F | 0x2B920..=0x2CEAF | 0xF900..=0xFAFF | 0x2F800..=0x2FA1F)
}
