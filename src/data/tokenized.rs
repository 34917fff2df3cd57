//! A split as token ids or as images: what batches are made of.

use std::path::{Path, PathBuf};

use anyhow::{bail, Result};
use memmap2::Mmap;
use rayon::prelude::*;

use super::overlap::{path_key, text_key};
use super::rows::{Example, Part, Rows, Skipped};
use super::tokenizer::{Tokenizer, Words};
use crate::task::Label;

/// Told of long work: rows done, rows in all. Called from several threads.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Rows that one thread tokenises before it reports.
const CHUNK: usize = 512;

/// What a row is beside its ids; of an image these are 0.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Where its ids end in the ids of all rows; they start where the row before ends.
    pub end: u64,
    pub second_segment_at: u32,
    /// Tokens before it was cut to the maximum length.
    pub full_length: u32,
    pub label: Option<Label>,
    pub file: u16,
    pub line: u32,
    pub index: Option<String>,
    /// See [`text_key`].
    pub text: u64,
}

/// What all rows hold.
pub(super) enum Content {
    /// Ids, one row's after the other's.
    Ids(Vec<i32>),
    /// The same in a cache file, and where in it they start (a multiple of 4).
    Mapped(Mmap, usize),
    /// The path of each row's image.
    Images(Vec<PathBuf>),
}

/// A split's rows as token ids or as images' paths, with their labels and where they came from.
pub struct TokenizedSplit {
    pub(super) content: Content,
    pub(super) rows: Vec<Row>,
    pub(super) parts: Vec<Part>,
    pub(super) files: Vec<PathBuf>,
    /// Rows that were left out when the files were read.
    pub skipped: Vec<Skipped>,
    /// What went wrong without harm, as a cache that could not be written.
    pub warnings: Vec<String>,
    /// Whether it came from the cache.
    pub from_cache: bool,
}

impl TokenizedSplit {
    /// Tokenises on all cores. The one part is all rows.
    pub fn from_examples(
        examples: &[Example],
        tokenizer: &Tokenizer,
        max_length: usize,
    ) -> Result<Self> {
        tokenize(examples, tokenizer, max_length, &|_, _| {})
    }

    /// Tokenises what [`super::read_split`] read.
    pub fn from_rows(
        rows: Rows,
        tokenizer: &Tokenizer,
        max_length: usize,
        progress: Progress,
    ) -> Result<Self> {
        Ok(TokenizedSplit {
            parts: rows.parts,
            files: rows.files,
            skipped: rows.skipped,
            ..tokenize(&rows.examples, tokenizer, max_length, progress)?
        })
    }

    /// Takes what [`super::read_split`] read of a task of images.
    pub fn of_images(rows: Rows) -> Self {
        let row = |e: &Example| Row {
            end: 0,
            second_segment_at: 0,
            full_length: 1,
            label: e.label,
            file: e.file,
            line: e.line,
            index: e.index.clone(),
            text: path_key(&e.text_a),
        };
        TokenizedSplit {
            rows: rows.examples.iter().map(row).collect(),
            content: Content::Images(rows.examples.into_iter().map(|e| e.text_a.into()).collect()),
            parts: rows.parts,
            files: rows.files,
            skipped: rows.skipped,
            warnings: Vec::new(),
            from_cache: false,
        }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether its rows are images.
    pub fn has_images(&self) -> bool {
        matches!(self.content, Content::Images(_))
    }

    /// The path of a row's image.
    ///
    /// # Errors
    /// Where the rows are texts.
    pub fn image(&self, row: usize) -> Result<&Path> {
        match &self.content {
            Content::Images(paths) => Ok(&paths[row]),
            _ => bail!("rows of texts have no images"),
        }
    }

    /// What a row is long: tokens, or 1 image.
    pub fn length(&self, row: usize) -> usize {
        match self.content {
            Content::Images(_) => 1,
            _ => self.ids(row).len(),
        }
    }

    /// Token ids of a row, special tokens included; no padding, and none of an image.
    pub fn ids(&self, row: usize) -> &[i32] {
        let start = if row == 0 {
            0
        } else {
            self.rows[row - 1].end as usize
        };
        &self.all_ids()[start..self.rows[row].end as usize]
    }

    /// Where the second text starts in a row's ids; their number for a single text.
    pub fn second_segment_at(&self, row: usize) -> usize {
        self.rows[row].second_segment_at as usize
    }

    /// None where the file has no labels.
    pub fn label(&self, row: usize) -> Option<Label> {
        self.rows[row].label
    }

    /// Gives a row another label.
    pub fn relabel(&mut self, row: usize, label: Label) {
        self.rows[row].label = Some(label);
    }

    /// The row's line in its file, from 1.
    pub fn line(&self, row: usize) -> u32 {
        self.rows[row].line
    }

    /// The row's file, as in [`TokenizedSplit::files`].
    pub fn file(&self, row: usize) -> usize {
        self.rows[row].file as usize
    }

    /// What the file calls the row, where it does.
    pub fn index(&self, row: usize) -> Option<&str> {
        self.rows[row].index.as_deref()
    }

    /// What a row's text or image is compared by; see [`super::overlap`].
    pub fn text_key(&self, row: usize) -> u64 {
        self.rows[row].text
    }

    /// Tokens of a row before it was cut to the maximum length.
    pub fn full_length(&self, row: usize) -> usize {
        self.rows[row].full_length as usize
    }

    /// Rows that are scored by themselves; they cover all rows.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The files that the rows are from; empty where they were not read from files.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The length of every row.
    pub fn lengths(&self) -> Vec<usize> {
        (0..self.len()).map(|row| self.length(row)).collect()
    }

    pub(super) fn all_ids(&self) -> &[i32] {
        match &self.content {
            Content::Ids(ids) => ids,
            Content::Mapped(map, start) => bytemuck::cast_slice(&map[*start..]),
            Content::Images(_) => &[],
        }
    }
}

fn tokenize(
    examples: &[Example],
    tokenizer: &Tokenizer,
    max_length: usize,
    progress: Progress,
) -> Result<TokenizedSplit> {
    let done = std::sync::atomic::AtomicUsize::new(0);
    let chunks: Result<Vec<(Vec<i32>, Vec<Row>)>> = examples
        .par_chunks(CHUNK)
        .map_init(Words::default, |words, chunk| {
            let mut ids = Vec::new();
            let mut rows = Vec::with_capacity(chunk.len());
            for e in chunk {
                let encoded =
                    tokenizer.encode_with(words, &e.text_a, e.text_b.as_deref(), max_length)?;
                ids.extend_from_slice(&encoded.ids);
                rows.push(Row {
                    end: ids.len() as u64,
                    second_segment_at: encoded.second_segment_at as u32,
                    full_length: encoded.full_length as u32,
                    label: e.label,
                    file: e.file,
                    line: e.line,
                    index: e.index.clone(),
                    text: text_key(&e.text_a, e.text_b.as_deref()),
                });
            }
            let before = done.fetch_add(chunk.len(), std::sync::atomic::Ordering::Relaxed);
            progress(before + chunk.len(), examples.len());
            Ok((ids, rows))
        })
        .collect();
    let chunks = chunks?;
    let mut ids = Vec::with_capacity(chunks.iter().map(|(ids, _)| ids.len()).sum());
    let mut rows = Vec::with_capacity(examples.len());
    for (chunk_ids, chunk_rows) in chunks {
        let start = ids.len() as u64;
        ids.extend_from_slice(&chunk_ids);
        rows.extend(chunk_rows.into_iter().map(|row| Row {
            end: start + row.end,
            ..row
        }));
    }
    Ok(TokenizedSplit {
        content: Content::Ids(ids),
        parts: vec![Part {
            name: None,
            rows: 0..rows.len(),
        }],
        rows,
        files: Vec::new(),
        skipped: Vec::new(),
        warnings: Vec::new(),
        from_cache: false,
    })
}
