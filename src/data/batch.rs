//! Rows of a task as tensors of token ids: a rectangle with padding, or packed one after the other.

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use super::TokenizedSplit;
use crate::libtorch;

/// How rows of different length lie together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `[batch, longest]`, filled up with the id `pad`.
    Padded { pad: i64 },
    /// `[tokens]`: no padding at all.
    Packed,
}

/// What the model takes: rows of one task.
#[derive(Debug)]
pub struct Batch {
    /// Token ids, int64, `[batch, seq]` or `[tokens]`.
    pub ids: Tensor,
    /// 0 for the first text and its special tokens, 1 for the second; int64, in the same shape.
    pub segments: Tensor,
    pub layout: Layout,
    /// Tokens without the padding.
    pub tokens: usize,
}

/// What says where the rows are.
#[derive(Debug)]
pub enum Layout {
    /// True at tokens, false at padding: `[batch, seq]`; none where nothing is padded.
    Padded {
        mask: Option<Tensor>,
    },
    Packed(Packed),
}

/// Where packed rows start, and the words that they are made of.
#[derive(Debug)]
pub struct Packed {
    /// First token of each row, and the number of tokens: int64 `[batch + 1]`.
    pub starts: Tensor,
    /// Tokens of the longest row.
    pub longest: i64,
    /// Each token's place in its row, int64 `[tokens]`.
    pub positions: Tensor,
    /// The different ids, int64, ascending.
    pub vocabulary: Tensor,
    /// Each token's place in `vocabulary`, int64 `[tokens]`.
    pub words: Tensor,
}

/// One row: its ids, and where in them the second text starts.
pub type Row<'a> = (&'a [i32], usize);

impl Batch {
    /// Puts `rows` of `split` together on `device`.
    pub fn collate(
        split: &TokenizedSplit,
        rows: &[u32],
        shape: Shape,
        device: Device,
    ) -> Result<Self> {
        let row = |&row: &u32| {
            let row = row as usize;
            (split.ids(row), split.second_segment_at(row))
        };
        Batch::new(&rows.iter().map(row).collect::<Vec<_>>(), shape, device)
    }

    /// The same in page-locked memory, from which CUDA copies without the host's waiting.
    pub fn pinned(&self) -> Result<Batch> {
        self.map(libtorch::pinned)
    }

    /// The same on `device`; nobody waits for the copy.
    pub fn to(&self, device: Device) -> Result<Batch> {
        self.map(|tensor| Ok(tensor.f_to_device_(device, tensor.kind(), true, false)?))
    }

    fn map(&self, change: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Batch> {
        let layout = match &self.layout {
            Layout::Padded { mask } => Layout::Padded {
                mask: mask.as_ref().map(&change).transpose()?,
            },
            Layout::Packed(rows) => Layout::Packed(Packed {
                starts: change(&rows.starts)?,
                longest: rows.longest,
                positions: change(&rows.positions)?,
                vocabulary: change(&rows.vocabulary)?,
                words: change(&rows.words)?,
            }),
        };
        Ok(Batch {
            ids: change(&self.ids)?,
            segments: change(&self.segments)?,
            layout,
            tokens: self.tokens,
        })
    }

    /// Puts rows together on `device`.
    pub fn new(rows: &[Row], shape: Shape, device: Device) -> Result<Self> {
        let batch = match shape {
            Shape::Padded { pad } => padded(rows, pad),
            Shape::Packed => packed(rows),
        }?;
        match device {
            Device::Cpu => Ok(batch),
            _ => batch.map(|tensor| libtorch::sent(tensor, device)),
        }
    }
}

fn padded(rows: &[Row], pad: i64) -> Result<Batch> {
    let seq = rows.iter().map(|(ids, _)| ids.len()).max().unwrap_or(0);
    let tokens = rows.iter().map(|(ids, _)| ids.len()).sum();
    let mut all = vec![pad; rows.len() * seq];
    let mut segments = vec![0i64; rows.len() * seq];
    for (i, (ids, second)) in rows.iter().enumerate() {
        let start = i * seq;
        for (place, &id) in all[start..].iter_mut().zip(*ids) {
            *place = i64::from(id);
        }
        segments[start + second..start + ids.len()].fill(1);
    }
    let shape = [rows.len() as i64, seq as i64];
    let mask = if tokens == rows.len() * seq {
        None
    } else {
        let lengths: Vec<i64> = rows.iter().map(|(ids, _)| ids.len() as i64).collect();
        let lengths = Tensor::f_from_slice(&lengths)?.f_unsqueeze(1)?;
        let positions = Tensor::f_arange(seq as i64, (Kind::Int64, Device::Cpu))?;
        Some(positions.f_lt_tensor(&lengths)?)
    };
    Ok(Batch {
        ids: Tensor::f_from_slice(&all)?.f_view(shape)?,
        segments: Tensor::f_from_slice(&segments)?.f_view(shape)?,
        layout: Layout::Padded { mask },
        tokens,
    })
}

fn packed(rows: &[Row]) -> Result<Batch> {
    let tokens: usize = rows.iter().map(|(ids, _)| ids.len()).sum();
    let mut all = Vec::with_capacity(tokens);
    let (mut segments, mut positions) = (Vec::with_capacity(tokens), Vec::with_capacity(tokens));
    let mut starts = vec![0];
    for (ids, second) in rows {
        all.extend(ids.iter().map(|&id| i64::from(id)));
        segments.extend((0..ids.len()).map(|i| i64::from(i >= *second)));
        positions.extend(0..ids.len() as i64);
        starts.push(all.len() as i64);
    }
    let mut vocabulary = all.clone();
    vocabulary.sort_unstable();
    vocabulary.dedup();
    let words: Vec<i64> = all
        .iter()
        .map(|id| vocabulary.partition_point(|other| other < id) as i64)
        .collect();
    Ok(Batch {
        ids: Tensor::f_from_slice(&all)?,
        segments: Tensor::f_from_slice(&segments)?,
        layout: Layout::Packed(Packed {
            starts: Tensor::f_from_slice(&starts)?,
            longest: rows.iter().map(|(ids, _)| ids.len()).max().unwrap_or(0) as i64,
            positions: Tensor::f_from_slice(&positions)?,
            vocabulary: Tensor::f_from_slice(&vocabulary)?,
            words: Tensor::f_from_slice(&words)?,
        }),
        tokens,
    })
}
