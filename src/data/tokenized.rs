//! A split as token ids or as images: what batches are made of.

use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use anyhow::{bail, Result};
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::overlap::{path_key, text_key};
use super::rows::{Example, Part, Rows, Skipped};
use super::stored::Stored;
use super::tokenizer::{Tokenizer, Words};
use crate::task::Label;

/// Told of long work: rows done, rows in all. Called from several threads.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Rows that one thread tokenises before it reports.
const CHUNK: usize = 512;

/// What a row is beside its ids, as a cache file holds it too; of an image the ids' numbers are 0.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Row {
    /// Where its ids end in the ids of all rows; they start where the row before ends.
    pub end: u64,
    /// See [`text_key`].
    text: u64,
    /// The halves of the set that its label is, the lower first.
    set: [u64; 2],
    /// The number that its label is.
    number: f32,
    second_segment_at: u32,
    /// Tokens before it was cut to the maximum length.
    full_length: u32,
    line: u32,
    file: u16,
    /// What its label is: [`NUMBER`], [`SET`], or 0 where it has none.
    label: u16,
    unused: u32,
}

const NUMBER: u16 = 1;
const SET: u16 = 2;

impl Row {
    /// What a row is that is compared by `text`, but for its ids.
    fn new(example: &Example, text: u64) -> Row {
        let mut row = Row {
            text,
            line: example.line,
            file: example.file,
            ..Row::zeroed()
        };
        if let Some(label) = example.label {
            row.take(label);
        }
        row
    }

    fn take(&mut self, label: Label) {
        match label {
            Label::Number(number) => (self.label, self.number) = (NUMBER, number),
            Label::Set(set) => (self.label, self.set) = (SET, [set as u64, (set >> 64) as u64]),
        }
    }

    fn label(&self) -> Option<Label> {
        let [lower, upper] = self.set.map(u128::from);
        match self.label {
            NUMBER => Some(Label::Number(self.number)),
            SET => Some(Label::Set(lower | upper << 64)),
            _ => None,
        }
    }
}

/// What all rows hold.
pub(super) enum Content {
    Texts(Ids),
    /// The path of each row's image.
    Images(Vec<PathBuf>),
}

/// Token ids, one row's after the other's.
pub(super) struct Ids {
    pub all: Stored<i32>,
    /// From the least to the greatest; none where there are none.
    pub range: Option<RangeInclusive<i32>>,
}

/// What each row is called in its file; empty where none has a name.
pub(super) type Names = Vec<Option<String>>;

fn names(examples: &[Example]) -> Names {
    match examples.iter().any(|e| e.index.is_some()) {
        true => examples.iter().map(|e| e.index.clone()).collect(),
        false => Vec::new(),
    }
}

/// From the least to the greatest of `ids` and those in `range`; none where there are none.
pub(super) fn range_with(
    range: Option<RangeInclusive<i32>>,
    ids: &[i32],
) -> Option<RangeInclusive<i32>> {
    let ends = range.iter().flat_map(|range| [range.start(), range.end()]);
    let all = ends.chain(ids);
    Some(*all.clone().min()?..=*all.max()?)
}

/// A split's rows as token ids or as images' paths, with their labels and where they came from.
pub struct TokenizedSplit {
    pub(super) content: Content,
    pub(super) rows: Stored<Row>,
    pub(super) names: Names,
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
            full_length: 1,
            ..Row::new(e, path_key(&e.text_a))
        };
        TokenizedSplit {
            rows: Stored::Held(rows.examples.iter().map(row).collect()),
            names: names(&rows.examples),
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
            Content::Texts(_) => self.place_of_ids(row).len(),
        }
    }

    /// Token ids of a row, special tokens included; no padding, and none of an image.
    pub fn ids(&self, row: usize) -> &[i32] {
        &self.all_ids()[self.place_of_ids(row)]
    }

    /// From the least to the greatest token id of all rows; images have none.
    pub fn id_range(&self) -> Option<RangeInclusive<i32>> {
        match &self.content {
            Content::Texts(ids) => ids.range.clone(),
            Content::Images(_) => None,
        }
    }

    fn place_of_ids(&self, row: usize) -> Range<usize> {
        let start = match row {
            0 => 0,
            row => self.rows[row - 1].end,
        };
        start as usize..self.rows[row].end as usize
    }

    /// Where the second text starts in a row's ids; their number for a single text.
    pub fn second_segment_at(&self, row: usize) -> usize {
        self.rows[row].second_segment_at as usize
    }

    /// None where the file has no labels.
    pub fn label(&self, row: usize) -> Option<Label> {
        self.rows[row].label()
    }

    /// Gives a row another label.
    pub fn relabel(&mut self, row: usize, label: Label) {
        self.rows[row].take(label);
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
        self.names.get(row)?.as_deref()
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
            Content::Texts(ids) => &ids.all,
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
                    ..Row::new(e, text_key(&e.text_a, e.text_b.as_deref()))
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
        content: Content::Texts(Ids {
            range: range_with(None, &ids),
            all: Stored::Held(ids),
        }),
        names: names(examples),
        parts: vec![Part {
            name: None,
            rows: 0..rows.len(),
        }],
        rows: Stored::Held(rows),
        files: Vec::new(),
        skipped: Vec::new(),
        warnings: Vec::new(),
        from_cache: false,
    })
}
