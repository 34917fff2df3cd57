//! One step: forward, backward, optimiser.

use anyhow::Result;
use tch::{Device, Tensor};

use super::optimizer::Optimizer;
use super::precision::Arithmetic;
use super::schedule::Moving;
use super::stages::{Stage, Stages};
use super::tasks::TaskData;
use crate::config::Config;
use crate::data::sampling::PlannedBatch;
use crate::data::Batch;
use crate::model::{named_seed, Mode, MultiTaskModel};

/// A model that learns from its tasks' rows.
pub struct Learner {
    pub config: Config,
    pub data: Vec<TaskData>,
    pub model: MultiTaskModel,
    pub optimizer: Optimizer,
    pub arithmetic: Arithmetic,
    /// The id that pads a batch.
    pub pad: i64,
    pub stages: Stages,
}

impl Learner {
    /// Forward and backward over the run's batch at `index`: its loss, a scalar on the device, and
    /// the number of its tokens.
    pub fn backward(
        &mut self,
        index: u64,
        planned: &PlannedBatch,
        moving: Moving,
    ) -> Result<(Tensor, usize)> {
        let task = planned.task;
        let data = &self.data[task];
        let device = self.arithmetic.device();
        let shape = self.model.encoder.shape(self.pad);
        let batch = Batch::collate(&data.train, &planned.rows, shape, device)?;
        let labels = labels(data, &planned.rows, device)?;
        self.stages.end(Stage::Data);

        // Dropout depends on the seed and the batch alone: a resumed run needs no generator.
        let seed = named_seed(self.config.training.seed, &format!("batch {index}"));
        tch::manual_seed(seed);
        let mode = Mode::Train { seed: seed as u64 };
        let words = self.optimizer.words(&batch)?;
        let (model, stages) = (&self.model, &mut self.stages);
        let logits = self.arithmetic.run(|| {
            let aligned = model.embed(task, &batch, words.as_ref(), mode)?;
            stages.end(Stage::Embed);
            let pooled = model.encoder.pooled(&aligned, &batch, mode)?;
            stages.end(Stage::Encoder);
            model.logits(task, &pooled, mode)
        })?;
        let loss = if data.task.is_regression() {
            let predicted = logits.f_squeeze_dim(-1)?;
            predicted.f_mse_loss(&labels, tch::Reduction::Mean)?
        } else {
            let none: Option<Tensor> = None;
            logits.f_cross_entropy_loss(&labels, none, tch::Reduction::Mean, -100, 0.0)?
        };
        let mut objective = loss.shallow_clone();
        let decay = self.config.alignment.decay_to_identity;
        if let Some(alignment) = self.model.alignment(task) {
            if decay > 0.0 && moving.alignments {
                let distance = alignment.squared_distance_from_identity()?;
                objective = objective.f_add(&distance.f_mul_scalar(decay)?)?;
            }
        }
        let share = 1.0 / self.config.training.accumulate as f64;
        let objective = objective.f_mul_scalar(share)?;
        self.stages.end(Stage::Head);
        objective.f_backward()?;
        self.stages.end(Stage::Backward);
        Ok((loss, batch.tokens))
    }

    /// One step of the optimiser; the gradients' norm before clipping.
    pub fn step(&mut self, factor: f64) -> Result<Option<Tensor>> {
        let norm = self.optimizer.step(factor)?;
        self.stages.end(Stage::Optimizer);
        Ok(norm)
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
