//! Whole steps recorded as CUDA graphs: a device that is told of eight hundred kernels one by one waits
//! for the host most of the time.
//!
//! A step is recorded the second time that its like comes up, and replayed from then on. The first time
//! it is taken as it always is: libraries set themselves up in it.

use std::collections::HashMap;

use anyhow::Result;
use tch::Tensor;

use super::schedule::Moving;
use crate::data::Batch;
use crate::libtorch;
use crate::libtorch::graph::Graph;
use crate::libtorch::optimizer::CudaSteps;
use crate::train::feed::loader::Loaded;

/// What makes two steps alike: the same operations on tensors of the same shapes.
#[derive(PartialEq, Eq, Hash)]
pub struct Kind {
    task: usize,
    shapes: Vec<Vec<i64>>,
    longest: i64,
    moving: Moving,
    weight: u64,
    share: u64,
}

impl Kind {
    pub fn of(loaded: &Loaded, moving: Moving) -> Kind {
        let tensors = loaded.batch.tensors().into_iter().chain([&loaded.labels]);
        Kind {
            task: loaded.planned.task,
            shapes: tensors.map(Tensor::size).collect(),
            longest: loaded.batch.longest(),
            moving,
            weight: loaded.planned.weight.to_bits(),
            share: loaded.share.to_bits(),
        }
    }
}

/// A recorded step.
pub struct Recording {
    pub graph: Graph,
    /// What it reads.
    pub batch: Batch,
    pub labels: Tensor,
    /// What it writes: the loss and the gradients' norm, float32 `[2]`.
    pub out: Tensor,
    /// The learning rates of the parameters that it moves, before the schedule's factor.
    pub rates: Vec<f64>,
}

/// The steps of a run that were seen, and what each kind's optimiser needs on the device.
pub type RecordedSteps = HashMap<Kind, (CudaSteps, Option<Recording>)>;

impl Recording {
    /// Takes the step again with another batch: its loss, and the gradients' norm before clipping; scalars
    /// on the device. `loaded` is in page-locked memory.
    pub fn replay(
        &mut self,
        steps: &mut CudaSteps,
        loaded: &Loaded,
        factor: f64,
    ) -> Result<(Tensor, Option<Tensor>)> {
        self.batch.fill(&loaded.batch)?;
        libtorch::copy_non_blocking(&self.labels, &loaded.labels)?;
        let rates: Vec<f64> = self.rates.iter().map(|rate| rate * factor).collect();
        steps.renew(&rates)?;
        self.graph.replay()?;
        let out = self.out.f_detach_copy()?;
        Ok((out.f_select(0, 0)?, Some(out.f_select(0, 1)?)))
    }
}
