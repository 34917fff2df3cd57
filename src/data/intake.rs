//! What makes rows into what an encoder takes: a tokenizer, or nothing where it takes images.

use std::path::Path;

use anyhow::Result;

use super::cache;
use super::read::read_split;
use super::rows::Rows;
use super::tokenized::Progress;
use super::{Split, TokenizedSplit, Tokenizer};
use crate::bail_input;
use crate::task::Task;

pub enum Intake {
    Texts(Box<Tokenizer>),
    Images,
}

impl Intake {
    /// The id that fills rows of texts up.
    pub fn pad_id(&self) -> i64 {
        self.tokenizer().map_or(0, |t| i64::from(t.pad_id()))
    }

    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        match self {
            Intake::Texts(tokenizer) => Some(tokenizer),
            Intake::Images => None,
        }
    }

    /// What people should know of it, a line each.
    pub fn notes(&self) -> &[String] {
        self.tokenizer().map_or(&[], Tokenizer::notes)
    }

    /// All that settles what it makes of rows.
    pub fn fingerprint(&self) -> &str {
        self.tokenizer().map_or("images", Tokenizer::fingerprint)
    }

    /// What it is, in a few words.
    pub fn description(&self) -> String {
        match self {
            Intake::Texts(t) => format!("{}, {} entries", t.description(), t.vocab_size()),
            Intake::Images => "images".into(),
        }
    }

    /// A split of a task: of texts from the cache where it is there, each cut to `max_length` tokens.
    ///
    /// # Errors
    /// Input errors for files that cannot be read, and for a task of the other kind of rows.
    pub fn load_split(
        &self,
        task: &Task,
        data_dir: &Path,
        split: Split,
        max_length: usize,
        cache_dir: Option<&Path>,
        progress: Progress,
    ) -> Result<TokenizedSplit> {
        check(task, matches!(self, Intake::Images))?;
        match self {
            Intake::Texts(tokenizer) => cache::load_split_with(
                task, data_dir, split, tokenizer, max_length, cache_dir, progress,
            ),
            Intake::Images => Ok(TokenizedSplit::of_images(read_split(
                task, data_dir, split,
            )?)),
        }
    }

    /// The rows of an input of `task`.
    ///
    /// # Errors
    /// An input error for a task of the other kind of rows.
    pub fn take(&self, task: &Task, rows: &Rows, max_length: usize) -> Result<TokenizedSplit> {
        check(task, matches!(self, Intake::Images))?;
        match self {
            Intake::Texts(tokenizer) => {
                TokenizedSplit::from_examples(&rows.examples, tokenizer, max_length)
            }
            Intake::Images => Ok(TokenizedSplit::of_images(rows.clone())),
        }
    }
}

/// Whether a task's rows are what an encoder takes: images, or texts.
///
/// # Errors
/// An input error that names the task.
pub fn check(task: &Task, images: bool) -> Result<()> {
    if task.has_images() == images {
        return Ok(());
    }
    let (name, has, takes) = match images {
        true => (&task.name, "texts", "images"),
        false => (&task.name, "images", "texts"),
    };
    bail_input!("task {name} has {has}, but the encoder takes {takes}; one encoder takes one kind")
}
