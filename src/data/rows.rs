//! Rows of texts or images, as files hold them.

use std::ops::Range;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::task::Label;

/// One row of a task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Example {
    /// The first text, or the path of an image.
    pub text_a: String,
    pub text_b: Option<String>,
    pub label: Option<Label>,
    /// What it has in the column whose values stay together when a split is cut out.
    pub group: Option<String>,
    /// What the file calls the row, where it does.
    pub index: Option<String>,
    /// Which of [`Rows::files`] it is from, and its line there, from 1.
    pub file: u16,
    pub line: u32,
}

/// Rows that are scored by themselves, as MNLI's matched ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub name: Option<String>,
    pub rows: Range<usize>,
}

/// A row that could not be read and was left out, as the task allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    pub file: PathBuf,
    pub line: u32,
    pub reason: String,
}

/// A split, read.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    pub examples: Vec<Example>,
    pub parts: Vec<Part>,
    pub skipped: Vec<Skipped>,
    /// Lines with nothing in them, from 1, of one file after the other.
    pub blank: Vec<u32>,
    /// Lines of rows that have something else in the place of a label which is not read.
    pub odd_labels: Vec<u32>,
    pub files: Vec<PathBuf>,
}
