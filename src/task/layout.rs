//! Where a task's rows lie: files per split, and what their columns hold.

use std::borrow::Cow;

use super::label::normalized;
use schemars::{json_schema, JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

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

/// A folder, or several that together hold a task's images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ImageFolders {
    One(String),
    Many(Vec<String>),
}

impl ImageFolders {
    pub fn names(&self) -> &[String] {
        match self {
            ImageFolders::One(name) => std::slice::from_ref(name),
            ImageFolders::Many(names) => names,
        }
    }
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
    /// Parquet, as Hugging Face's `datasets` writes it; columns go by their names.
    Parquet,
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
    /// How columns are told apart; `tsv` unless said otherwise, and `parquet` of a file that is called so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Whether the first line names the columns; yes unless said otherwise.
    pub header: Option<bool>,
    /// The column with the text, or two columns for pairs of texts; by name, or by number from 1.
    pub text: Option<TextColumns>,
    /// The column with the name of an image's file, in the place of `text`.
    pub image: Option<Column>,
    /// The folders where images lie, in the task's folder; that one unless said otherwise.
    pub images: Option<ImageFolders>,
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
    /// What stands between columns, where that is not a comma in CSV or a tab in TSV.
    pub delimiter: Option<char>,
    /// Labels whose rows are left out and counted, as SNLI's `-`; as the files have them.
    pub skip_labels: Option<Vec<String>>,
    /// Whether labels are looked up without regard to case and to blanks around them.
    pub normalize_labels: Option<bool>,
    /// What labels begin with in `LABEL TEXT` lines, as fastText's `__label__`; a line may then have
    /// several before its text.
    pub label_prefix: Option<String>,
}

impl Format {
    /// The name for people.
    pub fn title(self) -> &'static str {
        match self {
            Format::Tsv => "tab-separated",
            Format::Csv => "CSV",
            Format::Jsonl => "JSON lines",
            Format::LabelText => "LABEL TEXT",
            Format::Parquet => "Parquet",
        }
    }

    /// Whether every row names its columns.
    pub fn has_keys(self) -> bool {
        matches!(self, Format::Jsonl | Format::Parquet)
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
            image: self.image.clone().or_else(|| outer.image.clone()),
            images: self.images.clone().or_else(|| outer.images.clone()),
            label: self.label.clone().or_else(|| outer.label.clone()),
            index: self.index.clone().or_else(|| outer.index.clone()),
            encoding: self.encoding.clone().or_else(|| outer.encoding.clone()),
            short_rows: self.short_rows.or(outer.short_rows),
            long_rows: self.long_rows.or(outer.long_rows),
            delimiter: self.delimiter.or(outer.delimiter),
            skip_labels: self
                .skip_labels
                .clone()
                .or_else(|| outer.skip_labels.clone()),
            normalize_labels: self.normalize_labels.or(outer.normalize_labels),
            label_prefix: self
                .label_prefix
                .clone()
                .or_else(|| outer.label_prefix.clone()),
        }
    }

    /// Whether a label's text is one whose rows are left out.
    pub fn skips(&self, label: &str) -> bool {
        let normalize = self.normalize_labels == Some(true);
        let mut skipped = self.skip_labels.iter().flatten();
        skipped.any(|skip| match normalize {
            true => normalized(skip) == normalized(label),
            false => skip == label,
        })
    }

    /// The columns with the texts or the image; `LABEL TEXT` lines have theirs, whatever other files'
    /// are.
    pub fn input_columns(&self) -> Vec<Column> {
        match (&self.text, &self.image) {
            _ if self.format == Some(Format::LabelText) => vec![Column::Number(2)],
            (Some(TextColumns::One(a)), _) => vec![a.clone()],
            (Some(TextColumns::Two([a, b])), _) => vec![a.clone(), b.clone()],
            (None, Some(image)) => vec![image.clone()],
            (None, None) => Vec::new(),
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

    /// See [`Format::has_keys`].
    pub fn has_keys(&self) -> bool {
        self.format.is_some_and(Format::has_keys)
    }

    /// Whether the first row names the columns.
    pub fn has_header(&self) -> bool {
        match self.format.unwrap_or_default() {
            Format::Tsv | Format::Csv => self.header.unwrap_or(true),
            Format::Jsonl | Format::Parquet | Format::LabelText => false,
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
    /// The file's path in the task's folder, or in the data folder; one `*` in its name stands for
    /// anything, as in `train-*.parquet`.
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
