//! The names in a run folder, and what its JSON files hold.
//!
//! `config.yaml`, `made_of.json`, `tasks/` (with the rows of splits that are cut, `tasks/<task>.split.json`),
//! `encoder/` (config and vocabulary), `results.json`, `metrics.jsonl`, `tensorboard/`,
//! `checkpoints/step-N/`, `best/`, `best_per_task/<task>/`, `log.txt`, `run.lock`: a run folder needs
//! nothing outside itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::made_of::{is_one, one, MadeOf};
use crate::data::TokenizedSplit;
use crate::error::{io_error, read_text};
use crate::model::save::sha256;
use crate::task::cut::{Cut, Fold};
use crate::task::Split;
use crate::telemetry::sealed;
use crate::train::evaluate::{not_above, Scores};
use crate::{bail_input, input_error};

/// Paths in a run folder.
#[derive(Debug, Clone)]
pub struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    pub fn new(root: impl Into<PathBuf>) -> RunFolder {
        RunFolder { root: root.into() }
    }

    /// A folder that a run has been started in.
    pub fn open(root: &Path) -> Result<RunFolder> {
        let folder = RunFolder::new(root);
        if !folder.config().is_file() {
            bail_input!(
                "{}: no run folder (it has no config.yaml); give what `covalign train` wrote",
                root.display()
            );
        }
        Ok(folder)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn config(&self) -> PathBuf {
        self.root.join("config.yaml")
    }

    pub fn task(&self, name: &str) -> PathBuf {
        self.root.join("tasks").join(format!("{name}.yaml"))
    }

    /// Which rows are dev, for a task whose dev split is cut out of train.
    pub fn split(&self, name: &str) -> PathBuf {
        self.root.join("tasks").join(format!("{name}.split.json"))
    }

    pub fn encoder(&self) -> PathBuf {
        self.root.join("encoder")
    }

    pub fn results(&self) -> PathBuf {
        self.root.join("results.json")
    }

    /// What the run is made of, from before its first step.
    pub fn made_of(&self) -> PathBuf {
        self.root.join("made_of.json")
    }

    /// What the run was begun with; none where an older version began it.
    pub fn begun(&self) -> Result<Option<MadeOf>> {
        let path = self.made_of();
        match path.exists() {
            true => serde_json::from_str(&read_text(&path)?)
                .map_err(|e| input_error!("{}: not readable: {e}", path.display()))
                .map(Some),
            false => Ok(None),
        }
    }

    /// sha256 of the files that say what the run's weights are: `config.yaml`, `made_of.json`, and those in
    /// `tasks/` and `encoder/`, by their names from here.
    pub fn description(&self) -> Result<BTreeMap<String, String>> {
        let mut paths = vec![self.config(), self.made_of()];
        for folder in ["tasks", "encoder"] {
            let entries = std::fs::read_dir(self.root.join(folder));
            paths.extend(entries.into_iter().flatten().flatten().map(|e| e.path()));
        }
        let there = paths.into_iter().filter(|path| path.is_file());
        let sum = |path: PathBuf| {
            let name = path.strip_prefix(&self.root).unwrap_or(&path);
            Ok((name.to_string_lossy().into_owned(), sha256(&path)?))
        };
        there.map(sum).collect()
    }

    /// What a run wrote when it had come to its end.
    pub fn finished(&self) -> Option<Results> {
        self.ended().ok()?
    }

    /// As [`RunFolder::finished`].
    ///
    /// # Errors
    /// An input error where `results.json` is there and damaged.
    pub fn ended(&self) -> Result<Option<Results>> {
        let path = self.results();
        match path.exists() {
            true => sealed::parse(&read_text(&path)?, &path).map(Some),
            false => Ok(None),
        }
    }

    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    pub fn tensorboard(&self) -> PathBuf {
        self.root.join("tensorboard")
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    pub fn best(&self) -> PathBuf {
        self.root.join("best")
    }

    pub fn best_per_task(&self) -> PathBuf {
        self.root.join("best_per_task")
    }

    pub fn best_of(&self, task: &str) -> PathBuf {
        self.best_per_task().join(task)
    }

    pub fn log(&self) -> PathBuf {
        self.root.join("log.txt")
    }

    pub fn lock(&self) -> PathBuf {
        self.root.join("run.lock")
    }

    /// The checkpoints there are, by step.
    pub fn saved_steps(&self) -> Vec<(u64, PathBuf)> {
        let Ok(entries) = std::fs::read_dir(self.checkpoints()) else {
            return Vec::new();
        };
        let mut steps: Vec<_> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let step = name.strip_prefix("step-")?.parse().ok()?;
                Some((step, entry.path()))
            })
            .collect();
        steps.sort();
        steps
    }

    /// Creates a folder and those above it.
    pub fn create(path: &Path) -> Result<()> {
        std::fs::create_dir_all(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists => {
                input_error!("{}: not a folder; give another --out", path.display())
            }
            _ => io_error(path, e),
        })
    }
}

/// `tasks/<task>.split.json`: how splits were cut out of files without official ones, so
/// that others can train and score on the same rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CutSplit {
    /// The shares of the rows that are dev and test, and the seed that chose them.
    pub dev: f64,
    #[serde(default)]
    pub test: f64,
    pub seed: u64,
    /// The fold of a cross-validation, in place of the shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<Fold>,
    pub files: Vec<CutFile>,
}

/// A file that was cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CutFile {
    pub file: PathBuf,
    pub sha256: String,
    /// Rows in all.
    pub rows: usize,
    /// Lines of the dev and of the test rows, from 1; the others are training rows.
    pub dev_lines: Vec<u32>,
    #[serde(default)]
    pub test_lines: Vec<u32>,
}

impl CutSplit {
    /// The split that gave `train` and `dev`, and `test` where it was cut out too.
    pub fn new(
        cut: &Cut,
        train: &TokenizedSplit,
        dev: &TokenizedSplit,
        test: Option<&TokenizedSplit>,
    ) -> Result<CutSplit> {
        let of_file = |split: &TokenizedSplit, file: usize| -> Vec<u32> {
            let rows = (0..split.len()).filter(|&row| split.file(row) == file);
            rows.map(|row| split.line(row)).collect()
        };
        let files = dev.files().iter().enumerate().map(|(number, path)| {
            let dev_lines = of_file(dev, number);
            let test = test.filter(|_| cut.makes(Split::Test));
            let test_lines = test.map_or(Vec::new(), |test| of_file(test, number));
            Ok(CutFile {
                file: path.clone(),
                sha256: sha256(path)?,
                rows: dev_lines.len() + test_lines.len() + of_file(train, number).len(),
                dev_lines,
                test_lines,
            })
        });
        Ok(CutSplit {
            dev: cut.dev,
            test: cut.test,
            seed: cut.seed,
            fold: cut.fold,
            files: files.collect::<Result<_>>()?,
        })
    }
}

/// One evaluation of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    /// The scores that count: the best evaluation's.
    pub dev: Scores,
    /// The same weights' on test, which had no part in choosing them; none where nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Scores>,
    /// The step of that evaluation.
    pub step: u64,
    /// The scores at the run's end.
    pub last: Scores,
    /// None in folders of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen_from: Option<ChosenFrom>,
}

/// The evaluations that the best was chosen from: the more there are, the further the best lies
/// above what the same weights score on other rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenFrom {
    /// How many counted.
    pub evaluations: u64,
    /// Steps between two of them.
    pub every: u64,
    /// The step of the first.
    pub first: u64,
}

/// Which encoder a run started from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderIdentity {
    pub name: String,
    /// Of the weight file.
    pub sha256: String,
}

/// The run whose best weights another started from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// Its folder, as the config names it.
    pub run: String,
    pub method: String,
    pub tasks: Vec<String>,
    /// The step of its weights.
    pub step: u64,
    /// Of the file with its encoder.
    pub sha256: String,
    /// Tasks whose head came from it, and the task of that head.
    pub heads: BTreeMap<String, String>,
}

/// `results.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    pub method: String,
    pub tasks: BTreeMap<String, TaskResult>,
    /// Rows of each task that were trained on.
    #[serde(default)]
    pub training_rows: BTreeMap<String, u64>,
    /// Each task's dev score for the best answer that is the same for every row: a run that is not
    /// above it has learned nothing.
    #[serde(default)]
    pub constant_answer: BTreeMap<String, f64>,
    /// How far each task's alignment has moved at the end: ‖R − I‖_F.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub distance_from_identity: BTreeMap<String, f64>,
    /// Mean of the tasks' scores, each at its best evaluation, × 100.
    pub glue_score: f64,
    /// The same of the best single evaluation, whose weights are in `best/`.
    pub best: Overall,
    pub steps: u64,
    /// Why there are fewer than were planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_early: Option<String>,
    pub epochs: f64,
    pub seconds: f64,
    /// Tokens or images trained on a second, padding left out, evaluation and saving left out.
    pub tokens_per_second: f64,
    pub seed: u64,
    pub encoder: EncoderIdentity,
    /// None for a run that started from the pretrained encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Started>,
    /// What the losses of tasks, and of labels of which any may hold (`TASK/LABEL`), weigh at the end;
    /// empty where all weigh the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, f64>,
    pub libtorch: String,
    pub device: String,
    pub precision: String,
    pub threads: i32,
    /// Processes that trained together, each with as many threads or a GPU of its own.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub ranks: usize,
    pub version: String,
    /// sha256 of the program that ended the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// sha256 of `config.yaml`, with every key, and of the run's own task and encoder files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// None in folders of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_of: Option<MadeOf>,
}

impl Results {
    /// The dev score of a task, a fraction; `None` where the run has none.
    pub fn score(&self, task: &str) -> Option<f64> {
        let score = self.tasks.get(task)?.dev.score;
        Some(score).filter(|score| score.is_finite())
    }

    /// Whether the run learned nothing on a task of its own: it is not above the best answer that is
    /// the same for every row.
    pub fn collapsed_on(&self, task: &str) -> bool {
        let level = self.constant_answer.get(task);
        match (self.score(task), level) {
            (Some(score), Some(&level)) => not_above(score, level),
            // What is no number is the correlation of a constant.
            (score, _) => score.is_none(),
        }
    }
}

/// The evaluation with the best mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overall {
    pub step: u64,
    pub glue_score: f64,
}

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationLine {
    pub step: u64,
    pub epoch: f64,
    pub seconds: f64,
    pub glue_score: f64,
    pub dev: BTreeMap<String, Scores>,
}
