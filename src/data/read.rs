//! A task's files to examples.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::ids::IdFilter;
use super::lines::{decode, read_file};
use super::reader::{LabelUse, Reader};
use super::sources::sources;
use crate::bail_input;
use crate::task::{Split, Task};

/// One row of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    pub text_a: String,
    pub text_b: Option<String>,
    /// A class's number, from 0 in the task's order, or the value.
    pub label: Option<f32>,
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

/// Reads a split from the files that the task's YAML names.
pub fn read_split(task: &Task, data_dir: &Path, split: Split) -> Result<Rows> {
    let mut rows = Rows::default();
    for source in sources(task, data_dir, split)? {
        let bytes = read_file(&source.path)?;
        let layout = task.layout_of(source.file);
        let from = rows.examples.len();
        let text = decode(&bytes, layout.encoding.as_deref(), &source.path)?;
        let reader = Reader {
            task,
            layout: &layout,
            labels: match source.file.labelled {
                false => LabelUse::Ignored,
                // Published test files have −1 or nothing there.
                true if source.of == Split::Test => LabelUse::Optional,
                true => LabelUse::Required,
            },
            plain: false,
            path: &source.path,
        };
        reader.read(&text, IdFilter::read(&source)?.as_ref(), &mut rows)?;
        if let Some(cut) = task.cut().filter(|_| source.of == Split::Train) {
            let in_dev = cut.in_dev(rows.examples.len() - from);
            let mut chosen = in_dev.iter().map(|&dev| dev == (split == Split::Dev));
            let mut row = 0;
            rows.examples.retain(|_| {
                row += 1;
                row <= from || chosen.next().unwrap_or(false)
            });
        }
        if rows.examples.len() == from {
            bail_input!(
                "{}: no rows for the {split} split of {}",
                source.path.display(),
                task.name
            );
        }
        let to = rows.examples.len();
        match rows.parts.last_mut() {
            // Files without a name are one part.
            Some(last) if source.file.part.is_none() => last.rows.end = to,
            _ => rows.parts.push(Part {
                name: source.file.part.clone(),
                rows: from..to,
            }),
        }
    }
    Ok(rows)
}
