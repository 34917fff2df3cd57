//! A task's output module A_i: dropout and a linear layer on BERT's pooled output.

use anyhow::Result;
use tch::nn::{Init, Path};
use tch::Tensor;

/// C logits for classification, one number for regression.
#[derive(Debug)]
pub struct Head {
    weight: Tensor,
    bias: Tensor,
    dropout: f64,
}

impl Head {
    /// Weights N(0, 0.02²) `[outputs, width]` and a zero bias under `path`.
    pub fn new(path: &Path, width: i64, outputs: i64, dropout: f64) -> Result<Head> {
        let normal = Init::Randn {
            mean: 0.0,
            stdev: 0.02,
        };
        Ok(Head {
            weight: path.f_var("weight", &[outputs, width], normal)?,
            bias: path.f_var("bias", &[outputs], Init::Const(0.0))?,
            dropout,
        })
    }

    /// Its weight `[outputs, width]` and bias `[outputs]`.
    pub fn parameters(&self) -> (&Tensor, &Tensor) {
        (&self.weight, &self.bias)
    }

    /// Numbers that it puts out for a row.
    pub fn outputs(&self) -> usize {
        self.weight.size()[0] as usize
    }

    /// `[batch, width]` to `[batch, outputs]`.
    pub fn apply(&self, pooled: &Tensor, train: bool) -> Result<Tensor> {
        let kept = if train && self.dropout > 0.0 {
            pooled.f_dropout(self.dropout, true)?
        } else {
            pooled.shallow_clone()
        };
        Ok(kept.f_linear(&self.weight, Some(&self.bias))?)
    }
}
