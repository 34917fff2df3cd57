//! Parquet files, in which Hugging Face's `datasets` keeps rows, as JSON lines.

use std::path::Path;

use anyhow::Result;
use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::FileMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use crate::error::panics;
use crate::input_error;
use crate::task::{Classes, Labels};

/// What every Parquet file begins with.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// A file's rows, a JSON object a line. A class that `datasets` has by its number (`ClassLabel`) gets its
/// name where the task has labels of these names.
///
/// # Errors
/// An input error for what is no whole Parquet file.
pub(super) fn json_lines(bytes: &[u8], labels: &Labels, path: &Path) -> Result<String> {
    // The reader panics at some damage, as at a column that begins before the file.
    let read = panics::caught(
        || read(bytes, labels).map_err(|e| e.to_string()),
        panics::any,
    );
    read.and_then(|lines| lines)
        .map_err(|e| input_error!("{}: not whole as Parquet: {e}", path.display()))
}

fn read(bytes: &[u8], labels: &Labels) -> Result<String, ParquetError> {
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(bytes))?;
    let named = class_names(reader.metadata().file_metadata(), labels);
    let mut lines = String::new();
    for row in reader.get_row_iter(None)? {
        let mut row = row?.to_json_value();
        for (column, names) in &named {
            if let Some(value) = row.get_mut(column) {
                name(value, names);
            }
        }
        lines.push_str(&row.to_string());
        lines.push('\n');
    }
    Ok(lines)
}

/// The columns whose classes `datasets` has names for, some of which are the task's, with the names.
fn class_names(file: &FileMetaData, labels: &Labels) -> Vec<(String, Vec<String>)> {
    let known = |name: &String| match labels {
        Labels::Classes(Classes { names, said }) => said.as_ref().unwrap_or(names).contains(name),
        Labels::AnyOf(any) => any.names.contains(name),
        Labels::Range { .. } => false,
    };
    let notes = file.key_value_metadata().into_iter().flatten();
    let mut notes = notes.filter(|note| note.key == "huggingface");
    let note = notes.find_map(|note| serde_json::from_str(note.value.as_deref()?).ok());
    let note: Value = note.unwrap_or_default();
    let features = note["info"]["features"].as_object();
    let names = features
        .into_iter()
        .flatten()
        .filter_map(|(column, feature)| {
            // Of a list of classes one level further down.
            let names = [&feature["names"], &feature["feature"]["names"]];
            let names = names.into_iter().find_map(Value::as_array)?;
            let names: Vec<String> = names
                .iter()
                .filter_map(Value::as_str)
                .map(String::from)
                .collect();
            names.iter().any(known).then(|| (column.clone(), names))
        });
    names.collect()
}

/// Puts names in the place of classes' numbers.
fn name(value: &mut Value, names: &[String]) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| name(value, names)),
        value => {
            let number = value
                .as_u64()
                .and_then(|number| usize::try_from(number).ok());
            if let Some(known) = number.and_then(|number| names.get(number)) {
                *value = Value::String(known.clone());
            }
        }
    }
}
