//! What a folder of runs holds: the plan, and each run's results as far as there are any.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::suite::plan::{Cell, Run};
use crate::suite::seen::Seen;
use crate::train::keep::run_folder::{EvaluationLine, Results, RunFolder};

/// Dev scores × 100 by step.
pub type Curve = Vec<(u64, f64)>;

/// A folder of runs.
#[derive(Debug)]
pub struct Study {
    pub folder: PathBuf,
    pub title: String,
    /// Whether a suite planned the runs: only then is it known which are missing.
    pub planned: bool,
    /// In the plan's order.
    pub runs: Vec<RunRecord>,
    pub cells: Vec<Cell>,
    /// Scored rows that it trains on.
    pub seen: Vec<Seen>,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Done,
    /// Begun: there are evaluations, but no results.
    Unfinished,
    Missing,
    Unreadable,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Done => "done",
            State::Unfinished => "unfinished",
            State::Missing => "missing",
            State::Unreadable => "unreadable",
        }
    }
}

/// A run of the study.
#[derive(Debug)]
pub struct RunRecord {
    pub run: Run,
    /// From the study's folder.
    pub path: String,
    pub state: State,
    pub results: Option<Results>,
    /// By task.
    pub curves: BTreeMap<String, Curve>,
}

impl RunRecord {
    /// Reads what there is of a run in `folder`; never fails, since a run that cannot be read must
    /// not hide the others.
    pub fn read(run: Run, study: &Path, folder: &Path) -> RunRecord {
        let place = RunFolder::new(folder);
        let (state, results) = match std::fs::read(place.results()) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(results) => (State::Done, Some(results)),
                Err(_) => (State::Unreadable, None),
            },
            Err(_) if place.config().is_file() => (State::Unfinished, None),
            Err(_) => (State::Missing, None),
        };
        let mut curves = BTreeMap::new();
        // `single` over several tasks has a run folder for each.
        for inner in run.tasks.iter().map(|task| folder.join(task)) {
            curves.append(&mut read_curves(&RunFolder::new(inner)));
        }
        curves.append(&mut read_curves(&place));
        let path = folder.strip_prefix(study).unwrap_or(folder);
        RunRecord {
            run,
            path: path.display().to_string(),
            state,
            results,
            curves,
        }
    }

    /// The dev score × 100 of a task; `None` where the run has none.
    pub fn score(&self, task: &str) -> Option<f64> {
        let score = self.results.as_ref()?.tasks.get(task)?.dev.score;
        Some(100.0 * score).filter(|score| score.is_finite())
    }

    /// The tasks on which the run is not above the best constant answer.
    pub fn collapsed(&self) -> Vec<&str> {
        let Some(results) = &self.results else {
            return Vec::new();
        };
        let tasks = results.tasks.iter();
        let collapsed = tasks.filter(|(task, result)| {
            let level = results.constant_answer.get(*task);
            level.is_some_and(|level| result.dev.score <= level + 1e-9)
        });
        collapsed.map(|(task, _)| task.as_str()).collect()
    }
}

impl Study {
    pub fn run(&self, name: &str) -> Option<&RunRecord> {
        self.runs.iter().find(|record| record.run.name == name)
    }

    /// Rows of `task` that stand behind a run: its own training rows, or its source's.
    pub fn training_rows(&self, run: &str, task: &str) -> Option<u64> {
        let mut next = self.run(run);
        // A chain is as long as the study at most; a circle in the plan ends too.
        for _ in 0..self.runs.len() {
            let record = next?;
            let rows = record.results.as_ref().map(|r| &r.training_rows);
            if let Some(rows) = rows.and_then(|rows| rows.get(task)) {
                return Some(*rows);
            }
            next = self.run(record.run.source.as_deref()?);
        }
        None
    }

    /// How many runs are in a state.
    pub fn count(&self, state: State) -> usize {
        self.runs.iter().filter(|run| run.state == state).count()
    }
}

fn read_curves(folder: &RunFolder) -> BTreeMap<String, Curve> {
    let text = std::fs::read_to_string(folder.metrics()).unwrap_or_default();
    let mut curves: BTreeMap<String, Curve> = BTreeMap::new();
    // The last line of a run that is being written may be cut off.
    for line in text.lines() {
        let Ok(line) = serde_json::from_str::<EvaluationLine>(line) else {
            continue;
        };
        for (task, scores) in line.dev {
            if scores.score.is_finite() {
                let curve = curves.entry(task).or_default();
                curve.push((line.step, 100.0 * scores.score));
            }
        }
    }
    curves
}
