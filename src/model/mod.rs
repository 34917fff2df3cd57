//! Encoder (rust-bert), alignment, heads, weights in and out.
//!
//! ŷ_i = A_i · pool( B( E(x) · R_i ) ): all tasks share the embedding layer E and the encoder B;
//! each has its head A_i and, when trained aligned, its matrix R_i (Wu, Zhang, Ré, ICLR 2020).

pub mod alignment;
pub mod encoder;
pub mod encoder_config;
pub mod encoder_init;
pub mod fit;
pub mod head;
pub mod packed;
pub mod padded;
pub mod parameters;
pub mod save;
pub mod weights;

use anyhow::Result;
use rust_bert::Activation;
use sha2::{Digest, Sha256};
use tch::nn::VarStore;
use tch::{Kind, TchError, Tensor};

use crate::config::alignment::{Form, Start};
use crate::data::Batch;
use alignment::Alignment;
use encoder::Encoder;
use head::Head;

/// Whether a pass is one of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is dropped.
    Evaluate,
    /// Dropout follows from `seed`, or from libtorch's generator where the engine is libtorch's.
    Train { seed: u64 },
}

impl Mode {
    pub fn trains(self) -> bool {
        self != Mode::Evaluate
    }
}

/// What an optimiser steps.
#[derive(Debug)]
pub struct Parameter {
    pub name: String,
    /// The value, in float32.
    pub value: Tensor,
    /// The tensor whose gradient the backward pass writes: the value itself, or the copy of it in
    /// half precision that the products use.
    pub leaf: Tensor,
}

impl Parameter {
    /// A parameter that is its own leaf.
    pub fn new(name: &str, value: &Tensor) -> Parameter {
        Parameter {
            name: name.to_owned(),
            value: value.shallow_clone(),
            leaf: value.shallow_clone(),
        }
    }

    /// All of a store's, by name.
    pub fn of(store: &VarStore) -> Vec<Parameter> {
        let variables = store.variables();
        let mut all: Vec<_> = variables
            .iter()
            .map(|(name, value)| Parameter::new(name, value))
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

/// What a task brings to the model.
#[derive(Debug, Clone)]
pub struct TaskShape {
    pub name: String,
    /// Classes, or 1 for regression.
    pub outputs: i64,
    /// The lowest and the highest score, where the head learns them scaled to 0 and 1.
    pub range: Option<(f64, f64)>,
}

struct TaskModule {
    head: Head,
    range: Option<(f64, f64)>,
    alignment: Option<Alignment>,
}

/// The shared encoder with every task's head and alignment.
pub struct MultiTaskModel {
    pub encoder: Encoder,
    /// `<task>.weight`, `<task>.bias`.
    pub heads: VarStore,
    /// `<task>.matrix` and the like; empty without alignment.
    pub alignments: VarStore,
    tasks: Vec<TaskModule>,
}

impl MultiTaskModel {
    /// Adds a fresh head for each task and, given a form, an alignment. What `seed` gives a task
    /// depends on its name alone, not on the tasks beside it.
    pub fn new(
        encoder: Encoder,
        tasks: &[TaskShape],
        alignment: Option<(Form, Start)>,
        head_dropout: f64,
        seed: u64,
    ) -> Result<MultiTaskModel> {
        let device = encoder.variables.device();
        let (heads, alignments) = (VarStore::new(device), VarStore::new(device));
        let width = encoder.config.hidden_size;
        let tasks = tasks
            .iter()
            .map(|task| -> Result<TaskModule> {
                tch::manual_seed(named_seed(seed, &format!("head {}", task.name)));
                let head = Head::new(
                    &(heads.root() / &task.name),
                    width,
                    task.outputs,
                    head_dropout,
                )?;
                tch::manual_seed(named_seed(seed, &format!("alignment {}", task.name)));
                let alignment = alignment
                    .map(|(form, start)| {
                        Alignment::new(&(alignments.root() / &task.name), form, start, width)
                    })
                    .transpose()?;
                Ok(TaskModule {
                    head,
                    range: task.range,
                    alignment,
                })
            })
            .collect::<Result<_>>()?;
        Ok(MultiTaskModel {
            encoder,
            heads,
            alignments,
            tasks,
        })
    }

    /// Logits `[batch, outputs]` of the task at index `task`, in float32 whatever the precision.
    pub fn forward(&self, task: usize, batch: &Batch, mode: Mode) -> Result<Tensor> {
        let aligned = self.embed(task, batch, None, mode)?;
        let pooled = self.encoder.pooled(&aligned, batch, mode)?;
        self.logits(task, &pooled, mode)
    }

    /// The task's aligned embeddings E(x) R_i; `words` as [`Encoder::embed`] takes them.
    pub fn embed(
        &self,
        task: usize,
        batch: &Batch,
        words: Option<&Tensor>,
        mode: Mode,
    ) -> Result<Tensor> {
        let embedded = self.encoder.embed(batch, words, mode)?;
        match &self.tasks[task].alignment {
            Some(alignment) => alignment.apply(&embedded),
            None => Ok(embedded),
        }
    }

    /// The task's logits `[batch, outputs]` from the pooler's output; of regression the scores.
    pub fn logits(&self, task: usize, pooled: &Tensor, mode: Mode) -> Result<Tensor> {
        let TaskModule { head, range, .. } = &self.tasks[task];
        let logits = head.apply(pooled, mode.trains())?.f_to_kind(Kind::Float)?;
        Ok(match range {
            Some((min, max)) => logits.f_mul_scalar(max - min)?.f_add_scalar(*min)?,
            None => logits,
        })
    }

    /// What makes the squared error of the task's scores that of scores from 0 to 1; 1 where the
    /// head learns them as they are.
    pub fn loss_factor(&self, task: usize) -> f64 {
        let range = self.tasks[task].range;
        range.map_or(1.0, |(min, max)| (max - min).powi(-2))
    }

    /// The alignment of the task at index `task`, when trained aligned.
    pub fn alignment(&self, task: usize) -> Option<&Alignment> {
        self.tasks[task].alignment.as_ref()
    }
}

/// The function that a config's `hidden_act` names.
fn activation(kind: &Activation) -> fn(&Tensor) -> Result<Tensor, TchError> {
    match kind {
        Activation::gelu => |x| x.f_gelu("none"),
        Activation::gelu_new => |x| x.f_gelu("tanh"),
        Activation::relu => |x| x.f_relu(),
        Activation::swish => |x| x.f_silu(),
        Activation::mish => |x| x.f_mish(),
        Activation::tanh => |x| x.f_tanh(),
        Activation::identity => |x| Ok(x.shallow_clone()),
    }
}

/// A seed of its own for each named use of a run's one seed.
pub fn named_seed(seed: u64, name: &str) -> i64 {
    let digest = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(name)
        .finalize();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    (i64::from_le_bytes(bytes)) & i64::MAX
}
