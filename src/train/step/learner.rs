//! One step: forward, backward, optimiser.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use nalgebra::DMatrix;
use tch::{Kind, Tensor};

use super::losses::{self, Target};
use super::optimizer::Optimizer;
use super::precision::Arithmetic;
use super::recompute::Recompute;
use super::recorded::RecordedSteps;
use super::schedule::Moving;
use crate::config::weighting::Method;
use crate::config::Config;
use crate::data::Batch;
use crate::libtorch::graph;
use crate::model::alignment::Alignment;
use crate::model::{named_seed, Mode, MultiTaskModel, Parameter};
use crate::telemetry::progress::Progress;
use crate::train::feed::loader::{Loaded, Loader, Part};
use crate::train::ranks::Ranks;
use crate::train::say::stages::{Stage, Stages};
use crate::train::tasks::TaskData;
use crate::weighting::products::{self, Rows};
use crate::weighting::{self, Objectives, Seen, Weighting};

/// A model that learns from its tasks' rows.
pub struct Learner {
    pub config: Config,
    pub data: Arc<Vec<TaskData>>,
    /// Of each task what rows weigh by their class, float32 `[classes]` on the device; none where all
    /// weigh the same.
    pub class_weights: Vec<Option<Tensor>>,
    pub model: MultiTaskModel,
    pub objectives: Objectives,
    pub weighting: Box<dyn Weighting>,
    pub optimizer: Optimizer,
    pub arithmetic: Arithmetic,
    /// The id that pads a batch.
    pub pad: i64,
    pub stages: Stages,
    /// Where steps are recorded; see [`recorded`].
    pub recorded: Option<RecordedSteps>,
    /// The processes that take each step together.
    pub ranks: Arc<Ranks>,
}

/// One pass of a step, on the device: rows of one task, or of several, each one's after the other's.
pub struct Pass<'a> {
    pub parts: &'a [Part],
    pub batch: &'a Batch,
    /// Of each part.
    pub labels: &'a [Tensor],
}

impl<'a> Pass<'a> {
    /// Of what was `loaded`, once it is on the device.
    pub fn of(loaded: &'a Loaded, batch: &'a Batch, labels: &'a [Tensor]) -> Pass<'a> {
        let parts = &loaded.parts;
        Pass {
            parts,
            batch,
            labels,
        }
    }
}

impl Learner {
    /// The tasks that have an alignment.
    pub fn alignments(&self) -> impl Iterator<Item = (&str, &Alignment)> {
        let tasks = self.data.iter().enumerate();
        tasks.filter_map(|(index, data)| {
            let alignment = self.model.alignment(index)?;
            Some((data.task.name.as_str(), alignment))
        })
    }

    /// Forward and backward over this process's part of the run's batch at `index`: what it adds to the mean
    /// losses of each part's rows, scalars on the device.
    pub fn backward(&mut self, index: u64, loaded: &Loaded, moving: Moving) -> Result<Vec<Tensor>> {
        let (batch, labels) = loaded.to(self.arithmetic.device())?;
        self.stages.end(Stage::Data);
        let mode = self.seed(index)?;
        self.pass(&Pass::of(loaded, &batch, &labels), moving, mode)
    }

    /// Makes what the run's batch at `index` draws depend on the seed, the batch and the part alone: a
    /// resumed run needs no generator.
    pub fn seed(&self, index: u64) -> Result<Mode> {
        let name = match self.ranks.rank {
            0 => format!("batch {index}"),
            rank => format!("batch {index} of rank {rank}"),
        };
        let seed = named_seed(self.config.training.seed, &name);
        tch::manual_seed(seed);
        graph::seed_dropout(self.arithmetic.device(), seed)?;
        Ok(Mode::Train { seed: seed as u64 })
    }

    /// Forward and backward over a pass: what it adds to the mean losses of each part's rows, scalars on the
    /// device.
    pub fn pass(&mut self, pass: &Pass, moving: Moving, mode: Mode) -> Result<Vec<Tensor>> {
        let batch = pass.batch;
        let words = self.optimizer.words(batch)?;
        let (model, stages, arithmetic) = (&self.model, &mut self.stages, self.arithmetic);
        let tokens = pass
            .parts
            .iter()
            .map(|part| (part.planned.task, part.own_tokens));
        let tokens: Vec<_> = tokens.collect();
        let aligned = arithmetic.run(|| model.embed_parts(&tokens, batch, words.as_ref(), mode))?;
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
        let (mut objectives, mut losses, mut row) = (Vec::new(), Vec::new(), 0);
        for (part, labels) in pass.parts.iter().zip(pass.labels) {
            let own = match pass.parts {
                [_] => pooled.shallow_clone(),
                _ => pooled.f_narrow(0, row, part.own_rows)?,
            };
            row += part.own_rows;
            let (objective, loss) = self.objective(part, labels, &own, moving, mode)?;
            objectives.push(objective);
            losses.push(loss);
        }
        let mut objectives = objectives.into_iter();
        let first = objectives.next().context("a pass has no rows")?;
        let objective = objectives.try_fold(first, |sum, objective| sum.f_add(&objective))?;
        let objective = self.optimizer.scaled(objective)?;
        self.stages.end(Stage::Head);
        objective.f_backward()?;
        if let Some(recompute) = recompute {
            let encoder = self.model.encoder.as_ref();
            recompute.backward(encoder, &aligned, batch, mode, arithmetic)?;
        }
        self.stages.end(Stage::Backward);
        Ok(losses)
    }

    /// What a part's rows add to the step's objective, and to their mean loss, by what the encoder `pooled`
    /// of each row.
    fn objective(
        &self,
        part: &Part,
        labels: &Tensor,
        pooled: &Tensor,
        moving: Moving,
        mode: Mode,
    ) -> Result<(Tensor, Tensor)> {
        let (task, model) = (part.planned.task, &self.model);
        let logits = self.arithmetic.run(|| model.logits(task, pooled, mode))?;
        let target = Target {
            smoothing: self.config.training.label_smoothing,
            class_weights: self.class_weights[task].as_ref(),
        };
        let losses = losses::of(&self.data[task].task, &logits, labels, &target)?;
        let seen = Seen {
            which: self.objectives.of(task),
            losses: &losses.f_mul_scalar(model.loss_factor(task))?,
            gramian: None,
        };
        let of_step = part.share / self.config.training.accumulate as f64;
        let objective = weighting::objective(self.weighting.as_ref(), &seen)?;
        let mut objective = objective.f_mul_scalar(of_step * part.planned.weight)?;
        let mut loss = losses.f_detach()?.f_mean(Kind::Float)?;
        if self.ranks.size > 1 {
            loss = loss.f_mul_scalar(part.share)?;
        }
        let decay = self.config.alignment.decay_to_identity;
        if let Some(alignment) = model.alignment(task) {
            if decay > 0.0 && moving.alignments {
                let distance = alignment.squared_distance_from_identity()?;
                objective = objective.f_add(&distance.f_mul_scalar(of_step * decay)?)?;
            }
        }
        Ok((objective, loss))
    }

    /// Puts the sums over all processes in the places of the step's gradients and of its passes' `losses`.
    pub fn sum(&self, losses: &[Tensor]) -> Result<()> {
        if self.ranks.size == 1 {
            return Ok(());
        }
        let gradients = self.optimizer.gradients();
        self.ranks.sum(gradients.iter().chain(losses))
    }

    /// Whether all processes have the same weights; see [`Ranks::check_same`].
    pub fn check_same(&self) -> Result<()> {
        if self.ranks.size == 1 {
            return Ok(());
        }
        let model = &self.model;
        let all = model.encoder.parameters().into_iter();
        let all = all.chain(Parameter::of(&model.heads));
        let all = all.chain(Parameter::of(&model.alignments));
        let sums: Vec<Tensor> = all
            .map(|parameter| Ok(parameter.value.f_detach()?.f_sum(Kind::Double)?))
            .collect::<Result<_>>()?;
        let sum = Tensor::f_stack(&sums, 0)?.f_sum(Kind::Double)?;
        self.ranks.check_same(f64::try_from(sum)?, "weights")
    }

    /// Works out the weights of the objectives before the first step, or takes those that a checkpoint
    /// `knows`.
    pub fn begin_weights(&mut self, knows: Option<&[f64]>) -> Result<()> {
        let (model, data, config, pad) = (&self.model, &self.data, &self.config, self.pad);
        self.weighting
            .begin(knows, &|| theta(model, data, config, pad))
    }

    /// θ of the objectives `[width, objectives]`, by the rows that are trained on; see [`products`].
    pub fn theta(&self) -> Result<DMatrix<f64>> {
        theta(&self.model, &self.data, &self.config, self.pad)
    }

    /// What tasks and labels weigh as things stand; empty where all are as they are.
    pub fn weights(&self) -> Result<BTreeMap<String, f64>> {
        if self.config.weighting.method == Method::Equal {
            return Ok(BTreeMap::new());
        }
        let names = self.objectives.names.iter().cloned();
        Ok(names.zip(self.weighting.weights()?).collect())
    }

    /// What puts this learner's batches together.
    pub fn loader(&self) -> Loader {
        let shape = self.model.encoder.batch_shape(self.pad);
        let (device, seed) = (self.arithmetic.device(), self.config.training.seed);
        let ranks = Arc::clone(&self.ranks);
        Loader::start(Arc::clone(&self.data), shape, device, seed, ranks)
    }
}

fn theta(
    model: &MultiTaskModel,
    data: &[TaskData],
    config: &Config,
    pad: i64,
) -> Result<DMatrix<f64>> {
    let tasks: Vec<Rows> = data
        .iter()
        .enumerate()
        .map(|(index, data)| Rows {
            task: &data.task,
            index,
            split: &data.train,
            rows: &data.rows,
        })
        .collect();
    let rows: usize = tasks.iter().map(|task| task.rows.len()).sum();
    let bar = Progress::counter(rows as u64, "weighing labels");
    let size = config.evaluation.batch_size;
    let theta = products::theta(model, &tasks, size, pad, &|rows| bar.add(rows as u64));
    bar.finish();
    theta
}
