//! BERT's forward pass over padded rows in libtorch's own operations, for any device.
//!
//! Query, key and value come from one product, attention goes through libtorch's
//! `scaled_dot_product_attention`, a batch without padding carries no mask, and dropout at p = 0
//! costs nothing. Tests hold it to rust-bert's outputs and gradients.

use anyhow::{bail, Result};
use rust_bert::bert::BertConfig;
use tch::nn::VarStore;
use tch::{TchError, Tensor};

use super::activation::activation;
use super::parameters::{Layer, Parameters};
use crate::data::batch::{Batch, Layout};
use crate::libtorch;
use crate::libtorch::fused::Norm;
use crate::model::Mode;

/// The shared module: embedding layer, encoder layers, pooler.
pub struct PaddedForward {
    pub parameters: Parameters,
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

fn layer_norm(x: &Tensor, norm: &Norm) -> Result<Tensor> {
    let shape = norm.gamma.size();
    let (gamma, beta) = (Some(&norm.gamma), Some(&norm.beta));
    Ok(x.f_layer_norm(shape, gamma, beta, norm.eps, true)?)
}

impl PaddedForward {
    /// Takes the variables by their names in `store`.
    pub fn new(store: &VarStore, config: &BertConfig) -> Result<PaddedForward> {
        Ok(PaddedForward {
            parameters: Parameters::new(store, config)?,
            activation: activation(&config.hidden_act),
            heads: config.num_attention_heads,
            hidden_dropout: config.hidden_dropout_prob,
            attention_dropout: config.attention_probs_dropout_prob,
        })
    }

    /// Word + position + segment, LayerNorm, dropout: `[batch, seq, hidden]`.
    pub fn embed(&self, batch: &Batch, train: bool) -> Result<Tensor> {
        let Parameters {
            words,
            positions,
            segments,
            embedding_norm,
            ..
        } = &self.parameters;
        let seq = batch.ids.size()[1];
        let words = Tensor::f_embedding(words, &batch.ids, 0, false, false)?;
        let segments = Tensor::f_embedding(segments, &batch.segments, -1, false, false)?;
        let sum = words
            .f_add(&positions.f_narrow(0, 0, seq)?)?
            .f_add(&segments)?;
        let embedded = layer_norm(&sum, &embedding_norm.1)?;
        dropout(embedded, self.hidden_dropout, train)
    }

    /// The layer at `index`, on states `[batch, seq, hidden]`: of all tokens, or with `first` of
    /// each row's first token, `[batch, 1, hidden]`.
    pub fn layer(
        &self,
        index: usize,
        x: &Tensor,
        batch: &Batch,
        first: bool,
        mode: Mode,
    ) -> Result<Tensor> {
        let mask = attention_mask(batch)?;
        if let Mode::Train { seed } = mode {
            // A layer's own draws: the same again when it is computed again.
            tch::manual_seed(seed.wrapping_add(1 + index as u64) as i64);
        }
        let layer = &self.parameters.layers[index];
        let train = mode.trains();
        let queries = if first { 1 } else { x.size()[1] };
        let context = self.attention(layer, x, queries, mask.as_ref(), train)?;
        let attention = layer.attention_output.apply(&context)?;
        let attention = dropout(attention, self.hidden_dropout, train)?;
        let x = attention.f_add(&x.f_narrow(1, 0, queries)?)?;
        let x = layer_norm(&x, &layer.attention_norm.1)?;
        let wide = (self.activation)(&layer.intermediate.apply(&x)?)?;
        let narrow = dropout(layer.output.apply(&wide)?, self.hidden_dropout, train)?;
        layer_norm(&narrow.f_add(&x)?, &layer.output_norm.1)
    }

    /// tanh of the pooler's layer on the first token: `[batch, hidden]`.
    pub fn pool(&self, hidden: &Tensor) -> Result<Tensor> {
        self.parameters.pool(&hidden.f_select(1, 0)?)
    }

    /// What the first `queries` tokens of each row see of all its tokens.
    fn attention(
        &self,
        layer: &Layer,
        x: &Tensor,
        queries: i64,
        mask: Option<&Tensor>,
        train: bool,
    ) -> Result<Tensor> {
        let (rows, seq, width) = x.size3()?;
        let qkv = layer.qkv.apply(x)?;
        let qkv = qkv.f_view([rows, seq, 3, self.heads, width / self.heads])?;
        // [3, rows, heads, seq, width / heads]
        let qkv = qkv.f_permute([2, 0, 3, 1, 4])?;
        let part = |index: i64| qkv.f_select(0, index);
        let p = if train { self.attention_dropout } else { 0.0 };
        let query = part(0)?.f_narrow(2, 0, queries)?;
        let context = libtorch::attention(&query, &part(1)?, &part(2)?, mask, p)?;
        let context = context.f_transpose(1, 2)?;
        Ok(context.f_reshape([rows, queries, width])?)
    }
}
