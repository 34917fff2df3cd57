//! How a run trains: length, batches, optimiser, arithmetic.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{task_of, Rate, RowLimit};

/// Arithmetic of the forward and backward pass; parameters and optimiser are always float32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// bf16 on GPUs that multiply it, and on CPUs that multiply it faster than fp32; fp16 on older GPUs; else fp32.
    #[default]
    Auto,
    /// float32 throughout.
    Fp32,
    /// fp32, with TF32 matrix products on CUDA.
    Tf32,
    /// Matrix products in bfloat16.
    Bf16,
    /// Matrix products in float16, with dynamic loss scaling: for GPUs without bfloat16.
    Fp16,
}

/// The library that multiplies matrices on a CPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Products {
    /// For a BERT the fastest on this machine, which is measured; for smaller modules `mkl`.
    #[default]
    Auto,
    /// What libtorch takes for fp32: MKL, on other processors than x86 another BLAS. bf16 is widened to fp32, and the
    /// product is rounded.
    Mkl,
    /// oneDNN: in fp32 twice as fast as MKL on AMD's processors with AVX-512, in bf16 where a unit for it is fast.
    Onednn,
}

impl Products {
    /// What a run's config says that it was computed with: before there was the key, libtorch's own.
    pub fn of_run(self) -> Products {
        match self {
            Products::Auto => Products::Mkl,
            named => named,
        }
    }
}

/// How regression learns scores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScoreScale {
    /// As they are, as the papers do. The squared error of a score from 0 to 5 is many times a
    /// cross-entropy: beside it, other tasks hardly move what they share.
    #[default]
    Raw,
    /// As if the task's range went from 0 to 1. Predictions are in the range itself all the same.
    Unit,
}

/// How the learning rate goes on after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateSchedule {
    /// Down to 0 in a straight line.
    #[default]
    Linear,
    /// Down to 0 along half a cosine.
    Cosine,
    /// As it is.
    Constant,
}

/// The word `balanced`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balanced {
    /// Rows / (classes · rows of the class), of the rows that are trained on, as scikit-learn's.
    Balanced,
}

/// What rows of a class weigh, or those of every class of a task.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "`balanced`, or a number")]
pub enum ClassWeight {
    /// The rarer its class, the more.
    Balanced(Balanced),
    /// So much.
    Weight(f64),
}

/// What rows weigh in a task's loss by their class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "`balanced`, or `{TASK: balanced, TASK/LABEL: 2}`"
)]
pub enum ClassWeights {
    /// In every task of classes the more, the rarer their class.
    Balanced(Balanced),
    /// In the tasks, and of the classes (`TASK/LABEL`), that are named.
    Named(BTreeMap<String, ClassWeight>),
}

impl ClassWeights {
    /// The weights that are named.
    pub fn named(&self) -> impl Iterator<Item = (&String, &ClassWeight)> {
        let named = match self {
            ClassWeights::Balanced(_) => None,
            ClassWeights::Named(named) => Some(named),
        };
        named.into_iter().flatten()
    }

    /// The weights over the tasks that `keep` names; none where it names no task then.
    pub fn only(self, keep: impl Fn(&str) -> bool) -> Option<ClassWeights> {
        let ClassWeights::Named(mut named) = self else {
            return Some(self);
        };
        named.retain(|name, _| keep(task_of(name)));
        (!named.is_empty()).then_some(ClassWeights::Named(named))
    }
}

/// What of a BERT stands still: it costs no backward pass, and nothing of it is clipped or decays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Freeze {
    /// Whether the embedding layer does.
    pub embeddings: bool,
    /// So many of the lowest layers.
    pub layers: usize,
}

/// Length, batches, optimiser, arithmetic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// Passes over the training rows, as `sampling` counts them; a part of one is fine.
    pub epochs: f64,
    /// Stop after this many optimiser steps, where the epochs have more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u64>,
    /// Takes as many steps, evaluated as often, as a joint run with these tasks too would: what is left
    /// of a gain over it is not training longer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps_with: Vec<String>,
    /// Rows of one task in a batch.
    pub batch_size: usize,
    /// About so many tokens in a batch, in place of `batch_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_tokens: Option<usize>,
    /// Batches whose gradients are summed into one optimiser step: a larger batch in the same memory.
    pub accumulate: usize,
    /// The encoder's highest learning rate; 1e-5 to 5e-5 for a BERT, more for a small one.
    pub learning_rate: f64,
    /// Learning rate of the heads, absolute or a multiple of the encoder's.
    pub head_learning_rate: Rate,
    /// Factor on the learning rate for each layer further down, the embeddings lowest; 1 for none.
    pub layer_decay: f64,
    /// The pooler and this many of the top layers start at random.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reinit_layers: Option<usize>,
    /// What of a BERT stands still.
    pub freeze: Freeze,
    /// Share of the steps over which the learning rate rises.
    pub warmup: f64,
    /// How it goes on then: `linear` and `cosine` fall to 0, `constant` stays.
    pub schedule: RateSchedule,
    /// Share of a class's probability that the target gives to all classes alike.
    pub label_smoothing: f64,
    /// What rows weigh by their class: `balanced`, or `{TASK: balanced, TASK/LABEL: 2}`; 1 where nothing
    /// is said. A batch's loss is their mean by weights, as PyTorch's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
    /// AdamW's decay of weights, in units of the learning rate; biases, LayerNorms and R_i have none.
    pub weight_decay: f64,
    /// AdamW's memory of gradients.
    pub adam_beta1: f64,
    /// AdamW's memory of their squares.
    pub adam_beta2: f64,
    /// What AdamW adds to the root of the squares.
    pub adam_eps: f64,
    /// Largest norm of all gradients together; 0 clips nothing.
    pub clip_norm: f64,
    /// Tokens that a row is cut to; at most the encoder's positions (512 for a BERT).
    pub max_length: usize,
    /// A seeded sample of this many training rows: a number for each task, or `{CoLA: 1000, …}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_train_rows: Option<RowLimit>,
    /// How regression learns scores.
    pub scores: ScoreScale,
    /// Replaces the encoder's dropout probabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Dropout before the heads; by default the encoder's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_dropout: Option<f64>,
    /// Arithmetic of the forward and backward pass; parameters and optimiser are always float32.
    pub precision: Precision,
    /// The library that multiplies matrices on a CPU. A run keeps the one that it was begun with.
    pub products: Products,
    /// Keep only the layers' inputs for the backward pass and compute the rest again: about a third
    /// slower, a fraction of the memory.
    pub gradient_checkpointing: bool,
    /// On CUDA, record whole steps as CUDA graphs and replay them: the device need not wait for the
    /// host, and takes about twice the memory for activations.
    pub cuda_graphs: bool,
    /// On CUDA, only operations that give the same bits each time. Without it, rows longer than 128
    /// tokens have their gradients added up in no fixed order.
    pub deterministic: bool,
    /// Threads on the CPU that compute, and as many that tokenise or decode; by default one per core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// `auto` (CUDA when there), `cpu`, `cuda` or `cuda:1`.
    pub device: String,
    /// Of everything that is drawn: batches, dropout, fresh weights, samples of rows.
    pub seed: u64,
}

impl Default for Training {
    fn default() -> Self {
        Training {
            epochs: 3.0,
            max_steps: None,
            steps_with: Vec::new(),
            batch_size: 32,
            batch_tokens: None,
            accumulate: 1,
            learning_rate: 2e-5,
            head_learning_rate: Rate::Relative(1.0),
            layer_decay: 1.0,
            reinit_layers: None,
            freeze: Freeze::default(),
            warmup: 0.1,
            schedule: RateSchedule::default(),
            label_smoothing: 0.0,
            class_weights: None,
            weight_decay: 0.01,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_eps: 1e-8,
            clip_norm: 1.0,
            max_length: 128,
            max_train_rows: None,
            scores: ScoreScale::Raw,
            dropout: None,
            head_dropout: None,
            precision: Precision::Auto,
            products: Products::Auto,
            gradient_checkpointing: false,
            cuda_graphs: true,
            deterministic: false,
            threads: None,
            device: "auto".into(),
            seed: 42,
        }
    }
}
