//! A run from its config to its results.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::batches::{Batches, Length};
use super::checkpoint::{self, Progress};
use super::evaluate;
use super::learner::Learner;
use super::precision::Arithmetic;
use super::prepare::{prepare, Prepared};
use super::recorder::Recorder;
use super::run_folder::{
    CutSplit, EncoderIdentity, Overall, Results, RunFolder, Started, TaskResult,
};
use super::start::Source;
use super::tasks::{self, TaskData};
use super::trainer::Trainer;
use crate::config::Config;
use crate::data::overlap::Overlap;
use crate::error::io_error;
use crate::model::encoder_init::TOKENIZER_FILES;
use crate::model::{save, weights};
use crate::telemetry::atomic;
use crate::{bail_input, libtorch};

/// Trains what `config` says in `folder`; with `resume`, goes on from its last checkpoint, and only
/// reads the results of a run that has ended.
///
/// # Errors
/// Input errors for what the config or the data get wrong; [`crate::error::Interrupted`] after
/// Ctrl-C.
pub fn run(config: &Config, folder: &RunFolder, resume: bool) -> Result<Results> {
    let tasks = tasks::load_tasks(config)?;
    let config = &Config {
        tasks: tasks.iter().map(|task| task.name.clone()).collect(),
        out: None,
        ..config.clone()
    };
    if resume {
        check_same(config, folder)?;
        if let Some(results) = folder.finished() {
            checkpoint::clear(folder, config.checkpoints.after)?;
            return Ok(results);
        }
    }
    let saved = folder.saved_steps().pop().filter(|_| resume);
    let source = match saved {
        // A checkpoint has all that came from the source.
        Some(_) => None,
        None => Source::open(config)?,
    };
    let Prepared {
        mut learner,
        report,
        encoder_folder,
        weight_file,
    } = prepare(config, tasks)?;
    let mut batches = Batches::new(config, &learner.data)?;
    let length = batches.length;
    let progress = match saved {
        Some((_, saved)) => checkpoint::read(&saved, &learner.model, Some(&mut learner.optimizer))?,
        None => Progress {
            start: match source {
                Some(source) => Some(begin(source, &learner)?),
                None => None,
            },
            ..Progress::default()
        },
    };
    batches.observe(&progress.last);
    batches.resume(progress.shares.clone());
    let products = learner.arithmetic.products();
    learner.model.encoder.set_products(products)?;
    if !resume {
        lay_out(folder, config, &learner.data, &encoder_folder)?;
    }
    let arithmetic = learner.arithmetic;
    let mut training_rows = BTreeMap::new();
    let mut constant_answer = BTreeMap::new();
    for data in learner.data.iter() {
        let name = &data.task.name;
        training_rows.insert(name.clone(), data.rows.len() as u64);
        let level = evaluate::constant_answer(&data.task, &data.dev)?;
        constant_answer.insert(name.clone(), level);
    }
    let mut recorder = Recorder::open(folder, config, resume, progress.step, length.total)?;
    let mut lines = introduction(config, &report, &learner.data, length, arithmetic);
    lines.extend(progress.start.as_ref().map(starts_from));
    lines.iter().try_for_each(|line| recorder.note(line))?;
    let mut trainer = Trainer::new(learner, batches, folder, recorder, progress);
    trainer.run()?;

    let mut distance_from_identity = BTreeMap::new();
    for (index, data) in trainer.learner.data.iter().enumerate() {
        if let Some(alignment) = trainer.learner.model.alignment(index) {
            let distance = alignment.distance_from_identity()?;
            distance_from_identity.insert(data.task.name.clone(), distance);
        }
    }
    let state = &trainer.progress;
    let results = Results {
        method: config.method.name().into(),
        tasks: task_results(state),
        training_rows,
        constant_answer,
        distance_from_identity,
        glue_score: glue_score(state),
        best: state.overall.clone().unwrap_or(Overall {
            step: state.step,
            glue_score: f64::NAN,
        }),
        steps: state.step,
        epochs: state.step as f64 / length.per_epoch,
        seconds: state.seconds,
        tokens_per_second: state.tokens as f64 / state.training_seconds.max(1e-9),
        seed: config.training.seed,
        encoder: EncoderIdentity {
            name: config.encoder.clone(),
            sha256: save::sha256(&weight_file)?,
        },
        start: state.start.clone(),
        libtorch: libtorch::version(),
        device: device_name(arithmetic.device()),
        precision: arithmetic.name().into(),
        threads: tch::get_num_threads(),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    trainer.recorder.finish(&results)?;
    // From here on the run has ended: what it does not keep can go.
    atomic::write_json(&folder.results(), &results)?;
    checkpoint::clear(folder, config.checkpoints.after)?;
    Ok(results)
}

/// Gives a fresh model the weights of the run that it starts from.
fn begin(source: Source, learner: &Learner) -> Result<Started> {
    let started = source.give(learner)?;
    let training = &learner.config.training;
    if let Some(layers) = training.reinit_layers {
        learner.model.encoder.reinitialize(layers, training.seed)?;
    }
    Ok(started)
}

/// A resumed run must be the run that was begun.
fn check_same(config: &Config, folder: &RunFolder) -> Result<()> {
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
fn lay_out(folder: &RunFolder, config: &Config, data: &[TaskData], encoder: &Path) -> Result<()> {
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
    atomic::write(&folder.config(), config.to_yaml()?.as_bytes())
}

/// Which run's weights these are.
fn starts_from(start: &Started) -> String {
    let heads = match start.heads.is_empty() {
        true => "fresh".to_owned(),
        false => {
            let each = start
                .heads
                .iter()
                .map(|(to, from)| format!("{to} {from}'s"));
            each.collect::<Vec<_>>().join(", ")
        }
    };
    format!(
        "starts from {} ({} on {}), its weights of step {}; heads: {heads}",
        start.run,
        start.method,
        start.tasks.join(", "),
        start.step
    )
}

/// What people want to know before the first step.
fn introduction(
    config: &Config,
    report: &weights::LoadReport,
    data: &[TaskData],
    length: Length,
    arithmetic: Arithmetic,
) -> Vec<String> {
    let device = arithmetic.device();
    let rows: Vec<String> = data
        .iter()
        .map(|d| format!("{} {}", d.task.name, d.rows.len()))
        .collect();
    let mut lines = vec![format!(
        "{} on {} ({}), {} in {}, {} steps, training rows: {}",
        config.method.name(),
        config.encoder,
        device_name(device),
        arithmetic.name(),
        if device.is_cuda() {
            "CUDA kernels".to_owned()
        } else {
            format!("{} threads", tch::get_num_threads())
        },
        length.total,
        rows.join(", ")
    )];
    if !report.fresh.is_empty() {
        lines.push(format!(
            "the weights lack {}; made fresh",
            report.fresh.join(", ")
        ));
    }
    if !report.ignored.is_empty() {
        lines.push(format!(
            "the weights hold {} tensors that are no part of the encoder; ignored: {}",
            report.ignored.len(),
            report.ignored.join(", ")
        ));
    }
    for data in data {
        lines.extend(
            data.train
                .warnings
                .iter()
                .chain(&data.dev.warnings)
                .cloned(),
        );
        for skipped in data.train.skipped.iter().chain(&data.dev.skipped) {
            lines.push(format!(
                "{}:{}: skipped, {}",
                skipped.file.display(),
                skipped.line,
                skipped.reason
            ));
        }
    }
    lines.extend(overlaps(data));
    lines
}

/// What of the dev and test rows is trained on, and what was left out so that it is not.
fn overlaps(data: &[TaskData]) -> Vec<String> {
    let mut lines = Vec::new();
    for data in data.iter().filter(|data| data.left_out > 0) {
        lines.push(format!(
            "deduplicate: {} of {}'s {} training rows left out, whose text is in another task's dev \
             or test split",
            data.left_out,
            data.task.name,
            data.train.len()
        ));
    }
    let mut found: Vec<&Overlap> = data.iter().flat_map(|data| &data.overlaps).collect();
    found.sort_by_key(|overlap| std::cmp::Reverse(overlap.rows));
    lines.extend(found.iter().map(|overlap| format!("overlap: {overlap}")));
    if found.iter().any(|overlap| overlap.between_tasks()) {
        lines.push("`deduplicate: true` leaves out such training rows of another task".into());
    }
    lines
}

fn task_results(state: &Progress) -> BTreeMap<String, TaskResult> {
    let best = state.best.iter();
    best.map(|(task, best)| {
        let result = TaskResult {
            dev: best.scores.clone(),
            step: best.step,
            last: state.last.get(task).unwrap_or(&best.scores).clone(),
        };
        (task.clone(), result)
    })
    .collect()
}

/// Mean of the tasks' best scores × 100.
fn glue_score(state: &Progress) -> f64 {
    let sum: f64 = state.best.values().map(|best| best.scores.score).sum();
    100.0 * sum / state.best.len().max(1) as f64
}

/// `cpu` or `cuda:0`.
pub fn device_name(device: tch::Device) -> String {
    match device {
        tch::Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".into(),
    }
}
