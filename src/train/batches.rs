//! Which batch comes when, and how long a run is.

use super::tasks::TaskData;
use crate::config::Config;
use crate::data::sampling::{PlannedBatch, Sampler};
use crate::model::named_seed;

/// How long a run is, in optimiser steps.
#[derive(Debug, Clone, Copy)]
pub struct Length {
    pub total: u64,
    pub per_epoch: f64,
    pub evaluate_every: u64,
    pub save_every: u64,
}

/// A run's batches, one epoch of them in memory.
pub struct Batches {
    pub length: Length,
    sampler: Sampler,
    /// The epoch whose batches are in `planned`.
    epoch: Option<u64>,
    planned: Vec<PlannedBatch>,
}

impl Batches {
    /// What a config asks for over the tasks' training rows.
    pub fn new(config: &Config, data: &[TaskData]) -> Batches {
        let training = &config.training;
        let seed = named_seed(training.seed, "batches") as u64;
        let rows = data.iter().map(TaskData::sampled).collect();
        let sampler = Sampler::new(rows, &config.sampling, training.batch_size, seed);
        let per_epoch = sampler.batches_per_epoch() as f64 / training.accumulate as f64;
        let total = ((training.epochs * per_epoch).ceil() as u64).max(1);
        let length = Length {
            total: training.max_steps.map_or(total, |most| most.min(total)),
            per_epoch,
            evaluate_every: config.evaluation.every.steps(per_epoch),
            save_every: config.checkpoints.every.steps(per_epoch),
        };
        Batches {
            length,
            sampler,
            epoch: None,
            planned: Vec::new(),
        }
    }

    /// The batch at `index`, counted from the run's start.
    pub fn at(&mut self, index: u64) -> PlannedBatch {
        let per_epoch = self.sampler.batches_per_epoch() as u64;
        let epoch = index / per_epoch;
        if self.epoch != Some(epoch) {
            self.planned = self.sampler.epoch(epoch);
            self.epoch = Some(epoch);
        }
        self.planned[(index % per_epoch) as usize].clone()
    }
}
