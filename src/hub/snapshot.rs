//! What Hugging Face's own tools have cached: `models--org--name/{refs,blobs,snapshots}`.
//!
//! A snapshot is a folder of links into `blobs`; `refs/<branch>` holds the commit that names it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::encoder_dir::{is_complete, TOKENIZER_FILES};
use crate::error::io_error;

/// The snapshot of `repository` (`org/name`) at `revision`, if it has all that an encoder needs
/// and one of `weights`.
pub fn find(cache: &Path, repository: &str, revision: &str, weights: &[&str]) -> Option<PathBuf> {
    let model = cache.join(format!("models--{}", repository.replace('/', "--")));
    let reference = std::fs::read_to_string(model.join("refs").join(revision));
    let commit = reference.map_or(revision.to_string(), |text| text.trim().to_string());
    let snapshot = model.join("snapshots").join(commit);
    is_complete(&snapshot, weights).then_some(snapshot)
}

/// Links a snapshot's files into `folder` where the file system can, else copies them; of
/// `weights` the first that is there.
pub fn copy(snapshot: &Path, folder: &Path, weights: &[&str]) -> Result<()> {
    let weights = weights.iter().find(|f| snapshot.join(f).is_file());
    for file in ["config.json"]
        .iter()
        .chain(&TOKENIZER_FILES)
        .chain(weights)
    {
        let (from, to) = (snapshot.join(file), folder.join(file));
        if !from.is_file() || to.is_file() {
            continue;
        }
        let from = from.canonicalize().map_err(|e| io_error(&from, e))?;
        if std::fs::hard_link(&from, &to).is_err() {
            let beside = folder.join(format!("{file}.copy"));
            std::fs::copy(&from, &beside).map_err(|e| io_error(&beside, e))?;
            std::fs::rename(&beside, &to).map_err(|e| io_error(&to, e))?;
        }
    }
    Ok(())
}
