//! Which rows make up each batch of an epoch.
//!
//! A plan is a function of the seed and the epoch alone, so a run that resumes in the middle of
//! an epoch sees the batches that it would have seen.

use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::config::{Sampling, Strategy};

/// Rows of one task that are trained together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedBatch {
    /// Index of the task among the run's.
    pub task: usize,
    /// Rows of the task's training split.
    pub rows: Vec<u32>,
}

/// The training rows of one task, with their lengths in tokens.
#[derive(Debug, Clone)]
pub struct TaskRows {
    pub rows: Vec<u32>,
    /// Tokens of each of `rows`.
    pub lengths: Vec<u32>,
}

/// Draws the batches of any epoch.
#[derive(Debug, Clone)]
pub struct Sampler {
    tasks: Vec<TaskRows>,
    /// Batches of each task in an epoch.
    shares: Vec<usize>,
    batch_size: usize,
    length_window: usize,
    seed: u64,
}

impl Sampler {
    /// A sampler over tasks that each have at least one row.
    pub fn new(tasks: Vec<TaskRows>, config: &Sampling, batch_size: usize, seed: u64) -> Sampler {
        let sizes: Vec<usize> = tasks.iter().map(|t| t.rows.len()).collect();
        Sampler {
            shares: shares(&sizes, config, batch_size),
            tasks,
            batch_size,
            length_window: config.length_window,
            seed,
        }
    }

    /// Batches of each task in one epoch.
    pub fn shares(&self) -> &[usize] {
        &self.shares
    }

    /// Batches in one epoch.
    pub fn batches_per_epoch(&self) -> usize {
        self.shares.iter().sum()
    }

    /// The batches of one epoch, in order.
    pub fn epoch(&self, epoch: u64) -> Vec<PlannedBatch> {
        let mut plan = Vec::with_capacity(self.batches_per_epoch());
        for (task, &count) in self.shares.iter().enumerate() {
            let mut rng = self.generator(epoch, task as u64);
            let rows = self.draw(task, count, &mut rng);
            plan.extend(rows.into_iter().map(|rows| PlannedBatch { task, rows }));
        }
        plan.shuffle(&mut self.generator(epoch, u64::MAX));
        plan
    }

    /// A stream of its own for every epoch and task.
    fn generator(&self, epoch: u64, stream: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        // 2^40 words a stream's epoch: more than any epoch draws.
        rng.set_word_pos(u128::from(epoch) << 40);
        rng
    }

    /// `count` batches of a task's rows, going through them as often as that takes. Within one
    /// pass no row comes twice.
    fn draw(&self, task: usize, count: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<u32>> {
        let task = &self.tasks[task];
        let mut batches = Vec::with_capacity(count);
        while batches.len() < count {
            let mut order: Vec<usize> = (0..task.rows.len()).collect();
            order.shuffle(rng);
            order.truncate((count - batches.len()) * self.batch_size);
            for window in order.chunks_mut(self.batch_size * self.length_window) {
                if self.length_window > 1 {
                    window.sort_by_key(|&i| task.lengths[i]);
                }
                for batch in window.chunks(self.batch_size) {
                    batches.push(batch.iter().map(|&i| task.rows[i]).collect());
                }
            }
        }
        batches
    }
}

/// Batches of each task in an epoch, at least one.
fn shares(sizes: &[usize], config: &Sampling, batch_size: usize) -> Vec<usize> {
    let own: Vec<usize> = sizes.iter().map(|n| n.div_ceil(batch_size)).collect();
    match config.strategy {
        Strategy::Proportional => own,
        Strategy::Uniform => {
            let smallest = own.iter().copied().min().unwrap_or(0);
            vec![smallest; own.len()]
        }
        Strategy::Temperature => {
            let total: usize = own.iter().sum();
            let weights: Vec<f64> = sizes
                .iter()
                .map(|&n| (n as f64).powf(config.temperature))
                .collect();
            let sum: f64 = weights.iter().sum();
            weights
                .iter()
                .map(|w| ((w / sum * total as f64).round() as usize).max(1))
                .collect()
        }
    }
}

/// A sample of `count` of the rows 0..`rows` that `seed` fixes, in order; all where `count` is
/// none or larger.
pub fn subset(rows: usize, count: Option<usize>, seed: u64) -> Vec<u32> {
    let mut all: Vec<u32> = (0..rows as u32).collect();
    if let Some(count) = count.filter(|&count| count < rows) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        all.shuffle(&mut rng);
        all.truncate(count);
        all.sort_unstable();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(rows: usize) -> TaskRows {
        TaskRows {
            rows: (0..rows as u32).collect(),
            lengths: (0..rows as u32).map(|i| 5 + i * 7 % 40).collect(),
        }
    }

    fn sampler(sizes: &[usize], strategy: Strategy) -> Sampler {
        let config = Sampling {
            strategy,
            length_window: 4,
            ..Sampling::default()
        };
        Sampler::new(sizes.iter().map(|&n| task(n)).collect(), &config, 8, 7)
    }

    #[test]
    fn proportional_epoch_holds_every_row_of_every_task_once() {
        let sampler = sampler(&[100, 37], Strategy::Proportional);
        for epoch in 0..3 {
            let plan = sampler.epoch(epoch);
            for (task, size) in [(0, 100), (1, 37)] {
                let mut rows: Vec<u32> = plan
                    .iter()
                    .filter(|b| b.task == task)
                    .flat_map(|b| b.rows.clone())
                    .collect();
                rows.sort_unstable();
                assert_eq!(rows, (0..size).collect::<Vec<u32>>());
            }
        }
    }

    #[test]
    fn an_epoch_is_the_same_every_time_and_differs_from_the_next() {
        let sampler = sampler(&[64, 64], Strategy::Proportional);
        assert_eq!(sampler.epoch(5), sampler.epoch(5));
        assert_ne!(sampler.epoch(5), sampler.epoch(6));
    }

    #[test]
    fn a_tasks_rows_do_not_depend_on_the_tasks_after_it() {
        let alone = sampler(&[64], Strategy::Proportional).epoch(1);
        let pair = sampler(&[64, 16], Strategy::Proportional).epoch(1);
        let mut alone: Vec<_> = alone.into_iter().map(|b| b.rows).collect();
        let mut pair: Vec<_> = pair
            .into_iter()
            .filter(|b| b.task == 0)
            .map(|b| b.rows)
            .collect();
        alone.sort();
        pair.sort();
        assert_eq!(alone, pair);
    }

    #[test]
    fn uniform_ends_with_the_smallest_task() {
        let sampler = sampler(&[800, 24], Strategy::Uniform);
        assert_eq!(sampler.shares(), [3, 3]);
        assert_eq!(sampler.epoch(0).len(), 6);
    }

    #[test]
    fn temperature_shares_follow_the_power_of_the_sizes() {
        // 100 and 4 batches: √800 : √32 = 5 : 1 of 104.
        let sampler = sampler(&[800, 32], Strategy::Temperature);
        assert_eq!(sampler.shares(), [87, 17]);
        let plan = sampler.epoch(0);
        let small = plan.iter().filter(|b| b.task == 1);
        let mut counts = [0; 32];
        small
            .flat_map(|b| &b.rows)
            .for_each(|&r| counts[r as usize] += 1);
        let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
        assert!(spread <= 1, "{counts:?}");
    }
}
