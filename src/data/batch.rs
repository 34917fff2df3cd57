//! Rows of a task as tensors: of token ids a rectangle with padding, or packed one after the other; of
//! images pixels.

use anyhow::{bail, Result};
use tch::{Device, Kind, Tensor};

use super::images::{self, Frame};
use super::TokenizedSplit;
use crate::libtorch;

/// How rows lie together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// `[batch, longest]`, filled up with the id `pad`.
    Padded { pad: i64 },
    /// `[tokens]`: no padding at all.
    Packed,
    /// The same, filled up with a last row of the id `pad` that nobody reads, so that the number of
    /// tokens is one of few: oneDNN compiles a product for each, which takes longer than a small product.
    Rounded { pad: i64 },
    /// The same, and the longest row is taken for one of few lengths: what a CUDA graph is recorded for.
    Filled { pad: i64 },
    /// Images, each in such a frame.
    Pixels(Frame),
}

impl Shape {
    /// Whether rows of several tasks can lie in one batch, each task's after the other's.
    pub fn joins(self) -> bool {
        matches!(self, Shape::Packed | Shape::Rounded { .. })
    }

    /// The same for a pass of training, whose `seed` fixes how images are cut.
    pub fn drawn(self, seed: u64) -> Shape {
        match self {
            Shape::Pixels(frame) => Shape::Pixels(frame.drawn(seed)),
            texts => texts,
        }
    }
}

/// What the model takes: rows of one task.
#[derive(Debug)]
pub struct Batch {
    /// Token ids, int64, `[batch, seq]` or `[tokens]`; none of images.
    pub ids: Tensor,
    /// 0 for the first text and its special tokens, 1 for the second; int64, in the same shape.
    pub segments: Tensor,
    pub layout: Layout,
    /// Tokens without the padding; of images their number.
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
    /// `[batch, 3, height, width]` in float32.
    Pixels(Tensor),
}

/// Where packed rows start, and the words that they are made of.
#[derive(Debug)]
pub struct Packed {
    /// First token of each row, and the number of tokens: int64 `[batch + 1]`. Where there is filling, it
    /// is one row more.
    pub starts: Tensor,
    /// Rows without the filling.
    pub rows: i64,
    /// Tokens of the longest row, or more.
    pub longest: i64,
    /// Each token's place in its row, int64 `[tokens]`.
    pub positions: Tensor,
    /// None where they are filled up for a graph.
    pub words: Option<Words>,
}

impl Packed {
    /// Where the rows start and end, without the filling: int64 `[batch + 1]`.
    pub fn row_starts(&self) -> Result<Tensor> {
        Ok(self.starts.f_narrow(0, 0, self.rows + 1)?)
    }
}

/// The words of packed rows.
#[derive(Debug)]
pub struct Words {
    /// The different ids, int64, ascending.
    pub vocabulary: Tensor,
    /// Each token's place in `vocabulary`, int64 `[tokens]`.
    pub places: Tensor,
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
        Batch::joined(&[(split, rows)], &[], shape, device)
    }

    /// Rows of several splits, each split's after the other's, as a part of a batch that also has `others`:
    /// its vocabulary has their words too. Of more than one split only in a shape that joins.
    pub fn joined(
        parts: &[(&TokenizedSplit, &[u32])],
        others: &[(&TokenizedSplit, &[u32])],
        shape: Shape,
        device: Device,
    ) -> Result<Self> {
        if let (Shape::Pixels(frame), [(split, rows)]) = (shape, parts) {
            return Batch::of_pixels(images::pixels(split, rows, frame, device)?);
        }
        let rows = rows_of(parts);
        match shape.joins() {
            true => packed(&rows, &rows_of(others), shape, device),
            false => Batch::new(&rows, shape, device),
        }
    }

    /// Images put together: `[batch, 3, height, width]` in float32.
    pub fn of_pixels(pixels: Tensor) -> Result<Self> {
        let none = Tensor::f_from_slice::<i64>(&[])?;
        Ok(Batch {
            tokens: pixels.size()[0] as usize,
            ids: none.shallow_clone(),
            segments: none,
            layout: Layout::Pixels(pixels),
        })
    }

    /// The same where `device` copies it from without the host's waiting.
    pub fn staged(&self, device: Device) -> Result<Batch> {
        self.map(|tensor| libtorch::staged(tensor, device))
    }

    /// The same on `device`; nobody waits for the copy.
    pub fn to(&self, device: Device) -> Result<Batch> {
        self.map(|tensor| Ok(tensor.f_to_device_(device, tensor.kind(), true, false)?))
    }

    fn map(&self, change: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Batch> {
        let layout = match &self.layout {
            Layout::Pixels(pixels) => return Batch::of_pixels(change(pixels)?),
            Layout::Padded { mask } => Layout::Padded {
                mask: mask.as_ref().map(&change).transpose()?,
            },
            Layout::Packed(rows) => Layout::Packed(Packed {
                starts: change(&rows.starts)?,
                rows: rows.rows,
                longest: rows.longest,
                positions: change(&rows.positions)?,
                words: match &rows.words {
                    Some(words) => Some(Words {
                        vocabulary: change(&words.vocabulary)?,
                        places: change(&words.places)?,
                    }),
                    None => None,
                },
            }),
        };
        Ok(Batch {
            ids: change(&self.ids)?,
            segments: change(&self.segments)?,
            layout,
            tokens: self.tokens,
        })
    }

    /// All its tensors, in a fixed order.
    pub fn tensors(&self) -> Vec<&Tensor> {
        let mut all = vec![&self.ids, &self.segments];
        match &self.layout {
            Layout::Padded { mask } => all.extend(mask),
            Layout::Packed(rows) => {
                all.extend([&rows.starts, &rows.positions]);
                let words = rows.words.iter();
                all.extend(words.flat_map(|w| [&w.vocabulary, &w.places]));
            }
            Layout::Pixels(pixels) => all.push(pixels),
        }
        all
    }

    /// What the longest row is at most, in tokens; an image counts as one.
    pub fn longest(&self) -> i64 {
        match &self.layout {
            Layout::Padded { .. } => self.ids.size()[1],
            Layout::Packed(rows) => rows.longest,
            Layout::Pixels(_) => 1,
        }
    }

    /// Takes the numbers of a batch of the same shape in; nobody waits for the copy.
    pub fn fill(&mut self, other: &Batch) -> Result<()> {
        for (to, from) in self.tensors().into_iter().zip(other.tensors()) {
            libtorch::copy_non_blocking(to, from)?;
        }
        self.tokens = other.tokens;
        Ok(())
    }

    /// Puts rows together on `device`.
    pub fn new(rows: &[Row], shape: Shape, device: Device) -> Result<Self> {
        match shape {
            Shape::Padded { pad } => padded(rows, pad, device),
            Shape::Packed | Shape::Rounded { .. } | Shape::Filled { .. } => {
                packed(rows, &[], shape, device)
            }
            Shape::Pixels(_) => bail!("rows of token ids are no pixels"),
        }
    }
}

fn rows_of<'a>(parts: &[(&'a TokenizedSplit, &[u32])]) -> Vec<Row<'a>> {
    let each = |&(split, rows): &(&'a TokenizedSplit, &[u32])| {
        let row = |&row: &u32| {
            (
                split.ids(row as usize),
                split.second_segment_at(row as usize),
            )
        };
        rows.iter().map(row).collect::<Vec<_>>()
    };
    parts.iter().flat_map(each).collect()
}

fn padded(rows: &[Row], pad: i64, device: Device) -> Result<Batch> {
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
    let place = |values: &[i64]| -> Result<Tensor> {
        libtorch::sent(&Tensor::f_from_slice(values)?.f_view(shape)?, device)
    };
    let mask = if tokens == rows.len() * seq {
        None
    } else {
        let lengths: Vec<i64> = rows.iter().map(|(ids, _)| ids.len() as i64).collect();
        let lengths = Tensor::f_from_slice(&lengths)?.f_unsqueeze(1)?;
        let positions = Tensor::f_arange(seq as i64, (Kind::Int64, Device::Cpu))?;
        Some(libtorch::sent(&positions.f_lt_tensor(&lengths)?, device)?)
    };
    Ok(Batch {
        ids: place(&all)?,
        segments: place(&segments)?,
        layout: Layout::Padded { mask },
        tokens,
    })
}

/// Filled up for a recorded graph, batches have a multiple of so many tokens.
fn grain(tokens: usize) -> usize {
    match tokens {
        0..1024 => 64,
        1024..8192 => 128,
        _ => 512,
    }
}

/// Rounded, they have a multiple of so many: what is added is a few per cent of a batch that takes time.
fn fine_grain(tokens: usize) -> usize {
    match tokens {
        0..1024 => 32,
        1024..4096 => 64,
        _ => 256,
    }
}

/// Longest rows of filled batches are taken for a multiple of so many tokens: a block of attention.
const ATTENTION_BLOCK: usize = 128;

fn packed(rows: &[Row], others: &[Row], shape: Shape, device: Device) -> Result<Batch> {
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
    let mut longest = rows.iter().map(|(ids, _)| ids.len()).max().unwrap_or(0);
    let place = |values: &[i64]| -> Result<Tensor> {
        libtorch::sent(&Tensor::f_from_slice(values)?, device)
    };
    let (filled, pad) = match shape {
        // At least one token, so that no row is empty.
        Shape::Filled { pad } => ((tokens + 1).next_multiple_of(grain(tokens)), pad),
        Shape::Rounded { pad } => (tokens.next_multiple_of(fine_grain(tokens)), pad),
        _ => (tokens, 0),
    };
    if filled > tokens {
        longest = longest.max(filled - tokens);
        all.resize(filled, pad);
        segments.resize(filled, 0);
        positions.resize(filled, 0);
        starts.push(filled as i64);
    }
    let words = if let Shape::Filled { .. } = shape {
        longest = longest.next_multiple_of(ATTENTION_BLOCK);
        None
    } else {
        let mut vocabulary = all.clone();
        let words = others.iter().flat_map(|(ids, _)| *ids);
        vocabulary.extend(words.map(|&id| i64::from(id)));
        if let Shape::Rounded { pad } = shape {
            // The other parts of a batch have it too, filled up or not.
            vocabulary.push(pad);
        }
        vocabulary.sort_unstable();
        vocabulary.dedup();
        let places: Vec<i64> = all
            .iter()
            .map(|id| vocabulary.partition_point(|other| other < id) as i64)
            .collect();
        Some(Words {
            vocabulary: place(&vocabulary)?,
            places: place(&places)?,
        })
    };
    Ok(Batch {
        ids: place(&all)?,
        segments: place(&segments)?,
        layout: Layout::Packed(Packed {
            starts: place(&starts)?,
            rows: rows.len() as i64,
            longest: longest as i64,
            positions: place(&positions)?,
            words,
        }),
        tokens,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rounded_batch_is_the_packed_one_and_a_row_that_nobody_reads() {
        let rows: Vec<Vec<i32>> = vec![vec![5, 9, 5], vec![7, 1], vec![2; 40]];
        let rows: Vec<Row> = rows.iter().map(|ids| (ids.as_slice(), ids.len())).collect();
        let numbers = |tensor: &Tensor| Vec::<i64>::try_from(tensor).unwrap();
        let of = |rows: &[Row], shape| {
            let batch = Batch::new(rows, shape, Device::Cpu).unwrap();
            let Layout::Packed(packed) = batch.layout else {
                panic!("not packed");
            };
            let words = packed.words.unwrap();
            let starts = numbers(&packed.starts);
            (
                numbers(&batch.ids),
                starts,
                packed.rows,
                batch.tokens,
                words,
            )
        };
        let (ids, starts, count, tokens, _) = of(&rows, Shape::Packed);
        let rounded = of(&rows, Shape::Rounded { pad: 3 });
        assert_eq!((rounded.0.len(), rounded.2, rounded.3), (64, count, tokens));
        assert_eq!(rounded.0[..tokens], ids);
        assert!(rounded.0[tokens..].iter().all(|&id| id == 3));
        assert_eq!(rounded.1, [&starts[..], &[64]].concat());
        let vocabulary = numbers(&rounded.4.vocabulary);
        let places = numbers(&rounded.4.places);
        let read: Vec<i64> = places
            .iter()
            .map(|&place| vocabulary[place as usize])
            .collect();
        assert_eq!(read, rounded.0);
        // One that is full has no row more, and the same vocabulary.
        let full = [2; 32];
        let (ids, starts, _, _, words) = of(&[(&full, 32)], Shape::Rounded { pad: 3 });
        assert_eq!((ids.len(), starts), (32, vec![0, 32]));
        assert_eq!(numbers(&words.vocabulary), [2, 3]);
    }
}
