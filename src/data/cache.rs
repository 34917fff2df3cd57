//! Tokenised splits on disk, so that a run starts at once.
//!
//! A split is one file, `tokens/TASK-SPLIT-KEY.bin` in the cache folder. The key is the SHA-256 of the contents
//! of its data files, all that settles the tokenizer, the task's YAML, the maximum length, the split and
//! the program that reads, since another may read otherwise: a data file that was touched but not
//! changed still hits. The cache file holds its own SHA-256; one
//! that is damaged is made again. Its ids are memory-mapped, the rest is read.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{ensure, Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::read::read_split;
use super::rows::{Part, Skipped};
use super::sources::sources;
use super::stored::Stored;
use super::tokenized::{range_with, Content, Ids, Names, Progress, Row, TokenizedSplit};
use super::tokenizer::Tokenizer;
use crate::error::io_error;
use crate::task::{Split, Task};

/// Opens every cache file; the number is the format's.
const MAGIC: &[u8; 16] = b"covalign tokens5";
/// Magic, SHA-256 of what follows, number of rows (u64), bytes of the rest's JSON (u64).
const HEAD: usize = 16 + 32 + 8 + 8;
/// Ids that are read at once.
const BUFFER: usize = 1 << 18;

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
    names: Names,
}

fn store(split: &TokenizedSplit, path: &Path) -> Result<()> {
    let mut rest = serde_json::to_vec(&Rest {
        parts: split.parts.clone(),
        files: split.files.clone(),
        skipped: split.skipped.clone(),
        names: split.names.clone(),
    })?;
    // So that the ids behind it lie at a multiple of four.
    rest.resize(rest.len().next_multiple_of(4), b' ');
    let counts = [split.len() as u64, rest.len() as u64].map(u64::to_le_bytes);
    // Rows and ids as they lie in memory: the cache is this machine's.
    let rows: &[u8] = bytemuck::cast_slice(&split.rows);
    let ids: &[u8] = bytemuck::cast_slice(split.all_ids());
    let body = [counts.as_flattened(), rows, &rest, ids];
    let sum = body
        .iter()
        .fold(Sha256::new(), |sum, bytes| sum.chain_update(bytes))
        .finalize();

    let folder = path.parent().context("a cache file lies in a folder")?;
    std::fs::create_dir_all(folder).map_err(|e| io_error(folder, e))?;
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
        for bytes in [&MAGIC[..], &sum].iter().chain(&body) {
            file.write_all(bytes)?;
        }
        file.persist(path).map_err(|e| e.error)
    });
    written.map_err(|e| io_error(path, e))?;
    Ok(())
}

fn open(path: &Path) -> Result<TokenizedSplit> {
    let mut file = File::open(path)?;
    let length = usize::try_from(file.metadata()?.len())?;
    let mut head = [0; HEAD];
    file.read_exact(&mut head)?;
    ensure!(head[..16] == MAGIC[..], "not a cache file");
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
    let [rows, rest] = [48, 56].map(|at| number(at) as usize);
    let rest_at = rows
        .checked_mul(size_of::<Row>())
        .and_then(|bytes| bytes.checked_add(HEAD))
        .context("damaged")?;
    let ids_at = rest_at.checked_add(rest).context("damaged")?;
    ensure!(
        ids_at <= length && ids_at % 4 == 0 && length % 4 == 0,
        "damaged"
    );

    let rows: Stored<Row> = Stored::in_file(&file, HEAD, rows)?;
    let mut sum = Sha256::new_with_prefix(&head[48..]).chain_update(bytemuck::cast_slice(&rows));
    file.seek(SeekFrom::Start(rest_at as u64))?;
    let mut read = vec![0; rest];
    file.read_exact(&mut read)?;
    sum.update(&read);
    let rest: Rest = serde_json::from_slice(&read)?;
    // Ids are read once, through a buffer: in memory are then those alone that are trained on.
    let count = (length - ids_at) / 4;
    let mut buffer = vec![0; BUFFER.min(count)];
    let mut range = None;
    for from in (0..count).step_by(BUFFER) {
        let part = &mut buffer[..BUFFER.min(count - from)];
        file.read_exact(bytemuck::cast_slice_mut(part))?;
        sum.update(bytemuck::cast_slice(part));
        range = range_with(range, part);
    }
    ensure!(sum.finalize()[..] == head[16..48], "damaged");
    let ends_in_order = rows.windows(2).all(|pair| pair[0].end <= pair[1].end);
    let end = rows.last().map_or(0, |row| row.end as usize);
    ensure!(ends_in_order && end == count, "damaged");
    Ok(TokenizedSplit {
        content: Content::Texts(Ids {
            all: Stored::in_file(&file, ids_at, count)?,
            range,
        }),
        rows,
        names: rest.names,
        parts: rest.parts,
        files: rest.files,
        skipped: rest.skipped,
        warnings: Vec::new(),
        from_cache: true,
    })
}
