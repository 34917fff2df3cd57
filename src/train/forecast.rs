//! What a run will take, found out by preparing it and timing a few of its steps.

use anyhow::Result;
use tch::Tensor;

use super::bench;
use super::evaluate::COST;
use super::prepare::{prepare, Prepared};
use super::run;
use super::step::learner::Learner;
use super::step::precision::device_name;
use super::tasks;
use crate::config::{After, Config};
use crate::model::save;

/// Steps that are timed.
const TIMED: u64 = 10;

/// What a run will take.
#[derive(Debug, Clone)]
pub struct Forecast {
    /// The task of each training split, and its rows.
    pub rows: Vec<(String, usize)>,
    pub device: String,
    pub precision: String,
    pub steps: u64,
    pub steps_per_epoch: f64,
    pub evaluations: u64,
    /// Tokens, or images, to train on; `dynamic` sampling may choose others.
    pub tokens: u64,
    /// Those of dev rows, all evaluations together.
    pub evaluated: u64,
    /// Steps that were timed, and their seconds.
    pub timed: (u64, f64),
    pub seconds: f64,
    /// Bytes of weights on the disk while it trains, at most, and at its end.
    pub bytes: (u64, u64),
}

/// Prepares what `config`, one run's, describes, and times some steps. Nothing is kept.
pub fn forecast(config: &Config) -> Result<Forecast> {
    let Prepared {
        mut learner,
        intake,
        ..
    } = prepare(config, tasks::load_tasks(config)?)?;
    let mut batches = run::batches(config, &learner.data, &intake)?;
    let length = batches.length;
    let tokens: usize = (0..length.total)
        .flat_map(|step| batches.step(step))
        .map(|(_, batch)| {
            let train = &learner.data[batch.task].train;
            let lengths = batch.rows.iter().map(|&row| train.length(row as usize));
            lengths.sum::<usize>()
        })
        .sum();
    let evaluations = length.total.div_ceil(length.evaluate_every);
    let dev: usize = learner
        .data
        .iter()
        .flat_map(|data| data.dev.lengths())
        .sum();
    let evaluated = evaluations * dev as u64;
    let bytes = bytes(config, &learner)?;
    let steps = TIMED.min(length.total);
    let costs = bench::measure(&mut learner, &mut batches, (bench::WARM_UP, steps), None)?;
    Ok(Forecast {
        rows: learner
            .data
            .iter()
            .map(|data| (data.task.name.clone(), data.rows.len()))
            .collect(),
        device: device_name(learner.arithmetic.device()),
        precision: learner.arithmetic.name().into(),
        steps: length.total,
        steps_per_epoch: length.per_epoch,
        evaluations,
        tokens: tokens as u64,
        evaluated,
        timed: (steps, costs.seconds),
        seconds: (tokens as f64 + COST * evaluated as f64) / costs.tokens_per_second(),
        bytes,
    })
}

/// Checkpoints, and the best weights of the mean and of each task, which may all be different.
fn bytes(config: &Config, learner: &Learner) -> Result<(u64, u64)> {
    let sum = |tensors: &[(String, Tensor)]| -> u64 {
        let size = |tensor: &Tensor| tensor.numel() * tensor.kind().elt_size_in_bytes();
        tensors.iter().map(|(_, tensor)| size(tensor) as u64).sum()
    };
    let model = &learner.model;
    let stores = [model.encoder.variables(), &model.heads, &model.alignments];
    let weights: u64 = stores
        .map(|store| sum(&save::variables(store)))
        .iter()
        .sum();
    let checkpoint = weights + sum(&learner.optimizer.state()?);
    let kept = &config.checkpoints;
    let places = match kept.best_per_task {
        true => 1 + learner.data.len() as u64,
        false => 1,
    };
    let (checkpoints, best) = (kept.keep as u64 * checkpoint, places * weights);
    let end = match kept.after {
        After::All => checkpoints + best,
        After::Best => best,
        After::Nothing => 0,
    };
    // A new checkpoint is whole before the oldest goes.
    Ok((checkpoints + checkpoint + best, end))
}
