//! A task's files to examples.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::lines::{decode, lines, Line};
use super::sources::{sources, Source};
use crate::config::yaml::list;
use crate::error::io_error;
use crate::task::layout::{Column, Format, Ids, Layout, ShortRows};
use crate::task::{Labels, Split, Task};
use crate::{bail_input, input_error};

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
    pub files: Vec<PathBuf>,
}

/// Reads a split from the files that the task's YAML names.
pub fn read_split(task: &Task, data_dir: &Path, split: Split) -> Result<Rows> {
    let mut rows = Rows::default();
    for source in sources(task, data_dir, split)? {
        let bytes = read_file(&source.path)?;
        let layout = task.layout_of(source.file);
        let from = rows.examples.len();
        let reader = Reader::new(task, &layout, source.file.labelled, &source.path);
        let ids = IdFilter::read(&source)?;
        reader.read(&bytes, ids.as_ref(), &mut rows)?;
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
        rows.parts.push(Part {
            name: source.file.part.clone(),
            rows: from..rows.examples.len(),
        });
    }
    Ok(rows)
}

/// Reads tab-separated texts to predict on: columns by the names that the task's test, dev or train
/// files give them where the first line has these, else the first one or two columns. Labels are
/// read where the header names their column.
pub fn read_input(task: &Task, bytes: &[u8], source: &str) -> Result<Rows> {
    let path = Path::new(source);
    let text = decode(bytes, None, path)?;
    let first = text.lines().next().unwrap_or("");
    let header: Vec<&str> = first.split('\t').collect();
    let named = |column: &Column| matches!(column, Column::Name(n) if header.contains(&n.as_str()));
    let files = [Split::Test, Split::Dev, Split::Train]
        .into_iter()
        .filter_map(|s| task.files_of(s));
    let layouts = files.flatten().map(|file| task.layout_of(file));
    let known = layouts
        .into_iter()
        .find(|l| l.text.is_some() && l.text_columns().iter().all(named));
    let layout = match known {
        Some(layout) => Layout {
            format: Some(Format::Tsv),
            header: Some(true),
            label: layout.label.filter(|c| named(c)),
            index: layout.index.filter(|c| named(c)),
            ..layout
        },
        None => Layout {
            header: Some(false),
            text: Some(match task.inputs() {
                1 => crate::task::layout::TextColumns::One(Column::Number(1)),
                _ => crate::task::layout::TextColumns::Two([Column::Number(1), Column::Number(2)]),
            }),
            ..Layout::default()
        },
    };
    let mut rows = Rows::default();
    let labelled = layout.label.is_some();
    Reader::new(task, &layout, labelled, path).read_text(&text, None, &mut rows)?;
    if rows.examples.is_empty() {
        bail_input!("{source}: no rows");
    }
    rows.parts.push(Part {
        name: None,
        rows: 0..rows.examples.len(),
    });
    Ok(rows)
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| io_error(path, e))
}

/// The ids of which a file's rows are kept or dropped.
struct IdFilter<'a> {
    ids: HashSet<Vec<String>>,
    keep: bool,
    columns: &'a [Column],
}

impl<'a> IdFilter<'a> {
    fn read(source: &'a Source) -> Result<Option<IdFilter<'a>>> {
        let (Some(Ids { columns, .. }), Some(path)) = (
            source
                .file
                .keep_ids
                .as_ref()
                .or(source.file.drop_ids.as_ref()),
            &source.ids,
        ) else {
            return Ok(None);
        };
        let bytes = read_file(path)?;
        let text = decode(&bytes, None, path)?;
        let ids = lines(&text, Format::Tsv, &[], path)
            .map(|line| Ok(line?.fields.into_iter().map(Cow::into_owned).collect()))
            .collect::<Result<_>>()?;
        Ok(Some(IdFilter {
            ids,
            keep: source.file.keep_ids.is_some(),
            columns,
        }))
    }
}

/// Reads the rows of one file.
struct Reader<'a> {
    task: &'a Task,
    layout: &'a Layout,
    labelled: bool,
    path: &'a Path,
    format: Format,
}

impl<'a> Reader<'a> {
    fn new(task: &'a Task, layout: &'a Layout, labelled: bool, path: &'a Path) -> Reader<'a> {
        Reader {
            task,
            layout,
            labelled,
            path,
            format: layout.format.unwrap_or_default(),
        }
    }

    fn read(&self, bytes: &[u8], ids: Option<&IdFilter>, rows: &mut Rows) -> Result<()> {
        let text = decode(bytes, self.layout.encoding.as_deref(), self.path)?;
        self.read_text(&text, ids, rows)
    }

    fn read_text(&self, text: &str, ids: Option<&IdFilter>, rows: &mut Rows) -> Result<()> {
        let number = Column::Number(1);
        let texts = self.layout.text_columns();
        let label = match self.format {
            Format::LabelText => Some(&number),
            _ => self.layout.label.as_ref().filter(|_| self.labelled),
        };
        let id_columns = ids.map_or(&[][..], |ids| ids.columns);
        let wanted: Vec<&Column> = texts
            .iter()
            .chain(label)
            .chain(&self.layout.index)
            .chain(id_columns)
            .collect();
        let mut found = lines(text, self.format, &wanted, self.path).peekable();
        let header = match self.format {
            Format::Tsv | Format::Csv if self.layout.header.unwrap_or(true) => {
                found.next().transpose()?
            }
            _ => None,
        };
        // Where in a row the wanted columns lie, in their order.
        let places: Vec<usize> = match self.format {
            Format::Jsonl => (0..wanted.len()).collect(),
            _ => wanted
                .iter()
                .map(|c| self.place(c, header.as_ref()))
                .collect::<Result<_>>()?,
        };
        let least = places.iter().max().map_or(0, |last| last + 1);

        rows.files.push(self.path.to_path_buf());
        let file = (rows.files.len() - 1) as u16;
        for line in found {
            let Line { number, fields } = line?;
            if fields.len() < least {
                let reason = format!("{} columns, needs {least}", fields.len());
                if self.layout.short_rows.unwrap_or_default() == ShortRows::Skip {
                    rows.skipped.push(Skipped {
                        file: self.path.into(),
                        line: number,
                        reason,
                    });
                    continue;
                }
                bail_input!(
                    "{}:{number}: {reason}; mend the row, or set `short_rows: skip` in the task's \
                     layout",
                    self.path.display()
                );
            }
            let mut values = places.iter().map(|&place| fields[place].as_ref());
            let mut next = || values.next().unwrap_or_default();
            let text_a = next().to_string();
            let text_b = (texts.len() == 2).then(|| next().to_string());
            let label = label.map(|_| next());
            let index = self.layout.index.as_ref().map(|_| next().to_string());
            if let Some(ids) = ids {
                let id: Vec<String> = values.map(str::to_string).collect();
                if ids.ids.contains(&id) != ids.keep {
                    continue;
                }
            }
            let label = label
                .filter(|_| self.labelled)
                .map(|l| self.label(l, number))
                .transpose()?;
            rows.examples.push(Example {
                text_a,
                text_b,
                label,
                index,
                file,
                line: number,
            });
        }
        Ok(())
    }

    fn place(&self, column: &Column, header: Option<&Line>) -> Result<usize> {
        let path = self.path.display();
        match (column, header) {
            (Column::Number(n), _) => Ok(n - 1),
            (Column::Name(name), None) => {
                bail_input!("{path}: no rows, not even a header with a column `{name}`")
            }
            (Column::Name(name), Some(header)) => header
                .fields
                .iter()
                .position(|field| field == name)
                .ok_or_else(|| {
                    let known: Vec<&str> = header.fields.iter().map(|f| f.as_ref()).collect();
                    input_error!(
                        "{path}:{}: no column `{name}` in the header; there are {}",
                        header.number,
                        list(&known)
                    )
                }),
        }
    }

    fn label(&self, text: &str, line: u32) -> Result<f32> {
        let place = || format!("{}:{line}", self.path.display());
        match &self.task.labels {
            Labels::Classes(names) => match names.iter().position(|name| name == text) {
                Some(class) => Ok(class as f32),
                None => {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    let (place, task) = (place(), &self.task.name);
                    bail_input!(
                        "{place}: unknown label `{text}`; {task}'s are {}",
                        list(&names)
                    )
                }
            },
            Labels::Range { min, max } => match text.trim().parse::<f64>() {
                Ok(value) if (*min..=*max).contains(&value) => Ok(value as f32),
                Ok(value) => bail_input!("{}: label {value} is not within {min} to {max}", place()),
                Err(_) => bail_input!("{}: label `{text}` is not a number", place()),
            },
        }
    }
}
