//! Which rows make up each batch of an epoch.
//!
//! A plan is a function of the seed, the epoch and the tasks' shares of it alone, so a run that
//! resumes in the middle of an epoch sees the batches that it would have seen.

use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::planned::{Parts, PlannedBatch, TaskRows};
use super::{budget, deal, mixed, shares};
use crate::config::{BatchKind, Sampling, Strategy, Training};

/// Which way of putting batches together this is: counted on where the same seed and epoch no longer
/// give the same plan, so that no epoch goes on by another.
pub const PLAN: u32 = 1;

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
            let batches = self.draw(task, count, &mut rng);
            plan.extend(batches.into_iter().map(|batch| vec![batch]));
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
            let drawn = deal::draw(rows, share, &mut rng);
            let dealt = deal::deal(rows, drawn, &own, self.config.length_window, &mut rng);
            for (batch, rows) in plan.iter_mut().zip(dealt) {
                if !rows.is_empty() {
                    let weight = 1.0;
                    batch.push(PlannedBatch { task, rows, weight });
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
    fn draw(&self, task: usize, count: usize, rng: &mut ChaCha8Rng) -> Vec<PlannedBatch> {
        let rows = &self.tasks[task];
        let in_pass = self.batches_of(rows);
        let mut batches = Vec::with_capacity(count);
        while batches.len() < count {
            let wanted = in_pass.min(count - batches.len());
            batches.extend(match self.size {
                BatchSize::Rows(size) => self.by_rows(task, wanted, size, rng),
                BatchSize::Tokens(_) => self.by_tokens(task, wanted, in_pass, rng),
            });
        }
        batches
    }

    /// `wanted` batches of `size` rows, the last of a pass of what is left.
    fn by_rows(
        &self,
        task: usize,
        wanted: usize,
        size: usize,
        rng: &mut ChaCha8Rng,
    ) -> Vec<PlannedBatch> {
        let rows = &self.tasks[task];
        let count = rows.rows.len().min(wanted * size);
        let mut sizes = vec![size; wanted];
        sizes[wanted - 1] -= wanted * size - count;
        let drawn = deal::draw(rows, count, rng);
        let dealt = deal::deal(rows, drawn, &sizes, self.config.length_window, rng);
        let whole = |rows| PlannedBatch {
            task,
            rows,
            weight: 1.0,
        };
        dealt.into_iter().map(whole).collect()
    }

    /// `wanted` batches of about the same number of tokens, of `in_pass` that the task's rows make.
    fn by_tokens(
        &self,
        task: usize,
        wanted: usize,
        in_pass: usize,
        rng: &mut ChaCha8Rng,
    ) -> Vec<PlannedBatch> {
        let rows = &self.tasks[task];
        let in_batch = rows.rows.len().div_ceil(in_pass);
        let mut drawn = deal::draw(rows, rows.rows.len().min(wanted * in_batch), rng);
        let window = deal::even_window(wanted, self.config.length_window);
        if window > 1 {
            for window in drawn.chunks_mut(window * in_batch) {
                window.sort_by_key(|&row| rows.lengths[row]);
            }
        }
        let lengths: Vec<u32> = drawn.iter().map(|&row| rows.lengths[row]).collect();
        let mean = rows.rows.len() as f64 / in_pass as f64;
        let part = |range: std::ops::Range<usize>| PlannedBatch {
            task,
            weight: range.len() as f64 / mean,
            rows: drawn[range].iter().map(|&row| rows.rows[row]).collect(),
        };
        budget::cut(&lengths, wanted)
            .into_iter()
            .map(part)
            .collect()
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
    use crate::config::values::LengthWindow;

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
            length_window: LengthWindow::Batches(4),
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
            length_window: LengthWindow::Batches(100),
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

    fn with_window(
        tasks: Vec<TaskRows>,
        batches: BatchKind,
        length_window: LengthWindow,
        size: BatchSize,
    ) -> Sampler {
        let config = Sampling {
            batches,
            length_window,
            ..Sampling::default()
        };
        Sampler::new(tasks, &config, size, 7)
    }

    /// Of the pairs of the first task's rows that share a batch in one epoch, the part that shares
    /// one again in the next, and what chance would make of the next one's batches.
    fn share_again(sampler: &Sampler, rows: usize) -> (f64, f64) {
        const EPOCHS: u64 = 6;
        let of_first = |epoch| -> Vec<Vec<u32>> {
            let own = plan(sampler, epoch).into_iter().flatten();
            own.filter(|part| part.task == 0).map(|p| p.rows).collect()
        };
        let pairs = |rows: usize| (rows * rows.saturating_sub(1)) as f64;
        let (mut again, mut together, mut chance) = (0.0, 0.0, 0.0);
        for epoch in 0..EPOCHS {
            let mut place = vec![0; rows];
            let next = of_first(epoch + 1);
            for (batch, own) in next.iter().enumerate() {
                own.iter().for_each(|&row| place[row as usize] = batch);
                chance += pairs(own.len()) / pairs(rows) / EPOCHS as f64;
            }
            for batch in of_first(epoch) {
                let mut counts = vec![0; next.len()];
                batch
                    .iter()
                    .for_each(|&row| counts[place[row as usize]] += 1);
                again += counts.iter().map(|&n| pairs(n)).sum::<f64>();
                together += pairs(batch.len());
            }
        }
        (again / together, chance)
    }

    #[test]
    fn rows_that_share_a_batch_share_the_next_epochs_hardly_more_often_than_by_chance() {
        use LengthWindow::{Auto, Batches};
        let packed = Auto.settled(true);
        let padded = Auto.settled(false);
        for kind in [Homogeneous, Heterogeneous] {
            let of = |rows: usize, window| {
                let tasks = vec![task(rows), task(200)];
                share_again(&with_window(tasks, kind, window, BatchSize::Rows(32)), rows)
            };
            for rows in [100, 600, 2500] {
                let (share, chance) = of(rows, packed);
                assert!((share - chance).abs() < 0.01, "{share:.3} {chance:.3}");
                let (share, chance) = of(rows, padded);
                assert!(share < chance + 0.05, "{rows}: {share:.3} {chance:.3}");
            }
            // A number means what it says: sorted as a whole, and hardly anything is left to chance.
            let (share, chance) = of(600, Batches(100));
            assert!(share > 5.0 * chance, "{share:.3} {chance:.3}");
        }
    }

    #[test]
    fn the_short_batch_comes_anywhere_and_holds_rows_of_any_length() {
        const EPOCHS: u64 = 600;
        // 35 batches: 34 of 8 rows, one of 3.
        let rows = task(275);
        let lengths = rows.lengths.clone();
        for window in [1, 8, 100].map(LengthWindow::Batches) {
            let tasks = vec![rows.clone()];
            let sampler = with_window(tasks, Homogeneous, window, BatchSize::Rows(8));
            let (mut places, mut short) = (Vec::new(), Vec::new());
            // What the longest 25 rows count for in their batches' means.
            let mut weight = 0.0;
            for epoch in 0..EPOCHS {
                for (place, part) in plan(&sampler, epoch).iter().flatten().enumerate() {
                    if part.rows.len() < 8 {
                        places.push(place as f64);
                        short.extend(part.rows.iter().map(|&row| lengths[row as usize] as f64));
                    }
                    let long = part.rows.iter().filter(|&&row| lengths[row as usize] > 40);
                    weight += 8.0 / part.rows.len() as f64 * long.count() as f64;
                }
            }
            let long = lengths.iter().filter(|&&n| n > 40).count() as f64;
            let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
            let all: Vec<f64> = lengths.iter().map(|&n| f64::from(n)).collect();
            // Uniform over 35 places, deviation 10.1; lengths from 5 to 44, deviation 11.5, three
            // alike: four standard errors of 600 epochs.
            assert_eq!(places.len() as u64, EPOCHS);
            assert!((mean(&places) - 17.0).abs() < 4.0 * 10.1 / (EPOCHS as f64).sqrt());
            let off = mean(&short) - mean(&all);
            assert!(off.abs() < 4.0 * 11.5 / (EPOCHS as f64).sqrt(), "{off}");
            // By chance a row's weight is a batch's over the rows of an epoch: 8 · 35 / 275.
            let weight = weight / long / EPOCHS as f64;
            assert!((weight - 280.0 / 275.0).abs() < 0.02, "{weight}");
        }
    }

    #[test]
    fn under_a_budget_of_tokens_every_row_weighs_alike() {
        for window in [1, 100].map(LengthWindow::Batches) {
            let tasks = vec![task(500), task(90)];
            let sampler = with_window(tasks, Homogeneous, window, BatchSize::Tokens(256));
            let shares = sampler.shares(0, 1, None);
            let plan = plan(&sampler, 0);
            for (index, (rows, batches)) in [500.0, 90.0].into_iter().zip(shares).enumerate() {
                let own = || plan.iter().flatten().filter(|part| part.task == index);
                let numbers: std::collections::BTreeSet<_> = own().map(|p| p.rows.len()).collect();
                assert!(numbers.len() > 2, "{numbers:?}");
                // A row's part in the sum of the batches' weighted mean losses.
                for part in own() {
                    let of_a_row = part.weight / part.rows.len() as f64;
                    assert!((of_a_row - batches as f64 / rows).abs() < 1e-12);
                }
                let all: f64 = own().map(|part| part.weight).sum();
                assert!((all - batches as f64).abs() < 1e-9);
            }
        }
        // Batches of a number of rows count whole.
        let tasks = vec![task(100)];
        let sampler = with_window(tasks, Homogeneous, LengthWindow::Small, BatchSize::Rows(8));
        assert!(plan(&sampler, 0)
            .iter()
            .flatten()
            .all(|part| part.weight == 1.0));
    }
}
