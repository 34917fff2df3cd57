//! BERT as the module that all tasks share, pretrained and loaded through rust-bert.

mod activation;
pub mod config;
pub mod packed;
pub mod padded;
pub mod parameters;

use std::borrow::Borrow;
use std::path::Path;

use anyhow::{bail, Context, Result};
use rust_bert::bert::{BertConfig, BertEmbedding, BertEmbeddings, BertModel, BertModelOutput};
use rust_bert::RustBertError;
use tch::nn::{self, VarStore};
use tch::{Device, Kind, Tensor};

use self::packed::PackedForward;
use self::padded::PaddedForward;
use super::encoder::{Encoder, Limits};
use super::weights::{self, LoadReport};
use super::{named_seed, Mode, Parameter};
use crate::bail_input;
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
pub struct Bert {
    pub config: BertConfig,
    /// All parameters, by Hugging Face's names without `bert.`.
    pub variables: VarStore,
    embeddings: BertEmbeddings,
    layers: BertModel<Aligned>,
    forward: Forward,
}

impl Bert {
    /// An encoder in the shapes of `config` with random parameters that `seed` fixes.
    pub fn random(config: BertConfig, engine: Engine, device: Device, seed: u64) -> Result<Self> {
        tch::manual_seed(named_seed(seed, "encoder"));
        let encoder = Bert::unfilled(config, engine, device)?;
        initialize(&encoder.variables, encoder.config.initializer_range, |_| {
            true
        })?;
        Ok(encoder)
    }

    /// An encoder in the shapes of `config` whose parameters are still to be filled.
    pub fn unfilled(config: BertConfig, engine: Engine, device: Device) -> Result<Self> {
        if device.is_cuda() && engine == Engine::Fast {
            check_kernels_take(&config)?;
        }
        // On the CPU first: what its generator draws is the same on every device.
        let mut variables = VarStore::new(Device::Cpu);
        let embeddings = BertEmbeddings::new(variables.root() / "embeddings", &config);
        let layers = BertModel::new(variables.root(), &config);
        variables.set_device(device);
        let forward = match engine {
            Engine::Fast => Forward::Packed(PackedForward::new(&variables, &config)?),
            Engine::Padded => Forward::Padded(PaddedForward::new(&variables, &config)?),
            Engine::Reference => Forward::Reference,
        };
        Ok(Bert {
            config,
            variables,
            embeddings,
            layers,
            forward,
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
        let mut config = config::read(folder)?;
        if let Some(p) = dropout {
            config.hidden_dropout_prob = p;
            config.attention_probs_dropout_prob = p;
        }
        let file = weights::find(folder)?;
        config::check_weights(&config, folder, &file)?;
        let encoder = Bert::unfilled(config, engine, device)?;
        let report = weights::load_into(&encoder.variables, &file)?;
        tch::manual_seed(named_seed(seed, "pooler"));
        let fresh = |name: &str| report.fresh.iter().any(|fresh| fresh == name);
        initialize(&encoder.variables, encoder.config.initializer_range, fresh)?;
        Ok((encoder, report))
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

impl Encoder for Bert {
    fn embedding_width(&self) -> i64 {
        self.config.hidden_size
    }

    fn output_width(&self) -> i64 {
        self.config.hidden_size
    }

    fn limits(&self) -> Option<Limits> {
        Some(limits(&self.config))
    }

    fn dropout(&self) -> f64 {
        self.config.hidden_dropout_prob
    }

    fn variables(&self) -> &VarStore {
        &self.variables
    }

    /// The pooler too.
    fn reinitialize(&self, layers: usize, seed: u64) -> Result<()> {
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

    fn batch_shape(&self, pad: i64) -> Shape {
        match &self.forward {
            Forward::Packed(_) if self.variables.device().is_cuda() => Shape::Filled { pad },
            Forward::Packed(forward) => {
                // Of rows that go through all layers, those see to it that few sizes come up.
                let by_operation = !forward.takes_rows_through_layers();
                match by_operation && forward.parameters.compiles_products() {
                    true => Shape::Rounded { pad },
                    false => Shape::Packed,
                }
            }
            _ => Shape::Padded { pad },
        }
    }

    /// The layers' products; rust-bert's pass computes in what autocast says.
    fn set_products(&mut self, kind: Kind) -> Result<()> {
        match &mut self.forward {
            Forward::Packed(PackedForward { parameters, .. })
            | Forward::Padded(PaddedForward { parameters, .. }) => parameters.set_products(kind),
            Forward::Reference => Ok(()),
        }
    }

    fn engine_name(&self) -> &'static str {
        match self.forward {
            Forward::Packed(_) => "packed",
            Forward::Padded(_) => "padded",
            Forward::Reference => "reference",
        }
    }

    fn reads_rows(&self) -> bool {
        matches!(self.batch_shape(0), Shape::Packed | Shape::Rounded { .. })
    }

    fn parameters(&self) -> Vec<Parameter> {
        match &self.forward {
            Forward::Packed(PackedForward { parameters, .. })
            | Forward::Padded(PaddedForward { parameters, .. }) => parameters.steps(),
            Forward::Reference => Parameter::of(&self.variables),
        }
    }

    fn embed(&self, batch: &Batch, words: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
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

    fn layers(&self) -> usize {
        self.segments()
    }

    fn layer(&self, index: usize, x: &Tensor, batch: &Batch, mode: Mode) -> Result<Tensor> {
        match &self.forward {
            Forward::Packed(packed) => packed.layers(index..index + 1, x, batch, false, mode),
            Forward::Padded(padded) => padded.layer(index, x, batch, false, mode),
            Forward::Reference => bail!("rust-bert's pass cannot be cut into layers"),
        }
    }

    fn pooled(&self, embeddings: &Tensor, batch: &Batch, mode: Mode) -> Result<Tensor> {
        match &self.forward {
            Forward::Packed(packed) => {
                let first = packed.layers(0..self.segments(), embeddings, batch, true, mode)?;
                packed.pool(&first, batch)
            }
            Forward::Padded(_) => (0..self.segments())
                .try_fold(embeddings.shallow_clone(), |x, segment| {
                    self.segment(segment, &x, batch, mode)
                }),
            Forward::Reference => {
                let output = self.reference(embeddings, batch, mode)?;
                output.pooled_output.context("the encoder has no pooler")
            }
        }
    }

    fn segments(&self) -> usize {
        self.config.num_hidden_layers as usize
    }

    /// A layer, and after the last one the pooler.
    fn segment(&self, index: usize, x: &Tensor, batch: &Batch, mode: Mode) -> Result<Tensor> {
        let last = index + 1 == self.segments();
        match &self.forward {
            Forward::Packed(packed) => {
                match packed.layers(index..index + 1, x, batch, last, mode)? {
                    hidden if last => packed.pool(&hidden, batch),
                    hidden => Ok(hidden),
                }
            }
            Forward::Padded(padded) => match padded.layer(index, x, batch, last, mode)? {
                hidden if last => padded.pool(&hidden),
                hidden => Ok(hidden),
            },
            Forward::Reference => bail!("rust-bert's pass cannot be cut into segments"),
        }
    }

    fn layers_above(&self, parameter: &str) -> i64 {
        layers_above(parameter, self.config.num_hidden_layers)
    }

    fn training_flops(&self, tokens: f64) -> f64 {
        training_flops(&self.config, tokens)
    }
}

/// CUDA's kernels read eight numbers at a time and keep a row in registers; flash attention's heads are
/// of at most 256.
fn check_kernels_take(config: &BertConfig) -> Result<()> {
    let (width, inner) = (config.hidden_size, config.intermediate_size);
    let head = width / config.num_attention_heads.max(1);
    let eights = [width, inner, head].iter().all(|n| n % 8 == 0);
    if !eights || width > 4096 || head > 256 {
        bail_input!(
            "key `engine`: on CUDA `fast` takes widths that are multiples of 8, up to 4096, with heads \
             of up to 256; this encoder has {width}, {inner} and heads of {head}: set engine: padded"
        );
    }
    Ok(())
}

/// What a BERT of this shape has embeddings for.
pub fn limits(config: &BertConfig) -> Limits {
    Limits {
        words: config.vocab_size,
        positions: Some(config.max_position_embeddings),
        segments: Some(config.type_vocab_size),
    }
}

/// 2 operations per weight and token forward, 4 back; in attention, two products of a row with
/// itself (Chowdhery et al. 2022, PaLM, appendix B).
pub fn training_flops(config: &BertConfig, tokens: f64) -> f64 {
    let (width, layers) = (config.hidden_size as f64, config.num_hidden_layers as f64);
    let weights = layers * width * (4.0 * width + 2.0 * config.intermediate_size as f64);
    6.0 * weights * tokens + 12.0 * layers * width * tokens * tokens
}

fn layers_above(parameter: &str, layers: i64) -> i64 {
    let layer = parameter.strip_prefix("encoder.layer.");
    let layer = layer.and_then(|rest| rest.split('.').next()?.parse::<i64>().ok());
    match layer {
        Some(layer) => layers - 1 - layer,
        None if parameter.starts_with("embeddings") => layers,
        None => 0,
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
                // Drawn by the CPU's generator: the same start on every device.
                _ => {
                    let mut drawn = Tensor::f_empty(variable.size(), (Kind::Float, Device::Cpu))?;
                    let _ = drawn.f_normal_(0.0, f64::from(deviation))?;
                    variable.f_copy_(&drawn)?;
                    variable.shallow_clone()
                }
            };
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::layers_above;
    use crate::model::encoder::WORDS;

    #[test]
    fn layers_are_counted_from_the_top_down() {
        let above = |name: &str| layers_above(name, 24);
        assert_eq!(above("pooler.dense.weight"), 0);
        assert_eq!(above("encoder.layer.23.output.dense.bias"), 0);
        assert_eq!(
            above("encoder.layer.21.attention.self.query_key_value.weight"),
            2
        );
        assert_eq!(above(WORDS), 24);
    }
}
