//! Texts that stand in the dev or test split of one task and among the training rows of another, or
//! of its own: what a run has seen before it is scored on it.
//!
//! SST and MR, which Wu, Zhang and Ré (ICLR 2020) train together, share most of their sentences.
//! Texts are compared by a key, a hash of what is left of them in [`normalized`], images by one of their
//! paths; the token cache holds it, so that the start of a run reads no text.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::{Path, PathBuf};

use anyhow::Result;
use rayon::prelude::*;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use unicode_normalization_alignments::UnicodeNormalization;

use super::normalize::is_punctuation;
use super::sources::sources;
use super::{read_split, Rows, TokenizedSplit};
use crate::task::{Split, Task};

/// The key of a text without anything to compare.
const NO_TEXT: u64 = 0;

/// What two writings of one text have in common: NFKC, lower case, without punctuation and spaces,
/// so that `It 's` is `it's`. Between two digits they leave a space: 1.5 is not 15.
pub fn normalized(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut gap = false;
    let mut push = |c: char| {
        if c.is_whitespace() || c.is_control() || is_punctuation(c) {
            gap = true;
            return;
        }
        if gap && c.is_numeric() && out.ends_with(char::is_numeric) {
            out.push(' ');
        }
        gap = false;
        out.push(c);
    };
    if text.is_ascii() {
        text.chars().for_each(|c| push(c.to_ascii_lowercase()));
    } else {
        let composed = text.nfkc().map(|(c, _)| c);
        composed.flat_map(char::to_lowercase).for_each(push);
    }
    out
}

/// The key of a row: the first 64 bits of the SHA-256 of its normalised text, or of both in their
/// order; 0 where nothing is left of them.
pub fn text_key(text_a: &str, text_b: Option<&str>) -> u64 {
    let (a, b) = (normalized(text_a), text_b.map(normalized));
    if a.is_empty() && b.as_ref().is_none_or(String::is_empty) {
        return NO_TEXT;
    }
    let mut hash = Sha256::new().chain_update(a);
    if let Some(b) = b {
        // No normalised text holds a control character.
        hash.update("\n");
        hash.update(b);
    }
    key_of(hash.finalize())
}

/// The key of an image: of its path.
pub fn path_key(path: &str) -> u64 {
    key_of(Sha256::digest(path))
}

fn key_of(digest: impl AsRef<[u8]>) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.as_ref()[..8]);
    u64::from_le_bytes(bytes).max(NO_TEXT + 1)
}

/// A key is a hash already: hashed once more, it would cost most of [`find`]'s time.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

type ByKey = BuildHasherDefault<AsItIs>;

/// A row's file and its line there, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: PathBuf,
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = self.file.file_name().unwrap_or_default();
        write!(f, "{}:{}", name.to_string_lossy(), self.line)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}:{}", self.file.display(), self.line))
    }
}

/// The texts of a task's split, as keys.
#[derive(Debug, Clone)]
pub struct Texts {
    pub task: String,
    pub split: Split,
    rows: Vec<Row>,
    files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    key: u64,
    line: u32,
    file: u16,
}

impl Texts {
    /// Of a split that was tokenised.
    pub fn of_tokens(task: &str, split: Split, tokens: &TokenizedSplit) -> Texts {
        let row = |row: usize| Row {
            key: tokens.text_key(row),
            line: tokens.line(row),
            file: tokens.file(row) as u16,
        };
        Texts {
            task: task.to_owned(),
            split,
            rows: (0..tokens.len()).map(row).collect(),
            files: tokens.files().to_vec(),
        }
    }

    /// Of a split that was read.
    pub fn of_rows(task: &Task, split: Split, rows: &Rows) -> Texts {
        let images = task.has_images();
        let examples = rows.examples.par_iter().map(|e| Row {
            key: match images {
                true => path_key(&e.text_a),
                false => text_key(&e.text_a, e.text_b.as_deref()),
            },
            line: e.line,
            file: e.file,
        });
        Texts {
            task: task.name.clone(),
            split,
            rows: examples.collect(),
            files: rows.files.clone(),
        }
    }

    /// These of the rows alone.
    pub fn only(&self, rows: &[u32]) -> Texts {
        Texts {
            rows: rows.iter().map(|&row| self.rows[row as usize]).collect(),
            task: self.task.clone(),
            files: self.files.clone(),
            ..*self
        }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn place(&self, row: usize) -> Place {
        let Row { line, file, .. } = self.rows[row];
        Place {
            file: self
                .files
                .get(usize::from(file))
                .cloned()
                .unwrap_or_default(),
            line,
        }
    }
}

/// Rows of a dev or test split whose text is among a task's training rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overlap {
    /// The task and split that are scored.
    pub task: String,
    pub split: Split,
    /// Rows of the split whose text is trained on, and all its rows.
    pub rows: usize,
    pub of: usize,
    /// The task whose training rows hold them; it may be the same.
    pub training: String,
    /// These training rows, by their place among the texts that were compared.
    #[serde(skip)]
    pub training_rows: BTreeSet<u32>,
    /// One of the split's rows, and a training row of the same text.
    pub example: (Place, Place),
}

impl Overlap {
    /// Whether training one task shows another task's answers.
    pub fn between_tasks(&self) -> bool {
        self.task != self.training
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let whose = match self.between_tasks() {
            true => format!("{}'s training rows", self.training),
            false => "its own training rows".to_owned(),
        };
        write!(
            f,
            "{} {}: {} of {} rows have the text of {whose} ({}, {})",
            self.task, self.split, self.rows, self.of, self.example.0, self.example.1
        )
    }
}

/// Every overlap between splits that are scored and splits that are trained on, the largest first.
pub fn find(training: &[Texts], scored: &[Texts]) -> Vec<Overlap> {
    let known: HashSet<u64, ByKey> = scored
        .iter()
        .flat_map(|texts| texts.rows.iter().map(|row| row.key))
        .filter(|&key| key != NO_TEXT)
        .collect();
    let mut overlaps = Vec::new();
    for trained in training {
        let mut hits: HashMap<u64, Vec<u32>, ByKey> = HashMap::default();
        for (row, text) in trained.rows.iter().enumerate() {
            if known.contains(&text.key) {
                hits.entry(text.key).or_default().push(row as u32);
            }
        }
        if !hits.is_empty() {
            overlaps.extend(scored.iter().filter_map(|s| overlap(trained, &hits, s)));
        }
    }
    overlaps.sort_by_key(|found| std::cmp::Reverse(found.rows));
    overlaps
}

/// What of `scored` is among `hits`, rows of `trained` by their key.
fn overlap(
    trained: &Texts,
    hits: &HashMap<u64, Vec<u32>, ByKey>,
    scored: &Texts,
) -> Option<Overlap> {
    let rows = scored.rows.iter().enumerate();
    let found: Vec<(usize, &Vec<u32>)> = rows
        .filter_map(|(number, row)| Some((number, hits.get(&row.key)?)))
        .collect();
    let &(first, twins) = found.first()?;
    Some(Overlap {
        task: scored.task.clone(),
        split: scored.split,
        rows: found.len(),
        of: scored.len(),
        training: trained.task.clone(),
        example: (scored.place(first), trained.place(twins[0] as usize)),
        training_rows: found
            .into_iter()
            .flat_map(|(_, rows)| rows)
            .copied()
            .collect(),
    })
}

/// The training rows of each task that hold a text of another task's dev or test split.
pub fn shared_with_others(overlaps: &[Overlap]) -> BTreeMap<&str, BTreeSet<u32>> {
    let mut rows: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for found in overlaps.iter().filter(|found| found.between_tasks()) {
        rows.entry(&found.training)
            .or_default()
            .extend(&found.training_rows);
    }
    rows
}

/// The overlaps between the tasks' files, read as they are.
///
/// # Errors
/// As [`texts_of_files`].
pub fn of_files(tasks: &[Task], data_dir: &Path) -> Result<Vec<Overlap>> {
    let training = texts_of_files(tasks, data_dir, &[Split::Train])?;
    let scored = texts_of_files(tasks, data_dir, &[Split::Dev, Split::Test])?;
    Ok(find(&training, &scored))
}

/// The texts of those of `splits` that a task has, task by task. Test files that are not there are
/// left out.
///
/// # Errors
/// Input errors where another file is missing or one cannot be read.
pub fn texts_of_files(tasks: &[Task], data_dir: &Path, splits: &[Split]) -> Result<Vec<Texts>> {
    let splits: Vec<(&Task, Split)> = tasks
        .iter()
        .flat_map(|task| splits.iter().map(move |&split| (task, split)))
        .filter(|(task, split)| task.has_split(*split))
        .filter(|(task, split)| *split != Split::Test || sources(task, data_dir, *split).is_ok())
        .collect();
    let read = |&(task, split): &(&Task, Split)| {
        let rows = read_split(task, data_dir, split)?;
        Ok(Texts::of_rows(task, split, &rows))
    };
    splits.par_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writings_of_one_text_are_one_text() {
        assert_eq!(normalized("It 's a \u{ff26}ilm !"), "itsafilm");
        assert_eq!(normalized("``it's'' a film"), "itsafilm");
        assert_eq!(normalized("CAF\u{c9}"), normalized("cafe\u{301}"));
        // What tells texts apart stays.
        assert_ne!(normalized("rose 1.5 %"), normalized("rose 15 %"));
        assert_eq!(normalized("rose 1.5 %"), normalized("rose 1 . 5%"));
        assert_ne!(normalized("good \u{1f600}"), normalized("good \u{1f61e}"));
    }

    #[test]
    fn a_key_tells_pairs_from_texts_and_knows_their_order() {
        assert_eq!(text_key("A b.", Some("C")), text_key("a b", Some("c!")));
        assert_ne!(text_key("a", Some("b")), text_key("b", Some("a")));
        assert_ne!(text_key("ab", None), text_key("a", Some("b")));
        assert_eq!(text_key("", None), NO_TEXT);
        assert_eq!(text_key(" ?", Some("...")), NO_TEXT);
        assert_ne!(text_key("", Some("b")), NO_TEXT);
    }
}
