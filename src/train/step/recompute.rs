//! Gradient checkpointing (Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost): the
//! forward pass keeps what each layer takes, and the backward pass computes a layer once more when
//! it comes to it. One layer's intermediate results are in memory instead of all layers'.

use anyhow::Result;
use tch::Tensor;

use super::precision::Arithmetic;
use crate::data::Batch;
use crate::libtorch;
use crate::model::encoder::Encoder;
use crate::model::Mode;

/// On CUDA, attention draws from libtorch's generator what it drops: a segment draws the same again
/// when it is computed again.
fn draws_of(segment: usize, mode: Mode, x: &Tensor) {
    if let (Mode::Train { seed }, true) = (mode, x.device().is_cuda()) {
        tch::manual_seed(seed.wrapping_add(1 + segment as u64) as i64);
    }
}

/// A forward pass through the encoder whose insides were not kept.
pub struct Recompute {
    /// What each segment takes.
    inputs: Vec<Tensor>,
    /// The pooler's output `[batch, hidden]`, where the backward pass of head and loss ends.
    pub pooled: Tensor,
}

impl Recompute {
    /// The pass from (aligned) embeddings.
    pub fn forward(
        encoder: &dyn Encoder,
        embeddings: &Tensor,
        batch: &Batch,
        mode: Mode,
        arithmetic: Arithmetic,
    ) -> Result<Recompute> {
        let mut inputs = Vec::with_capacity(encoder.segments());
        let mut x = embeddings.f_detach()?;
        for segment in 0..encoder.segments() {
            draws_of(segment, mode, &x);
            let next =
                tch::no_grad(|| arithmetic.run(|| encoder.segment(segment, &x, batch, mode)))?;
            inputs.push(std::mem::replace(&mut x, next));
        }
        Ok(Recompute {
            inputs,
            pooled: x.f_set_requires_grad(true)?,
        })
    }

    /// The backward pass through the encoder and on through `embeddings`, once `pooled` has its
    /// gradient.
    pub fn backward(
        self,
        encoder: &dyn Encoder,
        embeddings: &Tensor,
        batch: &Batch,
        mode: Mode,
        arithmetic: Arithmetic,
    ) -> Result<()> {
        let mut gradient = self.pooled.grad();
        for (segment, input) in self.inputs.into_iter().enumerate().rev() {
            let x = input.f_detach()?.f_set_requires_grad(true)?;
            draws_of(segment, mode, &x);
            let y = arithmetic.run(|| encoder.segment(segment, &x, batch, mode))?;
            libtorch::backward(&y, &gradient)?;
            gradient = x.grad();
        }
        match embeddings.requires_grad() {
            true => libtorch::backward(embeddings, &gradient),
            false => Ok(()),
        }
    }
}
