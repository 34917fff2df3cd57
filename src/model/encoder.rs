//! What training needs of the module that all tasks share, whatever it is made of.

use anyhow::{bail, Result};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use super::{Mode, Parameter};
use crate::config::Engine;
use crate::data::batch::{Batch, Shape};

/// The name of the table of word embeddings among an encoder's parameters.
pub const WORDS: &str = "embeddings.word_embeddings.weight";

/// How an encoder computes.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// In place of the encoder's own probabilities.
    pub dropout: Option<f64>,
    pub engine: Engine,
    pub device: Device,
    /// Fixes what starts at random.
    pub seed: u64,
}

/// What an encoder has embeddings for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows of the word table.
    pub words: i64,
    /// The longest row in tokens; none where any length will do.
    pub positions: Option<i64>,
    /// Kinds of texts that are told apart; none where the encoder does not tell.
    pub segments: Option<i64>,
}

/// The module that all tasks share: an embedding layer E, behind which a task's R_i fits, and B,
/// which makes one vector of a row's (aligned) embeddings.
pub trait Encoder {
    /// Width of the embeddings, and of R_i.
    fn embedding_width(&self) -> i64;

    /// Width of what [`Encoder::pooled`] puts out.
    fn output_width(&self) -> i64;

    /// None where it takes images.
    fn limits(&self) -> Option<Limits>;

    /// The probability that the encoder's own layers drop a value with.
    fn dropout(&self) -> f64;

    /// All that training may change, running statistics too, by the names that checkpoints have.
    fn variables(&self) -> &VarStore;

    /// What an optimiser steps.
    fn parameters(&self) -> Vec<Parameter>;

    /// Whether a pass of training takes rows of the table [`WORDS`] instead of the whole.
    fn reads_rows(&self) -> bool;

    /// The word table, where training does not change it: checkpoints have it not.
    fn frozen_words(&self) -> Option<&Tensor> {
        None
    }

    /// How many layers lie above the parameter of this name: 0 at the top.
    fn layers_above(&self, parameter: &str) -> i64;

    /// How the engine wants rows; `pad` fills them up where it does not pack them.
    fn batch_shape(&self, pad: i64) -> Shape;

    /// The engine at work: `packed`, `padded` or `reference`.
    fn engine_name(&self) -> &'static str;

    /// Lets products be computed in `kind`, in half precision from copies of the weights as they are
    /// now.
    fn set_products(&mut self, kind: Kind) -> Result<()>;

    /// Starts the `layers` top layers at random, fixed by `seed`.
    fn reinitialize(&self, layers: usize, seed: u64) -> Result<()>;

    /// The embedding layer's output, `[batch, seq, width]`, or `[tokens, width]` where rows are
    /// packed; of images the pixels. With packed rows, `words` may be the rows of the word table that
    /// the batch's vocabulary names: gradients then go to them instead of to the whole table.
    fn embed(&self, batch: &Batch, words: Option<&Tensor>, mode: Mode) -> Result<Tensor>;

    /// The vector of each row, `[batch, output width]`, from (aligned) embeddings.
    fn pooled(&self, embeddings: &Tensor, batch: &Batch, mode: Mode) -> Result<Tensor> {
        (0..self.segments()).try_fold(embeddings.shallow_clone(), |x, segment| {
            self.segment(segment, &x, batch, mode)
        })
    }

    /// How many parts [`Encoder::segment`] cuts the pass behind the embedding layer into.
    fn segments(&self) -> usize;

    /// One part of what [`Encoder::pooled`] computes. The same mode gives the same dropout again.
    fn segment(&self, index: usize, x: &Tensor, batch: &Batch, mode: Mode) -> Result<Tensor>;

    /// How many layers keep the shape of the embeddings; see [`Encoder::layer`].
    fn layers(&self) -> usize {
        0
    }

    /// All tokens' states behind the layer at `index`, from those before it.
    fn layer(&self, index: usize, _: &Tensor, _: &Batch, _: Mode) -> Result<Tensor> {
        bail!("the encoder has no layer {index} of the embeddings' shape")
    }

    /// Floating point operations of training on one row: of so many tokens, or images, forward and
    /// backward.
    fn training_flops(&self, tokens: f64) -> f64;
}
