//! What a run folder begins with, and whether a resumed run is the one that was begun.

use std::path::Path;

use anyhow::Result;

use super::made_of::MadeOf;
use super::run_folder::{CutSplit, RunFolder};
use crate::bail_input;
use crate::config::Config;
use crate::error::io_error;
use crate::hub::encoder_dir::TOKENIZER_FILES;
use crate::telemetry::atomic;
use crate::train::tasks::TaskData;

/// A resumed run must be the run that was begun.
pub fn check_same(config: &Config, folder: &RunFolder) -> Result<()> {
    let path = folder.config();
    let saved = Config::load(&path, &[])?;
    if saved == *config {
        return Ok(());
    }
    let (new, old) = (config.to_yaml()?, saved.to_yaml()?);
    let only = |a: &str, b: &str, mark: &str| -> Vec<String> {
        let differs = |line: &&str| !b.lines().any(|other| other == *line);
        let lines = a.lines().filter(differs);
        lines.map(|line| format!("{mark}{}", line.trim())).collect()
    };
    let mut differing = only(&new, &old, "");
    if differing.is_empty() {
        differing = only(&old, &new, "without ");
    }
    bail_input!(
        "{}: --resume goes on with the run's own config, but this one differs ({}); start a new \
         run with another --out",
        path.display(),
        differing.join("; ")
    )
}

/// Begins a run folder: all that a run needs to be understood and used later.
pub fn lay_out(
    folder: &RunFolder,
    config: &Config,
    data: &[TaskData],
    encoder: &Path,
    made_of: &MadeOf,
) -> Result<()> {
    RunFolder::create(folder.root())?;
    RunFolder::create(&folder.checkpoints())?;
    RunFolder::create(&folder.encoder())?;
    // With them a run folder predicts on its own.
    for name in std::iter::once("config.json").chain(TOKENIZER_FILES) {
        let from = encoder.join(name);
        if from.is_file() {
            let to = folder.encoder().join(name);
            std::fs::copy(&from, &to).map_err(|e| io_error(&to, e))?;
        }
    }
    for data in data {
        let path = folder.task(&data.task.name);
        if let Some(parent) = path.parent() {
            RunFolder::create(parent)?;
        }
        atomic::write(&path, data.task.source().as_bytes())?;
        if let Some(cut) = data.task.cut() {
            let split = CutSplit::new(cut, &data.train, &data.dev)?;
            atomic::write_json(&folder.split(&data.task.name), &split)?;
        }
    }
    atomic::write_json(&folder.made_of(), made_of)?;
    atomic::write(&folder.config(), config.to_yaml()?.as_bytes())
}
