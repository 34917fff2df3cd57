//! Whether an encoder has an embedding for everything that it is to read.
//!
//! Engines look embeddings up by number. What passes here has one: the settings once for a
//! tokenizer, the rows once for a split, whatever they were tokenised by.

use std::path::Path;

use anyhow::Result;
use rust_bert::bert::BertConfig;

use crate::bail_input;
use crate::data::{TokenizedSplit, Tokenizer};

/// Whether words, positions and segments of rows up to `max_length` have their embeddings in an
/// encoder of the shape of the folder `at`.
///
/// # Errors
/// An input error that names the key or the folder.
pub fn check(
    shape: &BertConfig,
    tokenizer: &Tokenizer,
    max_length: usize,
    at: &Path,
) -> Result<()> {
    let at = at.display();
    if above(tokenizer.vocab_size(), shape.vocab_size) {
        bail_input!(
            "{at}: the vocabulary has {} entries, the weights have embeddings for {}; they belong \
             to different encoders",
            tokenizer.vocab_size(),
            shape.vocab_size
        );
    }
    if above(max_length, shape.max_position_embeddings) {
        bail_input!(
            "key `training.max_length`: {max_length} is more than the {} positions of {at}",
            shape.max_position_embeddings
        );
    }
    if shape.type_vocab_size < 2 {
        bail_input!("{at}: type_vocab_size is below 2, pairs of texts cannot be told apart");
    }
    Ok(())
}

/// Whether every row of a split has its embeddings in an encoder of this shape; `whose` is the task
/// that the rows are of.
///
/// # Errors
/// An input error that names the row's line.
pub fn check_rows(shape: &BertConfig, split: &TokenizedSplit, whose: &str) -> Result<()> {
    for row in 0..split.len() {
        let ids = split.ids(row);
        let outside = |id: &&i32| !(0..shape.vocab_size).contains(&i64::from(**id));
        if let Some(id) = ids.iter().find(outside) {
            bail_input!(
                "task {whose}, line {}: token id {id} has no embedding, the encoder has {}; text \
                 and weights were made for different encoders",
                split.line(row),
                shape.vocab_size
            );
        }
        if ids.is_empty() || above(ids.len(), shape.max_position_embeddings) {
            bail_input!(
                "task {whose}, line {}: {} tokens, but the encoder takes 1 to {}; lower \
                 `training.max_length`",
                split.line(row),
                ids.len(),
                shape.max_position_embeddings
            );
        }
        if split.second_segment_at(row) < ids.len() && shape.type_vocab_size < 2 {
            bail_input!(
                "task {whose}, line {}: a pair of texts, but the encoder's type_vocab_size is {}",
                split.line(row),
                shape.type_vocab_size
            );
        }
    }
    Ok(())
}

/// Whether a count is above a size, also where it is too large for the size's type.
fn above(count: usize, size: i64) -> bool {
    i64::try_from(count).map_or(true, |count| count > size)
}
