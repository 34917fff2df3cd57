//! The module that all tasks share: a pretrained BERT, loaded through rust-bert.

use std::borrow::Borrow;
use std::path::Path;

use anyhow::{Context, Result};
use rust_bert::bert::{BertConfig, BertEmbedding, BertEmbeddings, BertModel};
use rust_bert::RustBertError;
use serde::{Deserialize, Serialize};
use tch::nn::{self, VarStore};
use tch::{Device, Tensor};

use super::forward::Forward;
use super::weights::{self, LoadReport};
use super::{encoder_config, named_seed};
use crate::data::Batch;

/// Whose forward pass computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Ours, made for training.
    #[default]
    Fast,
    /// rust-bert's own.
    Reference,
}

/// An embedding layer for [`BertModel`] that passes its input on: alignment happens before it.
struct Aligned;

impl BertEmbedding for Aligned {
    fn new<'p, P: Borrow<nn::Path<'p>>>(_: P, _: &BertConfig) -> Self {
        Aligned
    }

    fn forward_t(
        &self,
        _: Option<&Tensor>,
        _: Option<&Tensor>,
        _: Option<&Tensor>,
        input_embeds: Option<&Tensor>,
        _: bool,
    ) -> Result<Tensor, RustBertError> {
        input_embeds
            .map(Tensor::shallow_clone)
            .ok_or_else(|| RustBertError::ValueError("aligned embeddings are missing".into()))
    }
}

/// A BERT with its embedding layer apart from its layers, so that alignment fits between.
pub struct Encoder {
    pub config: BertConfig,
    /// All parameters, by Hugging Face's names without `bert.`.
    pub variables: VarStore,
    embeddings: BertEmbeddings,
    layers: BertModel<Aligned>,
    forward: Forward,
    engine: Engine,
}

impl Encoder {
    /// An encoder in the shapes of `config` with random parameters that `seed` fixes.
    pub fn random(config: BertConfig, engine: Engine, device: Device, seed: u64) -> Result<Self> {
        tch::manual_seed(named_seed(seed, "encoder"));
        let variables = VarStore::new(device);
        let embeddings = BertEmbeddings::new(variables.root() / "embeddings", &config);
        let layers = BertModel::new(variables.root(), &config);
        tch::no_grad(|| -> Result<()> {
            let mut all: Vec<_> = variables.variables().into_iter().collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            for (name, mut variable) in all {
                let _ = match name.as_str() {
                    n if n.ends_with("LayerNorm.weight") => variable.f_fill_(1.0)?,
                    n if n.ends_with("bias") => variable.f_fill_(0.0)?,
                    _ => variable.f_normal_(0.0, f64::from(config.initializer_range))?,
                };
            }
            Ok(())
        })?;
        let forward = Forward::new(&variables, &config)?;
        Ok(Encoder {
            config,
            variables,
            embeddings,
            layers,
            forward,
            engine,
        })
    }

    /// A pretrained encoder from a folder with `config.json` and weights. `dropout` replaces both
    /// of the config's probabilities; a missing pooler starts at random, fixed by `seed`.
    pub fn load(
        folder: &Path,
        dropout: Option<f64>,
        engine: Engine,
        device: Device,
        seed: u64,
    ) -> Result<(Self, LoadReport)> {
        let mut config = encoder_config::read(folder)?;
        if let Some(p) = dropout {
            config.hidden_dropout_prob = p;
            config.attention_probs_dropout_prob = p;
        }
        let file = weights::find(folder)?;
        let encoder = Encoder::random(config, engine, device, seed)?;
        let report = weights::load_into(&encoder.variables, &file)?;
        Ok((encoder, report))
    }

    /// The embedding layer's output, `[batch, seq, hidden]`.
    pub fn embed(&self, batch: &Batch, train: bool) -> Result<Tensor> {
        match self.engine {
            Engine::Fast => self.forward.embed(batch, train),
            Engine::Reference => Ok(self.embeddings.forward_t(
                Some(&batch.ids),
                Some(&batch.segments),
                None,
                None,
                train,
            )?),
        }
    }

    /// The last layer's states `[batch, seq, hidden]` and the pooled output `[batch, hidden]`
    /// from (aligned) embeddings `[batch, seq, hidden]`.
    pub fn encode(
        &self,
        embeddings: &Tensor,
        batch: &Batch,
        train: bool,
    ) -> Result<(Tensor, Tensor)> {
        match self.engine {
            Engine::Fast => {
                let hidden = self.forward.encode(embeddings, batch, train)?;
                let pooled = self.forward.pool(&hidden)?;
                Ok((hidden, pooled))
            }
            Engine::Reference => {
                // rust-bert wants an integer mask: it inverts it by XOR.
                let mask = batch.mask.as_ref().map(|m| m.to_kind(tch::Kind::Int64));
                let output = self.layers.forward_t(
                    None,
                    mask.as_ref(),
                    None,
                    None,
                    Some(embeddings),
                    None,
                    None,
                    train,
                )?;
                let pooled = output.pooled_output.context("the encoder has no pooler")?;
                Ok((output.hidden_state, pooled))
            }
        }
    }
}
