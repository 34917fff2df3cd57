//! Strategies made of runs.
//!
//! Single-task training of several tasks is one run per task; the other methods are one run. Each
//! way to use several data sets (Weller et al. 2022; Wu, Zhang and Ré 2020) is a config, or two in
//! a row, for a target T and a supporting task S:
//!
//! | strategy | config |
//! |---|---|
//! | single | `tasks: [T]`, `method: single` |
//! | pairwise MTL | `tasks: [T, S]`, `method: multitask` or `aligned` |
//! | MTL-ALL | `tasks:` all nine, `method: multitask`, `sampling: {strategy: dynamic, reference: …}` |
//! | STILTs | `tasks: [S]`, `method: single`; then T with `method: single`, `start: {run: …}` |
//! | transfer | as STILTs, T with `method: aligned`: its R starts at the identity |
//!
//! Whatever the strategy, each task's best evaluation counts: `tasks.T.dev` in `results.json`.

pub mod check;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use crate::bail_input;
use crate::config::training::ClassWeights;
use crate::config::values::RowLimit;
use crate::config::{yaml, Config, Method};
use crate::task::Labels;
use crate::telemetry::{atomic, sealed};
use crate::train::keep::lock::RunLock;
use crate::train::keep::run_folder::{Overall, Results, RunFolder, Started};
use crate::train::ranks::Ranks;
use crate::train::run;
use crate::train::step::precision::Arithmetic;
use crate::train::tasks;

/// Trains what `config` says in `out`. `single` over several tasks trains each in a run folder of
/// its own, `out/<task>`, and writes their common `results.json`.
pub fn train(config: &Config, out: &Path, resume: bool, ranks: &Arc<Ranks>) -> Result<Results> {
    let folder = RunFolder::new(out);
    let runs = runs_of(config)?;
    if let [run] = &runs[..] {
        return run::run(run, &folder, resume, ranks);
    }
    let named = tasks::load_tasks(config)?;
    let mut all = Vec::new();
    if !resume && ranks.is_first() {
        RunFolder::create(&out.join("tasks"))?;
        // Also of tasks whose turn comes later: a run's own config means these.
        for task in &named {
            atomic::write(&folder.task(&task.name), task.source().as_bytes())?;
        }
        let names = named.iter().map(|task| task.name.clone()).collect();
        let resolved = Config {
            tasks: names,
            out: None,
            ..Arithmetic::new(config)?.settle(config.clone())
        };
        atomic::write(&folder.config(), resolved.to_yaml()?.as_bytes())?;
    }
    for (task, alone) in named.iter().zip(&runs) {
        let place = RunFolder::new(out.join(&task.name));
        let mut _lock = None;
        let begun = ranks.first(|| {
            _lock = Some(RunLock::take(&place)?);
            Ok(resume && place.config().is_file())
        })?;
        all.push(run::run(alone, &place, begun, ranks)?);
    }
    let results = combine(all);
    if ranks.is_first() {
        sealed::write(&folder.results(), &results)?;
    }
    Ok(results)
}

/// The runs that a config is: one, or of `single` over several tasks one for each.
///
/// # Errors
/// Input errors for names of tasks that are none of the run's, and for a device that is not there.
pub fn runs_of(config: &Config) -> Result<Vec<Config>> {
    check_names(config)?;
    let config = Arithmetic::new(config)?.settle(config.clone());
    if config.method != Method::Single || config.tasks.len() == 1 {
        return Ok(vec![config]);
    }
    let alone = config.tasks.iter().map(|task| Config {
        tasks: vec![task.clone()],
        ..config.clone()
    });
    Ok(alone.collect())
}

/// What is said of single tasks must name tasks of the run.
fn check_names(config: &Config) -> Result<()> {
    let limits = match &config.training.max_train_rows {
        Some(RowLimit::Named(limits)) => limits.keys().collect(),
        _ => Vec::new(),
    };
    let with = tasks::load_named(config, &config.training.steps_with, "training.steps_with")?;
    let weighed = config.training.class_weights.iter();
    let weighed = weighed.flat_map(ClassWeights::named).map(|(name, _)| name);
    let keys = [
        ("training.max_train_rows", limits),
        ("training.class_weights", weighed.collect()),
        ("label_noise", config.label_noise.keys().collect()),
        (
            "weighting.weights",
            config.weighting.weights.keys().collect(),
        ),
        ("turned", config.turned.keys().collect()),
    ];
    let tasks = tasks::load_tasks(config)?;
    let names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    let labels: Vec<String> = tasks.iter().flat_map(|task| task.objectives()).collect();
    let labels: Vec<&str> = labels
        .iter()
        .map(String::as_str)
        .chain(names.clone())
        .collect();
    let limited = names
        .iter()
        .copied()
        .chain(with.iter().map(|task| task.name.as_str()));
    let limited: Vec<&str> = limited.collect();
    let classes = tasks.iter().flat_map(|task| match &task.labels {
        Labels::Classes(classes) => {
            let named = |class| format!("{}/{class}", task.name);
            let own = classes.names.iter().map(named);
            own.chain([task.name.clone()]).collect()
        }
        _ => Vec::new(),
    });
    let classes: Vec<String> = classes.collect();
    let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
    for (key, named) in keys {
        let names = match key {
            "training.class_weights" => &classes,
            "training.max_train_rows" => &limited,
            "label_noise" | "weighting.weights" => &labels,
            _ => &names,
        };
        if let Some(other) = named.iter().find(|task| !names.contains(&task.as_str())) {
            bail_input!(
                "key `{key}`: no task of the run is called `{other}`; {}",
                yaml::suggest(other, names)
            );
        }
    }
    Ok(())
}

/// The folder in which a task of a run was trained: the run's own, or its sub-folder for `single`.
pub fn folder_of(root: &Path, config: &Config, task: &str) -> PathBuf {
    if config.method == Method::Single && config.tasks.len() > 1 {
        root.join(task)
    } else {
        root.to_owned()
    }
}

/// One table of several single-task runs: sums of their costs, the mean of their scores.
fn combine(runs: Vec<Results>) -> Results {
    let count = runs.len() as f64;
    let seconds: f64 = runs.iter().map(|r| r.seconds).sum();
    let tokens: f64 = runs.iter().map(|r| r.tokens_per_second * r.seconds).sum();
    let glue_score = runs.iter().map(|r| r.glue_score).sum::<f64>() / count;
    let steps = runs.iter().map(|r| r.steps).sum();
    let start = runs[0].start.clone().map(|start| Started {
        heads: runs
            .iter()
            .filter_map(|run| run.start.as_ref())
            .flat_map(|start| start.heads.clone())
            .collect(),
        ..start
    });
    let tasks: BTreeMap<_, _> = runs.iter().flat_map(|r| r.tasks.clone()).collect();
    let training_rows = runs.iter().flat_map(|r| r.training_rows.clone());
    let constant_answer = runs.iter().flat_map(|r| r.constant_answer.clone());
    let made_of = runs[0].made_of.clone().map(|mut made_of| {
        let others = runs[1..].iter().filter_map(|run| run.made_of.as_ref());
        for other in others {
            let tasks = other.content.tasks.clone();
            made_of.content.tasks.extend(tasks);
        }
        made_of
    });
    let early = runs.iter().filter_map(|run| {
        let task = run.tasks.keys().next()?;
        Some(format!("{task} {}", run.ended_early.as_ref()?))
    });
    let early: Vec<String> = early.collect();
    let files = runs.iter().flat_map(|run| {
        let place = run.tasks.keys().next().cloned().unwrap_or_default();
        let files = run.files.clone().into_iter();
        files.map(move |(name, sum)| (format!("{place}/{name}"), sum))
    });
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
        ended_early: (!early.is_empty()).then(|| early.join("\n")),
        seconds,
        tokens_per_second: tokens / seconds,
        start,
        weights: runs.iter().flat_map(|r| r.weights.clone()).collect(),
        files: files.collect(),
        made_of,
        ..runs[0].clone()
    }
}
