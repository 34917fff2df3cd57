//! Where a task's rows lie: files per split, and what their columns hold.

use std::borrow::Cow;
use std::collections::HashMap;

use schemars::{json_schema, JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::split::Split;

/// A column: by its name in the header, or by its number, from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Column {
    Number(usize),
    Name(String),
}

/// One column, or two for pairs of texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TextColumns {
    One(Column),
    Two([Column; 2]),
}

/// One column, or of labels of which any may hold a column each, in the labels' order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum LabelColumns {
    One(Column),
    Each(Vec<Column>),
}

/// How columns are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Tab-separated, without quoting: a lone `"` is text.
    #[default]
    Tsv,
    /// Comma-separated with RFC 4180 quoting.
    Csv,
    /// One JSON object a line; columns are its keys.
    Jsonl,
    /// `LABEL TEXT`, separated by the first space.
    LabelText,
}

/// What to do with a row that has too few columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShortRows {
    /// An error with its line.
    #[default]
    Error,
    /// Leave it out, and say how many there were.
    Skip,
}

/// What to do with a row that has more columns than the header or, without one, the first row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LongRows {
    /// An error with its line.
    #[default]
    Error,
    /// Leave it out, and say how many there were.
    Skip,
    /// Read its columns by their places, and nothing of the others.
    Keep,
}

/// How the rows of a file are written. A file's own layout wins over the task's, key by key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// How columns are told apart; `tsv` unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Whether the first line names the columns; yes unless said otherwise.
    pub header: Option<bool>,
    /// The column with the text, or two columns for pairs of texts; by name, or by number from 1.
    pub text: Option<TextColumns>,
    /// The column with the label; of labels of which any may hold also a list, a column each.
    pub label: Option<LabelColumns>,
    /// A column that names the row, as GLUE's `index`.
    pub index: Option<Column>,
    /// A label of the WHATWG encoding standard, as `windows-1252` (which is also what it calls
    /// Latin-1); UTF-8 unless said otherwise.
    pub encoding: Option<String>,
    /// What to do with a row that has too few columns; an error unless said otherwise.
    pub short_rows: Option<ShortRows>,
    /// What to do with a row that has more columns than the header or, without one, the first row;
    /// an error unless said otherwise.
    pub long_rows: Option<LongRows>,
}

impl Format {
    /// The name for people.
    pub fn title(self) -> &'static str {
        match self {
            Format::Tsv => "tab-separated",
            Format::Csv => "CSV",
            Format::Jsonl => "JSON lines",
            Format::LabelText => "LABEL TEXT",
        }
    }
}

impl std::fmt::Display for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Column::Number(n) => write!(f, "column {n}"),
            Column::Name(name) => write!(f, "`{name}`"),
        }
    }
}

impl Layout {
    /// `self` with `outer` where `self` says nothing.
    pub fn within(&self, outer: &Layout) -> Layout {
        Layout {
            format: self.format.or(outer.format),
            header: self.header.or(outer.header),
            text: self.text.clone().or_else(|| outer.text.clone()),
            label: self.label.clone().or_else(|| outer.label.clone()),
            index: self.index.clone().or_else(|| outer.index.clone()),
            encoding: self.encoding.clone().or_else(|| outer.encoding.clone()),
            short_rows: self.short_rows.or(outer.short_rows),
            long_rows: self.long_rows.or(outer.long_rows),
        }
    }

    /// The text columns; `LABEL TEXT` lines have theirs, whatever other files' are.
    pub fn text_columns(&self) -> Vec<Column> {
        match &self.text {
            _ if self.format == Some(Format::LabelText) => vec![Column::Number(2)],
            Some(TextColumns::One(a)) => vec![a.clone()],
            Some(TextColumns::Two([a, b])) => vec![a.clone(), b.clone()],
            None => Vec::new(),
        }
    }

    /// The label's columns; `LABEL TEXT` lines have theirs.
    pub fn label_columns(&self) -> Vec<Column> {
        match &self.label {
            _ if self.format == Some(Format::LabelText) => vec![Column::Number(1)],
            Some(LabelColumns::One(column)) => vec![column.clone()],
            Some(LabelColumns::Each(columns)) => columns.clone(),
            None => Vec::new(),
        }
    }

    /// Whether each label has a column of its own.
    pub fn has_label_columns(&self) -> bool {
        self.format != Some(Format::LabelText) && matches!(self.label, Some(LabelColumns::Each(_)))
    }

    /// Whether the first row names the columns.
    pub fn has_header(&self) -> bool {
        match self.format.unwrap_or_default() {
            Format::Tsv | Format::Csv => self.header.unwrap_or(true),
            Format::Jsonl | Format::LabelText => false,
        }
    }
}

/// Rows of a file chosen by a list of ids in another, as MRPC's `dev_ids.tsv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ids {
    /// The list: a TSV file without header.
    pub path: String,
    /// The columns of the data file that together make an id.
    pub columns: Vec<Column>,
}

/// One file of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The file's path in the task's folder, or in the data folder.
    pub path: String,
    /// The part of the split that it is, as MNLI's `matched`.
    pub part: Option<String>,
    /// Whether its rows have labels.
    #[serde(default = "yes")]
    pub labelled: bool,
    /// How many rows the official file has.
    pub rows: Option<usize>,
    /// How it is written, where that is not the task's `layout`.
    #[serde(default)]
    pub layout: Layout,
    /// Only rows whose id is listed.
    pub keep_ids: Option<Ids>,
    /// Only rows whose id is not listed.
    pub drop_ids: Option<Ids>,
    /// What to read when this file is not there.
    #[serde(rename = "or")]
    pub otherwise: Option<Box<File>>,
}

fn yes() -> bool {
    true
}

/// A split: a file, or several that are its parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SplitFiles(pub Vec<File>);

impl JsonSchema for SplitFiles {
    fn schema_name() -> Cow<'static, str> {
        "SplitFiles".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let file = generator.subschema_for::<File>();
        json_schema!({
            "anyOf": [
                {"type": "string", "title": "a file's name"},
                file.clone(),
                {"type": "array", "items": file},
            ]
        })
    }
}

impl<'de> Deserialize<'de> for SplitFiles {
    // By hand, so that an error inside a file is that file's and not "matches no variant".
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = SplitFiles;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a file's name, `path: …`, or a list of files")
            }
            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<SplitFiles, E> {
                let name = serde::de::value::MapDeserializer::new([("path", path)].into_iter());
                File::deserialize(name).map(|file| SplitFiles(vec![file]))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                seq: A,
            ) -> Result<SplitFiles, A::Error> {
                let seq = serde::de::value::SeqAccessDeserializer::new(seq);
                Vec::deserialize(seq).map(SplitFiles)
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<SplitFiles, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                File::deserialize(map).map(|file| SplitFiles(vec![file]))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The files of each split.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Rows to train on.
    pub train: Option<SplitFiles>,
    /// Labelled rows that choose the best evaluation.
    pub dev: Option<SplitFiles>,
    /// Rows to predict, or with labels to be judged by.
    pub test: Option<SplitFiles>,
}

/// Splits cut out of the training file where there are no official ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// The share of the rows that goes to dev.
    pub dev: f64,
    /// The share that goes to test; none unless said otherwise.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub test: f64,
    /// Chooses the rows; they depend on nothing else.
    #[serde(default)]
    pub seed: u64,
    /// The column whose values stay together, as `Patient ID`: no value's rows are in two splits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Column>,
}

fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

impl Cut {
    /// Where each of `rows` rows goes: the `round(dev · rows)` rows with the smallest SplitMix64
    /// hashes of (seed, row) to dev, the next `round(test · rows)` to test; the same on every
    /// machine, and independent of the rows' content.
    pub fn splits(&self, rows: usize) -> Vec<Split> {
        let start = splitmix64(self.seed);
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by_key(|&row| (splitmix64(start.wrapping_add(row as u64)), row));
        let mut splits = vec![Split::Train; rows];
        let [dev, test] = self.counts(rows);
        for (at, &row) in order.iter().take(dev + test).enumerate() {
            splits[row] = if at < dev { Split::Dev } else { Split::Test };
        }
        splits
    }

    /// The same of rows that stay together where their `groups` are the same: whole groups go to dev,
    /// by the hashes of the order in which they first appear, until it has its rows, then to test.
    pub fn splits_of(&self, groups: &[&str]) -> Vec<Split> {
        let mut number = HashMap::new();
        let mut sizes = Vec::new();
        let of_row: Vec<usize> = groups
            .iter()
            .map(|group| {
                let next = sizes.len();
                let at = *number.entry(group).or_insert(next);
                if at == next {
                    sizes.push(0);
                }
                sizes[at] += 1;
                at
            })
            .collect();
        let start = splitmix64(self.seed);
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.sort_by_key(|&group| (splitmix64(start.wrapping_add(group as u64)), group));
        let [dev, test] = self.counts(groups.len());
        let mut split = vec![Split::Train; sizes.len()];
        let mut taken = 0;
        for group in order {
            split[group] = match taken {
                n if n < dev => Split::Dev,
                n if n < dev + test => Split::Test,
                _ => break,
            };
            taken += sizes[group];
        }
        of_row.into_iter().map(|group| split[group]).collect()
    }

    /// How many of `rows` rows go to dev and to test.
    pub fn counts(&self, rows: usize) -> [usize; 2] {
        [self.dev, self.test].map(|share| (share * rows as f64).round() as usize)
    }

    /// Whether it makes a split of this name.
    pub fn makes(&self, split: Split) -> bool {
        split == Split::Dev || (split == Split::Test && self.test > 0.0)
    }
}

/// One output of SplitMix64 (Steele, Lea, Flood 2014) from state `x`.
fn splitmix64(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_gives_the_published_sequence() {
        // The reference implementation's first outputs for seed 1234567.
        let gamma = 0x9e37_79b9_7f4a_7c15_u64;
        let outputs: Vec<u64> = (0..3)
            .map(|i| splitmix64(1234567u64.wrapping_add(gamma.wrapping_mul(i))))
            .collect();
        assert_eq!(
            outputs,
            [
                6457827717110365317,
                3203168211198807973,
                9817491932198370423
            ]
        );
    }

    #[test]
    fn a_cut_takes_its_share_and_depends_on_the_seed() {
        let cut = |seed, test| {
            let dev = 0.1;
            let by = None;
            Cut {
                dev,
                test,
                seed,
                by,
            }
            .splits(3775)
        };
        let count = |splits: &[Split], of| splits.iter().filter(|&&split| split == of).count();
        assert_eq!(count(&cut(0, 0.0), Split::Dev), 378);
        assert_eq!(cut(0, 0.0), cut(0, 0.0));
        assert_ne!(cut(0, 0.0), cut(1, 0.0));
        // Test rows come out of the training rows: dev stays.
        let tested = cut(0, 0.2);
        assert_eq!(count(&tested, Split::Test), 755);
        let same = |(a, b): (&Split, &Split)| (*a == Split::Dev) == (*b == Split::Dev);
        assert!(tested.iter().zip(&cut(0, 0.0)).all(same));
    }

    #[test]
    fn a_cut_by_patients_keeps_each_ones_rows_together() {
        let cut = Cut {
            dev: 0.2,
            test: 0.1,
            seed: 1,
            by: Some(Column::Name("Patient ID".into())),
        };
        let patients: Vec<String> = (0..1000).map(|row| (row * row % 137).to_string()).collect();
        let patients: Vec<&str> = patients.iter().map(String::as_str).collect();
        let splits = cut.splits_of(&patients);
        for split in Split::ALL {
            let own: HashMap<&str, Split> = patients.iter().copied().zip(splits.clone()).collect();
            let together = patients.iter().zip(&splits).all(|(p, s)| own[p] == *s);
            assert!(together);
            let rows = splits.iter().filter(|&&s| s == split).count();
            let share = [700, 200, 100][Split::ALL.iter().position(|&s| s == split).unwrap()];
            assert!((share - 60..share + 60).contains(&rows), "{split}: {rows}");
        }
    }
}
