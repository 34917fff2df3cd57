//! One step: forward, backward, optimiser.

use std::sync::Arc;

use anyhow::Result;
use tch::Tensor;

use super::optimizer::Optimizer;
use super::precision::Arithmetic;
use super::recompute::Recompute;
use super::schedule::Moving;
use crate::config::Config;
use crate::model::{named_seed, Mode, MultiTaskModel};
use crate::train::feed::loader::{Loaded, Loader};
use crate::train::say::stages::{Stage, Stages};
use crate::train::tasks::TaskData;

/// A model that learns from its tasks' rows.
pub struct Learner {
    pub config: Config,
    pub data: Arc<Vec<TaskData>>,
    pub model: MultiTaskModel,
    pub optimizer: Optimizer,
    pub arithmetic: Arithmetic,
    /// The id that pads a batch.
    pub pad: i64,
    pub stages: Stages,
}

impl Learner {
    /// Forward and backward over the run's batch at `index`: its rows' mean loss, a scalar on the
    /// device.
    pub fn backward(&mut self, index: u64, loaded: &Loaded, moving: Moving) -> Result<Tensor> {
        let Loaded {
            planned,
            batch,
            labels,
        } = loaded;
        let task = planned.task;
        // Dropout depends on the seed and the batch alone: a resumed run needs no generator.
        let seed = named_seed(self.config.training.seed, &format!("batch {index}"));
        tch::manual_seed(seed);
        let mode = Mode::Train { seed: seed as u64 };
        let words = self.optimizer.words(batch)?;
        let (model, stages, arithmetic) = (&self.model, &mut self.stages, self.arithmetic);
        let aligned = arithmetic.run(|| model.embed(task, batch, words.as_ref(), mode))?;
        stages.end(Stage::Embed);
        let encoder = model.encoder.as_ref();
        let recompute = match self.config.training.gradient_checkpointing {
            true => Some(Recompute::forward(
                encoder, &aligned, batch, mode, arithmetic,
            )?),
            false => None,
        };
        let pooled = match &recompute {
            Some(recompute) => recompute.pooled.shallow_clone(),
            None => arithmetic.run(|| encoder.pooled(&aligned, batch, mode))?,
        };
        stages.end(Stage::Encoder);
        let logits = arithmetic.run(|| model.logits(task, &pooled, mode))?;
        let loss = if self.data[task].task.is_regression() {
            let predicted = logits.f_squeeze_dim(-1)?;
            predicted.f_mse_loss(labels, tch::Reduction::Mean)?
        } else {
            let none: Option<Tensor> = None;
            logits.f_cross_entropy_loss(labels, none, tch::Reduction::Mean, -100, 0.0)?
        };
        let share = 1.0 / self.config.training.accumulate as f64;
        let factor = share * planned.weight * model.loss_factor(task);
        let mut objective = loss.f_mul_scalar(factor)?;
        let decay = self.config.alignment.decay_to_identity;
        if let Some(alignment) = model.alignment(task) {
            if decay > 0.0 && moving.alignments {
                let distance = alignment.squared_distance_from_identity()?;
                objective = objective.f_add(&distance.f_mul_scalar(share * decay)?)?;
            }
        }
        let objective = self.optimizer.scaled(objective)?;
        stages.end(Stage::Head);
        objective.f_backward()?;
        if let Some(recompute) = recompute {
            recompute.backward(encoder, &aligned, batch, mode, arithmetic)?;
        }
        stages.end(Stage::Backward);
        Ok(loss)
    }

    /// What puts this learner's batches together.
    pub fn loader(&self) -> Loader {
        let shape = self.model.encoder.batch_shape(self.pad);
        Loader::start(
            Arc::clone(&self.data),
            shape,
            self.arithmetic.device(),
            self.config.training.seed,
        )
    }

    /// One step of the optimiser; the gradients' norm before clipping.
    pub fn step(&mut self, factor: f64) -> Result<Option<Tensor>> {
        let norm = self.optimizer.step(factor)?;
        self.stages.end(Stage::Optimizer);
        Ok(norm)
    }
}
