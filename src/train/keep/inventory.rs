//! `files.json`: the checksums of what a run folder begins with and what never changes after: config,
//! task files, cut splits and the encoder's own files. Weights have theirs in their `state.json`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bail_input;
use crate::error::{io_error, read_text};
use crate::model::save::sha256;
use crate::telemetry::sealed;

const NAME: &str = "files.json";
/// The folders whose files are noted.
const FOLDERS: [&str; 2] = ["tasks", "encoder"];

#[derive(Serialize, Deserialize)]
struct Inventory {
    /// sha256 by path in the run folder.
    files: BTreeMap<String, String>,
}

/// Notes the files of a run folder that is being begun; `config` is to become its `config.yaml`.
pub fn note(root: &Path, config: &str) -> Result<()> {
    let mut files = BTreeMap::new();
    files.insert(
        "config.yaml".to_owned(),
        format!("{:x}", Sha256::digest(config)),
    );
    for folder in FOLDERS {
        let place = root.join(folder);
        if !place.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&place).map_err(|e| io_error(&place, e))? {
            let path = entry.map_err(|e| io_error(&place, e))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // What a write that was cut off has left is none of the run's.
            if path.is_file() && !name.starts_with('.') {
                files.insert(format!("{folder}/{name}"), sha256(&path)?);
            }
        }
    }
    sealed::write(&root.join(NAME), &Inventory { files })
}

/// Whether the files of a run folder are those that it began with. Runs of older versions have noted
/// none.
///
/// # Errors
/// An input error that names the file that is not.
pub fn check(root: &Path) -> Result<()> {
    let path = root.join(NAME);
    if !path.is_file() {
        return Ok(());
    }
    let inventory: Inventory = sealed::parse(&read_text(&path)?, &path)?;
    for (name, noted) in &inventory.files {
        let file = root.join(name);
        if sha256(&file)? != *noted {
            bail_input!(
                "{}: damaged, or edited since the run began (its checksum is not the one in {NAME}); \
                 bring back the file as it was, or train anew",
                file.display()
            );
        }
    }
    Ok(())
}
