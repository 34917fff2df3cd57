//! Whether an encoder has an embedding for everything that it is to read.
//!
//! Engines look embeddings up by number. What passes here has one: the settings once for a
//! tokenizer, the rows once for a split, whatever they were tokenised by.

use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::Result;

use super::encoder::Limits;
use crate::bail_input;
use crate::data::{Intake, TokenizedSplit};

/// Whether words, positions and segments of rows up to `max_length` have their embeddings in an
/// encoder with these limits, of the folder `at`; images need none.
///
/// # Errors
/// An input error that names the key or the folder.
pub fn check(limits: Option<Limits>, intake: &Intake, max_length: usize, at: &Path) -> Result<()> {
    let at = at.display();
    let (limits, tokenizer) = match (limits, intake) {
        (Some(limits), Intake::Texts(tokenizer)) => (limits, tokenizer),
        _ => return Ok(()),
    };
    if above(tokenizer.vocab_size(), limits.words) {
        bail_input!(
            "{at}: the vocabulary has {} entries, the weights have embeddings for {}; they belong \
             to different encoders",
            tokenizer.vocab_size(),
            limits.words
        );
    }
    if let Some(positions) = limits.positions.filter(|&p| above(max_length, p)) {
        bail_input!(
            "key `training.max_length`: {max_length} is more than the {positions} positions of {at}"
        );
    }
    if limits.segments.is_some_and(|segments| segments < 2) {
        bail_input!("{at}: type_vocab_size is below 2, pairs of texts cannot be told apart");
    }
    Ok(())
}

/// Whether every row of a split has its embeddings in an encoder with these limits; `whose` is the task
/// that the rows are of.
///
/// # Errors
/// An input error that names the row's line.
pub fn check_rows(limits: Option<Limits>, split: &TokenizedSplit, whose: &str) -> Result<()> {
    let limits = match limits {
        Some(limits) if !split.has_images() => limits,
        None if split.has_images() => return Ok(()),
        _ => bail_input!("task {whose}: images are for an encoder of images, and texts for others"),
    };
    if let Some((row, id)) = outside(split, limits.words) {
        bail_input!(
            "task {whose}, line {}: token id {id} has no embedding, the encoder has {}; text and \
             weights were made for different encoders",
            split.line(row),
            limits.words
        );
    }
    for row in 0..split.len() {
        let length = split.length(row);
        let most = limits.positions.unwrap_or(i64::MAX);
        if length == 0 || above(length, most) {
            bail_input!(
                "task {whose}, line {}: {length} tokens, but the encoder takes 1 to {most}; lower \
                 `training.max_length`",
                split.line(row)
            );
        }
        let pair = split.second_segment_at(row) < length;
        if let Some(segments) = limits.segments.filter(|&segments| pair && segments < 2) {
            bail_input!(
                "task {whose}, line {}: a pair of texts, but the encoder's type_vocab_size is {segments}",
                split.line(row)
            );
        }
    }
    Ok(())
}

/// The first token id that is none of `words`, with its row.
fn outside(split: &TokenizedSplit, words: i64) -> Option<(usize, i32)> {
    let known = |id: i32| (0..words).contains(&i64::from(id));
    let fits = |range: RangeInclusive<i32>| known(*range.start()) && known(*range.end());
    if split.id_range().is_none_or(fits) {
        return None;
    }
    (0..split.len()).find_map(|row| {
        let id = split.ids(row).iter().find(|&&id| !known(id));
        Some((row, *id?))
    })
}

/// Whether a count is above a size, also where it is too large for the size's type.
fn above(count: usize, size: i64) -> bool {
    i64::try_from(count).map_or(true, |count| count > size)
}
