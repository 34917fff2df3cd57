//! Which batch comes when, and how long a run is.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::bail_input;
use crate::config::{BatchKind, Config, Strategy};
use crate::data::planned::Parts;
use crate::data::sampling::{BatchSize, Sampler, PLAN};
use crate::data::shares;
use crate::model::named_seed;
use crate::train::evaluate::Scores;
use crate::train::tasks::TaskData;

/// The most epochs that one optimiser step may take.
const MOST_EPOCHS_IN_A_STEP: u64 = 10;

/// How long a run is, in optimiser steps.
#[derive(Debug, Clone, Copy)]
pub struct Length {
    pub total: u64,
    pub per_epoch: f64,
    pub evaluate_every: u64,
    pub save_every: u64,
}

/// What each task has in an epoch: batches, or rows where batches are heterogeneous.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochShares {
    /// Counted from 0.
    pub epoch: u64,
    pub shares: Vec<usize>,
}

/// A run's batches, one epoch of them in memory.
pub struct Batches {
    pub length: Length,
    sampler: Sampler,
    /// Batches in an epoch.
    in_epoch: u64,
    /// Batches in an optimiser step.
    accumulate: u64,
    /// Tasks that a batch may have rows of.
    tasks_in_batch: u64,
    /// Epochs in the run, the last perhaps cut.
    epochs: u64,
    dynamic: Option<Dynamic>,
    /// Of the epoch under way.
    shares: Option<EpochShares>,
    /// The epoch whose batches are in `planned`.
    epoch: Option<u64>,
    planned: Vec<Parts>,
}

/// What shares depend on that follow the dev scores.
struct Dynamic {
    tasks: Vec<String>,
    /// Scores of the tasks when trained alone.
    references: Vec<f64>,
    /// Each task's part of an epoch after the last evaluation.
    needs: Option<Vec<f64>>,
}

impl Batches {
    /// What a config asks for over the tasks' training rows.
    ///
    /// # Errors
    /// Input errors where `dynamic` sampling lacks a single-task score or evaluations.
    pub fn new(config: &Config, data: &[TaskData]) -> Result<Batches> {
        Batches::of_length(config, data, None)
    }

    /// As [`Batches::new`], as long as a run of another `length`, where one is given.
    ///
    /// # Errors
    /// As [`Batches::new`].
    pub fn of_length(
        config: &Config,
        data: &[TaskData],
        length: Option<Length>,
    ) -> Result<Batches> {
        let training = &config.training;
        let seed = named_seed(training.seed, "batches") as u64;
        let rows = data.iter().map(TaskData::sampled).collect();
        let size = BatchSize::of(training);
        let sampler = Sampler::new(rows, &config.sampling, size, seed);
        let in_epoch = sampler.batches_per_epoch() as u64;
        // A few epochs in a step are odd; a thousand would never end.
        if training.accumulate as u64 > MOST_EPOCHS_IN_A_STEP.saturating_mul(in_epoch) {
            bail_input!(
                "key `training.accumulate`: a step of {} batches is more than {MOST_EPOCHS_IN_A_STEP} \
                 epochs, which have {in_epoch} each",
                training.accumulate
            );
        }
        let per_epoch = in_epoch as f64 / training.accumulate as f64;
        let total = ((training.epochs * per_epoch).ceil() as u64).max(1);
        let own = Length {
            total: training.max_steps.map_or(total, |most| most.min(total)),
            per_epoch,
            evaluate_every: config.evaluation.every.steps(per_epoch),
            save_every: config.checkpoints.every.steps(per_epoch),
        };
        let asked = match length {
            Some(length) => length.total as f64 / per_epoch,
            None => training.epochs,
        };
        let length = length.map_or(own, |length| Length {
            per_epoch,
            ..length
        });
        let dynamic = match config.sampling.strategy {
            Strategy::Dynamic => Some(Dynamic::new(config, data, length)?),
            _ => None,
        };
        Ok(Batches {
            length,
            sampler,
            in_epoch,
            accumulate: training.accumulate as u64,
            tasks_in_batch: match config.sampling.batches {
                BatchKind::Homogeneous => 1,
                BatchKind::Heterogeneous => data.len() as u64,
            },
            epochs: epochs(asked, &length, training.accumulate as u64, in_epoch),
            dynamic,
            shares: None,
            epoch: None,
            planned: Vec::new(),
        })
    }

    /// The batches of an optimiser step, and the number of each one's first part; those of the others follow,
    /// and no other part of the run has them.
    pub fn step(&mut self, step: u64) -> Vec<(u64, Parts)> {
        let first = step * self.accumulate;
        let indices = first..first + self.accumulate;
        indices
            .map(|index| (index * self.tasks_in_batch, self.at(index)))
            .collect()
    }

    /// Whether a step's rows are settled: under `dynamic` sampling they may hang on an evaluation
    /// that is still to come.
    pub fn knows(&self, step: u64) -> bool {
        let epoch = ((step + 1) * self.accumulate - 1) / self.in_epoch;
        self.dynamic.is_none() || self.epoch == Some(epoch)
    }

    /// Takes note of the tasks' dev scores: the epochs that are planned from now on follow them.
    pub fn observe(&mut self, dev: &BTreeMap<String, Scores>) {
        let Some(dynamic) = &mut self.dynamic else {
            return;
        };
        let score = |task: &String| dev.get(task).map(|scores| scores.score);
        let scores: Option<Vec<f64>> = dynamic.tasks.iter().map(score).collect();
        dynamic.needs = scores.map(|scores| shares::dynamic(&dynamic.references, &scores));
    }

    /// What the epoch under way was planned by, where that does not follow from the config.
    pub fn shares(&self) -> Option<&EpochShares> {
        self.dynamic.as_ref().and(self.shares.as_ref())
    }

    /// Goes on in the middle of an epoch whose batches were put together as [`PLAN`] `plan` does it.
    ///
    /// # Errors
    /// An input error where that is another's: rows would come twice or not at all.
    pub fn resume(&mut self, plan: u32, shares: Option<EpochShares>) -> Result<()> {
        if plan != PLAN {
            bail_input!(
                "this run cannot go on: the covalign that began it puts batches together in \
                 another way; start a new run with another --out"
            );
        }
        self.shares = shares;
        Ok(())
    }

    /// The batch at `index`, counted from the run's start.
    fn at(&mut self, index: u64) -> Parts {
        let epoch = index / self.in_epoch;
        if self.epoch != Some(epoch) {
            let shares = match self.shares.take().filter(|known| known.epoch == epoch) {
                Some(known) => known.shares,
                None => {
                    let needs = self.dynamic.as_ref().and_then(|d| d.needs.as_deref());
                    self.sampler.shares(epoch, self.epochs, needs)
                }
            };
            self.planned = self.sampler.epoch(epoch, &shares);
            self.shares = Some(EpochShares { epoch, shares });
            self.epoch = Some(epoch);
        }
        self.planned[(index % self.in_epoch) as usize].clone()
    }
}

/// Epochs that a run goes into, of the `asked` ones: where steps of several batches do not come out
/// even, the last step's batches are no further epoch.
fn epochs(asked: f64, length: &Length, accumulate: u64, in_epoch: u64) -> u64 {
    let begun = (length.total * accumulate).div_ceil(in_epoch);
    begun.min(asked.ceil() as u64).max(1)
}

impl Dynamic {
    fn new(config: &Config, data: &[TaskData], length: Length) -> Result<Dynamic> {
        let tasks: Vec<String> = data.iter().map(|data| data.task.name.clone()).collect();
        let mut references = Vec::with_capacity(tasks.len());
        for task in &tasks {
            match config.sampling.reference.get(task) {
                Some(&score) => references.push(score),
                None => bail_input!(
                    "key `sampling.reference.{task}` is missing: dynamic sampling needs the score \
                     of each task when trained alone, as results.json of such a run has it"
                ),
            }
        }
        if length.evaluate_every as f64 > length.per_epoch.ceil() {
            bail_input!(
                "key `evaluation.every`: dynamic sampling needs an evaluation at least once an \
                 epoch, which has {:.0} steps here",
                length.per_epoch
            );
        }
        Ok(Dynamic {
            tasks,
            references,
            needs: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_several_batches_add_no_epoch() {
        let length = |total| Length {
            total,
            per_epoch: 10.0 / 4.0,
            evaluate_every: 1,
            save_every: 1,
        };
        // Three epochs of ten batches are 7.5 steps of four: the eighth ends two batches later.
        assert_eq!(epochs(3.0, &length(8), 4, 10), 3);
        assert_eq!(epochs(0.5, &length(2), 4, 10), 1);
        // Cut by max_steps in the second epoch.
        assert_eq!(epochs(3.0, &length(3), 4, 10), 2);
    }
}
