//! Strategies made of runs.
//!
//! Single-task training of several tasks is one run per task; the other methods are one run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::config::{Config, Method};
use crate::telemetry::atomic;
use crate::train::run;
use crate::train::run_folder::{Overall, Results, RunFolder};
use crate::train::tasks;

/// Trains what `config` says in `out`. `single` over several tasks trains each in a run folder of
/// its own, `out/<task>`, and writes their common `results.json`.
pub fn train(config: &Config, out: &Path, resume: bool) -> Result<Results> {
    let folder = RunFolder::new(out);
    if config.method != Method::Single || config.tasks.len() == 1 {
        return run::run(config, &folder, resume);
    }
    let named = tasks::load_tasks(config)?;
    let mut all = Vec::new();
    if !resume {
        RunFolder::create(out)?;
        let names = named.iter().map(|task| task.name.clone()).collect();
        let resolved = Config {
            tasks: names,
            out: None,
            ..config.clone()
        };
        atomic::write(&folder.config(), resolved.to_yaml()?.as_bytes())?;
    }
    for (task, given) in named.iter().zip(&config.tasks) {
        let alone = Config {
            tasks: vec![given.clone()],
            ..config.clone()
        };
        let place = RunFolder::new(out.join(&task.name));
        // A run that came to its end before the interruption is not run again.
        let finished = if resume { read_results(&place) } else { None };
        let begun = resume && place.config().is_file();
        all.push(match finished {
            Some(results) => results,
            None => run::run(&alone, &place, begun)?,
        });
    }
    let results = combine(all);
    atomic::write_json(&folder.results(), &results)?;
    Ok(results)
}

/// The folder in which a task of a run was trained: the run's own, or its sub-folder for `single`.
pub fn folder_of(root: &Path, config: &Config, task: &str) -> PathBuf {
    if config.method == Method::Single && config.tasks.len() > 1 {
        root.join(task)
    } else {
        root.to_owned()
    }
}

fn read_results(folder: &RunFolder) -> Option<Results> {
    serde_json::from_slice(&std::fs::read(folder.results()).ok()?).ok()
}

/// One table of several single-task runs: sums of their costs, the mean of their scores.
fn combine(runs: Vec<Results>) -> Results {
    let count = runs.len() as f64;
    let seconds: f64 = runs.iter().map(|r| r.seconds).sum();
    let tokens: f64 = runs.iter().map(|r| r.tokens_per_second * r.seconds).sum();
    let glue_score = runs.iter().map(|r| r.glue_score).sum::<f64>() / count;
    let steps = runs.iter().map(|r| r.steps).sum();
    let tasks: BTreeMap<_, _> = runs.iter().flat_map(|r| r.tasks.clone()).collect();
    let training_rows = runs.iter().flat_map(|r| r.training_rows.clone());
    let constant_answer = runs.iter().flat_map(|r| r.constant_answer.clone());
    Results {
        tasks,
        training_rows: training_rows.collect(),
        constant_answer: constant_answer.collect(),
        glue_score,
        best: Overall {
            step: steps,
            glue_score,
        },
        steps,
        seconds,
        tokens_per_second: tokens / seconds,
        ..runs[0].clone()
    }
}
