//! The training loop.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use tch::{Device, Tensor};

use super::batches::Batches;
use super::checkpoint::{self, Best, Progress};
use super::evaluate;
use super::interrupt;
use super::optimizer::Optimizer;
use super::precision::Arithmetic;
use super::recorder::Recorder;
use super::run_folder::{Overall, RunFolder};
use super::schedule::{Moving, Plan};
use super::tasks::TaskData;
use super::window::Window;
use crate::config::Config;
use crate::data::sampling::PlannedBatch;
use crate::data::Batch;
use crate::error::Interrupted;
use crate::model::{named_seed, Mode, MultiTaskModel};

/// Steps between two looks at the losses.
const LOG_EVERY: u64 = 10;

/// A run in memory.
pub struct Trainer<'a> {
    pub config: &'a Config,
    pub data: &'a [TaskData],
    pub model: MultiTaskModel,
    pub optimizer: Optimizer,
    pub folder: &'a RunFolder,
    pub recorder: Recorder,
    pub arithmetic: Arithmetic,
    /// The id that pads a batch.
    pub pad: i64,
    pub progress: Progress,
    pub batches: Batches,
}

impl Trainer<'_> {
    /// Trains from where `progress` stands to the end, or until somebody asks to stop.
    pub fn run(&mut self) -> Result<()> {
        let plan = Plan::new(
            self.config.method,
            &self.config.alignment,
            self.batches.length.total,
            self.config.training.warmup,
        );
        let mut window = Window::default();
        let mut moving = None;
        let mut clock = Instant::now();
        while self.progress.step < self.batches.length.total && !self.out_of_patience() {
            let step = self.progress.step;
            if moving != Some(plan.moving(step)) {
                moving = Some(plan.moving(step));
                self.optimizer.set_moving(plan.moving(step));
            }
            for micro in 0..self.config.training.accumulate as u64 {
                let index = step * self.config.training.accumulate as u64 + micro;
                let planned = self.batches.at(index);
                self.backward(step, index, planned, plan.moving(step), &mut window)?;
            }
            let factor = plan.factor(step);
            window.set_norm(self.optimizer.step(factor)?);
            self.progress.step += 1;

            let stop = interrupt::asked();
            let step = self.progress.step;
            let ends = step == self.batches.length.total;
            let evaluates = ends || step.is_multiple_of(self.batches.length.evaluate_every);
            let saves = ends || stop || step.is_multiple_of(self.batches.length.save_every);
            if evaluates || saves || step.is_multiple_of(LOG_EVERY) {
                self.look(&mut window, factor, &mut clock)?;
            }
            // Also when asked to stop: the saved run would never come back to this step.
            if evaluates {
                self.evaluate()?;
            }
            if saves {
                self.save()?;
            }
            if stop {
                let at = self.folder.root().display();
                let text = format!("stopped after step {step}; go on with --resume --out {at}");
                return Err(anyhow::Error::new(Interrupted(text)));
            }
            if evaluates || saves {
                self.progress.seconds += clock.elapsed().as_secs_f64();
                clock = Instant::now();
            }
        }
        Ok(())
    }

    /// Forward and backward over one batch.
    fn backward(
        &mut self,
        step: u64,
        index: u64,
        planned: PlannedBatch,
        moving: Moving,
        window: &mut Window,
    ) -> Result<()> {
        let device = self.model.encoder.variables.device();
        let data = &self.data[planned.task];
        let shape = self.model.encoder.shape(self.pad);
        let batch = Batch::collate(&data.train, &planned.rows, shape, device)?;
        let labels = labels(data, &planned.rows, device)?;
        let words = self.optimizer.words(&batch)?;
        // Dropout depends on the seed and the batch alone: a resumed run needs no generator.
        let seed = named_seed(self.config.training.seed, &format!("batch {index}"));
        tch::manual_seed(seed);
        let mode = Mode::Train { seed: seed as u64 };
        let logits = self.arithmetic.run(|| {
            self.model
                .forward(planned.task, &batch, words.as_ref(), mode)
        })?;
        let loss = if data.task.is_regression() {
            logits
                .f_squeeze_dim(-1)?
                .f_mse_loss(&labels, tch::Reduction::Mean)?
        } else {
            let none: Option<Tensor> = None;
            logits.f_cross_entropy_loss(&labels, none, tch::Reduction::Mean, -100, 0.0)?
        };
        let mut objective = loss.shallow_clone();
        let decay = self.config.alignment.decay_to_identity;
        if let Some(alignment) = self.model.alignment(planned.task) {
            if decay > 0.0 && moving.alignments {
                let distance = alignment.squared_distance_from_identity()?;
                objective = objective.f_add(&distance.f_mul_scalar(decay)?)?;
            }
        }
        let share = 1.0 / self.config.training.accumulate as f64;
        objective.f_mul_scalar(share)?.f_backward()?;
        window.push(step, planned, &loss, batch.tokens);
        Ok(())
    }

    /// Reads the losses back, shows them, and stops at one that is not finite.
    fn look(&mut self, window: &mut Window, factor: f64, clock: &mut Instant) -> Result<()> {
        let look = window.take(self.data.len())?;
        if let Some((step, batch, loss)) = &look.not_finite {
            let data = &self.data[batch.task];
            let lines: Vec<u32> = batch
                .rows
                .iter()
                .map(|&row| data.train.line(row as usize))
                .collect();
            anyhow::bail!(
                "the loss of task {} is {loss} at step {}; the batch's lines in its training file \
                 are {lines:?}; try a smaller training.learning_rate or precision fp32",
                data.task.name,
                step + 1,
            );
        }
        let seconds = clock.elapsed().as_secs_f64();
        *clock = Instant::now();
        self.progress.seconds += seconds;
        self.progress.training_seconds += seconds;
        self.progress.tokens += look.tokens;
        let names: Vec<&str> = self.data.iter().map(|d| d.task.name.as_str()).collect();
        let rate = self.config.training.learning_rate * factor;
        self.recorder
            .steps(self.progress.step, &names, &look, rate, seconds)
    }

    /// Scores every task on its dev split and keeps the best.
    fn evaluate(&mut self) -> Result<()> {
        let clock = Instant::now();
        self.optimizer.settle()?;
        let mut dev = BTreeMap::new();
        for (index, data) in self.data.iter().enumerate() {
            let outputs = evaluate::outputs(
                &self.model,
                index,
                &data.dev,
                self.config.evaluation.batch_size,
                self.pad,
                self.arithmetic,
            )?;
            let scores = evaluate::scores(&data.task, &outputs, &data.dev)?;
            dev.insert(data.task.name.clone(), scores);
        }
        let mean = 100.0 * dev.values().map(|s| s.score).sum::<f64>() / dev.len() as f64;
        self.progress.last = dev;
        let better = self.keep_best(mean)?;
        let seconds = self.progress.seconds + clock.elapsed().as_secs_f64();
        let epoch = self.progress.step as f64 / self.batches.length.per_epoch;
        self.recorder
            .evaluation(&self.progress, epoch, seconds, mean, better)?;
        for (index, data) in self.data.iter().enumerate() {
            if let Some(alignment) = self.model.alignment(index) {
                let values = alignment.singular_values()?;
                let distance = tch::no_grad(|| alignment.squared_distance_from_identity())?;
                let distance = f64::try_from(distance)?.sqrt();
                let step = self.progress.step;
                self.recorder
                    .alignment(step, &data.task.name, distance, &values)?;
            }
        }
        Ok(())
    }

    /// Notes and saves what is better than before; whether the mean is.
    fn keep_best(&mut self, mean: f64) -> Result<bool> {
        let step = self.progress.step;
        let mut improved = Vec::new();
        for (task, scores) in &self.progress.last {
            let best = self.progress.best.get(task);
            if best.is_none_or(|best| scores.score > best.scores.score) {
                improved.push(task.clone());
            }
        }
        for task in &improved {
            let scores = self.progress.last[task].clone();
            let best = Best { step, scores };
            self.progress.best.insert(task.clone(), best);
        }
        let overall = self.progress.overall.as_ref();
        let better = overall.is_none_or(|best| mean > best.glue_score);
        if better {
            self.progress.stale = 0;
            self.progress.overall = Some(Overall {
                step,
                glue_score: mean,
            });
        } else {
            self.progress.stale += 1;
        }
        if !self.config.checkpoints.best_per_task {
            improved.clear();
        }
        let mut places = Vec::new();
        if better {
            places.push(self.folder.best());
        }
        places.extend(improved.iter().map(|task| self.folder.best_of(task)));
        if let Some((first, rest)) = places.split_first() {
            if let Some(parent) = first.parent() {
                RunFolder::create(parent)?;
            }
            checkpoint::write(first, &self.model, None, &self.progress)?;
            rest.iter()
                .try_for_each(|place| checkpoint::link(first, place))?;
        }
        Ok(better)
    }

    /// Saves what a resumed run needs.
    fn save(&mut self) -> Result<()> {
        self.optimizer.settle()?;
        let folder = self.folder.checkpoints();
        let folder = folder.join(format!("step-{}", self.progress.step));
        checkpoint::write(&folder, &self.model, Some(&self.optimizer), &self.progress)?;
        checkpoint::prune(self.folder, self.config.checkpoints.keep)
    }

    fn out_of_patience(&self) -> bool {
        let patience = self.config.evaluation.patience;
        patience.is_some_and(|patience| self.progress.stale >= patience)
    }
}

/// Class indices `[batch]` in int64, or numbers `[batch]` in float32.
fn labels(data: &TaskData, rows: &[u32], device: Device) -> Result<Tensor> {
    let values: Vec<f32> = rows
        .iter()
        .map(|&row| data.train.label(row as usize).unwrap_or(f32::NAN))
        .collect();
    let labels = Tensor::f_from_slice(&values)?;
    let labels = if data.task.is_regression() {
        labels
    } else {
        labels.f_to_kind(tch::Kind::Int64)?
    };
    Ok(labels.f_to_device(device)?)
}
