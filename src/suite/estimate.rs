//! What a run will take: steps, tokens, seconds.

use anyhow::Result;

use super::plan::{Plan, Run};
use super::rows::{TaskSize, TaskSizes};
use crate::config::EncoderChoice;
use crate::config::{yaml, BatchKind, Config};
use crate::data::planned::TaskRows;
use crate::data::sampling::{BatchSize, Sampler};
use crate::model::images::shape::ImageShape;
use crate::model::source::Source;
use crate::train::evaluate::COST;
use crate::train::tasks;

/// Tokens, or images, that one thread trains on in a second, times the encoder's FLOP for one: a rough guess,
/// from 1500 tokens/s with all-MiniLM-L6-v2 on a server's core.
const FLOPS_OF_A_THREAD: f64 = 1e11;
/// The same of a CUDA device in bf16.
const FLOPS_OF_A_DEVICE: f64 = 6e13;
/// The part of that which many small convolutions reach, decoding beside them: 1.9 images/s of 224
/// pixels on a server's core.
const SHARE_OF_IMAGES: f64 = 0.3;
/// Starting a process, loading weights and rows, writing results.
const SECONDS_TO_START: f64 = 5.0;

/// The size of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// Training rows of each of its tasks.
    pub rows: Vec<usize>,
    pub steps: u64,
    /// Tokens, or images, to train on and, at their lower cost, to evaluate.
    pub tokens: f64,
    /// Whether the data is there and was counted.
    pub counted: bool,
    /// A guess for this machine.
    pub seconds: f64,
}

/// How long runs take, by those that are done.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pace {
    seconds: f64,
    guessed: f64,
}

impl Pace {
    /// Counts a run that took `seconds`.
    pub fn learn(&mut self, work: &Work, seconds: f64) {
        self.seconds += seconds;
        self.guessed += work.seconds;
    }

    /// Whether it rests on measurements.
    pub fn measured(&self) -> bool {
        self.guessed > 0.0
    }

    /// Seconds of a run on this machine.
    pub fn seconds(&self, work: &Work) -> f64 {
        match self.measured() {
            true => work.seconds * self.seconds / self.guessed,
            false => work.seconds,
        }
    }
}

/// The sizes of a plan's runs; `cuda`: whether they train on a CUDA device.
pub fn works(plan: &Plan, cuda: bool) -> Result<Vec<Work>> {
    let mut sizes = TaskSizes::default();
    let runs = plan.runs.iter();
    runs.map(|run| work(run, cuda, &mut sizes)).collect()
}

fn work(run: &Run, cuda: bool, sizes: &mut TaskSizes) -> Result<Work> {
    let config: Config = yaml::from_str(&run.config, &run.name)?;
    let mut tasks = Vec::new();
    for name in &config.tasks {
        let task = tasks::load(&config, name)?;
        let size = sizes.of(&task, &config.data)?;
        let limit = config.training.max_train_rows.as_ref();
        let limit = limit.and_then(|limit| limit.of(&task.name));
        let rows = limit.map_or(size.train, |limit| limit.min(size.train));
        tasks.push(TaskSize {
            train: rows,
            tokens: size.tokens.min(config.training.max_length as f64),
            ..size
        });
    }
    let (steps, evaluations, tokens_a_step) = length(&config, &tasks);
    let evaluated: f64 = tasks.iter().map(|t| t.dev as f64 * t.tokens).sum();
    let tokens = steps as f64 * tokens_a_step + evaluations * evaluated * COST;
    let speed = match cuda && config.training.device != "cpu" {
        true => FLOPS_OF_A_DEVICE,
        false => FLOPS_OF_A_THREAD * config.training.threads.unwrap_or(1) as f64,
    };
    let speed = match config.encoder.images() {
        Some(_) => speed * SHARE_OF_IMAGES,
        None => speed,
    };
    Ok(Work {
        rows: tasks.iter().map(|task| task.train).collect(),
        steps,
        tokens,
        counted: tasks.iter().all(|task| task.counted),
        seconds: SECONDS_TO_START + tokens * flops_of_a_token(&config.encoder) / speed,
    })
}

/// Steps, evaluations, and the tokens of a mean step.
fn length(config: &Config, tasks: &[TaskSize]) -> (u64, f64, f64) {
    let training = &config.training;
    let rows = tasks.iter().map(|task| TaskRows {
        rows: (0..task.train as u32).collect(),
        lengths: vec![task.tokens.ceil() as u32; task.train],
    });
    let size = BatchSize::of(training);
    let sampler = Sampler::new(rows.collect(), &config.sampling, size, 0);
    let batches = sampler.batches_per_epoch() as f64;
    let per_epoch = batches / training.accumulate as f64;
    let total = ((training.epochs * per_epoch).ceil() as u64).max(1);
    let steps = training.max_steps.map_or(total, |most| most.min(total));
    let evaluations = (steps as f64 / config.evaluation.every.steps(per_epoch) as f64).ceil();
    // Batches of each task in the first epoch, or rows where they are mixed.
    let shares = sampler.shares(0, training.epochs.ceil() as u64, None);
    let mixed = config.sampling.batches == BatchKind::Heterogeneous;
    let tokens = tasks.iter().zip(shares).map(|(task, share)| {
        let in_batch = match size {
            _ if mixed => 1,
            BatchSize::Rows(rows) => rows.min(task.train),
            BatchSize::Tokens(tokens) => return (share * tokens) as f64,
        };
        (share * in_batch) as f64 * task.tokens
    });
    (steps, evaluations, tokens.sum::<f64>() / per_epoch)
}

/// Of training, in a row of usual length, or on an image; BERT's where the encoder is not here yet.
fn flops_of_a_token(encoder: &EncoderChoice) -> f64 {
    if let Some(module) = encoder.images() {
        return ImageShape::new(module.clone()).training_flops(1.0);
    }
    let known = Source::of(encoder).map(|source| source.shape.training_flops(64.0) / 64.0);
    known.unwrap_or(match encoder.source().contains("large") {
        true => 1.8e9,
        false => 5e8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_scaled_by_what_runs_took() {
        let work = |seconds: f64| Work {
            rows: Vec::new(),
            steps: 0,
            tokens: 0.0,
            counted: true,
            seconds,
        };
        let mut pace = Pace::default();
        assert_eq!(pace.seconds(&work(10.0)), 10.0);
        // Guessed 40 s in all, took 100 s.
        pace.learn(&work(10.0), 40.0);
        pace.learn(&work(30.0), 60.0);
        assert_eq!(pace.seconds(&work(10.0)), 25.0);
    }
}
