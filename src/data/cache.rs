//! Tokenised splits on disk, so that a run starts at once.
//!
//! A split is one file, `tokens/TASK-SPLIT-KEY.bin` in the cache folder. The key is the SHA-256 of the contents
//! of its data files, all that settles the tokenizer, the task's YAML, the maximum length, the split and
//! the program that reads, since another may read otherwise: a data file that was touched but not
//! changed still hits. The cache file holds its own SHA-256; one
//! that is damaged is made again. Its ids are memory-mapped, the rest is read.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{bail, ensure, Context, Result};
use memmap2::Mmap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::read::read_split;
use super::rows::{Part, Skipped};
use super::sources::sources;
use super::tokenized::{Content, Progress, Row, TokenizedSplit};
use super::tokenizer::Tokenizer;
use crate::error::io_error;
use crate::task::{Label, Split, Task};

/// Opens every cache file; the number is the format's.
const MAGIC: &[u8; 16] = b"covalign tokens4";
/// Magic, SHA-256 of what follows, number of rows (u64), bytes of the rest's JSON (u64).
const HEAD: usize = 16 + 32 + 8 + 8;

/// [`load_split_with`] without progress.
pub fn load_split(
    task: &Task,
    data_dir: &Path,
    split: Split,
    tokenizer: &Tokenizer,
    max_length: usize,
    cache_dir: Option<&Path>,
) -> Result<TokenizedSplit> {
    load_split_with(
        task,
        data_dir,
        split,
        tokenizer,
        max_length,
        cache_dir,
        &|_, _| {},
    )
}

/// A split of a task, tokenised: from the cache where it is there, else from the data files and
/// then into the cache. A cache that cannot be written is a warning in the result.
pub fn load_split_with(
    task: &Task,
    data_dir: &Path,
    split: Split,
    tokenizer: &Tokenizer,
    max_length: usize,
    cache_dir: Option<&Path>,
    progress: Progress,
) -> Result<TokenizedSplit> {
    let read = || -> Result<TokenizedSplit> {
        let rows = read_split(task, data_dir, split)?;
        TokenizedSplit::from_rows(rows, tokenizer, max_length, progress)
    };
    let Some(cache_dir) = cache_dir else {
        return read();
    };
    let key = key(task, data_dir, split, tokenizer, max_length)?;
    let path = cache_dir
        .join("tokens")
        .join(format!("{}-{split}-{}.bin", task.name, &key[..24]));
    if let Ok(found) = open(&path) {
        return Ok(found);
    }
    let mut made = read()?;
    if let Err(e) = store(&made, &path) {
        made.warnings.push(format!(
            "the token cache could not be written ({}); the next start tokenises again",
            crate::error::one_line(&e)
        ));
    }
    Ok(made)
}

fn key(
    task: &Task,
    data_dir: &Path,
    split: Split,
    tokenizer: &Tokenizer,
    max_length: usize,
) -> Result<String> {
    let mut hash = Sha256::new();
    let settings = [
        tokenizer.fingerprint(),
        task.source(),
        // With the fold, which no task file says.
        &serde_json::to_string(&task.cut())?,
        split.name(),
        &max_length.to_string(),
        reader(),
    ];
    for text in settings {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    for source in sources(task, data_dir, split)? {
        for path in [Some(&source.path), source.ids.as_ref()]
            .into_iter()
            .flatten()
        {
            // The paths too: they are in the cache file, for messages.
            hash.update(path.as_os_str().as_encoded_bytes());
            let mut contents = Sha256::new();
            let mut file = File::open(path).map_err(|e| io_error(path, e))?;
            std::io::copy(&mut file, &mut contents).map_err(|e| io_error(path, e))?;
            hash.update(contents.finalize());
        }
    }
    Ok(format!("{:x}", hash.finalize()))
}

/// What tells this build of the program from another: the size of its file and when that was written.
fn reader() -> &'static str {
    static READER: OnceLock<String> = OnceLock::new();
    READER.get_or_init(|| {
        let file = std::env::current_exe().and_then(std::fs::metadata);
        let written = file.and_then(|file| Ok((file.len(), file.modified()?)));
        format!("{} {written:?}", env!("CARGO_PKG_VERSION"))
    })
}

/// What a cache file holds beside rows and ids.
#[derive(Serialize, Deserialize)]
struct Rest {
    parts: Vec<Part>,
    files: Vec<PathBuf>,
    skipped: Vec<Skipped>,
    /// The rows' names, empty where they have none.
    indices: Vec<String>,
}

/// Bytes of a row, little-endian: end (u64); second segment, full length, line (u32); label (f32, NaN
/// where there is none or a set); file (u32: the lower half, and above it 1 where the label is a set);
/// the text's key (u64); the set (u128).
const ROW: usize = 52;

fn store(split: &TokenizedSplit, path: &Path) -> Result<()> {
    let indices = match split.rows.iter().any(|row| row.index.is_some()) {
        true => split
            .rows
            .iter()
            .map(|row| row.index.clone().unwrap_or_default())
            .collect(),
        false => Vec::new(),
    };
    let mut rest = serde_json::to_vec(&Rest {
        parts: split.parts.clone(),
        files: split.files.clone(),
        skipped: split.skipped.clone(),
        indices,
    })?;
    // So that the ids behind it lie at a multiple of four.
    rest.resize(rest.len().next_multiple_of(4), b' ');
    let mut body = Vec::with_capacity(16 + split.len() * ROW + rest.len());
    body.extend((split.len() as u64).to_le_bytes());
    body.extend((rest.len() as u64).to_le_bytes());
    for row in &split.rows {
        body.extend(row.end.to_le_bytes());
        body.extend(row.second_segment_at.to_le_bytes());
        body.extend(row.full_length.to_le_bytes());
        body.extend(row.line.to_le_bytes());
        let (number, set) = match row.label {
            Some(Label::Number(number)) => (number, None),
            Some(Label::Set(set)) => (f32::NAN, Some(set)),
            None => (f32::NAN, None),
        };
        body.extend(number.to_le_bytes());
        body.extend((u32::from(row.file) | u32::from(set.is_some()) << 16).to_le_bytes());
        body.extend(row.text.to_le_bytes());
        body.extend(set.unwrap_or(0).to_le_bytes());
    }
    body.extend(rest);
    // As they lie in memory: the cache is this machine's.
    let ids: &[u8] = bytemuck::cast_slice(split.all_ids());
    let sum = Sha256::new()
        .chain_update(&body)
        .chain_update(ids)
        .finalize();

    let folder = path.parent().context("a cache file lies in a folder")?;
    std::fs::create_dir_all(folder).map_err(|e| io_error(folder, e))?;
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
        for bytes in [&MAGIC[..], &sum, &body, ids] {
            file.write_all(bytes)?;
        }
        file.persist(path).map_err(|e| e.error)
    });
    written.map_err(|e| io_error(path, e))?;
    Ok(())
}

fn open(path: &Path) -> Result<TokenizedSplit> {
    let file = File::open(path)?;
    // SAFETY: a cache file is only ever replaced by renaming, never written in place, so the mapped
    // bytes do not change while they are borrowed.
    let map = unsafe { Mmap::map(&file) }?;
    ensure!(
        map.len() >= HEAD && map[..16] == MAGIC[..],
        "not a cache file"
    );
    ensure!(Sha256::digest(&map[48..])[..] == map[16..48], "damaged");
    let number = |at: usize| word(&map, at) as usize | (word(&map, at + 4) as usize) << 32;
    let rest_at = number(48)
        .checked_mul(ROW)
        .and_then(|n| n.checked_add(HEAD));
    let start = rest_at.and_then(|at| at.checked_add(number(56)));
    let (Some(rest_at), Some(start)) = (rest_at, start) else {
        bail!("damaged")
    };
    ensure!(
        start <= map.len() && start % 4 == 0 && map.len() % 4 == 0,
        "damaged"
    );
    let mut rest: Rest = serde_json::from_slice(&map[rest_at..start])?;
    let mut names = std::mem::take(&mut rest.indices).into_iter();
    let rows = map[HEAD..rest_at]
        .chunks_exact(ROW)
        .map(|row| parse(row, names.next()));
    let rows: Vec<Row> = rows.collect();
    let ids = (map.len() - start) / 4;
    ensure!(
        rows.last().map_or(0, |row| row.end as usize) == ids,
        "damaged"
    );
    Ok(TokenizedSplit {
        content: Content::Mapped(map, start),
        rows,
        parts: rest.parts,
        files: rest.files,
        skipped: rest.skipped,
        warnings: Vec::new(),
        from_cache: true,
    })
}

fn parse(row: &[u8], index: Option<String>) -> Row {
    let number = f32::from_bits(word(row, 20));
    let long = |at: usize| u64::from(word(row, at)) | u64::from(word(row, at + 4)) << 32;
    let label = match word(row, 24) >> 16 {
        0 => (!number.is_nan()).then_some(Label::Number(number)),
        _ => Some(Label::Set(
            u128::from(long(36)) | u128::from(long(44)) << 64,
        )),
    };
    Row {
        end: long(0),
        second_segment_at: word(row, 8),
        full_length: word(row, 12),
        line: word(row, 16),
        label,
        file: word(row, 24) as u16,
        text: long(28),
        index,
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
