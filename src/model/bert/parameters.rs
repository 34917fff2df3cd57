//! BERT's variables as a pass of training uses them: query, key and value in one matrix, and where
//! products are in half precision, copies of the matrices whose masters an optimiser steps.

use anyhow::{anyhow, Result};
use rust_bert::bert::BertConfig;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use super::config::LAYER_NORM_EPS;
use crate::libtorch;
use crate::libtorch::fused::{self, Dropout, Norm};
use crate::libtorch::products::{self, Library};
use crate::model::encoder::WORDS;
use crate::model::Parameter;

const POOLER: &str = "pooler.dense";

/// A matrix `[out, in]` with its bias `[out]`.
pub struct Linear {
    name: String,
    /// In float32.
    pub bias: Tensor,
    master: Tensor,
    /// What products use: the master, or a copy of it in half precision.
    leaf: Tensor,
    /// What is added in the same operation as a product: the bias, or on CUDA such a copy.
    bias_leaf: Tensor,
}

/// A LayerNorm by its name.
type NamedNorm = (String, Norm);

pub struct Layer {
    /// `[3 hidden, hidden]`: query, key and value one below the other.
    pub qkv: Linear,
    pub attention_output: Linear,
    pub attention_norm: NamedNorm,
    pub intermediate: Linear,
    pub output: Linear,
    pub output_norm: NamedNorm,
}

/// All of an encoder's.
pub struct Parameters {
    pub words: Tensor,
    pub positions: Tensor,
    pub segments: Tensor,
    pub embedding_norm: NamedNorm,
    pub layers: Vec<Layer>,
    /// Weight and bias, always in float32.
    pooler: (Tensor, Tensor),
}

impl Linear {
    /// x Wᵀ.
    pub fn product(&self, x: &Tensor) -> Result<Tensor> {
        if self.widens() {
            return libtorch::widened_product(x, &self.leaf);
        }
        let none: Option<Tensor> = None;
        Ok(x.f_linear(&self.leaf, none)?)
    }

    fn widens(&self) -> bool {
        products::widens(self.leaf.kind(), self.leaf.device())
    }

    /// The matrix as products use it, and its bias.
    fn tensors(&self) -> (&Tensor, &Tensor) {
        (&self.leaf, &self.bias)
    }

    /// x Wᵀ + b, in the kind of what products use.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        if self.widens() {
            let product = self.product(&x.f_to_kind(self.leaf.kind())?)?;
            return Ok(product.f_add(&self.bias.f_to_kind(product.kind())?)?);
        }
        Ok(x.f_linear(&self.leaf, Some(&self.bias_leaf))?)
    }

    /// Takes products in `kind` from now on, from the master as it is now.
    fn set_products(&mut self, kind: Kind) -> Result<()> {
        copy_in(&mut self.leaf, &self.master, kind)
    }
}

/// Makes `leaf` the master itself, or a copy of it in `kind`, the same as before where there is one.
fn copy_in(leaf: &mut Tensor, master: &Tensor, kind: Kind) -> Result<()> {
    if kind == master.kind() {
        *leaf = master.shallow_clone();
    } else if kind == leaf.kind() {
        tch::no_grad(|| leaf.f_copy_(master))?;
    } else {
        let copy = master.f_detach()?.f_to_kind(kind)?;
        *leaf = copy.f_set_requires_grad(true)?;
    }
    Ok(())
}

impl Layer {
    /// As one operation takes it, with attention's dropout and those of the two sums.
    pub fn whole(&self, dropouts: [Dropout; 3]) -> fused::Layer<'_> {
        fused::Layer {
            qkv: self.qkv.tensors(),
            attention: self.attention_output.tensors(),
            attention_norm: &self.attention_norm.1,
            wide: self.intermediate.tensors(),
            narrow: self.output.tensors(),
            norm: &self.output_norm.1,
            dropouts,
        }
    }

    fn matrices(&self) -> [&Linear; 4] {
        [
            &self.qkv,
            &self.attention_output,
            &self.intermediate,
            &self.output,
        ]
    }

    fn matrices_mut(&mut self) -> [&mut Linear; 4] {
        [
            &mut self.qkv,
            &mut self.attention_output,
            &mut self.intermediate,
            &mut self.output,
        ]
    }
}

impl Parameters {
    /// Takes the variables by their names in `store`. Query, key and value of each layer become
    /// parts of one tensor: a store can serve one of these.
    pub fn new(store: &VarStore, config: &BertConfig) -> Result<Parameters> {
        let variables = store.variables();
        let get = |name: &str| -> Result<Tensor> {
            let variable = variables.get(name);
            Ok(variable
                .ok_or_else(|| anyhow!("the encoder has no variable `{name}`"))?
                .shallow_clone())
        };
        let linear = |name: String, master: Tensor, bias: Tensor| Linear {
            name,
            bias_leaf: bias.shallow_clone(),
            bias,
            leaf: master.shallow_clone(),
            master,
        };
        let dense = |name: String| -> Result<Linear> {
            let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
            Ok(linear(name, get(&weight)?, get(&bias)?))
        };
        let norm = |name: String| -> Result<NamedNorm> {
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
            Ok(Layer {
                qkv: linear(
                    format!("{attention}.query_key_value"),
                    joined(&attention, "weight")?,
                    joined(&attention, "bias")?,
                ),
                attention_output: dense(part("attention.output.dense"))?,
                attention_norm: norm(part("attention.output.LayerNorm"))?,
                intermediate: dense(part("intermediate.dense"))?,
                output: dense(part("output.dense"))?,
                output_norm: norm(part("output.LayerNorm"))?,
            })
        });
        Ok(Parameters {
            words: get(WORDS)?,
            positions: get("embeddings.position_embeddings.weight")?,
            segments: get("embeddings.token_type_embeddings.weight")?,
            embedding_norm: norm("embeddings.LayerNorm".into())?,
            layers: layers.collect::<Result<_>>()?,
            pooler: (
                get(&format!("{POOLER}.weight"))?,
                get(&format!("{POOLER}.bias"))?,
            ),
        })
    }

    /// What the layers' products are taken in.
    pub fn products(&self) -> Kind {
        let layer = self.layers.first();
        layer.map_or(Kind::Float, |layer| layer.qkv.leaf.kind())
    }

    /// Whether the library of the layers' products on a CPU compiles one for each size, as oneDNN does.
    pub fn compiles_products(&self) -> bool {
        let device = self.words.device();
        !device.is_cuda() && products::taken() == Library::OneDnn
    }

    /// tanh of the pooler's layer on states of first tokens, `[batch, hidden]`.
    pub fn pool(&self, first: &Tensor) -> Result<Tensor> {
        let (weight, bias) = &self.pooler;
        Ok(first.f_linear(weight, Some(bias))?.f_tanh()?)
    }

    /// Takes the layers' products in `kind` from now on: in half precision from copies of the
    /// matrices as they are now. In fp16 on a CPU, whose optimiser knows bfloat16 alone, casting is
    /// left to autocast.
    pub fn set_products(&mut self, kind: Kind) -> Result<()> {
        let kind = match self.words.device() {
            Device::Cpu if kind == Kind::Half => Kind::Float,
            _ => kind,
        };
        let layers = self.layers.iter_mut();
        layers
            .flat_map(Layer::matrices_mut)
            .try_for_each(|linear| linear.set_products(kind))?;
        if self.words.device().is_cuda() {
            for Layer { qkv, .. } in &mut self.layers {
                copy_in(&mut qkv.bias_leaf, &qkv.bias, kind)?;
            }
        }
        Ok(())
    }

    /// What an optimiser steps.
    pub fn steps(&self) -> Vec<Parameter> {
        let mut all = vec![
            Parameter::new(WORDS, &self.words),
            Parameter::new("embeddings.position_embeddings.weight", &self.positions),
            Parameter::new("embeddings.token_type_embeddings.weight", &self.segments),
            Parameter::new(&format!("{POOLER}.weight"), &self.pooler.0),
            Parameter::new(&format!("{POOLER}.bias"), &self.pooler.1),
        ];
        let mut norm = |(name, norm): &NamedNorm| {
            all.push(Parameter::new(&format!("{name}.weight"), &norm.gamma));
            all.push(Parameter::new(&format!("{name}.bias"), &norm.beta));
        };
        norm(&self.embedding_norm);
        for layer in &self.layers {
            norm(&layer.attention_norm);
            norm(&layer.output_norm);
        }
        for linear in self.layers.iter().flat_map(Layer::matrices) {
            let name = &linear.name;
            all.push(Parameter {
                name: format!("{name}.weight"),
                value: linear.master.shallow_clone(),
                leaf: linear.leaf.shallow_clone(),
            });
            all.push(Parameter {
                name: format!("{name}.bias"),
                value: linear.bias.shallow_clone(),
                leaf: linear.bias_leaf.shallow_clone(),
            });
        }
        all
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
