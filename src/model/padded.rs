//! BERT's forward pass over padded rows in libtorch's own operations, for any device.
//!
//! Attention goes through libtorch's `scaled_dot_product_attention`, a batch without padding
//! carries no mask, and dropout at p = 0 costs nothing. A test holds it to rust-bert's own pass.

use anyhow::{anyhow, bail, Result};
use rust_bert::bert::BertConfig;
use tch::nn::VarStore;
use tch::{TchError, Tensor};

use super::encoder_config::LAYER_NORM_EPS;
use super::{activation, Mode};
use crate::data::batch::{Batch, Layout};
use crate::libtorch;

#[derive(Debug)]
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_linear(&self.weight, Some(&self.bias))?)
    }

    fn layer_norm(&self, x: &Tensor) -> Result<Tensor> {
        let shape = self.weight.size();
        Ok(x.f_layer_norm(
            shape,
            Some(&self.weight),
            Some(&self.bias),
            LAYER_NORM_EPS,
            true,
        )?)
    }
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: Linear,
    intermediate: Linear,
    output: Linear,
    output_norm: Linear,
}

/// The shared module: embedding layer, encoder layers, pooler.
pub struct PaddedForward {
    words: Tensor,
    positions: Tensor,
    segments: Tensor,
    embedding_norm: Linear,
    layers: Vec<Layer>,
    pooler: Linear,
    activation: fn(&Tensor) -> Result<Tensor, TchError>,
    heads: i64,
    hidden_dropout: f64,
    attention_dropout: f64,
}

/// A batch's mask `[batch, 1, 1, seq]`, where there is padding.
fn attention_mask(batch: &Batch) -> Result<Option<Tensor>> {
    let Layout::Padded { mask } = &batch.layout else {
        bail!("this engine takes padded rows");
    };
    let mask = mask.as_ref();
    Ok(mask.map(|m| m.f_unsqueeze(1)?.f_unsqueeze(1)).transpose()?)
}

fn dropout(x: Tensor, p: f64, train: bool) -> Result<Tensor> {
    if train && p > 0.0 {
        Ok(x.f_dropout(p, true)?)
    } else {
        Ok(x)
    }
}

impl PaddedForward {
    /// Takes the variables by their names in `store`.
    pub fn new(store: &VarStore, config: &BertConfig) -> Result<PaddedForward> {
        let variables = store.variables();
        let get = |name: String| -> Result<Tensor> {
            let variable = variables.get(&name);
            Ok(variable
                .ok_or_else(|| anyhow!("the encoder has no variable `{name}`"))?
                .shallow_clone())
        };
        let linear = |name: String| -> Result<Linear> {
            Ok(Linear {
                weight: get(format!("{name}.weight"))?,
                bias: get(format!("{name}.bias"))?,
            })
        };
        let layers = (0..config.num_hidden_layers).map(|i| {
            let part = |name: &str| linear(format!("encoder.layer.{i}.{name}"));
            Ok(Layer {
                query: part("attention.self.query")?,
                key: part("attention.self.key")?,
                value: part("attention.self.value")?,
                attention_output: part("attention.output.dense")?,
                attention_norm: part("attention.output.LayerNorm")?,
                intermediate: part("intermediate.dense")?,
                output: part("output.dense")?,
                output_norm: part("output.LayerNorm")?,
            })
        });
        Ok(PaddedForward {
            words: get("embeddings.word_embeddings.weight".into())?,
            positions: get("embeddings.position_embeddings.weight".into())?,
            segments: get("embeddings.token_type_embeddings.weight".into())?,
            embedding_norm: linear("embeddings.LayerNorm".into())?,
            layers: layers.collect::<Result<_>>()?,
            pooler: linear("pooler.dense".into())?,
            activation: activation(&config.hidden_act),
            heads: config.num_attention_heads,
            hidden_dropout: config.hidden_dropout_prob,
            attention_dropout: config.attention_probs_dropout_prob,
        })
    }

    /// Word + position + segment, LayerNorm, dropout: `[batch, seq, hidden]`.
    pub fn embed(&self, batch: &Batch, train: bool) -> Result<Tensor> {
        let seq = batch.ids.size()[1];
        let words = Tensor::f_embedding(&self.words, &batch.ids, 0, false, false)?;
        let segments = Tensor::f_embedding(&self.segments, &batch.segments, -1, false, false)?;
        let sum = words
            .f_add(&self.positions.f_narrow(0, 0, seq)?)?
            .f_add(&segments)?;
        dropout(
            self.embedding_norm.layer_norm(&sum)?,
            self.hidden_dropout,
            train,
        )
    }

    /// The layer at `index`, on states `[batch, seq, hidden]`.
    pub fn layer(&self, index: usize, x: &Tensor, batch: &Batch, mode: Mode) -> Result<Tensor> {
        let mask = attention_mask(batch)?;
        if let Mode::Train { seed } = mode {
            // A layer's own draws: the same again when it is computed again.
            tch::manual_seed(seed.wrapping_add(1 + index as u64) as i64);
        }
        self.apply(&self.layers[index], x, mask.as_ref(), mode.trains())
    }

    /// tanh of the pooler's layer on the first token: `[batch, hidden]`.
    pub fn pool(&self, hidden: &Tensor) -> Result<Tensor> {
        Ok(self.pooler.apply(&hidden.f_select(1, 0)?)?.f_tanh()?)
    }

    fn apply(
        &self,
        layer: &Layer,
        x: &Tensor,
        mask: Option<&Tensor>,
        train: bool,
    ) -> Result<Tensor> {
        let attention = self.attention(layer, x, mask, train)?;
        let attention = layer.attention_output.apply(&attention)?;
        let attention = dropout(attention, self.hidden_dropout, train)?;
        let x = layer.attention_norm.layer_norm(&attention.f_add(x)?)?;
        let wide = (self.activation)(&layer.intermediate.apply(&x)?)?;
        let narrow = dropout(layer.output.apply(&wide)?, self.hidden_dropout, train)?;
        layer.output_norm.layer_norm(&narrow.f_add(&x)?)
    }

    fn attention(
        &self,
        layer: &Layer,
        x: &Tensor,
        mask: Option<&Tensor>,
        train: bool,
    ) -> Result<Tensor> {
        let (rows, seq, width) = x.size3()?;
        let split = |linear: &Linear| -> Result<Tensor> {
            let projected = linear.apply(x)?;
            let split = projected.f_view([rows, seq, self.heads, width / self.heads])?;
            Ok(split.f_transpose(1, 2)?)
        };
        let p = if train { self.attention_dropout } else { 0.0 };
        let (query, key) = (split(&layer.query)?, split(&layer.key)?);
        let context = libtorch::attention(&query, &key, &split(&layer.value)?, mask, p)?;
        Ok(context.f_transpose(1, 2)?.f_reshape([rows, seq, width])?)
    }
}
