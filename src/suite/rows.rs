//! How many rows a task has, and how long they are: what sizes and estimates are made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::bail_input;
use crate::data::sources::sources;
use crate::data::{read_split, Example};
use crate::task::{Split, Task};

/// Tokens of a row where the data is not there to be counted.
const UNKNOWN_TOKENS: f64 = 30.0;
/// WordPiece's tokens per word or mark of English; 1.1 to 1.2 over GLUE.
const TOKENS_PER_WORD: f64 = 1.15;

/// A task's rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskSize {
    pub train: usize,
    pub dev: usize,
    /// Mean over the training rows, by counting words; of an image 1, as in a batch.
    pub tokens: f64,
    /// Whether the data files are there; else the numbers are the task file's.
    pub counted: bool,
}

/// The sizes of tasks, each read once.
#[derive(Debug, Default)]
pub struct TaskSizes {
    known: BTreeMap<(PathBuf, String), TaskSize>,
}

impl TaskSizes {
    /// The size of `task` with its files in `data`; what the task file says where they are not there.
    ///
    /// # Errors
    /// Input errors where the files cannot be read, or are missing and the task file is silent.
    pub fn of(&mut self, task: &Task, data: &Path) -> Result<TaskSize> {
        let key = (data.to_owned(), task.source().to_owned());
        if let Some(size) = self.known.get(&key) {
            return Ok(*size);
        }
        let there = |split| sources(task, data, split);
        let size = match there(Split::Train).and(there(Split::Dev)) {
            Ok(_) => count(task, data)?,
            Err(missing) => match official(task) {
                Some(size) => size,
                None => return Err(missing),
            },
        };
        self.known.insert(key, size);
        Ok(size)
    }
}

fn count(task: &Task, data: &Path) -> Result<TaskSize> {
    let train = read_split(task, data, Split::Train)?.examples;
    let dev = read_split(task, data, Split::Dev)?.examples;
    if train.is_empty() {
        bail_input!("{}: no training rows of {}", data.display(), task.name);
    }
    let tokens = match task.has_images() {
        true => 1.0,
        false => train.iter().map(tokens).sum::<f64>() / train.len() as f64,
    };
    Ok(TaskSize {
        train: train.len(),
        dev: dev.len(),
        tokens,
        counted: true,
    })
}

/// About as many tokens as the tokeniser makes of a row.
fn tokens(row: &Example) -> f64 {
    let words = |text: &str| {
        let marks = text.chars().filter(char::is_ascii_punctuation).count();
        let words = text.split(|c: char| c.is_whitespace() || c.is_ascii_punctuation());
        marks + words.filter(|word| !word.is_empty()).count()
    };
    let second = row.text_b.as_deref();
    let count = words(&row.text_a) + second.map_or(0, words);
    // [CLS] and a [SEP] behind each text.
    let special = if second.is_some() { 3.0 } else { 2.0 };
    TOKENS_PER_WORD * count as f64 + special
}

/// The official number of rows.
fn official(task: &Task) -> Option<TaskSize> {
    let rows = |split| -> Option<usize> {
        let files = task.files_of(split)?;
        files.iter().map(|file| file.rows).sum()
    };
    let all = rows(Split::Train)?;
    let (train, dev) = match task.cut() {
        Some(cut) => {
            let [dev, test] = cut.counts(all);
            (all.saturating_sub(dev + test), dev)
        }
        None => (all, rows(Split::Dev)?),
    };
    Some(TaskSize {
        train,
        dev,
        tokens: if task.has_images() {
            1.0
        } else {
            UNKNOWN_TOKENS
        },
        counted: false,
    })
}
