//! A suite's folder, which several processes and machines may share.
//!
//! `suite.yaml` (the study as it was given), `plan.json`, `configs/<run>.yaml` (what a run is
//! started with), `runs/<run>/` (run folders), `logs/<run>.log` (what a run printed), `failed/<run>`
//! (its last lines when it failed), `tensorboard/<run>` (a link to the run's own, so that TensorBoard shows
//! the run's name and nothing else). Whoever trains a run holds an exclusive lock on its log; the
//! training process inherits it as its standard output, so that the lock lasts as long as the
//! process does, whatever becomes of the suite that started it.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::plan::{Plan, Run};
use crate::config::Config;
use crate::error::io_error;
use crate::telemetry::atomic;
use crate::train::keep::run_folder::{Results, RunFolder};
use crate::{bail_input, input_error};

/// The folder that TensorBoard is pointed at.
pub const TENSORBOARD: &str = "tensorboard";

/// Whether the folder may be there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It must be new.
    Begin,
    /// It may be there.
    Join,
}

/// The folder of a suite whose plan is in it.
#[derive(Debug, Clone)]
pub struct SuiteFolder {
    root: PathBuf,
}

/// What became of the wish to train a run.
#[derive(Debug)]
pub enum Claim {
    /// The run is this process's as long as the log is open here or in a child.
    Mine(File),
    /// Another process trains it.
    Elsewhere,
    Done(Box<Results>),
}

/// Whether a suite notes for others that the run in `folder`, one of its own, failed.
pub fn notes_failure(folder: &Path) -> bool {
    let suite = folder.parent().and_then(Path::parent);
    let note = |suite: &Path| Some(suite.join("failed").join(folder.file_name()?));
    suite.and_then(note).is_some_and(|note| note.is_file())
}

impl SuiteFolder {
    /// Lays out `root` for the suite `text`, or joins the same suite that is there. `plan` makes the
    /// suite's plan for a number of threads a run: one that was begun keeps its own.
    ///
    /// # Errors
    /// Input errors where the folder holds something else, or a begun suite that was not expected.
    pub fn enter(
        root: &Path,
        text: &str,
        threads: usize,
        entry: Entry,
        plan: impl Fn(usize) -> Result<Plan>,
    ) -> Result<(SuiteFolder, Plan)> {
        let root = std::path::absolute(root)?;
        let shown = root.display();
        let begun = || Plan::path(&root).is_file();
        let welcome = || match begun() && entry == Entry::Begin {
            false => Ok(()),
            true => Err(input_error!(
                "{shown}: a suite is here already; add --resume, or give another --out"
            )),
        };
        welcome()?;
        if !begun() && root.read_dir().is_ok_and(foreign) {
            bail_input!("{shown}: the folder is not empty; give another --out");
        }
        // Whatever is wrong with the plan is said before anything is written.
        let mut new = plan(threads)?;
        let folder = SuiteFolder { root: root.clone() };
        for name in ["runs", "configs", "logs", "failed", TENSORBOARD] {
            RunFolder::create(&root.join(name))?;
        }
        let lock = folder.open(&root.join("suite.lock"))?;
        lock.lock().context("cannot lock the suite's folder")?;
        // Another process may have been faster.
        welcome()?;
        if !begun() {
            atomic::write(&root.join("suite.yaml"), text.as_bytes())?;
            atomic::write_json(&Plan::path(&root), &new)?;
            return Ok((folder, new));
        }
        let there = Plan::read(&root)?;
        if let Some(used) = threads_of(&there)?.filter(|used| *used != threads) {
            new = plan(used)?;
        }
        if let Some(difference) = difference(&there, &new) {
            bail_input!("{shown}: another suite is here ({difference}); give another --out");
        }
        Ok((folder, new))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a run's folder is.
    pub fn run(&self, run: &str) -> RunFolder {
        RunFolder::new(Plan::run_folder(&self.root, run))
    }

    pub fn config(&self, run: &str) -> PathBuf {
        self.root.join("configs").join(format!("{run}.yaml"))
    }

    pub fn log(&self, run: &str) -> PathBuf {
        self.root.join("logs").join(format!("{run}.log"))
    }

    /// Has TensorBoard show a run that begins. Where the file system knows no links, it does not.
    pub fn show(&self, run: &str) {
        let own = RunFolder::new(Plan::run_folder(Path::new(".."), run)).tensorboard();
        let _ = std::os::unix::fs::symlink(own, self.root.join(TENSORBOARD).join(run));
    }

    /// The results of a run that is done.
    pub fn results(&self, run: &str) -> Option<Results> {
        results(&self.root, run)
    }

    /// Tries to become the one who trains `run`.
    pub fn claim(&self, run: &str) -> Result<Claim> {
        let log = self.open(&self.log(run))?;
        if !locked(&log)? {
            return Ok(Claim::Elsewhere);
        }
        // Only now: it may have come to its end in the meantime.
        if let Some(results) = self.results(run) {
            return Ok(Claim::Done(Box::new(results)));
        }
        // Somebody who trains it by hand holds the run's own lock.
        let by_hand = File::open(self.run(run).root().join("run.lock"));
        match by_hand {
            Ok(lock) if !locked(&lock)? => Ok(Claim::Elsewhere),
            _ => Ok(Claim::Mine(log)),
        }
    }

    /// The last lines that a run printed, at most `count`.
    pub fn last_lines(&self, run: &str, count: usize) -> Vec<String> {
        let bytes = std::fs::read(self.log(run)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let mut lines: Vec<String> = text
            .lines()
            .rev()
            .filter(|line| !line.trim().is_empty())
            .take(count)
            .map(str::to_owned)
            .collect();
        lines.reverse();
        lines
    }

    /// Notes for the others who share the folder that a run failed.
    pub fn note_failure(&self, run: &str, lines: &[String]) -> Result<()> {
        atomic::write(&self.failure(run), lines.join("\n").as_bytes())
    }

    pub fn forget_failure(&self, run: &str) {
        let _ = std::fs::remove_file(self.failure(run));
    }

    /// The note of a run's failure: when it was written, by the file system's clock, and the lines.
    pub fn noted_failure(&self, run: &str) -> Option<(std::time::SystemTime, Vec<String>)> {
        let path = self.failure(run);
        let written = std::fs::metadata(&path).ok()?.modified().ok()?;
        let text = std::fs::read_to_string(&path).ok()?;
        Some((written, text.lines().map(str::to_owned).collect()))
    }

    fn failure(&self, run: &str) -> PathBuf {
        self.root.join("failed").join(run)
    }

    fn open(&self, path: &Path) -> Result<File> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.map_err(|e| io_error(path, e))
    }
}

/// The results of `run` in the suite's folder `root`, where it is done.
pub fn results(root: &Path, run: &str) -> Option<Results> {
    let folder = RunFolder::new(Plan::run_folder(root, run));
    folder.finished()
}

/// Takes the lock where nobody has it.
fn locked(file: &File) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(e).context(
            "cannot lock a file in the suite's folder; the file system must know locks (flock)",
        ),
    }
}

/// Whether a folder without a plan holds anything that is not a beginning suite's.
fn foreign(entries: std::fs::ReadDir) -> bool {
    let ours = [
        "runs",
        "configs",
        "logs",
        "failed",
        TENSORBOARD,
        "suite.lock",
        "suite.yaml",
    ];
    let names = entries.flatten().map(|entry| entry.file_name());
    names
        .filter(|name| !name.to_string_lossy().ends_with(".tmp"))
        .any(|name| !ours.iter().any(|own| name == *own))
}

/// The threads that a plan's runs are given.
fn threads_of(plan: &Plan) -> Result<Option<usize>> {
    let Some(run) = plan.runs.first() else {
        return Ok(None);
    };
    let config: Config = crate::config::yaml::from_str(&run.config, &run.name)?;
    Ok(config.training.threads)
}

/// How two plans differ, in a few words.
fn difference(there: &Plan, new: &Plan) -> Option<String> {
    if there == new {
        return None;
    }
    let twin = |run: &Run| there.runs.iter().find(|other| other.name == run.name);
    for run in &new.runs {
        let Some(old) = twin(run) else {
            return Some(format!("without the run {}", run.name));
        };
        let lines = run.config.lines().zip(old.config.lines());
        if let Some((new, old)) = lines.into_iter().find(|(new, old)| new != old) {
            let (new, old) = (new.trim(), old.trim());
            return Some(format!("{}: `{old}` instead of `{new}`", run.name));
        }
    }
    Some(match new.runs.len() == there.runs.len() {
        true => "the same runs, but other cells or another title".to_owned(),
        false => format!("{} runs instead of {}", there.runs.len(), new.runs.len()),
    })
}
