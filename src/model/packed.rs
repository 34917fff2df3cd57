//! BERT's forward pass on a CPU, made for training: rows lie packed without padding, query, key
//! and value come from one product, what lies between two products is one pass
//! ([`crate::libtorch::fused`]), and the last layer computes only what the pooler reads.
//!
//! Tests hold it to transformers' and rust-bert's outputs and gradients.

use anyhow::{anyhow, bail, Result};
use rust_bert::bert::BertConfig;
use rust_bert::Activation;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use super::encoder_config::LAYER_NORM_EPS;
use super::{activation, Mode, Parameter};
use crate::data::batch::{Batch, Layout, Packed};
use crate::libtorch;
use crate::libtorch::fused::{self, Dropout, Norm};

/// A matrix with what the products use: itself, or a copy of it in bfloat16.
struct Weight {
    master: Tensor,
    leaf: Tensor,
    /// Whether factors in bfloat16 are widened, and the product is rounded.
    widens: bool,
}

impl Weight {
    fn product(&self, x: &Tensor) -> Result<Tensor> {
        if self.widens {
            return libtorch::widened_product(x, &self.leaf);
        }
        let none: Option<Tensor> = None;
        Ok(x.f_linear(&self.leaf, none)?)
    }
}

struct Linear {
    name: String,
    weight: Weight,
    bias: Tensor,
}

struct Layer {
    qkv: Linear,
    attention_output: Linear,
    attention_norm: (String, Norm),
    intermediate: Linear,
    output: Linear,
    output_norm: (String, Norm),
}

/// The shared module over packed rows.
pub struct PackedForward {
    words: Tensor,
    positions: Tensor,
    segments: Tensor,
    embedding_norm: (String, Norm),
    layers: Vec<Layer>,
    pooler: (Tensor, Tensor),
    activation: Activation,
    heads: i64,
    hidden_dropout: f64,
    attention_dropout: f64,
    half: bool,
}

const EMBEDDINGS: &str = "embeddings";
const POOLER: &str = "pooler.dense";
/// The table whose rows are stepped only where a batch reads them.
pub const WORDS: &str = "embeddings.word_embeddings.weight";

impl PackedForward {
    /// Takes the variables by their names in `store`. Query, key and value of each layer become
    /// parts of one tensor.
    pub fn new(store: &VarStore, config: &BertConfig) -> Result<PackedForward> {
        let variables = store.variables();
        let get = |name: &str| -> Result<Tensor> {
            let variable = variables.get(name);
            Ok(variable
                .ok_or_else(|| anyhow!("the encoder has no variable `{name}`"))?
                .shallow_clone())
        };
        let linear = |name: String| -> Result<Linear> {
            let master = get(&format!("{name}.weight"))?;
            Ok(Linear {
                bias: get(&format!("{name}.bias"))?,
                weight: Weight {
                    leaf: master.shallow_clone(),
                    master,
                    widens: false,
                },
                name,
            })
        };
        let norm = |name: String| -> Result<(String, Norm)> {
            let norm = Norm {
                gamma: get(&format!("{name}.weight"))?,
                beta: get(&format!("{name}.bias"))?,
                eps: LAYER_NORM_EPS,
            };
            Ok((name, norm))
        };
        let joined = |name: &str, part: &str| -> Result<Tensor> {
            let parts = ["query", "key", "value"].map(|p| get(&format!("{name}.{p}.{part}")));
            join(parts.into_iter().collect::<Result<Vec<_>>>()?)
        };
        let layers = (0..config.num_hidden_layers).map(|i| {
            let part = |name: &str| format!("encoder.layer.{i}.{name}");
            let attention = part("attention.self");
            let master = joined(&attention, "weight")?;
            Ok(Layer {
                qkv: Linear {
                    bias: joined(&attention, "bias")?,
                    weight: Weight {
                        leaf: master.shallow_clone(),
                        master,
                        widens: false,
                    },
                    name: format!("{attention}.query_key_value"),
                },
                attention_output: linear(part("attention.output.dense"))?,
                attention_norm: norm(part("attention.output.LayerNorm"))?,
                intermediate: linear(part("intermediate.dense"))?,
                output: linear(part("output.dense"))?,
                output_norm: norm(part("output.LayerNorm"))?,
            })
        });
        Ok(PackedForward {
            words: get(WORDS)?,
            positions: get("embeddings.position_embeddings.weight")?,
            segments: get("embeddings.token_type_embeddings.weight")?,
            embedding_norm: norm(format!("{EMBEDDINGS}.LayerNorm"))?,
            layers: layers.collect::<Result<_>>()?,
            pooler: (
                get(&format!("{POOLER}.weight"))?,
                get(&format!("{POOLER}.bias"))?,
            ),
            activation: config.hidden_act,
            heads: config.num_attention_heads,
            hidden_dropout: config.hidden_dropout_prob,
            attention_dropout: config.attention_probs_dropout_prob,
            half: false,
        })
    }

    /// Computes in bfloat16 from copies of the matrices as they are now, or in float32 again.
    pub fn set_half(&mut self, half: bool) -> Result<()> {
        let emulated = libtorch::widens_bf16(Device::Cpu);
        for layer in &mut self.layers {
            let Layer {
                qkv,
                attention_output,
                intermediate,
                output,
                ..
            } = layer;
            for linear in [qkv, attention_output, intermediate, output] {
                let Weight {
                    master,
                    leaf,
                    widens,
                } = &mut linear.weight;
                *widens = half && emulated;
                if half && self.half {
                    tch::no_grad(|| leaf.f_copy_(master))?;
                } else if half {
                    let copy = master.f_detach()?.f_to_kind(Kind::BFloat16)?;
                    *leaf = copy.f_set_requires_grad(true)?;
                } else {
                    *leaf = master.shallow_clone();
                }
            }
        }
        self.half = half;
        Ok(())
    }

    /// What an optimiser steps: names, values, and where gradients arrive.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut all = vec![
            Parameter::new(WORDS, &self.words),
            Parameter::new("embeddings.position_embeddings.weight", &self.positions),
            Parameter::new("embeddings.token_type_embeddings.weight", &self.segments),
            Parameter::new(&format!("{POOLER}.weight"), &self.pooler.0),
            Parameter::new(&format!("{POOLER}.bias"), &self.pooler.1),
        ];
        let mut norm = |(name, norm): &(String, Norm)| {
            all.push(Parameter::new(&format!("{name}.weight"), &norm.gamma));
            all.push(Parameter::new(&format!("{name}.bias"), &norm.beta));
        };
        norm(&self.embedding_norm);
        for layer in &self.layers {
            norm(&layer.attention_norm);
            norm(&layer.output_norm);
        }
        for layer in &self.layers {
            for linear in [
                &layer.qkv,
                &layer.attention_output,
                &layer.intermediate,
                &layer.output,
            ] {
                let name = &linear.name;
                all.push(Parameter {
                    name: format!("{name}.weight"),
                    value: linear.weight.master.shallow_clone(),
                    leaf: linear.weight.leaf.shallow_clone(),
                });
                all.push(Parameter::new(&format!("{name}.bias"), &linear.bias));
            }
        }
        all
    }

    /// Word + position + segment, LayerNorm, dropout: `[tokens, width]`. `words` are the rows of
    /// the word table that the batch's vocabulary names, where gradients are to reach them.
    pub fn embed(&self, batch: &Batch, words: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let rows = packed(batch)?;
        let (table, places) = match words {
            Some(words) => (words, &rows.words),
            None => (&self.words, &batch.ids),
        };
        let dropout = self.dropout(mode, 0, self.hidden_dropout);
        fused::embed(
            [table, &self.positions, &self.segments],
            [places, &rows.positions, &batch.segments],
            &self.embedding_norm.1,
            dropout,
            self.half,
        )
    }

    /// tanh of the pooler's layer on states of first tokens, `[batch, width]` in float32.
    pub fn pool(&self, first: &Tensor) -> Result<Tensor> {
        let (weight, bias) = &self.pooler;
        let first = first.f_to_kind(Kind::Float)?;
        Ok(first.f_linear(weight, Some(bias))?.f_tanh()?)
    }

    /// The layer at `index`: of all tokens, `[tokens, width]` as it takes them, or with `first` of
    /// each row's first token, `[batch, width]`.
    pub fn layer(
        &self,
        index: usize,
        x: &Tensor,
        batch: &Batch,
        first: bool,
        mode: Mode,
    ) -> Result<Tensor> {
        let (layer, rows, index) = (&self.layers[index], packed(batch)?, index as u64);
        let hidden = |site: u64| self.dropout(mode, 3 * index + site, self.hidden_dropout);
        let qkv = layer.qkv.weight.product(x)?;
        let context = fused::packed_attention(
            &qkv,
            &layer.qkv.bias,
            (&rows.starts, rows.longest),
            self.heads,
            first,
            self.dropout(mode, 3 * index + 1, self.attention_dropout),
        )?;
        let residual = match first {
            true => {
                let at = rows.starts.f_narrow(0, 0, rows.starts.size()[0] - 1)?;
                x.f_index_select(0, &at)?
            }
            false => x.shallow_clone(),
        };
        let attention = layer.attention_output.weight.product(&context)?;
        let bias = &layer.attention_output.bias;
        let norm = &layer.attention_norm.1;
        let x = fused::add_norm(attention, bias, &residual, norm, hidden(2))?;
        let wide = layer.intermediate.weight.product(&x)?;
        let wide = self.activate(wide, &layer.intermediate.bias)?;
        let narrow = layer.output.weight.product(&wide)?;
        let norm = &layer.output_norm.1;
        fused::add_norm(narrow, &layer.output.bias, &x, norm, hidden(3))
    }

    fn activate(&self, x: Tensor, bias: &Tensor) -> Result<Tensor> {
        match self.activation {
            Activation::gelu => fused::gelu(x, bias),
            ref other => {
                let kind = x.kind();
                let x = activation(other)(&x.f_add(bias)?)?;
                Ok(x.f_to_kind(kind)?)
            }
        }
    }

    /// Every place of a pass where something is dropped has a key of its own.
    fn dropout(&self, mode: Mode, site: u64, p: f64) -> Dropout {
        match mode {
            Mode::Evaluate => Dropout { p: 0.0, key: 0 },
            Mode::Train { seed } => Dropout {
                p,
                key: seed.wrapping_add(site),
            },
        }
    }
}

fn packed(batch: &Batch) -> Result<&Packed> {
    match &batch.layout {
        Layout::Packed(rows) => Ok(rows),
        Layout::Padded { .. } => bail!("this engine takes packed rows"),
    }
}

/// Copies variables into one tensor, one below the other, and makes each a view of its part.
fn join(mut parts: Vec<Tensor>) -> Result<Tensor> {
    let whole = tch::no_grad(|| Tensor::f_cat(&parts, 0))?;
    let mut start = 0;
    for part in &mut parts {
        let rows = part.size()[0];
        part.f_set_data(&whole.f_narrow(0, start, rows)?)?;
        start += rows;
    }
    Ok(whole.f_set_requires_grad(true)?)
}
