//! Rows to predict on: what an input is taken for, and its rows.
//!
//! The task's own files say how rows are written; an input in one of these layouts is read as
//! training and evaluation read it, by the same reader, its labels ignored. Else it is plain text,
//! one row a line, unless it looks like anything else: then it is refused rather than guessed at.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::fitting::Look;
use super::images::{is_image, locate, Places};
use super::lines::text;
use super::reader::{LabelUse, Reader};
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
#[derive(Debug, Clone, Default)]
pub struct InputAs {
    pub format: Option<InputFormat>,
    /// The text columns. Names are looked for in a header, with numbers there is none.
    pub text: Vec<Column>,
    /// A label of the WHATWG encoding standard.
    pub encoding: Option<String>,
    /// The data folder, where images are looked for that are not named by their paths.
    pub data: PathBuf,
}

/// An input, read.
#[derive(Debug)]
pub struct Input {
    /// Its rows, without labels, and the lines that have none.
    pub rows: Rows,
    /// What it was taken for, in a line.
    pub taken_for: String,
}

/// Reads rows to predict on; `source` names them in messages.
///
/// # Errors
/// Input errors for what cannot be read, and for what could be read in two ways.
pub fn read_input(task: &Task, bytes: &[u8], source: &str, given: &InputAs) -> Result<Input> {
    if task.has_images() && is_image(bytes) {
        bail_input!(
            "{source}: is an image; give a file with an image's path on each line, or \
             `echo {source} | covalign predict RUN --task {} -`",
            task.name
        );
    }
    let reading = Reading {
        task,
        bytes,
        path: Path::new(source),
        given,
    };
    let chosen = reading.choose()?;
    let mut rows = Rows::default();
    let reader = Reader {
        task,
        layout: &chosen.layout,
        labels: LabelUse::Ignored,
        plain: chosen.plain,
        group: None,
        path: reading.path,
    };
    reader.read(&chosen.text, None, &mut rows)?;
    if rows.examples.is_empty() {
        bail_input!("{source}: no rows, read as {}", chosen.taken_for);
    }
    if task.has_images() {
        let places = Places::of(task, &chosen.layout, &given.data)?.or_paths();
        locate(&mut rows.examples, &rows.files, &places)?;
    }
    rows.parts.push(Part {
        name: None,
        rows: 0..rows.examples.len(),
    });
    Ok(Input {
        rows,
        taken_for: chosen.taken_for,
    })
}

/// An input that is to be read.
struct Reading<'a> {
    task: &'a Task,
    bytes: &'a [u8],
    path: &'a Path,
    given: &'a InputAs,
}

/// How it is read.
struct Chosen<'a> {
    layout: Layout,
    text: Cow<'a, str>,
    plain: bool,
    taken_for: String,
}

impl<'a> Reading<'a> {
    fn choose(&self) -> Result<Chosen<'a>> {
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
            if let Some(layout) = look.fitting(layout, &text)? {
                return Ok(self.own(*split, layout, text));
            }
        }
        match (wanted, own.into_iter().next()) {
            // Reading says what is wrong.
            (Some(_), Some((split, layout))) => {
                let text = self.decode(&layout)?;
                Ok(self.own(split, layout, text))
            }
            _ => {
                let plain = self.plain()?;
                look.check_plain(&plain.text)?;
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
        let encoding = self.given.encoding.as_ref().or(layout.encoding.as_ref());
        let layout = Layout {
            encoding: encoding.cloned(),
            ..layout.clone()
        };
        text(self.bytes, self.task, &layout, self.path)
    }

    /// In the layout of the task's files.
    fn own(&self, split: Split, layout: Layout, text: Cow<'a, str>) -> Chosen<'a> {
        let (described, task) = (self.described(&layout), &self.task.name);
        Chosen {
            layout,
            text,
            plain: false,
            taken_for: format!("{described}, as in {task}'s {split} file"),
        }
    }

    /// In the columns that were named.
    fn as_said(&self) -> Result<Chosen<'a>> {
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
            text: self.decode(&layout)?,
            taken_for: self.described(&layout),
            layout,
            plain: false,
        })
    }

    /// A text a line, or two. In UTF-8, as terminals write, where it can be, else in the encoding of
    /// the task's files.
    fn plain(&self) -> Result<Chosen<'a>> {
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
        let text = match self.decode(&layout) {
            Ok(text) => text,
            Err(e) => {
                let own = self.task.layouts();
                layout.encoding = own.into_iter().find_map(|(_, layout)| layout.encoding);
                match layout.encoding {
                    Some(_) => self.decode(&layout)?,
                    None => return Err(e),
                }
            }
        };
        let texts = match self.task.inputs() {
            1 if self.task.has_images() => "one image's file a line",
            1 => "one text a line",
            _ => "two texts a line with a tab between",
        };
        Ok(Chosen {
            taken_for: format!("plain text, {texts}, no header, {}", self.encoding(&layout)),
            layout,
            text,
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
