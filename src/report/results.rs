//! What a folder of runs holds: the plan, and each run's results as far as there are any.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::bail_input;
use crate::suite::plan::{Cell, Run};
use crate::suite::seen::Seen;
use crate::train::evaluate::Scores;
use crate::train::keep::run_folder::{EvaluationLine, Results, RunFolder};
use crate::train::keep::setting::RunFacts;

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
    /// Settings in which runs differ that the plan does not vary: only what is equal in them is
    /// averaged and compared.
    pub differ_in: Vec<String>,
    /// Scored rows that it trains on.
    pub seen: Vec<Seen>,
}

/// The rows whose scores are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Judge {
    /// Those that chose each task's best evaluation
    #[default]
    Dev,
    /// Those that had no part in choosing it, where runs scored them (evaluation.test)
    Test,
}

impl Study {
    /// Whether runs scored test rows.
    pub fn has_test_scores(&self) -> bool {
        let results = self.runs.iter().filter_map(|run| run.results.as_ref());
        let mut tasks = results.flat_map(|results| results.tasks.values());
        tasks.any(|task| task.test.is_some())
    }

    /// Lets test judge what dev has chosen.
    ///
    /// # Errors
    /// An input error where no run has scored test rows.
    pub fn judge_by_test(&mut self) -> Result<()> {
        if !self.has_test_scores() {
            bail_input!(
                "{}: no run has scored test rows; train with evaluation.test: true",
                self.folder.display()
            );
        }
        self.runs.iter_mut().for_each(|run| run.judge = Judge::Test);
        self.title = format!("{}: test scores of what dev chose", self.title);
        Ok(())
    }
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
    /// What its scores were made with; none where there is no config that can be read.
    pub facts: Option<RunFacts>,
    /// By task.
    pub curves: BTreeMap<String, Curve>,
    /// Evaluations of each task: its score is the best of so many.
    pub evaluations: BTreeMap<String, usize>,
    pub judge: Judge,
}

impl RunRecord {
    /// Reads what there is of a run in `folder`; never fails, since a run that cannot be read must
    /// not hide the others.
    pub fn read(run: Run, study: &Path, folder: &Path) -> RunRecord {
        let place = RunFolder::new(folder);
        let (state, results): (State, Option<Results>) = match place.ended() {
            Ok(Some(results)) => (State::Done, Some(results)),
            Err(_) => (State::Unreadable, None),
            Ok(None) if place.config().is_file() => (State::Unfinished, None),
            Ok(None) => (State::Missing, None),
        };
        let mut lines = Vec::new();
        // `single` over several tasks has a run folder for each.
        for inner in run.tasks.iter().map(|task| folder.join(task)) {
            lines.append(&mut read_evaluations(&RunFolder::new(inner)));
        }
        lines.append(&mut read_evaluations(&place));
        let mut curves: BTreeMap<String, Curve> = BTreeMap::new();
        let mut evaluations = BTreeMap::new();
        for (step, task, score) in lines {
            *evaluations.entry(task.clone()).or_default() += 1;
            if score.is_finite() {
                curves.entry(task).or_default().push((step, 100.0 * score));
            }
        }
        // Not every evaluation counts: a run says so where it knows.
        for (task, result) in results.iter().flat_map(|results| &results.tasks) {
            if let Some(chosen) = result.chosen_from {
                evaluations.insert(task.clone(), chosen.evaluations as usize);
            }
        }
        let path = folder.strip_prefix(study).unwrap_or(folder);
        RunRecord {
            run,
            path: path.display().to_string(),
            facts: RunFacts::read(folder, results.clone()).ok(),
            state,
            results,
            curves,
            evaluations,
            judge: Judge::Dev,
        }
    }

    /// What a task is judged by: the scores on dev, by which its weights were chosen, or theirs on
    /// test.
    pub fn scores(&self, task: &str) -> Option<&Scores> {
        let result = self.results.as_ref()?.tasks.get(task)?;
        match self.judge {
            Judge::Dev => Some(&result.dev),
            Judge::Test => result.test.as_ref(),
        }
    }

    /// The score × 100 of a task; `None` where the run has none.
    pub fn score(&self, task: &str) -> Option<f64> {
        let score = self.scores(task)?.score;
        score.is_finite().then_some(100.0 * score)
    }

    /// The tasks on which the run is not above the best constant answer.
    pub fn collapsed(&self) -> Vec<&str> {
        let Some(results) = &self.results else {
            return Vec::new();
        };
        let tasks = results.tasks.keys().map(String::as_str);
        tasks.filter(|task| results.collapsed_on(task)).collect()
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

    /// Seconds of the runs that a run started from; `None` where it started from none that is known.
    pub fn seconds_before(&self, record: &RunRecord) -> Option<f64> {
        let mut next = record.run.source.as_deref();
        let mut seconds = None;
        for _ in 0..self.runs.len() {
            let Some(source) = next.and_then(|name| self.run(name)) else {
                break;
            };
            let own = source.results.as_ref().map(|results| results.seconds);
            seconds = Some(seconds.unwrap_or(0.0) + own.unwrap_or(0.0));
            next = source.run.source.as_deref();
        }
        seconds
    }

    /// How many runs are in a state.
    pub fn count(&self, state: State) -> usize {
        self.runs.iter().filter(|run| run.state == state).count()
    }
}

/// Step, task and dev score of every evaluation, a step counting once.
fn read_evaluations(folder: &RunFolder) -> Vec<(u64, String, f64)> {
    let text = std::fs::read_to_string(folder.metrics()).unwrap_or_default();
    let mut by_step = BTreeMap::new();
    // The last line of a run that is being written may be cut off.
    for line in text.lines() {
        if let Ok(line) = serde_json::from_str::<EvaluationLine>(line) {
            by_step.insert(line.step, line.dev);
        }
    }
    let lines = by_step.into_iter().flat_map(|(step, dev)| {
        let scores = dev.into_iter();
        scores.map(move |(task, scores)| (step, task, scores.score))
    });
    lines.collect()
}
