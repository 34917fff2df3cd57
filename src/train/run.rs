//! A run from its config to its results.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::evaluate;
use super::feed::batches::{Batches, Length};
use super::keep::begin::{check_intake, lay_out};
use super::keep::checkpoint::{self, Progress};
use super::keep::made_of::{Content, MadeOf};
use super::keep::reading::{self, Reading};
use super::keep::run_folder::{
    ChosenFrom, EncoderIdentity, Overall, Results, RunFolder, Started, TaskResult,
};
use super::keep::same;
use super::prepare::{prepare, Prepared};
use super::ranks::Ranks;
use super::say::introduction::{introduction, starts_from};
use super::say::recorder::Recorder;
use super::say::sizes;
use super::space;
use super::start::Source;
use super::step::learner::Learner;
use super::step::precision::{device_name, Arithmetic};
use super::tasks::{self, TaskData};
use super::trainer::Trainer;
use crate::config::training::Products;
use crate::config::{Config, Method};
use crate::data::sampling::PLAN;
use crate::data::Intake;
use crate::error::while_running;
use crate::hub::encoder_dir;
use crate::libtorch;
use crate::task::Task;
use crate::telemetry::sealed;

/// Trains what `config` says in `folder`; with `resume`, goes on from its last checkpoint, and only
/// reads the results of a run that has ended.
///
/// # Errors
/// Input errors for what the config or the data get wrong; [`crate::error::Interrupted`] after
/// Ctrl-C.
pub fn run(
    config: &Config,
    folder: &RunFolder,
    resume: bool,
    ranks: &Arc<Ranks>,
) -> Result<Results> {
    let tasks = tasks::load_tasks(config)?;
    let mut config = Config {
        tasks: tasks.iter().map(|task| task.name.clone()).collect(),
        out: None,
        ..config.clone()
    };
    config.training.products = ranks.first(|| products(&config, folder, resume))?;
    let config = &config;
    let begun = match resume {
        true => folder.begun()?,
        false => None,
    };
    if resume {
        same::check_config(config, folder, begun.is_some())?;
        if let Some(results) = folder.ended()? {
            // Files that are gone are no others, and nothing is computed any more.
            if let (Some(was), Ok(is)) = (&begun, Content::read(config, &tasks)) {
                same::check_content(&was.content, &is, folder)?;
            }
            if ranks.is_first() {
                checkpoint::clear(folder, &config.checkpoints)?;
            }
            return Ok(results);
        }
    }
    let (saved, damaged) = match resume {
        true => checkpoint::newest(folder)?,
        false => (None, Vec::new()),
    };
    let source = match saved {
        // A checkpoint has all that came from the source.
        Some(_) => None,
        None => Source::open(config)?,
    };
    let content = Reading::start(config, &tasks);
    let Prepared {
        mut learner,
        intake,
        report,
        source: encoder_source,
    } = prepare(config, tasks)?;
    learner.ranks = Arc::clone(ranks);
    let found = MadeOf::new(content.finish(&intake)?, &learner);
    let first = ranks.first(|| Ok(found.content.clone()))?;
    same::check_processes(&first, &found.content)?;
    // What checkpoints go on from is what the run was begun with: a file of today is the same, or,
    // where there is no record, the best that is known.
    let weights = found.content.encoder.weights.clone();
    let (made_of, doubts) = match (resume, begun) {
        (false, _) => (Some(found), Vec::new()),
        (true, Some(begun)) => {
            let rounding = same::check(&begun, &found, folder)?;
            (Some(begun), same::doubts(&rounding))
        }
        (true, None) => (None, vec![same::UNRECORDED.to_owned()]),
    };
    let mut batches = batches(config, &learner.data, &intake)?;
    let length = batches.length;
    let mut progress = match saved {
        Some(saved) => saved.read(folder, &learner.model, Some(&mut learner.optimizer))?,
        None => Progress {
            start: match source {
                Some(source) => Some(begin(source, &learner)?),
                None => None,
            },
            plan: PLAN,
            ..Progress::default()
        },
    };
    progress.total = length.total;
    begin_weights(&mut learner, &mut progress)?;
    learner.check_same()?;
    batches.observe(&progress.last);
    batches
        .resume(progress.plan, progress.shares.clone())
        .with_context(|| format!("{}", folder.root().display()))?;
    let products = learner.arithmetic.products();
    learner.model.encoder.set_products(products)?;
    if resume {
        check_intake(folder, &intake)?;
    } else if let (true, Some(made_of)) = (ranks.is_first(), &made_of) {
        space::check(config, &learner, folder.root())?;
        lay_out(
            folder,
            config,
            &learner.data,
            (&encoder_source, learner.model.encoder.as_ref()),
            made_of,
            &intake,
        )?;
    }
    if ranks.is_first() && progress.run.is_empty() {
        progress.run = folder.description()?;
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
    let recorder = match ranks.is_first() {
        true => {
            let (start, total) = (progress.step, length.total);
            Some(Recorder::open(folder, config, resume, start, total)?)
        }
        false => None,
    };
    let mut lines = introduction(config, &report, &learner.data, length, arithmetic);
    lines.extend(intake.notes().iter().cloned());
    lines.extend(progress.start.as_ref().map(starts_from));
    lines.extend(sizes::unofficial(config, &learner.data)?);
    lines.extend(doubts);
    lines.extend(damaged);
    let evaluated = progress.step / length.evaluate_every - u64::from(progress.pending);
    let recorded = recorder
        .as_ref()
        .map_or(evaluated, |recorder| recorder.recorded);
    lines.extend((recorded < evaluated).then(|| {
        format!(
            "{} has {recorded} of the {evaluated} evaluations up to step {}; curves lack the others",
            folder.metrics().display(),
            progress.step
        )
    }));
    let mut trainer = Trainer::new(learner, batches, folder, recorder, progress);
    lines.extend(trainer.plan.note());
    if let Some(recorder) = &mut trainer.recorder {
        lines.iter().try_for_each(|line| recorder.note(line))?;
    }
    trainer.run().map_err(while_running)?;
    if let (Some(why), Some(recorder)) = (trainer.ended_early(), &mut trainer.recorder) {
        recorder.note(&why)?;
    }

    let mut distance_from_identity = BTreeMap::new();
    for (task, alignment) in trainer.learner.alignments() {
        let distance = alignment.distance_from_identity()?;
        distance_from_identity.insert(task.to_owned(), distance);
    }
    let state = &trainer.progress;
    let every = length.evaluate_every;
    let mut counted = trainer.plan.counted(every, state.step);
    let chosen_from = counted.next().map(|first| ChosenFrom {
        evaluations: 1 + counted.count() as u64,
        every,
        first,
    });
    let results = Results {
        method: config.method.name().into(),
        tasks: task_results(state, chosen_from),
        training_rows,
        constant_answer,
        distance_from_identity,
        glue_score: glue_score(state),
        best: state.overall.clone().unwrap_or(Overall {
            step: state.step,
            glue_score: f64::NAN,
        }),
        steps: state.step,
        ended_early: trainer.ended_early(),
        epochs: state.step as f64 / length.per_epoch,
        seconds: state.seconds,
        tokens_per_second: state.tokens as f64 / state.training_seconds.max(1e-9),
        seed: config.training.seed,
        encoder: EncoderIdentity {
            name: config.encoder.to_string(),
            sha256: weights,
        },
        start: state.start.clone(),
        weights: state.weights.clone(),
        libtorch: libtorch::version(),
        device: device_name(arithmetic.device()),
        precision: arithmetic.name().into(),
        threads: tch::get_num_threads(),
        ranks: ranks.size,
        version: env!("CARGO_PKG_VERSION").into(),
        program: reading::program(),
        files: state.run.clone(),
        made_of,
    };
    if let Some(recorder) = &mut trainer.recorder {
        recorder.finish(&results).map_err(while_running)?;
        // From here on the run has ended: what it does not keep can go.
        sealed::write(&folder.results(), &results).map_err(while_running)?;
        checkpoint::clear(folder, &config.checkpoints)?;
    }
    ranks.meet()?;
    Ok(results)
}

/// The library of products that `training.products` comes to: for a run that goes on, the one that it was
/// begun with.
fn products(config: &Config, folder: &RunFolder, resume: bool) -> Result<Products> {
    let asked = config.training.products;
    if asked == Products::Auto && resume {
        let begun = Config::load(&folder.config(), &[])?;
        return Ok(begun.training.products.of_run());
    }
    let arithmetic = Arithmetic::new(config)?;
    Ok(match arithmetic.device().is_cuda() {
        true => asked,
        false => arithmetic.taken(),
    })
}

/// A run's batches, over the rows that it was prepared with.
///
/// # Errors
/// Input errors as [`Batches::new`], and for tasks of `training.steps_with` that cannot be read.
pub fn batches(config: &Config, data: &[TaskData], intake: &Intake) -> Result<Batches> {
    let joint = joint_length(config, data, intake)?;
    Batches::of_length(config, data, joint)
}

/// How long the joint run is whose steps a config asks for, where it does.
fn joint_length(config: &Config, data: &[TaskData], intake: &Intake) -> Result<Option<Length>> {
    let mut joint = config.clone();
    let others = std::mem::take(&mut joint.training.steps_with);
    if others.is_empty() {
        return Ok(None);
    }
    joint.method = Method::Multitask;
    joint.evaluation.test = false;
    let mut tasks: Vec<Task> = data.iter().map(|data| data.task.clone()).collect();
    for task in tasks::load_named(config, &others, "training.steps_with")? {
        if !tasks.iter().any(|own| own.name == task.name) {
            tasks.push(task);
        }
    }
    let data = tasks::load_data(tasks, &joint, intake, &encoder_dir::home())?;
    Ok(Some(Batches::new(&joint, &data)?.length))
}

/// Works out what tasks and labels weigh, or takes it from the checkpoint; in the first process, for all.
fn begin_weights(learner: &mut Learner, progress: &mut Progress) -> Result<()> {
    let names = learner.objectives.names.iter();
    let known: Option<Vec<f64>> = names
        .map(|name| progress.weights.get(name).copied())
        .collect();
    let ranks = Arc::clone(&learner.ranks);
    let of_first = ranks.first(|| {
        learner.begin_weights(known.as_deref())?;
        learner.weighting.weights()
    })?;
    if ranks.size > 1 {
        learner.begin_weights(Some(&of_first))?;
    }
    progress.weights = learner.weights()?;
    Ok(())
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

fn task_results(state: &Progress, chosen_from: Option<ChosenFrom>) -> BTreeMap<String, TaskResult> {
    let best = state.best.iter();
    best.map(|(task, best)| {
        let result = TaskResult {
            dev: best.scores.clone(),
            test: best.test.clone(),
            step: best.step,
            last: state.last.get(task).unwrap_or(&best.scores).clone(),
            chosen_from,
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
