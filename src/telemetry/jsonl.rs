//! Append-only files of one JSON value a line.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::de::DeserializeOwned;
use serde::Serialize;

use super::atomic::write_atomically;
use crate::error::{io_error, read_text};
use crate::input_error;

/// A file that lines are appended to.
pub struct JsonLines {
    path: PathBuf,
    file: File,
}

impl JsonLines {
    /// Opens `path`, or creates it; a last line that was cut off is removed.
    pub fn open(path: &Path) -> Result<JsonLines> {
        let file = open_whole(path).map_err(|e| io_error(path, e))?;
        let path = path.to_owned();
        Ok(JsonLines { path, file })
    }

    /// Opens `path` and keeps only the lines that `keep` wants: a run that goes on from a
    /// checkpoint drops what came after it. Also how many there are. A line that is not a `T` is an
    /// input error.
    pub fn resume<T: DeserializeOwned>(
        path: &Path,
        keep: impl Fn(&T) -> bool,
    ) -> Result<(JsonLines, u64)> {
        JsonLines::open(path)?;
        let text = read_text(path)?;
        let (mut kept, mut count) = (String::new(), 0);
        for (i, line) in text.lines().enumerate() {
            let value = serde_json::from_str(line)
                .map_err(|e| input_error!("{}:{}: {e}; remove the line", path.display(), i + 1))?;
            if keep(&value) {
                kept.push_str(line);
                kept.push('\n');
                count += 1;
            }
        }
        if kept != text {
            write_atomically(path, |file| file.write_all(kept.as_bytes()))?;
        }
        Ok((JsonLines::open(path)?, count))
    }

    /// Waits until all lines are on the disk.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| io_error(&self.path, e))
    }

    /// Appends one line in one write.
    pub fn append(&mut self, value: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        let written = self.file.write_all(&line);
        written.map_err(|e| io_error(&self.path, e))
    }
}

/// Opens a file for appending, cut after its last newline.
fn open_whole(path: &Path) -> std::io::Result<File> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    if whole < bytes.len() {
        file.set_len(whole as u64)?;
    }
    file.seek(SeekFrom::Start(whole as u64))?;
    Ok(file)
}
