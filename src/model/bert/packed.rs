//! BERT's forward pass made for training: rows lie packed without padding, query, key
//! and value come from one product, what lies between two products is one pass
//! ([`crate::libtorch::fused`]), and the last layer computes only what the pooler reads. On a CPU each thread
//! takes its rows through all layers.
//!
//! Tests hold it to transformers' and rust-bert's outputs and gradients.

use std::ops::Range;

use anyhow::{bail, Result};
use rust_bert::bert::BertConfig;
use rust_bert::Activation;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use super::activation::activation;
use super::parameters::{Layer, Parameters};
use crate::data::batch::{Batch, Layout, Packed, Words};
use crate::libtorch::fused::{self, Dropout};
use crate::model::Mode;

/// The shared module over packed rows.
pub struct PackedForward {
    pub parameters: Parameters,
    activation: Activation,
    heads: i64,
    hidden_dropout: f64,
    attention_dropout: f64,
}

impl PackedForward {
    /// Takes the variables by their names in `store`.
    pub fn new(store: &VarStore, config: &BertConfig) -> Result<PackedForward> {
        Ok(PackedForward {
            parameters: Parameters::new(store, config)?,
            activation: config.hidden_act,
            heads: config.num_attention_heads,
            hidden_dropout: config.hidden_dropout_prob,
            attention_dropout: config.attention_probs_dropout_prob,
        })
    }

    /// Word + position + segment, LayerNorm, dropout: `[tokens, width]`. `words` are the rows of
    /// the word table that the batch's vocabulary names, where gradients are to reach them.
    pub fn embed(&self, batch: &Batch, words: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let rows = packed(batch)?;
        let (table, places) = match (words, &rows.words) {
            (Some(words), Some(Words { places, .. })) => (words, places),
            _ => (&self.parameters.words, &batch.ids),
        };
        let dropout = self.dropout(mode, 0, self.hidden_dropout);
        fused::embed(
            [table, &self.parameters.positions, &self.parameters.segments],
            [places, &rows.positions, &batch.segments],
            &self.parameters.embedding_norm.1,
            dropout,
            self.parameters.products(),
        )
    }

    /// tanh of the pooler's layer on states of first tokens, without the filling's: `[batch, width]` in
    /// float32.
    pub fn pool(&self, first: &Tensor, batch: &Batch) -> Result<Tensor> {
        let first = first.f_narrow(0, 0, packed(batch)?.rows)?;
        self.parameters.pool(&first.f_to_kind(Kind::Float)?)
    }

    /// Some layers, one after the other: of all tokens, `[tokens, width]` as the first takes them, or with `first` of
    /// each row's first token, the filling's too, `[batch, width]`.
    pub fn layers(
        &self,
        mut layers: Range<usize>,
        x: &Tensor,
        batch: &Batch,
        first: bool,
        mode: Mode,
    ) -> Result<Tensor> {
        let rows = packed(batch)?;
        if self.takes_rows_through_layers() {
            let whole =
                |index: usize| self.parameters.layers[index].whole(self.dropouts(index, mode));
            let layers: Vec<fused::Layer> = layers.clone().map(whole).collect();
            let cut = (&rows.starts, rows.longest);
            if let Some(y) = fused::layers(&layers, self.heads, x, cut, first)? {
                return Ok(y);
            }
        }
        let end = layers.end;
        layers.try_fold(x.shallow_clone(), |x, index| {
            self.by_operation(index, &x, rows, first && index + 1 == end, mode)
        })
    }

    /// Whether threads can take their rows through layers: on a CPU, with GELU.
    pub fn takes_rows_through_layers(&self) -> bool {
        self.parameters.words.device() == Device::Cpu && matches!(self.activation, Activation::gelu)
    }

    fn by_operation(
        &self,
        index: usize,
        x: &Tensor,
        rows: &Packed,
        first: bool,
        mode: Mode,
    ) -> Result<Tensor> {
        let layer = &self.parameters.layers[index];
        let [attention, after_attention, after_layer] = self.dropouts(index, mode);
        let context = self.attention(layer, x, rows, first, attention)?;
        let residual = match first {
            true => {
                let at = rows.starts.f_narrow(0, 0, rows.starts.size()[0] - 1)?;
                x.f_index_select(0, &at)?
            }
            false => x.shallow_clone(),
        };
        let attention = layer.attention_output.product(&context)?;
        let bias = &layer.attention_output.bias;
        let norm = &layer.attention_norm.1;
        let x = fused::add_norm(attention, bias, &residual, norm, after_attention)?;
        let wide = layer.intermediate.product(&x)?;
        let wide = self.activate(wide, &layer.intermediate.bias)?;
        let narrow = layer.output.product(&wide)?;
        let norm = &layer.output_norm.1;
        fused::add_norm(narrow, &layer.output.bias, &x, norm, after_layer)
    }

    /// What the tokens of each row see of it, or with `first` what its first token sees.
    fn attention(
        &self,
        layer: &Layer,
        x: &Tensor,
        rows: &Packed,
        first: bool,
        dropout: Dropout,
    ) -> Result<Tensor> {
        let cut = (&rows.starts, rows.longest);
        if x.device().is_cuda() {
            let qkv = layer.qkv.apply(x)?;
            return fused::packed_attention_cuda(&qkv, cut, self.heads, first, dropout.p);
        }
        let qkv = layer.qkv.product(x)?;
        fused::packed_attention(&qkv, &layer.qkv.bias, cut, self.heads, first, dropout)
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

    /// Attention's in the layer at `index`, and those of its two sums.
    fn dropouts(&self, index: usize, mode: Mode) -> [Dropout; 3] {
        let site = 3 * index as u64;
        [
            self.dropout(mode, site + 1, self.attention_dropout),
            self.dropout(mode, site + 2, self.hidden_dropout),
            self.dropout(mode, site + 3, self.hidden_dropout),
        ]
    }

    /// Every place of a pass where something is dropped has a key of its own. On CUDA the seed lies on
    /// the device ([`crate::libtorch::graph::seed_dropout`]), and keys are counted from it.
    fn dropout(&self, mode: Mode, site: u64, p: f64) -> Dropout {
        match mode {
            Mode::Evaluate => Dropout { p: 0.0, key: 0 },
            Mode::Train { .. } if self.parameters.words.device().is_cuda() => {
                Dropout { p, key: site }
            }
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
        _ => bail!("this engine takes packed rows"),
    }
}
