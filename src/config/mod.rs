//! YAML to structs, defaults, overrides, errors that name the key.
//!
//! A training config has few keys, each with a default worth using; see `configs/`.

mod rules;
pub mod sampling;
pub mod start;
pub mod values;
pub mod yaml;

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use crate::error::io_error;
use crate::model::alignment::{Form, Start};
use crate::model::encoder::Engine;
use crate::{bail_input, input_error};
pub use sampling::{BatchKind, Sampling, Strategy};
pub use start::{Heads, StartFrom};
use values::{Deduplicate, Interval, Rank, Rate, RowLimit};

/// How tasks share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Every task fine-tunes an encoder of its own (STL).
    Single,
    /// One encoder for all tasks (MTL).
    Multitask,
    /// One encoder for all tasks, behind one alignment matrix per task.
    #[default]
    Aligned,
}

impl Method {
    /// The name in a config.
    pub fn name(self) -> &'static str {
        match self {
            Method::Single => "single",
            Method::Multitask => "multitask",
            Method::Aligned => "aligned",
        }
    }
}

/// The whole training config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A name that `covalign encoder fetch` knows, or a folder.
    pub encoder: String,
    /// Folder with one sub-folder per task.
    pub data: PathBuf,
    /// Names of built-in tasks, or paths of task files.
    pub tasks: Vec<String>,
    pub method: Method,
    /// The run to start from; by default the pretrained encoder with fresh heads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<StartFrom>,
    /// Leave out training rows whose text is in another task's dev or test split: another of the
    /// run's, or also one of the tasks in a list.
    pub deduplicate: Deduplicate,
    pub alignment: Alignment,
    pub sampling: Sampling,
    pub training: Training,
    pub evaluation: Evaluation,
    pub checkpoints: Checkpoints,
    /// Whose forward pass computes: `fast` or rust-bert's `reference`.
    pub engine: Engine,
    /// The run folder; by default a fresh one in `runs/`, named after the config's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            encoder: "bert-large-uncased".into(),
            data: "data/glue".into(),
            tasks: Vec::new(),
            method: Method::default(),
            start: None,
            deduplicate: Deduplicate::Switch(false),
            alignment: Alignment::default(),
            sampling: Sampling::default(),
            training: Training::default(),
            evaluation: Evaluation::default(),
            checkpoints: Checkpoints::default(),
            engine: Engine::default(),
            out: None,
        }
    }
}

/// Which of the papers' texts the updates follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// A batch of task i moves A_i, R_i and B.
    #[default]
    Joint,
    /// B is trained with R_i = I, then frozen; then R_i and A_i alone.
    FixedEncoder,
    /// B, and (R_i, A_i), in turn.
    Alternating,
}

/// Form of the R_i's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlignmentForm {
    /// A matrix of the given rank (`full`, or r for I + U Vᵀ).
    #[default]
    General,
    Diagonal,
    Orthogonal,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alignment {
    pub form: AlignmentForm,
    /// `full`, or the rank r of R − I.
    pub rank: Rank,
    pub init: Start,
    /// `2e-5`, or a multiple of the encoder's such as `20x`.
    pub learning_rate: Rate,
    /// λ of the term λ‖R − I‖²_F in the loss.
    pub decay_to_identity: f64,
    pub schedule: Schedule,
    /// `alternating`: optimiser steps before the turn changes.
    pub alternate_every: u64,
    /// `fixed_encoder`: the share of all steps that trains B first.
    pub encoder_share: f64,
}

impl Default for Alignment {
    fn default() -> Self {
        Alignment {
            form: AlignmentForm::General,
            rank: Rank::Full,
            init: Start::Identity,
            learning_rate: Rate::Relative(1.0),
            decay_to_identity: 0.0,
            schedule: Schedule::Joint,
            alternate_every: 50,
            encoder_share: 0.5,
        }
    }
}

impl Alignment {
    /// The model's form of R_i.
    pub fn model_form(&self) -> Form {
        match (self.form, self.rank) {
            (AlignmentForm::General, Rank::Full) => Form::Full,
            (AlignmentForm::General, Rank::Low(rank)) => Form::LowRank(rank),
            (AlignmentForm::Diagonal, _) => Form::Diagonal,
            (AlignmentForm::Orthogonal, _) => Form::Orthogonal,
        }
    }
}

/// Arithmetic of the forward and backward pass; parameters and optimiser are always float32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// bf16 where the device multiplies it in hardware, fp16 on GPUs before it, else fp32.
    #[default]
    Auto,
    Fp32,
    /// fp32, with TF32 matrix products on CUDA.
    Tf32,
    /// Matrix products in bfloat16.
    Bf16,
    /// Matrix products in float16, with dynamic loss scaling: for GPUs without bfloat16.
    Fp16,
}

/// How regression learns scores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreScale {
    /// As they are, as the papers do. The squared error of a score from 0 to 5 is many times a
    /// cross-entropy: beside it, other tasks hardly move what they share.
    #[default]
    Raw,
    /// As if the task's range went from 0 to 1. Predictions are in the range itself all the same.
    Unit,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    pub epochs: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u64>,
    /// Rows of one task in a batch.
    pub batch_size: usize,
    /// About so many tokens in a batch, in place of `batch_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_tokens: Option<usize>,
    /// Batches whose gradients are summed into one optimiser step.
    pub accumulate: usize,
    pub learning_rate: f64,
    /// Learning rate of the heads, absolute or a multiple of the encoder's.
    pub head_learning_rate: Rate,
    /// Factor on the learning rate for each layer further down, the embeddings lowest; 1 for none.
    pub layer_decay: f64,
    /// The pooler and this many of the top layers start at random.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reinit_layers: Option<usize>,
    /// Share of the steps over which the learning rate rises; then it falls linearly to 0.
    pub warmup: f64,
    pub weight_decay: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_eps: f64,
    /// Largest norm of all gradients together; 0 clips nothing.
    pub clip_norm: f64,
    /// Tokens that a row is cut to.
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
    pub precision: Precision,
    /// Keep only the layers' inputs for the backward pass and compute the rest again: about a third
    /// slower, a fraction of the memory.
    pub gradient_checkpointing: bool,
    /// Threads on the CPU; by default one per core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// `auto` (CUDA when there), `cpu`, `cuda` or `cuda:1`.
    pub device: String,
    pub seed: u64,
}

impl Default for Training {
    fn default() -> Self {
        Training {
            epochs: 3.0,
            max_steps: None,
            batch_size: 32,
            batch_tokens: None,
            accumulate: 1,
            learning_rate: 2e-5,
            head_learning_rate: Rate::Relative(1.0),
            layer_decay: 1.0,
            reinit_layers: None,
            warmup: 0.1,
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
            gradient_checkpointing: false,
            threads: None,
            device: "auto".into(),
            seed: 42,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluation {
    /// `1 epoch`, `0.1 epochs`, `500 steps`.
    pub every: Interval,
    /// Stop after this many evaluations without a better mean score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    pub batch_size: usize,
}

impl Default for Evaluation {
    fn default() -> Self {
        Evaluation {
            every: Interval::Epochs(1.0),
            patience: None,
            batch_size: 64,
        }
    }
}

/// Which weights stay in the run folder once the run has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// The last checkpoints and the best weights.
    #[default]
    All,
    /// The best weights alone.
    Best,
    /// None: the scores are what the run was for.
    Nothing,
}

impl After {
    /// The name in a config.
    pub fn name(self) -> &'static str {
        match self {
            After::All => "all",
            After::Best => "best",
            After::Nothing => "nothing",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checkpoints {
    /// How often to save what `--resume` needs.
    pub every: Interval,
    /// How many of them to keep.
    pub keep: usize,
    /// Keep the weights of each task's best evaluation too, not only of the best mean.
    pub best_per_task: bool,
    pub after: After,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Checkpoints {
            every: Interval::Epochs(1.0),
            keep: 1,
            best_per_task: true,
            after: After::All,
        }
    }
}

impl Config {
    /// Reads a config file and applies `--set key.path=value` overrides.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Config> {
        let text = std::fs::read_to_string(path).map_err(|e| io_error(path, e))?;
        Config::parse(&text, &path.display().to_string(), overrides)
    }

    /// As [`Config::load`] for a text that is already there; `source` names it in errors.
    pub fn parse(text: &str, source: &str, overrides: &[String]) -> Result<Config> {
        // First as it stands, so that its errors name their lines.
        let mut config: Config = yaml::from_str(text, source)?;
        if !overrides.is_empty() {
            let mut value = serde_yaml::from_str(text)
                .map_err(|e| input_error!("{source}: not readable as YAML: {e}"))?;
            if value == Value::Null {
                value = Value::Mapping(Default::default());
            }
            for item in overrides {
                config = apply_override(&mut value, item)?;
            }
        }
        config.validate(source)?;
        Ok(config)
    }

    /// As [`Config::parse`] for a tree of keys and values.
    pub fn from_value(value: Value, source: &str) -> Result<Config> {
        let config: Config = yaml::from_value(value, source)?;
        config.validate(source)?;
        Ok(config)
    }

    /// The config with every key, as a run folder keeps it.
    pub fn to_yaml(&self) -> Result<String> {
        Ok(serde_yaml::to_string(self)?)
    }
}

/// Sets one `key.path=value` in `root` and reads the config again, so that an error is this
/// override's.
fn apply_override(root: &mut Value, item: &str) -> Result<Config> {
    let shown = format!("--set {item}");
    let Some((path, text)) = item.split_once('=') else {
        bail_input!("{shown}: write it as key.path=value");
    };
    let new: Value =
        serde_yaml::from_str(text).map_err(|e| input_error!("{shown}: not a YAML value: {e}"))?;
    assign(root, path.trim(), new, &shown)?;
    yaml::from_value(root.clone(), &shown)
}

/// Puts `new` at the dotted `path` in `root`; keys and values join those of a tree that is there.
/// `shown` opens the message of an error.
pub fn assign(root: &mut Value, path: &str, new: Value, shown: &str) -> Result<()> {
    let mut place = root;
    for key in path.split('.') {
        if place.is_null() {
            *place = Value::Mapping(Default::default());
        }
        let Value::Mapping(map) = place else {
            bail_input!("{shown}: `{key}` lies under a key that holds no keys");
        };
        place = map.entry(Value::from(key)).or_insert(Value::Null);
    }
    merge(place, new);
    Ok(())
}

fn merge(place: &mut Value, new: Value) {
    match (place, new) {
        (Value::Mapping(old), Value::Mapping(new)) => {
            for (key, value) in new {
                merge(old.entry(key).or_insert(Value::Null), value);
            }
        }
        (place, new) => *place = new,
    }
}
