//! Which rows make up each batch of an epoch.
//!
//! A plan is a function of the seed, the epoch and the tasks' shares of it alone, so a run that
//! resumes in the middle of an epoch sees the batches that it would have seen.

use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::planned::{Parts, PlannedBatch, TaskRows};
use super::{budget, mixed, shares};
use crate::config::{BatchKind, Sampling, Strategy, Training};

/// How large a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchSize {
    Rows(usize),
    /// About so many tokens; no row has more than half of it. For homogeneous batches.
    Tokens(usize),
}

impl BatchSize {
    /// What a config asks for.
    pub fn of(training: &Training) -> BatchSize {
        match training.batch_tokens {
            Some(tokens) => BatchSize::Tokens(tokens),
            None => BatchSize::Rows(training.batch_size),
        }
    }
}

/// Draws the batches of any epoch.
#[derive(Debug, Clone)]
pub struct Sampler {
    tasks: Vec<TaskRows>,
    config: Sampling,
    size: BatchSize,
    seed: u64,
}

impl Sampler {
    /// A sampler over tasks that each have at least one row.
    pub fn new(tasks: Vec<TaskRows>, config: &Sampling, size: BatchSize, seed: u64) -> Sampler {
        Sampler {
            tasks,
            config: config.clone(),
            size,
            seed,
        }
    }

    /// What each task has in `epoch`, counted from 0, of `epochs`: batches, or rows where batches
    /// are heterogeneous. `needs` weighs the tasks for `dynamic`, once they are known. Their sum,
    /// and with it the epoch's length, is always the same.
    pub fn shares(&self, epoch: u64, epochs: u64, needs: Option<&[f64]>) -> Vec<usize> {
        let sizes: Vec<usize> = self.tasks.iter().map(|t| t.rows.len()).collect();
        let own: Vec<usize> = match self.config.batches {
            BatchKind::Homogeneous => self.tasks.iter().map(|t| self.batches_of(t)).collect(),
            BatchKind::Heterogeneous => sizes.clone(),
        };
        let total = own.iter().sum();
        let of_power = |temperature: f64| match temperature {
            1.0 => own.clone(),
            t => shares::apportion(&shares::powers(&sizes, t), total),
        };
        match self.config.strategy {
            Strategy::Proportional => own,
            Strategy::Uniform => {
                let smallest = own.iter().copied().min().unwrap_or(0);
                vec![smallest; own.len()]
            }
            Strategy::Temperature => of_power(self.config.temperature),
            Strategy::Annealed => of_power(shares::annealed(epoch, epochs)),
            Strategy::Dynamic => match needs.filter(|_| epoch > 0) {
                Some(needs) => shares::apportion(needs, total),
                None => own,
            },
        }
    }

    /// Batches in one pass through a task.
    fn batches_of(&self, task: &TaskRows) -> usize {
        match self.size {
            BatchSize::Rows(rows) => task.rows.len().div_ceil(rows),
            BatchSize::Tokens(tokens) => {
                let all: usize = task.lengths.iter().map(|&n| n as usize).sum();
                all.div_ceil(tokens)
            }
        }
    }

    /// Rows of a heterogeneous batch, which is not cut by tokens.
    fn rows_in_batch(&self) -> usize {
        match self.size {
            BatchSize::Rows(rows) | BatchSize::Tokens(rows) => rows,
        }
    }

    /// Batches in every epoch.
    pub fn batches_per_epoch(&self) -> usize {
        let shares = self.shares(0, 1, None);
        let units: usize = shares.iter().sum();
        match (self.config.batches, self.config.strategy) {
            (BatchKind::Homogeneous, _) => units,
            (_, Strategy::Uniform) => mixed::even(&shares, self.rows_in_batch()).len(),
            _ => units.div_ceil(self.rows_in_batch()),
        }
    }

    /// The batches of one epoch with these [`Sampler::shares`], in order.
    pub fn epoch(&self, epoch: u64, shares: &[usize]) -> Vec<Parts> {
        match self.config.batches {
            BatchKind::Homogeneous => self.homogeneous(epoch, shares),
            BatchKind::Heterogeneous => self.heterogeneous(epoch, shares),
        }
    }

    fn homogeneous(&self, epoch: u64, shares: &[usize]) -> Vec<Parts> {
        let mut plan = Vec::with_capacity(shares.iter().sum());
        for (task, &count) in shares.iter().enumerate() {
            let mut rng = self.generator(epoch, task as u64);
            let rows = self.draw(task, count, &mut rng);
            plan.extend(
                rows.into_iter()
                    .map(|rows| vec![PlannedBatch { task, rows }]),
            );
        }
        plan.shuffle(&mut self.generator(epoch, u64::MAX));
        plan
    }

    /// Which batch has how many rows of which task is drawn first, then each task's rows are dealt
    /// to its places: what is sorted by length is a task's rows alone.
    fn heterogeneous(&self, epoch: u64, shares: &[usize]) -> Vec<Parts> {
        let sizes = self.sizes(shares, &mut self.generator(epoch, u64::MAX));
        let mut plan = vec![Parts::new(); sizes.len()];
        for (task, (rows, &share)) in self.tasks.iter().zip(shares).enumerate() {
            let mut rng = self.generator(epoch, task as u64);
            let own: Vec<usize> = sizes.iter().map(|batch| batch[task]).collect();
            let dealt = mixed::deal(rows, share, &own, self.config.length_window, &mut rng);
            for (batch, rows) in plan.iter_mut().zip(dealt) {
                if !rows.is_empty() {
                    batch.push(PlannedBatch { task, rows });
                }
            }
        }
        plan
    }

    /// Rows of each task in each heterogeneous batch.
    fn sizes(&self, shares: &[usize], rng: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
        match self.config.strategy {
            Strategy::Uniform => mixed::even(shares, self.rows_in_batch()),
            _ => mixed::shuffled(shares, self.rows_in_batch(), rng),
        }
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
        let in_pass = self.batches_of(task);
        let mut batches = Vec::with_capacity(count);
        while batches.len() < count {
            let mut order: Vec<usize> = (0..task.rows.len()).collect();
            order.shuffle(rng);
            let wanted = in_pass.min(count - batches.len());
            let in_batch = match self.size {
                BatchSize::Rows(rows) => rows,
                BatchSize::Tokens(_) => task.rows.len().div_ceil(in_pass),
            };
            order.truncate(wanted * in_batch);
            // Windows of like size: few rows left over would find no others of their length.
            let windows = (wanted as f64 / self.config.length_window as f64).round();
            let window = in_batch * wanted.div_ceil((windows as usize).max(1));
            if self.config.length_window > 1 {
                for window in order.chunks_mut(window) {
                    window.sort_by_key(|&i| task.lengths[i]);
                }
            }
            let rows = |part: &[usize]| part.iter().map(|&i| task.rows[i]).collect();
            match self.size {
                BatchSize::Rows(size) => batches.extend(order.chunks(size).map(rows)),
                BatchSize::Tokens(_) => {
                    let lengths: Vec<u32> = order.iter().map(|&i| task.lengths[i]).collect();
                    let runs = budget::cut(&lengths, wanted).into_iter();
                    batches.extend(runs.map(|run| rows(&order[run])));
                }
            }
        }
        batches
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

    fn sampler(sizes: &[usize], strategy: Strategy, batches: BatchKind) -> Sampler {
        let config = Sampling {
            strategy,
            batches,
            length_window: 4,
            ..Sampling::default()
        };
        Sampler::new(
            sizes.iter().map(|&n| task(n)).collect(),
            &config,
            BatchSize::Rows(8),
            7,
        )
    }

    use BatchKind::{Heterogeneous, Homogeneous};

    /// The plan of one of five epochs.
    fn plan(sampler: &Sampler, epoch: u64) -> Vec<Parts> {
        let plan = sampler.epoch(epoch, &sampler.shares(epoch, 5, None));
        assert_eq!(plan.len(), sampler.batches_per_epoch());
        plan
    }

    /// How often each row of a task comes.
    fn counts(plan: &[Parts], task: usize, rows: usize) -> Vec<usize> {
        let mut counts = vec![0; rows];
        let batches = plan.iter().flatten().filter(|b| b.task == task);
        batches
            .flat_map(|b| &b.rows)
            .for_each(|&r| counts[r as usize] += 1);
        counts
    }

    #[test]
    fn proportional_epoch_holds_every_row_of_every_task_once() {
        for batches in [Homogeneous, Heterogeneous] {
            let sampler = sampler(&[100, 37], Strategy::Proportional, batches);
            for epoch in 0..3 {
                let plan = plan(&sampler, epoch);
                assert_eq!(counts(&plan, 0, 100), [1; 100]);
                assert_eq!(counts(&plan, 1, 37), [1; 37]);
            }
        }
    }

    #[test]
    fn an_epoch_is_the_same_every_time_and_differs_from_the_next() {
        for batches in [Homogeneous, Heterogeneous] {
            let sampler = sampler(&[64, 64], Strategy::Proportional, batches);
            assert_eq!(plan(&sampler, 4), plan(&sampler, 4));
            assert_ne!(plan(&sampler, 3), plan(&sampler, 4));
        }
    }

    #[test]
    fn a_tasks_rows_do_not_depend_on_the_tasks_after_it() {
        let alone = plan(&sampler(&[64], Strategy::Proportional, Homogeneous), 1);
        let pair = plan(&sampler(&[64, 16], Strategy::Proportional, Homogeneous), 1);
        let rows = |plan: Vec<Parts>| {
            let own = plan.into_iter().flatten().filter(|b| b.task == 0);
            let mut rows: Vec<_> = own.map(|b| b.rows).collect();
            rows.sort();
            rows
        };
        assert_eq!(rows(alone), rows(pair));
    }

    #[test]
    fn uniform_ends_with_the_smallest_task() {
        let homogeneous = sampler(&[800, 24], Strategy::Uniform, Homogeneous);
        assert_eq!(homogeneous.shares(0, 1, None), [3, 3]);
        assert_eq!(plan(&homogeneous, 0).len(), 6);
        // 8 / 3 is 2 rows of each task in a batch; of 5 rows, one is left for the third.
        let mixed = sampler(&[800, 5, 90], Strategy::Uniform, Heterogeneous);
        let sizes: Vec<Vec<usize>> = plan(&mixed, 0)
            .iter()
            .map(|batch| batch.iter().map(|part| part.rows.len()).collect())
            .collect();
        assert_eq!(sizes, [[2; 3], [2; 3], [1; 3]]);
    }

    #[test]
    fn temperature_shares_follow_the_power_of_the_sizes() {
        // 100 and 4 batches: √800 : √32 = 5 : 1 of 104.
        let homogeneous = sampler(&[800, 32], Strategy::Temperature, Homogeneous);
        assert_eq!(homogeneous.shares(0, 1, None), [87, 17]);
        // 832 rows in the same proportion.
        let mixed = sampler(&[800, 32], Strategy::Temperature, Heterogeneous);
        assert_eq!(mixed.shares(0, 1, None), [693, 139]);
        for sampler in [homogeneous, mixed] {
            let counts = counts(&plan(&sampler, 0), 1, 32);
            let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
            assert!(spread <= 1, "{counts:?}");
        }
    }

    #[test]
    fn annealed_and_dynamic_shares_change_within_epochs_of_one_length() {
        for batches in [Homogeneous, Heterogeneous] {
            let annealed = sampler(&[1024, 32], Strategy::Annealed, batches);
            let (first, last) = (annealed.shares(0, 5, None), annealed.shares(4, 5, None));
            let proportional = sampler(&[1024, 32], Strategy::Proportional, batches);
            assert_eq!(first, proportional.shares(0, 5, None));
            // 1024^0.2 : 32^0.2 = 4 : 2.
            let total: usize = first.iter().sum();
            assert_eq!(last, [total - total / 3, total / 3]);
            assert_eq!(plan(&annealed, 4).len(), plan(&proportional, 0).len());

            let dynamic = sampler(&[1024, 32], Strategy::Dynamic, batches);
            let needs = [0.25, 0.75];
            assert_eq!(dynamic.shares(0, 5, Some(&needs)), first);
            let later = dynamic.shares(1, 5, Some(&needs));
            assert_eq!(later, [total / 4, total - total / 4]);
            let plan = dynamic.epoch(1, &later);
            assert_eq!(plan.len(), dynamic.batches_per_epoch());
        }
    }

    #[test]
    fn length_windows_leave_the_mixture_of_a_batch_to_chance() {
        // The second task's rows are all longer: sorted together, no batch would hold both.
        let mut tasks = vec![task(400), task(400)];
        tasks[1].lengths.iter_mut().for_each(|n| *n += 100);
        let config = Sampling {
            batches: Heterogeneous,
            ..Sampling::default()
        };
        let sampler = Sampler::new(tasks, &config, BatchSize::Rows(8), 7);
        let plan = plan(&sampler, 0);
        let of_first = |batch: &Parts| {
            let own = batch.iter().filter(|part| part.task == 0);
            own.map(|part| part.rows.len()).sum::<usize>()
        };
        // Of 8 rows, half and half: hypergeometric, mean 4, variance 8/4 · 792/799 = 1.98.
        let numbers: Vec<f64> = plan.iter().map(|batch| of_first(batch) as f64).collect();
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        let variance = numbers.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / 100.0;
        assert_eq!((numbers.len(), mean), (100, 4.0));
        assert!((1.2..3.0).contains(&variance), "{variance}");
        // Within a part, rows are of like length all the same.
        let length = |row: u32| 5 + row * 7 % 40;
        let spread = |part: &PlannedBatch| {
            let lengths = part.rows.iter().map(|&row| length(row));
            lengths.clone().max().unwrap() - lengths.min().unwrap()
        };
        let spreads: u32 = plan.iter().flatten().map(spread).sum();
        let parts = plan.iter().flatten().count() as u32;
        assert!(spreads < 3 * parts, "{spreads} in {parts}");
    }
}
