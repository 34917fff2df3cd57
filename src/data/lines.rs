//! A file's bytes to rows of fields, with their line numbers.

use std::borrow::Cow;
use std::path::Path;

use anyhow::Result;
use encoding_rs::{Encoding, UTF_8};
use serde_json::Value;

use crate::task::layout::{Column, Format};
use crate::{bail_input, input_error};

/// The text of a file in `encoding` (a WHATWG label; UTF-8 when none), without a byte-order mark.
pub fn decode<'b>(bytes: &'b [u8], encoding: Option<&str>, path: &Path) -> Result<Cow<'b, str>> {
    let path = path.display();
    let encoding = match encoding {
        None => UTF_8,
        Some(label) => Encoding::for_label(label.as_bytes())
            .ok_or_else(|| input_error!("{path}: `{label}` is no encoding; try windows-1252"))?,
    };
    let text = if encoding == UTF_8 {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|e| {
            let line = line_at(bytes, e.valid_up_to());
            input_error!(
                "{path}:{line}: not valid UTF-8; set `encoding:` (as windows-1252) in the task's layout"
            )
        })?
    } else {
        encoding.decode_with_bom_removal(bytes).0
    };
    match text.find('\0') {
        None => Ok(text),
        Some(at) => bail_input!(
            "{path}:{}: a NUL byte; the file is damaged, or set `encoding:` (as utf-16le) in the \
             task's layout",
            line_at(text.as_bytes(), at)
        ),
    }
}

fn line_at(bytes: &[u8], at: usize) -> usize {
    bytes[..at].iter().filter(|&&b| b == b'\n').count() + 1
}

/// A row of a file.
pub struct Line<'a> {
    pub number: u32,
    pub fields: Vec<Cow<'a, str>>,
}

/// The rows of `text`, the header among them where there is one; rows without anything are left out.
/// Lines end at `\n` or `\r\n` and nothing else. JSON rows have the fields of `columns`, in their
/// order.
pub fn lines<'a>(
    text: &'a str,
    format: Format,
    columns: &'a [&'a Column],
    path: &'a Path,
) -> Box<dyn Iterator<Item = Result<Line<'a>>> + 'a> {
    match format {
        Format::Csv => Box::new(csv_rows(text, path)),
        Format::Tsv => Box::new(numbered(text).map(|(number, line)| {
            let fields = line.split('\t').map(Cow::Borrowed).collect();
            Ok(Line { number, fields })
        })),
        Format::LabelText => Box::new(numbered(text).map(|(number, line)| {
            let (label, text) = line.split_once(' ').unwrap_or((line, ""));
            Ok(Line {
                number,
                fields: vec![label.into(), text.into()],
            })
        })),
        Format::Jsonl => Box::new(numbered(text).map(move |(number, line)| {
            let fields = json_fields(line, columns)
                .map_err(|e| input_error!("{}:{number}: {e}", path.display()))?;
            Ok(Line { number, fields })
        })),
    }
}

fn numbered(text: &str) -> impl Iterator<Item = (u32, &str)> {
    let lines = text
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line));
    (1..).zip(lines).filter(|(_, line)| !line.is_empty())
}

fn csv_rows<'a>(text: &'a str, path: &'a Path) -> impl Iterator<Item = Result<Line<'a>>> + 'a {
    let reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    reader.into_records().map(move |record| {
        let record = record.map_err(|e| input_error!("{}: {e}", path.display()))?;
        let number = record.position().map_or(0, |p| p.line() as u32);
        let fields = record.iter().map(|f| Cow::Owned(f.to_string())).collect();
        Ok(Line { number, fields })
    })
}

fn json_fields<'a>(line: &str, columns: &[&Column]) -> Result<Vec<Cow<'a, str>>, String> {
    let row: Value =
        serde_json::from_str(line).map_err(|e| format!("not readable as JSON: {e}"))?;
    let Some(row) = row.as_object() else {
        return Err("not a JSON object".into());
    };
    let field = |column: &&Column| {
        let Column::Name(name) = column else {
            return Err("JSON lines have keys, not column numbers".to_string());
        };
        match row.get(name) {
            Some(Value::String(s)) => Ok(Cow::Owned(s.clone())),
            Some(Value::Number(n)) => Ok(Cow::Owned(n.to_string())),
            Some(Value::Bool(b)) => Ok(Cow::Owned(b.to_string())),
            Some(_) => Err(format!("key `{name}` is neither a text nor a number")),
            None => {
                let known: Vec<&str> = row.keys().map(String::as_str).collect();
                Err(format!(
                    "no key `{name}`; there are {}",
                    crate::config::yaml::list(&known)
                ))
            }
        }
    };
    columns.iter().map(field).collect()
}
