//! The one reader of rows: what trains, what is scored and what is predicted on goes through it.

use std::borrow::Cow;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::ids::IdFilter;
use super::lines::{line_ends, lines, Line, Wanted};
use super::rows::{Example, Rows, Skipped};
use crate::config::yaml::list;
use crate::task::layout::{Column, Layout, LongRows, ShortRows};
use crate::task::{AnyOf, Classes, Label, Labels, Task};
use crate::{bail_input, input_error};

/// What becomes of a row's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LabelUse {
    Required,
    /// −1, nothing, or a column that is not there: the row has none.
    Optional,
    Ignored,
}

/// Reads the rows of one file.
pub(super) struct Reader<'a> {
    pub task: &'a Task,
    pub layout: &'a Layout,
    pub labels: LabelUse,
    /// Whether each line is the task's one text, or its two with a tab between, and nothing else.
    pub plain: bool,
    /// The column whose values say which rows stay together, where one does.
    pub group: Option<&'a Column>,
    pub path: &'a Path,
}

/// The columns that a row must have: up to the last one that is read, and no more than the header
/// or, without one, the first row.
struct Width {
    least: usize,
    most: usize,
    /// In a file without a header: what the first row has, empty columns at its end left out.
    fewest: usize,
}

/// What is known of a file of which a part has been read.
pub(super) struct Begun {
    /// Its number among the rows' files.
    file: u16,
    /// The line at which the next part begins.
    pub line: u32,
    header: Option<Line<'static>>,
    has_header: bool,
    places: Vec<Option<usize>>,
    width: Option<Width>,
    /// Rows with an id of the list.
    listed: usize,
}

impl Begun {
    /// Before anything is read.
    pub fn new(layout: &Layout) -> Begun {
        Begun {
            file: 0,
            line: 1,
            header: None,
            has_header: layout.has_header(),
            places: Vec::new(),
            width: None,
            listed: 0,
        }
    }
}

impl Reader<'_> {
    /// Adds the rows of `text` to `rows`, and its path to their files.
    pub(super) fn read(&self, text: &str, ids: Option<&IdFilter>, rows: &mut Rows) -> Result<()> {
        let mut begun = Begun::new(self.layout);
        begun.file = rows.files.len() as u16;
        rows.files.push(self.path.to_path_buf());
        self.read_on(&mut begun, text, ids, rows)?;
        self.end(&begun, ids)
    }

    /// Adds the rows of a file's next part, which ends with a row's end.
    pub(super) fn read_on(
        &self,
        begun: &mut Begun,
        text: &str,
        ids: Option<&IdFilter>,
        rows: &mut Rows,
    ) -> Result<()> {
        let texts = self.layout.input_columns();
        let labels = self.layout.label_columns();
        let id_columns = ids.map_or(&[][..], |ids| ids.columns);
        let wanted = self.wanted(&texts, &labels, id_columns);
        let first_label = wanted.len() - labels.len();
        let mut layout = self.layout.clone();
        if self.plain {
            layout.delimiter = None;
        }
        for line in lines(text, &layout, &wanted, (self.path, begun.line)) {
            let line = line?;
            if line.fields.is_empty() {
                rows.blank.push(line.number);
                continue;
            }
            if std::mem::take(&mut begun.has_header) {
                begun.header = Some(line.into_owned());
                continue;
            }
            if begun.places.is_empty() {
                begun.places = self.places(&wanted, begun.header.as_ref())?;
            }
            let Line { number, fields } = line;
            let (header, places) = (begun.header.as_ref(), &begun.places);
            let width = begun.width.get_or_insert_with(|| {
                let last = |(place, wanted): (&Option<usize>, &Wanted)| {
                    place.filter(|_| wanted.required).map(|place| place + 1)
                };
                let least = places.iter().zip(&wanted).filter_map(last).max();
                self.width(&fields, header, least.unwrap_or(0))
            });
            if let Some(reason) = self.misfit(&fields, width, header.is_some(), number)? {
                rows.skipped.push(Skipped {
                    file: self.path.into(),
                    line: number,
                    reason,
                });
                continue;
            }
            let mut values = places.iter().map(|place| {
                let field = place.and_then(|place| fields.get(place));
                field.map_or("", Cow::as_ref)
            });
            let mut next = || values.next().unwrap_or_default();
            let text_a = next().to_string();
            let text_b = (texts.len() == 2).then(|| next().to_string());
            let index = self.layout.index.as_ref().map(|_| next().to_string());
            if let Some(ids) = ids {
                let id: Vec<String> = id_columns.iter().map(|_| next().to_string()).collect();
                let is_listed = ids.ids.contains(&id);
                begun.listed += usize::from(is_listed);
                if is_listed != ids.keep {
                    continue;
                }
            }
            let group = self.group.map(|_| next().to_string());
            let said: Vec<&str> = labels.iter().map(|_| next()).collect();
            let skips = said.first().is_some_and(|label| self.layout.skips(label));
            if skips && self.labels != LabelUse::Ignored {
                rows.skipped.push(Skipped {
                    file: self.path.into(),
                    line: number,
                    reason: format!("label `{}`", said[0]),
                });
                continue;
            }
            let label = match places[first_label..].iter().all(Option::is_none) {
                true => None,
                false => self.label(&said, number, rows)?,
            };
            rows.examples.push(Example {
                text_a,
                text_b,
                label,
                group,
                index,
                file: begun.file,
                line: number,
            });
        }
        begun.line += line_ends(text.as_bytes()) as u32;
        Ok(())
    }

    /// What can be said of a file only at its end.
    pub(super) fn end(&self, begun: &Begun, ids: Option<&IdFilter>) -> Result<()> {
        // A file without rows may still have the wrong header.
        if begun.places.is_empty() && begun.header.is_some() {
            let (texts, labels) = (self.layout.input_columns(), self.layout.label_columns());
            let id_columns = ids.map_or(&[][..], |ids| ids.columns);
            let wanted = self.wanted(&texts, &labels, id_columns);
            self.places(&wanted, begun.header.as_ref())?;
        }
        if let Some(ids) = ids.filter(|ids| begun.listed == 0 && !ids.ids.is_empty()) {
            bail_input!(
                "{}: no row has an id of the list {}; look at its `columns`",
                self.path.display(),
                ids.path.display()
            );
        }
        Ok(())
    }

    /// The columns that are read: texts, index, ids, group, and the labels last.
    fn wanted<'c>(
        &'c self,
        texts: &'c [Column],
        labels: &'c [Column],
        ids: &'c [Column],
    ) -> Vec<Wanted<'c>> {
        let required = |column| Wanted {
            column,
            required: true,
            list: false,
        };
        let any_of = matches!(self.task.labels, Labels::AnyOf(_));
        let label = |column| Wanted {
            column,
            required: self.labels == LabelUse::Required,
            list: any_of && !self.layout.has_label_columns(),
        };
        let read = texts
            .iter()
            .chain(&self.layout.index)
            .chain(ids)
            .chain(self.group);
        read.map(required).chain(labels.iter().map(label)).collect()
    }

    /// Where in a row the wanted columns lie, in their order.
    fn places(&self, wanted: &[Wanted], header: Option<&Line>) -> Result<Vec<Option<usize>>> {
        match self.layout.format.unwrap_or_default() {
            format if format.has_keys() => Ok((0..wanted.len()).map(Some).collect()),
            _ => wanted.iter().map(|w| self.place(w, header)).collect(),
        }
    }

    fn place(&self, wanted: &Wanted, header: Option<&Line>) -> Result<Option<usize>> {
        let path = self.path.display();
        let (name, header) = match (wanted.column, header) {
            (Column::Number(n), _) => return Ok(Some(n - 1)),
            (Column::Name(name), Some(header)) => (name, header),
            (Column::Name(name), None) => {
                bail_input!("{path}: no rows, not even a header with a column `{name}`")
            }
        };
        let number = header.number;
        let mut found = (0..)
            .zip(&header.fields)
            .filter(|(_, field)| *field == name);
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => {
                bail_input!("{path}:{number}: the header has the column `{name}` more than once")
            }
            (Some((place, _)), None) => Ok(Some(place)),
            (None, _) if !wanted.required => Ok(None),
            (None, _) => {
                let known: Vec<&str> = header.fields.iter().map(|f| f.as_ref()).collect();
                Err(input_error!(
                    "{path}:{number}: no column `{name}` in the header; there are {}",
                    list(&known)
                ))
            }
        }
    }

    fn width(&self, first: &[Cow<str>], header: Option<&Line>, least: usize) -> Width {
        let (most, fewest) = match header {
            _ if self.plain => (least, least),
            Some(header) => (header.fields.len(), least),
            None => (first.len(), used(first)),
        };
        Width {
            least,
            most: most.max(least),
            fewest,
        }
    }

    /// Why a row is left out, where it is: its columns are too few, or so many that what is read
    /// may be in others.
    ///
    /// # Errors
    /// Input errors where the layout leaves none out.
    fn misfit(
        &self,
        fields: &[Cow<str>],
        width: &Width,
        header: bool,
        number: u32,
    ) -> Result<Option<String>> {
        let (has, place) = (fields.len(), || format!("{}:{number}", self.path.display()));
        if has < width.least {
            let reason = format!("{has} columns, needs {}", width.least);
            if self.plain {
                bail_input!("{}: one text; a pair is two, with a tab between", place());
            }
            if self.layout.short_rows == Some(ShortRows::Skip) {
                return Ok(Some(reason));
            }
            bail_input!(
                "{}: {reason}; mend the row, or set `short_rows: skip` in the task's layout",
                place()
            );
        }
        // Nothing is lost with empty columns at the end.
        let surplus = used(fields) > width.most;
        let long_rows = self.layout.long_rows.unwrap_or_default();
        if long_rows == LongRows::Keep || !surplus && has >= width.fewest {
            return Ok(None);
        }
        if self.plain {
            let texts = match width.least {
                1 => "one text",
                _ => "two texts",
            };
            bail_input!(
                "{}: a tab too many for plain text, {} has {texts}; for a table say where its text \
                 is, as --input-format tsv --text COLUMN",
                place(),
                self.task.name
            );
        }
        let reason = match header {
            true => format!("{has} columns, the header has {}", width.most),
            false => format!("{has} columns, the first row has {}", width.most),
        };
        if surplus && long_rows == LongRows::Skip {
            return Ok(Some(reason));
        }
        bail_input!(
            "{}: {reason}; mend the row (what separates columns may be in a text), or set \
             `long_rows: skip` or `keep` in the task's layout",
            place()
        )
    }

    fn label(&self, said: &[&str], line: u32, rows: &mut Rows) -> Result<Option<Label>> {
        let known = label(&self.task.labels, self.layout, said);
        let nothing = is_no_label(&self.task.labels, self.layout, said);
        match (self.labels, known) {
            (LabelUse::Ignored, known) => {
                if known.is_err() && !nothing {
                    rows.odd_labels.push(line);
                }
                Ok(None)
            }
            (_, Ok(label)) => Ok(Some(label)),
            (LabelUse::Optional, Err(_)) if nothing => Ok(None),
            (_, Err(fault)) => {
                let names = self.task.labels.names().iter();
                let names: Vec<&str> = names.map(String::as_str).collect();
                let known = match (&self.task.labels, fault.starts_with("unknown")) {
                    (
                        Labels::Classes(Classes {
                            said: Some(said), ..
                        }),
                        true,
                    ) => {
                        let said: Vec<&str> = said.iter().map(String::as_str).collect();
                        format!("; {}'s files have {}", self.task.name, list(&said))
                    }
                    (_, true) => format!("; {}'s are {}", self.task.name, list(&names)),
                    _ => String::new(),
                };
                bail_input!("{}:{line}: {fault}{known}", self.path.display())
            }
        }
    }
}

/// What the fields in the label's columns say.
///
/// # Errors
/// What is wrong with them.
pub(super) fn label(labels: &Labels, layout: &Layout, said: &[&str]) -> Result<Label, String> {
    let text = said.first().copied().unwrap_or_default();
    match labels {
        Labels::Classes(_) if layout.label_prefix.is_some() && text.contains(' ') => Err(format!(
            "several labels (`{text}`); `labels: {{any_of: […]}}` takes them"
        )),
        Labels::Classes(classes) => {
            let class = classes.find(text, layout.normalize_labels == Some(true));
            let class = class.ok_or_else(|| format!("unknown label `{text}`"))?;
            Ok(Label::Number(class as f32))
        }
        Labels::Range { min, max } => match text.trim().parse::<f64>() {
            Ok(value) if (*min..=*max).contains(&value) => Ok(Label::Number(value as f32)),
            Ok(value) => Err(format!("label {value} is not within {min} to {max}")),
            Err(_) => Err(format!("label `{text}` is not a number")),
        },
        Labels::AnyOf(any) if layout.has_label_columns() => any.marked(said.iter().copied()),
        Labels::AnyOf(any) if layout.has_keys() => json_list(any, text),
        Labels::AnyOf(any) if layout.label_prefix.is_some() => any.set(text.split_whitespace()),
        Labels::AnyOf(any) => any.listed(text),
    }
}

/// The set that a JSON line's value says: a list of labels, or a text that lists them.
fn json_list(any: &AnyOf, json: &str) -> Result<Label, String> {
    let name = |value: &Value| match value {
        Value::String(name) => Ok(name.clone()),
        Value::Number(name) => Ok(name.to_string()),
        value => Err(format!("unknown label `{value}`")),
    };
    match serde_json::from_str(json) {
        Ok(Value::Array(names)) => {
            let names: Vec<String> = names.iter().map(name).collect::<Result<_, _>>()?;
            any.set(names.iter().map(String::as_str))
        }
        Ok(Value::String(list)) => any.listed(&list),
        _ => Err(format!("unknown label `{json}`")),
    }
}

/// Whether the label's columns hold what test files have in its place.
pub(super) fn is_no_label(labels: &Labels, layout: &Layout, said: &[&str]) -> bool {
    let empty = match labels {
        // There, an empty list is one.
        Labels::AnyOf(any) => layout.has_label_columns() || any.none.is_some() || layout.has_keys(),
        _ => true,
    };
    let mut said = said.iter().map(|text| text.trim());
    said.all(|text| matches!(text, "-1" | "-1.0") || empty && text.is_empty())
}

/// The columns of a row, empty ones at its end left out.
fn used(fields: &[Cow<str>]) -> usize {
    let last = fields.iter().rposition(|field| !field.is_empty());
    last.map_or(0, |last| last + 1)
}
