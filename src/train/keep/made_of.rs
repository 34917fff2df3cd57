//! What a run is made of: everything beside its config that makes its scores.
//!
//! A config names data, tasks and an encoder by their paths, and leaves precision and engine to the
//! machine. `made_of.json` says what stood there and what was chosen, before the first step;
//! `results.json` has the same under `made_of`. [`super::reading`] finds it out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a run is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MadeOf {
    pub content: Content,
    pub arithmetic: Computed,
    pub machine: Machine,
}

/// What was read. Names and paths are no part of it: moved files make the same scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// By task.
    pub tasks: BTreeMap<String, TaskContent>,
    /// The tasks that `deduplicate` names beside the run's own: their dev and test rows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deduplicated_with: BTreeMap<String, TaskContent>,
    pub encoder: EncoderContent,
    /// The weights of the run that this one starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartContent>,
}

/// A task as its file and the defaults say it, and the files of its splits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskContent {
    /// `labels` in their order, `metrics`, `loss`, `inputs` (texts in an example) and `cut`.
    pub definition: Value,
    /// By split, in the task's order. `test` only where `deduplicate` reads it.
    pub files: BTreeMap<String, Vec<FileContent>>,
    /// sha256 over those of the images that the rows of a split name, in the rows' order.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
}

/// One file of a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileContent {
    /// Its name, for people.
    pub file: String,
    pub sha256: String,
    /// Its layout, its part of the split, and how it is filtered.
    pub read_as: Value,
    /// Of the list of ids that it is filtered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids_sha256: Option<String>,
}

/// The pretrained encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderContent {
    /// Of the weight file.
    pub weights: String,
    /// The shapes and probabilities of `config.json`.
    pub config: Value,
    /// Of everything that decides which ids a text has.
    pub tokenizer: String,
    /// sha256 of each file of the tokenizer that is there, for people.
    pub tokenizer_files: BTreeMap<String, String>,
}

/// The weights that a run starts from: sha256 of its `best/` files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartContent {
    pub encoder: String,
    pub heads: String,
}

/// What the model's products are computed in, by what: `auto` and `fast` as they came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Computed {
    /// `fp32`, `tf32`, `bf16` or `fp16`.
    pub precision: String,
    /// `packed`, `padded` or `reference`.
    pub engine: String,
    /// The library of matrix products: `MKL`, `oneDNN`, `cuBLAS`, …
    pub products: String,
    /// `cpu` or `cuda`.
    pub device: String,
}

pub(super) fn one() -> usize {
    1
}

pub(super) fn is_one(&number: &usize) -> bool {
    number == 1
}

/// What sums are ordered by: the same run elsewhere gives the same scores up to rounding, not bit
/// for bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub threads: i32,
    /// Processes that train together.
    #[serde(default = "one")]
    pub ranks: usize,
    /// The instruction set that libtorch computes with, such as `AVX512`.
    pub cpu_capability: String,
    pub libtorch: String,
    pub covalign: String,
}
