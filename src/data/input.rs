//! Rows to predict on: what an input is taken for, and its rows.
//!
//! The task's own files say how rows are written; an input in one of these layouts is read as
//! training and evaluation read it, by the same reader, its labels ignored. Else it is plain text,
//! one row a line, unless it looks like anything else: then it is refused rather than guessed at.

use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Result;
use encoding_rs::{Encoding, ISO_2022_JP, UTF_16BE, UTF_16LE};

use super::blocks::Blocks;
use super::csv::Csv;
use super::fitting::Look;
use super::images::{is_image, locate, Places};
use super::lines::{line_ends, text, unreadable};
use super::parquet::MAGIC;
use super::reader::{Begun, LabelUse, Reader};
use super::rows::{Part, Rows};
use crate::bail_input;
use crate::task::layout::{Column, Format, Layout, TextColumns};
use crate::task::{Split, Task};

/// How an input is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum InputFormat {
    /// Tab-separated columns
    Tsv,
    /// Comma-separated columns
    Csv,
    /// A JSON object a line
    Jsonl,
    /// Parquet, as Hugging Face's datasets are kept
    Parquet,
    /// A label, a space and the text
    LabelText,
    /// A text a line; of a pair task two, with a tab between
    Text,
}

impl InputFormat {
    fn table(self) -> Option<Format> {
        match self {
            InputFormat::Tsv => Some(Format::Tsv),
            InputFormat::Csv => Some(Format::Csv),
            InputFormat::Jsonl => Some(Format::Jsonl),
            InputFormat::Parquet => Some(Format::Parquet),
            InputFormat::LabelText => Some(Format::LabelText),
            InputFormat::Text => None,
        }
    }
}

/// What is said about an input; the rest follows from the task and the input itself.
#[derive(Debug, Clone)]
pub struct InputAs {
    pub format: Option<InputFormat>,
    /// The text columns. Names are looked for in a header, with numbers there is none.
    pub text: Vec<Column>,
    /// A label of the WHATWG encoding standard.
    pub encoding: Option<String>,
    /// The data folder, where images are looked for that are not named by their paths.
    pub data: PathBuf,
    /// Bytes that are read at a time; the first so many decide what the input is taken for.
    pub block: usize,
}

impl Default for InputAs {
    fn default() -> Self {
        InputAs {
            format: None,
            text: Vec::new(),
            encoding: None,
            data: PathBuf::new(),
            block: 1 << 20,
        }
    }
}

/// An input that is read part by part.
pub struct Input<'a> {
    task: &'a Task,
    given: &'a InputAs,
    path: PathBuf,
    layout: Layout,
    plain: bool,
    /// What it was taken for, in a line.
    pub taken_for: String,
    blocks: Blocks,
    /// Read, and its rows not given out yet.
    text: String,
    /// Whether nothing comes behind `text`.
    last: bool,
    begun: Begun,
    /// Whether it has had a row.
    filled: bool,
    /// Bytes that were read.
    pub bytes: u64,
}

impl<'a> Input<'a> {
    /// Looks at the first part of a stream of rows to predict on; `source` names them in messages.
    ///
    /// # Errors
    /// Input errors for what cannot be read, and for what could be read in two ways.
    pub fn open(
        task: &'a Task,
        stream: Box<dyn Read>,
        source: &str,
        given: &'a InputAs,
    ) -> Result<Input<'a>> {
        let path = PathBuf::from(source);
        let failed = |e| unreadable(&path, e);
        let mut blocks = Blocks::new(stream);
        let mut bytes = blocks
            .take(given.block)
            .map_err(failed)?
            .unwrap_or_default();
        if cannot_be_cut(task, given, &bytes) {
            bytes.extend(blocks.take(usize::MAX).map_err(failed)?.unwrap_or_default());
        }
        if task.has_images() && is_image(&bytes) {
            bail_input!(
                "{source}: is an image; give a file with an image's path on each line, or \
                 `echo {source} | covalign predict RUN --task {} -`",
                task.name
            );
        }
        let last = blocks.ended().map_err(failed)?;
        let reading = Reading {
            task,
            bytes: &bytes,
            last,
            path: &path,
            given,
        };
        let Chosen {
            layout,
            plain,
            taken_for,
        } = reading.choose()?;
        let text = reading.decode(&layout)?.into_owned();
        let read = bytes.len() as u64;
        Ok(Input {
            task,
            given,
            begun: Begun::new(&layout),
            path,
            layout,
            plain,
            taken_for,
            blocks,
            text,
            last,
            filled: false,
            bytes: read,
        })
    }

    /// The rows of the next part, without labels, and its lines that have none; none at the end.
    ///
    /// # Errors
    /// Input errors for a row that cannot be read, and for an input without rows.
    pub fn rows(&mut self) -> Result<Option<Rows>> {
        let mut whole = whole_rows(&self.text, &self.layout, self.last);
        while whole == 0 && !self.last {
            self.read_more()?;
            whole = whole_rows(&self.text, &self.layout, self.last);
        }
        let reader = Reader {
            task: self.task,
            layout: &self.layout,
            labels: LabelUse::Ignored,
            plain: self.plain,
            group: None,
            path: &self.path,
        };
        if self.text.is_empty() {
            reader.end(&self.begun, None)?;
            if !self.filled {
                bail_input!(
                    "{}: no rows, read as {}",
                    self.path.display(),
                    self.taken_for
                );
            }
            return Ok(None);
        }
        let rest = self.text.split_off(whole);
        let text = std::mem::replace(&mut self.text, rest);
        let mut rows = Rows {
            files: vec![self.path.clone()],
            ..Rows::default()
        };
        reader.read_on(&mut self.begun, &text, None, &mut rows)?;
        if self.task.has_images() {
            let places = Places::of(self.task, &self.layout, &self.given.data)?.or_paths();
            locate(&mut rows.examples, &rows.files, &places)?;
        }
        self.filled |= !rows.examples.is_empty();
        rows.parts.push(Part {
            name: None,
            rows: 0..rows.examples.len(),
        });
        Ok(Some(rows))
    }

    /// Whether its rows have names of their own.
    pub fn is_indexed(&self) -> bool {
        self.layout.index.is_some()
    }

    fn read_more(&mut self) -> Result<()> {
        let failed = |e| unreadable(&self.path, e);
        // A row that does not end is looked at anew each time: as much again as it has already.
        let size = self.given.block.max(self.text.len());
        if let Some(bytes) = self.blocks.take(size).map_err(failed)? {
            self.bytes += bytes.len() as u64;
            let from = self.begun.line + line_ends(self.text.as_bytes()) as u32;
            let layout = in_encoding(&self.layout, self.given);
            self.text += &text(&bytes, self.task, &layout, (&self.path, from))?;
        }
        self.last = self.blocks.ended().map_err(failed)?;
        Ok(())
    }
}

/// The layout with the encoding that was asked for.
fn in_encoding(layout: &Layout, given: &InputAs) -> Layout {
    let encoding = given.encoding.as_ref().or(layout.encoding.as_ref());
    Layout {
        encoding: encoding.cloned(),
        ..layout.clone()
    }
}

/// How much of a text is whole rows: all of it where nothing comes behind it, or where rows are lines.
fn whole_rows(text: &str, layout: &Layout, last: bool) -> usize {
    match layout.format {
        Some(Format::Csv) if !last => Csv::whole(text, layout.delimiter.unwrap_or(',')),
        _ => text.len(),
    }
}

/// Whether an input cannot be read in parts that end where a byte says that a line does.
fn cannot_be_cut(task: &Task, given: &InputAs, first: &[u8]) -> bool {
    let own = task.layouts();
    let mut labels = given.encoding.iter().chain(
        own.iter()
            .filter_map(|(_, layout)| layout.encoding.as_ref()),
    );
    let goes_on = |label: &String| {
        let encoding = Encoding::for_label(label.as_bytes());
        encoding.is_some_and(|encoding| [UTF_16LE, UTF_16BE, ISO_2022_JP].contains(&encoding))
    };
    given.format == Some(InputFormat::Parquet) || first.starts_with(MAGIC) || labels.any(goes_on)
}

/// An input that is to be read.
struct Reading<'a> {
    task: &'a Task,
    /// Its first part.
    bytes: &'a [u8],
    /// Whether that is all.
    last: bool,
    path: &'a Path,
    given: &'a InputAs,
}

/// How it is read.
struct Chosen {
    layout: Layout,
    plain: bool,
    taken_for: String,
}

impl<'a> Reading<'a> {
    fn choose(&self) -> Result<Chosen> {
        let format = self.given.format;
        if !self.given.text.is_empty() {
            return self.as_said();
        }
        if format == Some(InputFormat::Text) {
            return self.plain();
        }
        let look = Look {
            task: self.task,
            path: self.path,
            said: format.is_some(),
        };
        let wanted = format.and_then(InputFormat::table);
        let own = self.own_layouts(wanted)?;
        for (split, layout) in &own {
            let Ok(text) = self.decode(layout) else {
                continue;
            };
            // A first row that is longer than all of it is looked at as far as it goes.
            let whole = match whole_rows(&text, layout, self.last) {
                0 => text.len(),
                whole => whole,
            };
            if let Some(layout) = look.fitting(layout, &text[..whole])? {
                return Ok(self.own(*split, layout));
            }
        }
        match (wanted, own.into_iter().next()) {
            // Reading says what is wrong.
            (Some(_), Some((split, layout))) => Ok(self.own(split, layout)),
            _ => {
                let plain = self.plain()?;
                look.check_plain(&self.decode(&plain.layout)?)?;
                Ok(plain)
            }
        }
    }

    /// The layouts of the task's files: those of the format that was asked for, or where no file has
    /// it, their columns in that format.
    fn own_layouts(&self, wanted: Option<Format>) -> Result<Vec<(Split, Layout)>> {
        let mut own = self.task.layouts();
        let Some(wanted) = wanted else {
            return Ok(own);
        };
        let is_wanted = |layout: &Layout| layout.format.unwrap_or_default() == wanted;
        if own.iter().any(|(_, layout)| is_wanted(layout)) {
            own.retain(|(_, layout)| is_wanted(layout));
            return Ok(own);
        }
        own.retain(|(_, layout)| wanted == Format::LabelText || !layout.input_columns().is_empty());
        for (_, layout) in &mut own {
            layout.format = Some(wanted);
        }
        if own.is_empty() {
            bail_input!(
                "--input-format: {}'s files have no named columns; say with --text which column \
                 holds the text",
                self.task.name
            );
        }
        Ok(own)
    }

    fn decode(&self, layout: &Layout) -> Result<Cow<'a, str>> {
        let layout = in_encoding(layout, self.given);
        text(self.bytes, self.task, &layout, (self.path, 1))
    }

    /// In the layout of the task's files.
    fn own(&self, split: Split, layout: Layout) -> Chosen {
        let (described, task) = (self.described(&layout), &self.task.name);
        Chosen {
            layout,
            plain: false,
            taken_for: format!("{described}, as in {task}'s {split} file"),
        }
    }

    /// In the columns that were named.
    fn as_said(&self) -> Result<Chosen> {
        let columns = &self.given.text;
        let text = match &columns[..] {
            [a] => TextColumns::One(a.clone()),
            [a, b] => TextColumns::Two([a.clone(), b.clone()]),
            _ => bail_input!("--text: give one column, or two for a pair"),
        };
        let image = columns.first().filter(|_| self.task.has_images());
        if columns.len() != self.task.inputs() {
            bail_input!(
                "--text: {} columns; {} has {} text{}",
                columns.len(),
                self.task.name,
                self.task.inputs(),
                if self.task.inputs() == 1 { "" } else { "s" }
            );
        }
        let own = self.task.layouts();
        let own = own
            .first()
            .map(|(_, layout)| layout.clone())
            .unwrap_or_default();
        let format = match self.given.format.map(InputFormat::table) {
            Some(Some(format)) => format,
            Some(None) => bail_input!("--text: plain text has no columns; leave --text out"),
            None => own.format.unwrap_or_default(),
        };
        let named = columns.iter().all(|c| matches!(c, Column::Name(_)));
        let numbered = columns
            .iter()
            .all(|c| matches!(c, Column::Number(n) if *n > 0));
        match format {
            Format::LabelText => bail_input!("--text: LABEL TEXT lines have no other columns"),
            format if format.has_keys() && !named => {
                bail_input!(
                    "--text: in {} columns have names, not numbers",
                    format.title()
                )
            }
            _ if !named && !numbered => {
                bail_input!("--text: give names, or numbers from 1, not both")
            }
            _ => {}
        }
        let layout = Layout {
            format: Some(format),
            header: Some(named),
            image: image.cloned(),
            text: image.is_none().then_some(text),
            label: None,
            index: None,
            ..own
        };
        Ok(Chosen {
            taken_for: self.described(&layout),
            layout,
            plain: false,
        })
    }

    /// A text a line, or two. In UTF-8, as terminals write, where it can be, else in the encoding of
    /// the task's files.
    fn plain(&self) -> Result<Chosen> {
        let number = Column::Number;
        let own = self.task.layouts();
        let mut layout = Layout {
            header: Some(false),
            images: own.into_iter().find_map(|(_, layout)| layout.images),
            ..Layout::default()
        };
        match self.task.inputs() {
            1 if self.task.has_images() => layout.image = Some(number(1)),
            1 => layout.text = Some(TextColumns::One(number(1))),
            _ => layout.text = Some(TextColumns::Two([number(1), number(2)])),
        }
        if let Err(e) = self.decode(&layout) {
            let own = self.task.layouts();
            layout.encoding = own.into_iter().find_map(|(_, layout)| layout.encoding);
            if layout.encoding.is_none() {
                return Err(e);
            }
        }
        let texts = match self.task.inputs() {
            1 if self.task.has_images() => "one image's file a line",
            1 => "one text a line",
            _ => "two texts a line with a tab between",
        };
        Ok(Chosen {
            taken_for: format!("plain text, {texts}, no header, {}", self.encoding(&layout)),
            layout,
            plain: true,
        })
    }

    fn described(&self, layout: &Layout) -> String {
        let texts: Vec<String> = layout
            .input_columns()
            .iter()
            .map(Column::to_string)
            .collect();
        let format = layout.format.unwrap_or_default();
        let columns = match format {
            Format::LabelText => String::new(),
            _ if layout.image.is_some() => format!(", image in {}", texts.join(" and ")),
            _ => format!(", text in {}", texts.join(" and ")),
        };
        let header = match format {
            Format::Jsonl | Format::Parquet | Format::LabelText => "",
            _ if layout.has_header() => ", with a header",
            _ => ", no header",
        };
        let encoding = self.encoding(layout);
        format!("{}{columns}{header}, {encoding}", format.title())
    }

    fn encoding(&self, layout: &Layout) -> String {
        let encoding = self.given.encoding.as_ref().or(layout.encoding.as_ref());
        encoding.map_or("UTF-8".to_owned(), String::clone)
    }
}
