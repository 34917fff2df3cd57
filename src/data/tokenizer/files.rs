//! What an encoder's folder says of its tokenizer, as it stands in the files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Map, Value};

use crate::error::{io_error, read_bounded};
use crate::{bail_input, input_error};

/// The most bytes that one of these files may have; a vocabulary of 250,000 tokens has 17 MB.
const MOST_BYTES: u64 = 64 << 20;

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
        let settings = |name: &str| {
            let path = folder.join(name);
            let read = read_json(&path)?;
            check_settings(&read, &path).map(|()| read)
        };
        if !folder.is_dir() {
            return Err(io_error(folder, std::io::ErrorKind::NotFound.into()));
        }
        Ok(Files {
            folder: folder.to_owned(),
            encoder: json("config.json")?,
            config: settings("tokenizer_config.json")?,
            full: settings("tokenizer.json")?,
            special: settings("special_tokens_map.json")?,
            added: settings("added_tokens.json")?,
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
        let lines = self.lines()?;
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

    /// The lines of `vocab.txt`, where it is there and there may be so many.
    fn lines(&self) -> Result<Option<Vec<String>>> {
        let path = self.folder.join("vocab.txt");
        let Some(text) = read_vocabulary(&path)? else {
            return Ok(None);
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let text = text.trim_end_matches(['\n', '\r']);
        let count = 1 + text.bytes().filter(|&byte| byte == b'\n').count() as u64;
        // Before anything is made of them; the added tokens are counted later.
        if let Some(rows) = self.encoder["vocab_size"]
            .as_u64()
            .filter(|&rows| count > rows)
        {
            bail_input!(
                "{}: the vocabulary has {count} entries, the weights have embeddings for {rows} \
                 (vocab_size in config.json); they belong to different encoders",
                path.display()
            );
        }
        let lines = text.split('\n');
        let lines = lines.map(|line| line.trim_end_matches('\r').to_owned());
        Ok(Some(lines.collect()))
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
    if !path.exists() {
        return Ok(Value::Null);
    }
    let bytes = read_bounded(path, MOST_BYTES)?;
    serde_json::from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes))
        .map_err(|e| input_error!("{}: not readable as JSON: {e}", path.display()))
}

/// What of a file of settings is of another type than its readers take; what they do not know is
/// left alone.
fn check_settings(settings: &Value, path: &Path) -> Result<()> {
    let shown = path.display();
    let keys = match settings {
        Value::Null => return Ok(()),
        Value::Object(keys) => keys,
        _ => bail_input!("{shown}: no JSON object, but a list or a value; fetch it again"),
    };
    for (key, value) in keys.iter().filter(|(_, value)| !value.is_null()) {
        let (fits, wanted) = match key.as_str() {
            "do_lower_case" | "strip_accents" | "tokenize_chinese_chars" => {
                (value.is_boolean(), "true or false")
            }
            "model" => (
                value["vocab"].is_object() || value["vocab"].is_array() || value["vocab"].is_null(),
                "a model with a vocabulary",
            ),
            "tokenizer_class" => (value.is_string(), "a name"),
            name if name.ends_with("_token") && !name.starts_with("add_") => {
                (value.is_string() || value["content"].is_string(), "a token")
            }
            _ => continue,
        };
        if !fits {
            bail_input!("{shown}: key `{key}`: {value} is not {wanted}");
        }
    }
    Ok(())
}

/// The text of a `vocab.txt`, where it is there.
fn read_vocabulary(path: &Path) -> Result<Option<String>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = String::from_utf8(read_bounded(path, MOST_BYTES)?);
    text.map(Some)
        .map_err(|_| input_error!("{}: not UTF-8; fetch the vocabulary again", path.display()))
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
