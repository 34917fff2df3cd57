//! A file of one JSON object a line, grown line by line.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use super::atomic;
use crate::error::io_error;

/// An open JSON Lines file.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: File,
}

impl JsonLines {
    /// Opens or creates the file. Of the lines that are there, those that `keep` refuses are
    /// dropped, and a last one that was cut off.
    pub fn open(path: &Path, keep: impl Fn(&Value) -> bool) -> Result<JsonLines> {
        if let Ok(text) = std::fs::read_to_string(path) {
            let wanted = |line: &&str| serde_json::from_str(line).is_ok_and(|value| keep(&value));
            let kept: String = text
                .lines()
                .filter(wanted)
                .flat_map(|line| [line, "\n"])
                .collect();
            if kept != text {
                atomic::write(path, kept.as_bytes())?;
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(JsonLines {
            path: path.to_owned(),
            file: file.map_err(|e| io_error(path, e))?,
        })
    }

    /// Adds a line.
    pub fn append(&mut self, value: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .map_err(|e| io_error(&self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_torn_line_and_lines_past_the_resumed_step_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.jsonl");
        std::fs::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"st").unwrap();
        let mut lines = JsonLines::open(&path, |v| v["step"].as_u64() <= Some(2)).unwrap();
        lines.append(&json!({"step": 3, "new": true})).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "{\"step\":1}\n{\"step\":2}\n{\"step\":3,\"new\":true}\n"
        );
    }
}
