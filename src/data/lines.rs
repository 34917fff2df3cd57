//! A file's bytes to rows of fields, with their line numbers.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use anyhow::{Error, Result};
use encoding_rs::{Encoding, UTF_8};
use flate2::read::MultiGzDecoder;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::csv::Csv;
use super::parquet;
use crate::error::io_error;
use crate::task::layout::{Column, Format, Layout};
use crate::task::Task;
use crate::{bail_input, input_error};

/// A file's bytes as they come; of one that is called `.gz`, what was packed.
pub fn open(path: &Path) -> Result<Box<dyn Read>> {
    let file = File::open(path).map_err(|e| io_error(path, e))?;
    Ok(match is_packed(path) {
        true => Box::new(MultiGzDecoder::new(BufReader::new(file))),
        false => Box::new(file),
    })
}

/// Whether a file's name says that gzip has packed it.
pub fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// What reading the file at `path` has failed with.
pub fn unreadable(path: &Path, error: io::Error) -> Error {
    let damaged = [
        ErrorKind::InvalidInput,
        ErrorKind::InvalidData,
        ErrorKind::UnexpectedEof,
    ];
    match is_packed(path) && damaged.contains(&error.kind()) {
        true => input_error!("{}: not whole as a gzip file: {error}", path.display()),
        false => io_error(path, error),
    }
}

/// All bytes of [`open`].
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let read = open(path)?.read_to_end(&mut all);
    read.map_err(|e| unreadable(path, e))?;
    Ok(all)
}

/// The text of a file of `task` in a layout, or of its part from the line `from` on; of a Parquet file its
/// rows as JSON lines.
pub fn text<'b>(
    bytes: &'b [u8],
    task: &Task,
    layout: &Layout,
    (path, from): (&Path, u32),
) -> Result<Cow<'b, str>> {
    match layout.format {
        Some(Format::Parquet) => parquet::json_lines(bytes, &task.labels, path).map(Cow::Owned),
        _ => decode(bytes, layout.encoding.as_deref(), (path, from)),
    }
}

/// The text of a file in `encoding` (a WHATWG label; UTF-8 when none), without a byte-order mark, or of its
/// part from the line `from` on.
pub fn decode<'b>(
    bytes: &'b [u8],
    encoding: Option<&str>,
    (path, from): (&Path, u32),
) -> Result<Cow<'b, str>> {
    let path = path.display();
    let line_at = |bytes: &[u8], at: usize| from as usize + line_ends(&bytes[..at]);
    if from == 1 && bytes.starts_with(parquet::MAGIC) {
        bail_input!(
            "{path}: is a Parquet file; set `format: parquet` in the task's layout, or say \
             --input-format parquet to `predict`"
        );
    }
    let encoding = match encoding {
        None => UTF_8,
        Some(label) => Encoding::for_label(label.as_bytes())
            .ok_or_else(|| input_error!("{path}: `{label}` is no encoding; try windows-1252"))?,
    };
    let text = if encoding == UTF_8 {
        let mark: &[u8] = if from == 1 { b"\xef\xbb\xbf" } else { b"" };
        let own = bytes.strip_prefix(mark).unwrap_or(bytes);
        std::str::from_utf8(own).map(Cow::Borrowed).map_err(|e| {
            let line = line_at(own, e.valid_up_to());
            let likely = match bytes {
                [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "utf-16",
                _ => "windows-1252",
            };
            input_error!(
                "{path}:{line}: not valid UTF-8; set `encoding:` (as {likely}) in the task's \
                 layout, or say --encoding to `predict`"
            )
        })?
    } else {
        let (text, damaged) = match from {
            1 => encoding.decode_with_bom_removal(bytes),
            _ => encoding.decode_without_bom_handling(bytes),
        };
        if damaged {
            let line = text
                .find('\u{fffd}')
                .map_or(1, |at| line_at(text.as_bytes(), at));
            bail_input!("{path}:{line}: not valid {}", encoding.name());
        }
        text
    };
    if let Some(at) = text.find('\0') {
        bail_input!(
            "{path}:{}: a NUL byte; the file is damaged, or set `encoding:` (as utf-16le) in the \
             task's layout",
            line_at(text.as_bytes(), at)
        );
    }
    // A last line that is read by itself has lines before it.
    let only = from == 1 && !text.contains('\n');
    if only && text.trim_end_matches('\r').contains('\r') {
        bail_input!("{path}:1: its lines end in carriage returns alone; end them with line feeds");
    }
    Ok(text)
}

/// How many lines end in a text.
pub fn line_ends(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// A row of a file. A blank line (nothing in it but white space) has no fields.
#[derive(Debug)]
pub struct Line<'a> {
    /// From 1; of a row of several lines, the first.
    pub number: u32,
    pub fields: Vec<Cow<'a, str>>,
}

impl Line<'_> {
    /// The same, of a text that may go.
    pub fn into_owned(self) -> Line<'static> {
        let owned = |field: Cow<str>| Cow::Owned(field.into_owned());
        Line {
            number: self.number,
            fields: self.fields.into_iter().map(owned).collect(),
        }
    }
}

/// A column that is read. One that is not `required` and not there has empty fields.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub column: &'a Column,
    pub required: bool,
    /// Whether it may list several values; a JSON line's are then given as JSON.
    pub list: bool,
}

/// The rows of `text`, which begins at the line `from`, a header and blank lines among them. Lines end at
/// `\n` or `\r\n` and nothing else. JSON rows have the fields of `columns`, in their order.
pub fn lines<'a>(
    text: &'a str,
    layout: &'a Layout,
    columns: &'a [Wanted<'a>],
    (path, from): (&'a Path, u32),
) -> Box<dyn Iterator<Item = Result<Line<'a>>> + 'a> {
    let format = layout.format.unwrap_or_default();
    let tab = layout.delimiter.unwrap_or('\t');
    let fields = move |number: u32, line: &'a str| match format {
        Format::LabelText => match &layout.label_prefix {
            Some(prefix) => Ok(prefixed(line, prefix)),
            None => {
                let (label, text) = line.split_once(' ').unwrap_or((line, ""));
                Ok(vec![label.into(), text.into()])
            }
        },
        Format::Jsonl | Format::Parquet => {
            json_fields(line, columns).map_err(|e| input_error!("{}:{number}: {e}", path.display()))
        }
        Format::Tsv | Format::Csv => Ok(line.split(tab).map(Cow::Borrowed).collect()),
    };
    let blank = move |line: &str| line.trim().is_empty() && !line.contains(tab);
    match format {
        Format::Csv => {
            let line = |(number, fields)| Line { number, fields };
            let between = layout.delimiter.unwrap_or(',');
            Box::new(Csv::new(text, between, (path, from)).map(move |row| row.map(line)))
        }
        _ => Box::new(numbered(text, from).map(move |(number, line)| {
            let fields = match blank(line) {
                true => Vec::new(),
                false => fields(number, line)?,
            };
            Ok(Line { number, fields })
        })),
    }
}

/// The labels before a line's text, with a blank between, and the text.
fn prefixed<'a>(line: &'a str, prefix: &str) -> Vec<Cow<'a, str>> {
    let (mut labels, mut text) = (Vec::new(), line.trim_start());
    while let Some(rest) = text.strip_prefix(prefix) {
        let (label, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        labels.push(label);
        text = rest.trim_start();
    }
    vec![labels.join(" ").into(), text.into()]
}

/// The lines of a text, the first being `from`.
pub fn numbered(text: &str, from: u32) -> impl Iterator<Item = (u32, &str)> {
    // What stands behind the last line's end is no line.
    let ended = text.strip_suffix('\n').unwrap_or(text);
    let lines = (!text.is_empty()).then(|| ended.split('\n'));
    let lines = lines.into_iter().flatten();
    (from..).zip(lines.map(|line| line.strip_suffix('\r').unwrap_or(line)))
}

fn json_fields<'a>(line: &str, columns: &[Wanted]) -> Result<Vec<Cow<'a, str>>, String> {
    let Row(row) = serde_json::from_str(line).map_err(|e| {
        // Without the line, which is always the first.
        let what = e.to_string().replace(" at line 1 column", " at column");
        match e.is_data() {
            true if what.starts_with("invalid type") => "not a JSON object".to_owned(),
            true => what,
            false => format!("not readable as JSON: {what}"),
        }
    })?;
    let field = |wanted: &Wanted| {
        let Column::Name(name) = wanted.column else {
            return Err("JSON lines have keys, not column numbers".to_string());
        };
        match found(&row, name) {
            Some(value @ (Value::Array(_) | Value::String(_))) if wanted.list => {
                Ok(Cow::Owned(value.to_string()))
            }
            Some(Value::String(s)) => Ok(Cow::Owned(s.clone())),
            Some(Value::Number(n)) => Ok(Cow::Owned(n.to_string())),
            Some(Value::Bool(b)) => Ok(Cow::Owned(b.to_string())),
            Some(Value::Null) | None if !wanted.required => Ok(Cow::Borrowed("")),
            Some(value) if !wanted.required => Ok(Cow::Owned(value.to_string())),
            Some(Value::Array(_)) => Err(format!(
                "key `{name}` is neither a text nor a number but a list; several labels a row are \
                 `labels: {{any_of: […]}}`"
            )),
            Some(_) => Err(format!("key `{name}` is neither a text nor a number")),
            None => {
                let known: Vec<&str> = row.iter().map(|(key, _)| key.as_str()).collect();
                Err(format!(
                    "no key `{name}`; there are {}",
                    crate::config::yaml::list(&known)
                ))
            }
        }
    };
    columns.iter().map(field).collect()
}

/// The value under a key, or under a path of keys with dots between.
fn found<'v>(row: &'v [(String, Value)], name: &str) -> Option<&'v Value> {
    let of = |key: &str| row.iter().find(|(known, _)| known == key).map(|(_, v)| v);
    of(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        rest.split('.')
            .try_fold(of(first)?, |value, key| value.get(key))
    })
}

/// The keys and values of a JSON line. A key that stands twice in it would hide one of its values.
struct Row(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Row, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Vec<(String, Value)>;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut row: Vec<(String, Value)> = Vec::new();
                while let Some((key, value)) = map.next_entry()? {
                    if row.iter().any(|(known, _)| *known == key) {
                        return Err(de::Error::custom(format!("has the key `{key}` twice")));
                    }
                    row.push((key, value));
                }
                Ok(row)
            }
        }
        deserializer.deserialize_map(Keys).map(Row)
    }
}
