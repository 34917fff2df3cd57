//! Whether an input to predict on looks like the task's files, or like plain text.

use std::borrow::Cow;
use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value};

use super::lines::{lines, numbered, Line};
use super::reader::{is_no_label, label};
use crate::bail_input;
use crate::config::yaml::list;
use crate::task::layout::{Column, Format, Layout, ShortRows};
use crate::task::Task;

/// A look at an input.
pub(super) struct Look<'a> {
    pub task: &'a Task,
    pub path: &'a Path,
    /// Whether it was said what the input is: then nothing is too unsure.
    pub said: bool,
}

impl Look<'_> {
    /// A layout of the task's in which a text is written, where it is: without the index where the
    /// text has none.
    ///
    /// # Errors
    /// Input errors where one cannot know.
    pub(super) fn fitting(&self, layout: &Layout, text: &str) -> Result<Option<Layout>> {
        let (fits, columns) = match layout.format.unwrap_or_default() {
            Format::Jsonl | Format::Parquet => match object(text) {
                Some(row) => (true, row.keys().cloned().collect()),
                None => (false, Vec::new()),
            },
            Format::LabelText => (self.begins_with_labels(layout, text)?, Vec::new()),
            Format::Tsv | Format::Csv => self.fits_table(layout, text)?,
        };
        let has = |column: &Column| match column {
            Column::Name(name) => columns.contains(name),
            Column::Number(_) => true,
        };
        Ok(fits.then(|| Layout {
            index: layout.index.clone().filter(has),
            ..layout.clone()
        }))
    }

    /// Whether every line begins with a label, or with what stands for none.
    fn begins_with_labels(&self, written: &Layout, text: &str) -> Result<bool> {
        let mut first = [None, None];
        for line in lines(text, written, &[], (self.path, 1)) {
            let Line { number, fields } = line?;
            if let Some(label) = fields.first() {
                first[usize::from(self.is_label(written, &[label]))].get_or_insert(number);
            }
        }
        match first {
            [Some(_), Some(_)] if self.said => Ok(true),
            [Some(other), Some(label)] => bail_input!(
                "{}:{label}: begins with a label, line {other} does not; say --input-format \
                 label_text or text",
                self.path.display()
            ),
            [other, label] => Ok(other.is_none() && label.is_some()),
        }
    }

    fn is_label(&self, layout: &Layout, said: &[&str]) -> bool {
        let labels = &self.task.labels;
        label(labels, layout, said).is_ok() || is_no_label(labels, layout, said)
    }

    /// Whether a text is a table with a layout's columns; and its first row.
    fn fits_table(&self, layout: &Layout, text: &str) -> Result<(bool, Vec<String>)> {
        let format = layout.format.unwrap_or_default();
        let filled = |row: &Result<Line>| !matches!(row, Ok(row) if row.fields.is_empty());
        let mut rows = lines(text, layout, &[], (self.path, 1)).filter(filled);
        let Some(Ok(first)) = rows.next() else {
            return Ok((false, Vec::new()));
        };
        let texts = layout.input_columns();
        let has = |column: &Column| match column {
            Column::Name(name) => first.fields.iter().any(|field| field == name),
            Column::Number(n) => *n <= first.fields.len(),
        };
        let number = |column: &Column| match column {
            Column::Name(_) => None,
            Column::Number(n) => Some(*n),
        };
        let mut fits = texts.iter().all(has);
        if fits && layout.has_header() {
            // With numbers alone, only more columns than texts tell a table from plain text.
            let by_number = texts.iter().all(|column| number(column).is_some());
            let labelled = layout.label_columns().iter().any(has);
            if by_number && !labelled && !self.said {
                bail_input!(
                    "{}:{}: is a header of {}'s or a text; say --input-format {} or text",
                    self.path.display(),
                    first.number,
                    self.task.name,
                    if format == Format::Csv { "csv" } else { "tsv" }
                );
            }
        } else if fits {
            let places: Vec<usize> = layout.label_columns().iter().filter_map(number).collect();
            fits = match places.is_empty() {
                // Where a text has in it what separates columns, no label stands in its place.
                false => {
                    let labelled = |row: &Line| {
                        let said = places.iter().map(|n| row.fields.get(n - 1));
                        let said: Option<Vec<&str>> = said.map(|f| Some(f?.as_ref())).collect();
                        said.is_some_and(|said| self.is_label(layout, &said))
                    };
                    // What reading leaves out tells nothing.
                    let wanted = places
                        .iter()
                        .copied()
                        .chain(texts.iter().filter_map(number));
                    let wanted = match layout.short_rows {
                        Some(ShortRows::Skip) => wanted.max().unwrap_or(0),
                        _ => 0,
                    };
                    let fits = |row: Line| row.fields.len() < wanted || labelled(&row);
                    labelled(&first) && rows.all(|row| row.is_ok_and(fits))
                }
                true => texts.iter().filter_map(number).max() > Some(texts.len()),
            };
        }
        let first = first.fields.into_iter().map(Cow::into_owned).collect();
        Ok((fits, first))
    }

    /// Plain text is what looks like nothing else.
    pub(super) fn check_plain(&self, text: &str) -> Result<()> {
        let first = numbered(text, 1).find(|(_, line)| !line.trim().is_empty());
        let Some((number, first)) = first else {
            return Ok(());
        };
        let place = format!("{}:{number}", self.path.display());
        let name = &self.task.name;
        let advice =
            "say --input-format text for plain text, else --input-format and --text COLUMN";
        if let Some(row) = object(text) {
            let keys: Vec<&str> = row.keys().map(String::as_str).collect();
            bail_input!(
                "{place}: a JSON object with the keys {}, but {name}'s files have other columns; \
                 {advice}",
                list(&keys)
            );
        }
        let own = self.task.layouts();
        let columns = own.iter().flat_map(|(_, layout)| {
            let mut all = layout.input_columns();
            all.extend(
                layout
                    .label_columns()
                    .into_iter()
                    .chain(layout.index.clone()),
            );
            all
        });
        let names: Vec<String> = columns
            .filter_map(|column| match column {
                Column::Name(name) => Some(name.to_lowercase()),
                Column::Number(_) => None,
            })
            .collect();
        let is_name = |field: &str| {
            let plain = field.trim().trim_matches(['"', '\'']).to_lowercase();
            names.contains(&plain)
        };
        if ['\t', ',', ';']
            .iter()
            .any(|&c| first.split(c).any(is_name))
        {
            bail_input!(
                "{place}: looks like a header, but not like one of {name}'s files; {advice}"
            );
        }
        let extension = self
            .path
            .extension()
            .unwrap_or_default()
            .to_ascii_lowercase();
        if ["csv", "json", "jsonl", "ndjson"]
            .iter()
            .any(|e| extension == *e)
        {
            bail_input!("{place}: not in the layout of {name}'s files; {advice}");
        }
        Ok(())
    }
}

/// The JSON object that a text's first line with anything in it is.
fn object(text: &str) -> Option<Map<String, Value>> {
    let mut lines = text.lines();
    let first = lines.find(|line| !line.trim().is_empty())?;
    serde_json::from_str(first).ok()
}
