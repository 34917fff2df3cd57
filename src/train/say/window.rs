//! The losses since the last look. They stay on the device: one read brings them all over.

use anyhow::Result;
use tch::{Kind, Tensor};

use crate::data::planned::PlannedBatch;

/// One batch's loss, not yet read.
struct Entry {
    step: u64,
    batch: PlannedBatch,
    loss: Tensor,
    tokens: usize,
}

/// Batches since the last look.
#[derive(Default)]
pub struct Window {
    entries: Vec<Entry>,
    norm: Option<Tensor>,
}

/// What a look finds.
#[derive(Debug, Clone)]
pub struct Look {
    /// Mean loss of each task's batches; none where it had none.
    pub losses: Vec<Option<f64>>,
    /// Norm of the last step's gradients before clipping.
    pub gradient_norm: Option<f64>,
    pub tokens: u64,
    /// The first batch whose loss is not a finite number.
    pub not_finite: Option<(u64, PlannedBatch, f64)>,
}

impl Window {
    /// Adds the loss of a batch, a scalar, at optimiser step `step`.
    pub fn push(&mut self, step: u64, batch: PlannedBatch, loss: &Tensor, tokens: usize) {
        self.entries.push(Entry {
            step,
            batch,
            loss: loss.detach(),
            tokens,
        });
    }

    /// Keeps the norm of a step's gradients, a scalar.
    pub fn set_norm(&mut self, norm: Option<Tensor>) {
        self.norm = norm;
    }

    /// Reads everything over and starts afresh.
    pub fn take(&mut self, tasks: usize) -> Result<Look> {
        let entries = std::mem::take(&mut self.entries);
        let mut scalars: Vec<&Tensor> = entries.iter().map(|e| &e.loss).collect();
        let norm = self.norm.take();
        scalars.extend(norm.as_ref());
        let mut values: Vec<f64> = if scalars.is_empty() {
            Vec::new()
        } else {
            Vec::try_from(Tensor::f_stack(&scalars, 0)?.f_to_kind(Kind::Double)?)?
        };
        let gradient_norm = norm.and_then(|_| values.pop());
        let mut sums = vec![(0.0, 0usize); tasks];
        for (entry, value) in entries.iter().zip(&values) {
            sums[entry.batch.task].0 += value;
            sums[entry.batch.task].1 += 1;
        }
        let first = values.iter().position(|v| !v.is_finite());
        Ok(Look {
            losses: sums
                .into_iter()
                .map(|(sum, count)| (count > 0).then(|| sum / count as f64))
                .collect(),
            gradient_norm,
            tokens: entries.iter().map(|e| e.tokens as u64).sum(),
            not_finite: first.map(|i| (entries[i].step, entries[i].batch.clone(), values[i])),
        })
    }
}
