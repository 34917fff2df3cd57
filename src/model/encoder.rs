//! The module that all tasks share: a pretrained BERT, loaded through rust-bert.

use std::borrow::Borrow;
use std::path::Path;

use anyhow::{bail, Context, Result};
use rust_bert::bert::{BertConfig, BertEmbedding, BertEmbeddings, BertModel, BertModelOutput};
use rust_bert::RustBertError;
use tch::nn::{self, VarStore};
use tch::{Device, Kind, Tensor};

use super::packed::PackedForward;
use super::padded::PaddedForward;
use super::weights::{self, LoadReport};
use super::{encoder_config, named_seed, Mode, Parameter};
use crate::config::Engine;
use crate::data::batch::{Batch, Layout, Shape};

/// The engine at work.
enum Forward {
    Packed(PackedForward),
    Padded(PaddedForward),
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
}

impl Encoder {
    /// An encoder in the shapes of `config` with random parameters that `seed` fixes.
    pub fn random(config: BertConfig, engine: Engine, device: Device, seed: u64) -> Result<Self> {
        tch::manual_seed(named_seed(seed, "encoder"));
        let variables = VarStore::new(device);
        let embeddings = BertEmbeddings::new(variables.root() / "embeddings", &config);
        let layers = BertModel::new(variables.root(), &config);
        initialize(&variables, config.initializer_range, |_| true)?;
        let forward = match engine {
            Engine::Fast if Encoder::packs(engine, device) => {
                Forward::Packed(PackedForward::new(&variables, &config)?)
            }
            Engine::Fast | Engine::Padded => {
                Forward::Padded(PaddedForward::new(&variables, &config)?)
            }
            Engine::Reference => Forward::Reference,
        };
        Ok(Encoder {
            config,
            variables,
            embeddings,
            layers,
            forward,
        })
    }

    /// Whether an engine takes packed rows on a device.
    pub fn packs(engine: Engine, device: Device) -> bool {
        engine == Engine::Fast && device == Device::Cpu
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

    /// The same encoder, in float32, with another engine.
    pub fn with_engine(&self, engine: Engine) -> Result<Encoder> {
        let device = self.variables.device();
        let mut other = Encoder::random(self.config.clone(), engine, device, 0)?;
        other.variables.copy(&self.variables)?;
        Ok(other)
    }

    /// Starts the pooler and the `layers` top layers at random, fixed by `seed`.
    pub fn reinitialize(&self, layers: usize, seed: u64) -> Result<()> {
        tch::manual_seed(named_seed(seed, "reinitialized layers"));
        let all = self.config.num_hidden_layers;
        let tops: Vec<String> = (0..all)
            .rev()
            .take(layers)
            .map(|layer| format!("encoder.layer.{layer}."))
            .collect();
        initialize(&self.variables, self.config.initializer_range, |name| {
            name.starts_with("pooler") || tops.iter().any(|top| name.starts_with(top))
        })
    }

    /// How the engine wants rows; `pad` fills them up where it does not pack them.
    pub fn shape(&self, pad: i64) -> Shape {
        match self.forward {
            Forward::Packed(_) => Shape::Packed,
            _ => Shape::Padded { pad },
        }
    }

    /// Lets the layers' products be computed in `kind`, in half precision from copies of the
    /// weights as they are now. rust-bert's pass computes in what autocast says.
    pub fn set_products(&mut self, kind: Kind) -> Result<()> {
        match &mut self.forward {
            Forward::Packed(PackedForward { parameters, .. })
            | Forward::Padded(PaddedForward { parameters, .. }) => parameters.set_products(kind),
            Forward::Reference => Ok(()),
        }
    }

    /// The engine at work: `packed`, `padded` or `reference`.
    pub fn engine_name(&self) -> &'static str {
        match self.forward {
            Forward::Packed(_) => "packed",
            Forward::Padded(_) => "padded",
            Forward::Reference => "reference",
        }
    }

    /// Whether a pass of training takes rows of the word table instead of the whole.
    pub fn reads_rows(&self) -> bool {
        matches!(self.forward, Forward::Packed(_))
    }

    /// What an optimiser steps.
    pub fn parameters(&self) -> Vec<Parameter> {
        match &self.forward {
            Forward::Packed(PackedForward { parameters, .. })
            | Forward::Padded(PaddedForward { parameters, .. }) => parameters.steps(),
            Forward::Reference => Parameter::of(&self.variables),
        }
    }

    /// The embedding layer's output, `[batch, seq, hidden]`, or `[tokens, hidden]` where rows are
    /// packed. There, `words` may be the rows of the word table that the batch's vocabulary names:
    /// gradients then go to them instead of to the whole table.
    pub fn embed(&self, batch: &Batch, words: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        match &self.forward {
            Forward::Packed(packed) => packed.embed(batch, words, mode),
            Forward::Padded(padded) => padded.embed(batch, mode.trains()),
            Forward::Reference => Ok(self.embeddings.forward_t(
                Some(&batch.ids),
                Some(&batch.segments),
                None,
                None,
                mode.trains(),
            )?),
        }
    }

    /// The last layer's states, in the shape of the (aligned) embeddings.
    pub fn encode(&self, embeddings: &Tensor, batch: &Batch, mode: Mode) -> Result<Tensor> {
        if let Forward::Reference = self.forward {
            return Ok(self.reference(embeddings, batch, mode)?.hidden_state);
        }
        self.through_layers(embeddings, |i, x| self.layer(i, x, batch, mode))
    }

    /// The states behind the layer at `index`, from those before it.
    pub fn layer(&self, index: usize, x: &Tensor, batch: &Batch, mode: Mode) -> Result<Tensor> {
        match &self.forward {
            Forward::Packed(packed) => packed.layer(index, x, batch, false, mode),
            Forward::Padded(padded) => padded.layer(index, x, batch, false, mode),
            Forward::Reference => bail!("rust-bert's pass cannot be cut into layers"),
        }
    }

    /// The pooler's output `[batch, hidden]` from (aligned) embeddings.
    pub fn pooled(&self, embeddings: &Tensor, batch: &Batch, mode: Mode) -> Result<Tensor> {
        if let Forward::Reference = self.forward {
            let output = self.reference(embeddings, batch, mode)?;
            return output.pooled_output.context("the encoder has no pooler");
        }
        self.through_layers(embeddings, |i, x| self.segment(i, x, batch, mode))
    }

    /// How many parts [`Encoder::segment`] cuts the pass after the embedding layer into.
    pub fn segments(&self) -> usize {
        self.config.num_hidden_layers as usize
    }

    /// One part of what [`Encoder::pooled`] computes: a layer, and after the last one the pooler.
    /// The same mode gives the same dropout again.
    pub fn segment(&self, index: usize, x: &Tensor, batch: &Batch, mode: Mode) -> Result<Tensor> {
        let last = index + 1 == self.segments();
        match &self.forward {
            Forward::Packed(packed) => match packed.layer(index, x, batch, last, mode)? {
                hidden if last => packed.pool(&hidden),
                hidden => Ok(hidden),
            },
            Forward::Padded(padded) => match padded.layer(index, x, batch, last, mode)? {
                hidden if last => padded.pool(&hidden),
                hidden => Ok(hidden),
            },
            Forward::Reference => bail!("rust-bert's pass cannot be cut into segments"),
        }
    }

    fn through_layers(
        &self,
        embeddings: &Tensor,
        layer: impl Fn(usize, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        (0..self.segments()).try_fold(embeddings.shallow_clone(), |x, i| layer(i, &x))
    }

    fn reference(&self, embeddings: &Tensor, batch: &Batch, mode: Mode) -> Result<BertModelOutput> {
        let Layout::Padded { mask } = &batch.layout else {
            bail!("this engine takes padded rows");
        };
        // rust-bert wants an integer mask: it inverts it by XOR.
        let mask = mask.as_ref().map(|m| m.to_kind(Kind::Int64));
        let train = mode.trains();
        let embeddings = Some(embeddings);
        Ok(self.layers.forward_t(
            None,
            mask.as_ref(),
            None,
            None,
            embeddings,
            None,
            None,
            train,
        )?)
    }
}

/// BERT's random start of the variables whose names `chosen` takes: N(0, deviation²), LayerNorms at
/// one, biases at zero.
fn initialize(variables: &VarStore, deviation: f32, chosen: impl Fn(&str) -> bool) -> Result<()> {
    let mut all: Vec<_> = variables.variables().into_iter().collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    tch::no_grad(|| {
        for (name, mut variable) in all.into_iter().filter(|(name, _)| chosen(name)) {
            let _ = match name.as_str() {
                n if n.ends_with("LayerNorm.weight") => variable.f_fill_(1.0)?,
                n if n.ends_with("bias") => variable.f_fill_(0.0)?,
                _ => variable.f_normal_(0.0, f64::from(deviation))?,
            };
        }
        Ok(())
    })
}
