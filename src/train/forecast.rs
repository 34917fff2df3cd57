//! What a run will take, found out by preparing it and timing a few of its steps.

use anyhow::Result;

use super::bench;
use super::evaluate::COST;
use super::prepare::{prepare, Prepared};
use super::run;
use super::space;
use super::step::precision::device_name;
use super::tasks;
use crate::config::Config;

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
        .flat_map(|(_, parts)| parts)
        .map(|batch| {
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
    let bytes = space::needed(config, &learner)?;
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
