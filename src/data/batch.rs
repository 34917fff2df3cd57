//! Rows of a task as one rectangle of token ids.

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use super::TokenizedSplit;

/// What the model takes: rows of one task, padded to the longest.
#[derive(Debug)]
pub struct Batch {
    /// Token ids `[batch, seq]`, int64.
    pub ids: Tensor,
    /// 0 for the first text and its special tokens, 1 for the second: `[batch, seq]`, int64.
    pub segments: Tensor,
    /// True at tokens, false at padding: `[batch, seq]`; none where nothing is padded.
    pub mask: Option<Tensor>,
    /// Tokens without the padding.
    pub tokens: usize,
}

impl Batch {
    /// Pads `rows` of `split` to the longest of them and puts them on `device`.
    pub fn collate(split: &TokenizedSplit, rows: &[u32], pad: i64, device: Device) -> Result<Self> {
        let lengths: Vec<usize> = rows.iter().map(|&r| split.ids(r as usize).len()).collect();
        let seq = lengths.iter().copied().max().unwrap_or(0);
        let tokens = lengths.iter().sum();
        let mut ids = vec![pad; rows.len() * seq];
        let mut segments = vec![0i64; rows.len() * seq];
        for (i, &row) in rows.iter().enumerate() {
            let row = row as usize;
            let tokens = split.ids(row);
            let start = i * seq;
            for (place, &id) in ids[start..].iter_mut().zip(tokens) {
                *place = i64::from(id);
            }
            segments[start + split.second_segment_at(row)..start + tokens.len()].fill(1);
        }
        let shape = [rows.len() as i64, seq as i64];
        let place = |values: &[i64]| -> Result<Tensor> {
            Ok(Tensor::f_from_slice(values)?
                .f_view(shape)?
                .f_to_device(device)?)
        };
        let mask = if tokens == rows.len() * seq {
            None
        } else {
            let lengths: Vec<i64> = lengths.iter().map(|&l| l as i64).collect();
            let lengths = Tensor::f_from_slice(&lengths)?.f_unsqueeze(1)?;
            let positions = Tensor::f_arange(seq as i64, (Kind::Int64, Device::Cpu))?;
            Some(positions.f_lt_tensor(&lengths)?.f_to_device(device)?)
        };
        Ok(Batch {
            ids: place(&ids)?,
            segments: place(&segments)?,
            mask,
            tokens,
        })
    }
}
