//! What an encoder's folder says of its tokenizer, as it stands in the files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Map, Value};

use crate::error::io_error;
use crate::{bail_input, input_error};

/// The files' JSON; null where there is no such file.
pub struct Files {
    pub folder: PathBuf,
    /// `config.json`, the encoder's.
    pub encoder: Value,
    /// `tokenizer_config.json`.
    pub config: Value,
    /// `tokenizer.json`.
    pub full: Value,
    /// `special_tokens_map.json`.
    pub special: Value,
    /// `added_tokens.json`.
    pub added: Value,
}

impl Files {
    pub fn read(folder: &Path) -> Result<Files> {
        let json = |name: &str| read_json(&folder.join(name));
        if !folder.is_dir() {
            return Err(io_error(folder, std::io::ErrorKind::NotFound.into()));
        }
        Ok(Files {
            folder: folder.to_owned(),
            encoder: json("config.json")?,
            config: json("tokenizer_config.json")?,
            full: json("tokenizer.json")?,
            special: json("special_tokens_map.json")?,
            added: json("added_tokens.json")?,
        })
    }

    /// The path of a file, for messages.
    pub fn shown(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// The file that the vocabulary is in: `tokenizer.json`, as transformers has it, else
    /// `vocab.txt`.
    pub fn vocabulary_file(&self) -> &'static str {
        match self.full["model"]["vocab"].is_null() {
            true => "vocab.txt",
            false => "tokenizer.json",
        }
    }

    /// WordPiece's vocabulary, and what is to be said where the folder holds two that differ.
    pub fn vocabulary(&self) -> Result<(Map<String, Value>, Option<String>)> {
        let lines = read_lines(&self.folder.join("vocab.txt"))?;
        if let Some(vocabulary) = self.full["model"]["vocab"].as_object() {
            let note = lines.and_then(|lines| self.disagreement(&lines, vocabulary));
            return Ok((vocabulary.clone(), note));
        }
        let Some(lines) = lines else {
            bail_input!(
                "{}: no vocab.txt (nor tokenizer.json) in this folder",
                self.folder.display()
            );
        };
        Ok((numbered(&lines, &self.shown("vocab.txt"))?, None))
    }

    fn disagreement(&self, lines: &[String], vocabulary: &Map<String, Value>) -> Option<String> {
        let differs = |(token, id): &(&String, &Value)| {
            let line = id.as_u64().and_then(|id| lines.get(id as usize));
            line.is_none_or(|line| line.trim_end() != token.trim_end())
        };
        let mut differing: Vec<(&String, &Value)> = vocabulary.iter().filter(differs).collect();
        if differing.is_empty() && lines.len() == vocabulary.len() {
            return None;
        }
        differing.sort_by_key(|(_, id)| id.as_u64());
        let first = match differing.first() {
            Some((token, id)) => format!(", the first difference at id {id}, `{token}`"),
            None => String::new(),
        };
        Some(format!(
            "{}: vocab.txt ({} tokens) and tokenizer.json ({} tokens) disagree{first}; tokenizer.json \
             counts, as in transformers",
            self.folder.display(),
            lines.len(),
            vocabulary.len()
        ))
    }
}

/// The file's JSON, or null where there is no such file.
fn read_json(path: &Path) -> Result<Value> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes))
            .map_err(|e| input_error!("{}: not readable as JSON: {e}", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(e) => Err(io_error(path, e)),
    }
}

/// The lines of a `vocab.txt`, without a byte order mark and blank lines at the end.
fn read_lines(path: &Path) -> Result<Option<Vec<String>>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error(path, e)),
    };
    let text = String::from_utf8(bytes)
        .map_err(|_| input_error!("{}: not UTF-8; fetch the vocabulary again", path.display()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.trim_end_matches(['\n', '\r']);
    let lines = text.split('\n');
    Ok(Some(
        lines
            .map(|line| line.trim_end_matches('\r').to_owned())
            .collect(),
    ))
}

/// Tokens by line. Space at a token's end is none of it, as in `tokenizers`.
fn numbered(lines: &[String], place: &str) -> Result<Map<String, Value>> {
    let mut found: HashMap<&str, usize> = HashMap::new();
    for (id, line) in lines.iter().enumerate() {
        let token = match line.trim_end() {
            // Multilingual vocabularies have white space itself as tokens; no text leads to them.
            "" => line,
            token => token,
        };
        if line.is_empty() && lines.len() > 1 {
            bail_input!(
                "{place}:{}: a blank line among {}; a token is lost or those below have moved, so \
                 fetch the vocabulary again (or write a token of no use there, such as [unused])",
                id + 1,
                lines.len()
            );
        }
        if let Some(earlier) = found.insert(token, id) {
            if lines[earlier] == *line {
                bail_input!(
                    "{place}:{}: `{token}` is on line {} too, of {} lines; fetch the vocabulary \
                     again (or write a token of no use in one place, such as [unused])",
                    id + 1,
                    earlier + 1,
                    lines.len()
                );
            }
            found.insert(&lines[earlier], earlier);
        }
    }
    let mut tokens: Vec<(&str, usize)> = found.into_iter().collect();
    tokens.sort_by_key(|&(_, id)| id);
    let tokens = tokens.into_iter();
    Ok(tokens
        .map(|(token, id)| (token.to_owned(), id.into()))
        .collect())
}
