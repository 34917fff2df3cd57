//! Dev and test rows of a study's tasks whose text is among the training rows of a task that helps
//! them: what a gain may owe to memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::plan::Plan;
use crate::config::{yaml, Config};
use crate::data::overlap;
use crate::task::Task;
use crate::telemetry::atomic;
use crate::train::tasks;

/// An overlap between tasks that some cell of the study brings together, in whole files: a run that
/// takes a part of the training rows sees a part of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The task and split that are scored.
    pub task: String,
    pub split: String,
    /// Rows of the split whose text is trained on, and all its rows.
    pub rows: usize,
    pub of: usize,
    /// The task whose training rows hold them.
    pub training: String,
    /// Whether every run leaves those training rows out.
    pub left_out: bool,
}

impl Seen {
    /// `SST dev: 617 of 872 rows are among MR's training rows`.
    pub fn sentence(&self) -> String {
        format!(
            "{} {}: {} of {} rows are among {}'s training rows{}",
            self.task,
            self.split,
            self.rows,
            self.of,
            self.training,
            if self.left_out {
                ", and left out of them"
            } else {
                ""
            }
        )
    }
}

fn path(suite: &Path) -> PathBuf {
    suite.join("overlaps.json")
}

/// Notes them in a suite's folder.
pub fn write(suite: &Path, seen: &[Seen]) -> Result<()> {
    atomic::write_json(&path(suite), &seen)
}

/// Those that a suite's folder knows of; none where nobody has looked.
pub fn read(suite: &Path) -> Option<Vec<Seen>> {
    let bytes = std::fs::read(path(suite)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// What the data of a plan's runs shows, the most rows first.
///
/// # Errors
/// Input errors where a file is missing or cannot be read.
pub fn of_plan(plan: &Plan) -> Result<Vec<Seen>> {
    let mut together: BTreeSet<(&str, &str)> = BTreeSet::new();
    for cell in &plan.cells {
        together.extend(cell.supports.iter().map(|s| (&*cell.target, &**s)));
    }
    // A task's training and scored rows are those of its file and of a data folder.
    let mut files: BTreeMap<PathBuf, BTreeMap<String, Task>> = BTreeMap::new();
    let mut exposed: BTreeSet<(String, String)> = BTreeSet::new();
    let mut loaded: BTreeMap<String, Task> = BTreeMap::new();
    for run in &plan.runs {
        let config: Config = yaml::from_str(&run.config, &run.name)?;
        let covered = || config.tasks.iter().chain(config.deduplicate.named());
        for entry in covered() {
            if !loaded.contains_key(entry) {
                loaded.insert(entry.clone(), tasks::load(&config, entry)?);
            }
        }
        let spared = |target: &str| {
            config.deduplicate.is_on() && covered().any(|entry| loaded[entry].name == target)
        };
        let known = files.entry(config.data.clone()).or_default();
        for task in config.tasks.iter().map(|entry| &loaded[entry]) {
            let shown = together.iter().filter(|(_, s)| *s == task.name);
            for (target, _) in shown.filter(|(target, _)| !spared(target)) {
                exposed.insert((target.to_string(), task.name.clone()));
            }
            known
                .entry(task.name.clone())
                .or_insert_with(|| task.clone());
        }
    }
    let mut seen = Vec::new();
    for (data, tasks) in files {
        let tasks: Vec<Task> = tasks.into_values().collect();
        let found = overlap::of_files(&tasks, &data)?.into_iter();
        let found = found.filter(|o| together.contains(&(&*o.task, &*o.training)));
        seen.extend(found.map(|o| Seen {
            left_out: !exposed.contains(&(o.task.clone(), o.training.clone())),
            split: o.split.name().to_owned(),
            task: o.task,
            rows: o.rows,
            of: o.of,
            training: o.training,
        }));
    }
    Ok(seen)
}
