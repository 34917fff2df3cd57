//! A task's rows as an encoder sees them: at the embedding layer, behind the task's alignment, and
//! behind every encoder layer.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::similarity::Covariance;
use crate::data::batch::{Batch, Layout};
use crate::data::TokenizedSplit;
use crate::model::alignment::Alignment;
use crate::model::encoder::Encoder;
use crate::model::{fit, Mode};

/// What makes a row of X.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Tokens {
    /// A text: the mean over its tokens, [CLS] and [SEP] among them
    #[default]
    Mean,
    /// A token
    All,
}

impl Tokens {
    pub fn name(self) -> &'static str {
        match self {
            Tokens::Mean => "mean",
            Tokens::All => "all",
        }
    }

    /// Rows of X, `[rows, width]` in float64, from states `[batch, seq, width]` or `[tokens, width]`.
    fn features(self, states: &Tensor, batch: &Batch) -> Result<Tensor> {
        let width = *states.size().last().unwrap_or(&0);
        let states = states.f_to_kind(Kind::Double)?;
        let tokens = batch.tokens as i64;
        let mask = match (&batch.layout, self) {
            (Layout::Padded { mask }, _) => mask,
            (Layout::Pixels(_), _) => anyhow::bail!("pixels are no embeddings"),
            (Layout::Packed(_), Tokens::All) => return Ok(states.f_narrow(0, 0, tokens)?),
            (Layout::Packed(rows), Tokens::Mean) => {
                let states = states.f_narrow(0, 0, tokens)?;
                let starts = rows.row_starts()?;
                let ends = starts.f_narrow(0, 1, rows.rows)?;
                let lengths = ends.f_sub(&starts.f_narrow(0, 0, rows.rows)?)?;
                let row = Tensor::f_repeat_interleave(&lengths, tokens)?;
                let size = [lengths.size()[0], width];
                let sums = Tensor::f_zeros(size, (Kind::Double, states.device()))?;
                let sums = sums.f_index_add(0, &row, &states)?;
                return Ok(sums.f_div(&lengths.f_unsqueeze(-1)?)?);
            }
        };
        Ok(match (self, mask) {
            (Tokens::Mean, None) => states.f_mean_dim(1, false, Kind::Double)?,
            (Tokens::Mean, Some(mask)) => {
                let mask = mask.f_to_kind(Kind::Double)?.f_unsqueeze(-1)?;
                let sums = states.f_mul(&mask)?;
                let sums = sums.f_sum_dim_intlist(1, false, Kind::Double)?;
                sums.f_div(&mask.f_sum_dim_intlist(1, false, Kind::Double)?)?
            }
            (Tokens::All, None) => states.f_reshape([-1, width])?,
            (Tokens::All, Some(mask)) => {
                let kept = mask.f_reshape([-1])?.f_nonzero()?.f_squeeze_dim(-1)?;
                states.f_reshape([-1, width])?.f_index_select(0, &kept)?
            }
        })
    }
}

/// An encoder, and a task's alignment before it, in float32 without dropout.
pub struct Extractor<'a> {
    pub encoder: &'a dyn Encoder,
    pub alignment: Option<&'a Alignment>,
    pub tokens: Tokens,
    /// Behind every encoder layer too.
    pub layers: bool,
    pub batch_size: usize,
    /// The id that pads a batch.
    pub pad: i64,
}

impl Extractor<'_> {
    /// The covariance of the rows of `task` at each place: `embeddings`, with an alignment `aligned`, and
    /// `layer 1` and so on. `progress` is told of the rows of each batch.
    pub fn covariances(
        &self,
        task: &str,
        split: &TokenizedSplit,
        rows: &[u32],
        progress: &dyn Fn(usize),
    ) -> Result<Vec<(String, Covariance)>> {
        fit::check_rows(self.encoder.limits(), split, task)?;
        let device = self.encoder.variables().device();
        let width = self.encoder.embedding_width();
        let mut all: Vec<(String, Covariance)> = self
            .places()
            .into_iter()
            .map(|place| Ok((place, Covariance::new(width, device)?)))
            .collect::<Result<_>>()?;
        // Rows of like length together; the sum does not depend on their order.
        let mut order = rows.to_vec();
        order.sort_by_key(|&row| split.ids(row as usize).len());
        for rows in order.chunks(self.batch_size) {
            let shape = self.encoder.batch_shape(self.pad);
            let batch = Batch::collate(split, rows, shape, device)?;
            let states = tch::no_grad(|| self.states(&batch))?;
            for ((_, covariance), states) in all.iter_mut().zip(states) {
                covariance.add(&self.tokens.features(&states, &batch)?)?;
            }
            progress(rows.len());
        }
        Ok(all)
    }

    fn places(&self) -> Vec<String> {
        let layers = match self.layers {
            true => self.encoder.layers(),
            false => 0,
        };
        let aligned = self.alignment.map(|_| "aligned".to_owned());
        let layers = (1..=layers).map(|layer| format!("layer {layer}"));
        let first = std::iter::once("embeddings".to_owned());
        first.chain(aligned).chain(layers).collect()
    }

    /// The states at each place, in the shape of the embeddings.
    fn states(&self, batch: &Batch) -> Result<Vec<Tensor>> {
        let mut states = vec![self.encoder.embed(batch, None, Mode::Evaluate)?];
        if let Some(alignment) = self.alignment {
            states.push(alignment.apply(&states[0])?);
        }
        if self.layers {
            for layer in 0..self.encoder.layers() {
                let input = &states[states.len() - 1];
                states.push(self.encoder.layer(layer, input, batch, Mode::Evaluate)?);
            }
        }
        Ok(states)
    }
}
