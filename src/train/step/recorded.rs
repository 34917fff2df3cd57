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
use crate::train::feed::loader::{Loaded, Part};

/// What makes two steps alike: the same operations on tensors of the same shapes.
#[derive(PartialEq, Eq, Hash)]
pub struct Kind {
    /// Task, weight and share of each part.
    parts: Vec<(usize, u64, u64)>,
    shapes: Vec<Vec<i64>>,
    longest: i64,
    moving: Moving,
}

impl Kind {
    pub fn of(loaded: &Loaded, moving: Moving) -> Kind {
        let labels = loaded.parts.iter().map(|part| &part.labels);
        let tensors = loaded.batch.tensors().into_iter().chain(labels);
        let of_part = |part: &Part| {
            let Part { planned, share, .. } = part;
            (planned.task, planned.weight.to_bits(), share.to_bits())
        };
        Kind {
            parts: loaded.parts.iter().map(of_part).collect(),
            shapes: tensors.map(Tensor::size).collect(),
            longest: loaded.batch.longest(),
            moving,
        }
    }
}

/// A recorded step.
pub struct Recording {
    pub graph: Graph,
    /// What it reads.
    pub batch: Batch,
    pub labels: Vec<Tensor>,
    /// What it writes: the parts' losses and the gradients' norm, float32 `[parts + 1]`.
    pub out: Tensor,
    /// The learning rates of the parameters that it moves, before the schedule's factor.
    pub rates: Vec<f64>,
}

/// The steps of a run that were seen, and what each kind's optimiser needs on the device.
pub type RecordedSteps = HashMap<Kind, (CudaSteps, Option<Recording>)>;

impl Recording {
    /// Takes the step again with another batch: its parts' losses, and the gradients' norm before clipping;
    /// scalars on the device. `loaded` is in page-locked memory.
    pub fn replay(
        &mut self,
        steps: &mut CudaSteps,
        loaded: &Loaded,
        factor: f64,
    ) -> Result<(Vec<Tensor>, Option<Tensor>)> {
        self.batch.fill(&loaded.batch)?;
        for (labels, part) in self.labels.iter().zip(&loaded.parts) {
            libtorch::copy_non_blocking(labels, &part.labels)?;
        }
        let rates: Vec<f64> = self.rates.iter().map(|rate| rate * factor).collect();
        steps.renew(&rates)?;
        self.graph.replay()?;
        let mut out = self.out.f_detach_copy()?.f_unbind(0)?;
        let norm = out.pop();
        Ok((out, norm))
    }
}
