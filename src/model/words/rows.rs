//! What modules over words do along packed rows, by covalign's own operations or libtorch's.

use anyhow::Result;
use tch::Tensor;

use super::reference;
use crate::data::batch::Packed;
use crate::libtorch::recurrent;

/// A batch's rows.
pub struct Rows<'a> {
    rows: &'a Packed,
    fast: bool,
}

impl<'a> Rows<'a> {
    pub fn new(rows: &'a Packed, fast: bool) -> Rows<'a> {
        Rows { rows, fast }
    }

    /// States `[tokens, width]` of an LSTM's layer that reads `[tokens, input]`.
    pub fn lstm(&self, x: &Tensor, weights: &[Tensor; 4], backward: bool) -> Result<Tensor> {
        match self.fast {
            true => recurrent::lstm(x, &self.rows.starts, weights, backward),
            false => reference::lstm(x, self.rows, weights, backward),
        }
    }

    /// ReLU of the largest answer of each filter over each row, `[rows, filters]`.
    pub fn conv_max(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        reference::conv_max(x, self.rows, weight, bias)
    }

    /// The largest of each column over each row, `[rows, width]`.
    pub fn max(&self, x: &Tensor) -> Result<Tensor> {
        reference::row_max(x, self.rows)
    }

    /// The mean of each row, `[rows, width]`.
    pub fn mean(&self, x: &Tensor) -> Result<Tensor> {
        reference::row_mean(x, self.rows)
    }

    /// Each row's first token, `[rows, width]`.
    pub fn first(&self, x: &Tensor) -> Result<Tensor> {
        let starts = &self.rows.starts;
        Ok(x.f_index_select(0, &starts.f_narrow(0, 0, starts.size()[0] - 1)?)?)
    }

    /// Each row's last token, `[rows, width]`.
    pub fn last(&self, x: &Tensor) -> Result<Tensor> {
        let starts = &self.rows.starts;
        let next = starts.f_narrow(0, 1, starts.size()[0] - 1)?;
        Ok(x.f_index_select(0, &next.f_add_scalar(-1)?)?)
    }
}
