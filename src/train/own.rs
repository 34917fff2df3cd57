//! A run folder's own config, given to another command.

use std::path::Path;

use anyhow::Result;

use super::keep::run_folder::RunFolder;
use crate::config::Config;
use crate::task::name;

/// Reads the config that a person names; a run's own means the run's own tasks.
pub fn config(path: &Path, overrides: &[String]) -> Result<Config> {
    let mut config = Config::load(path, overrides)?;
    tasks(path, &mut config);
    Ok(config)
}

/// Lets the tasks of a run folder's `config.yaml`, which are names there, be the files that the run
/// keeps.
pub fn tasks(path: &Path, config: &mut Config) {
    let Some(folder) = folder(path) else {
        return;
    };
    for task in &mut config.tasks {
        // What is no name is a path already.
        if name::check(task, "").is_err() {
            continue;
        }
        let own = folder.task(task);
        if own.is_file() {
            *task = own.display().to_string();
        }
    }
}

/// The run folder whose `config.yaml` a path names.
pub fn folder(path: &Path) -> Option<RunFolder> {
    let folder = RunFolder::new(path.parent()?);
    (folder.config() == path && folder.lock().is_file()).then_some(folder)
}
