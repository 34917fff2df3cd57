//! Whole steps recorded as CUDA graphs: a device that is told of eight hundred kernels one by one waits
//! for the host most of the time.
//!
//! A step is recorded the second time that its like comes up, and replayed from then on. The first time
//! it is taken as it always is: libraries set themselves up in it.

use std::collections::HashMap;

use anyhow::Result;
use tch::Tensor;

use super::learner::{Learner, Pass};
use super::schedule::Moving;
use crate::data::Batch;
use crate::libtorch;
use crate::libtorch::graph::Graph;
use crate::libtorch::optimizer::CudaSteps;
use crate::train::feed::loader::Loaded;

/// What makes two steps alike: the same operations on tensors of the same shapes.
#[derive(PartialEq, Eq, Hash)]
struct Kind {
    task: usize,
    shapes: Vec<Vec<i64>>,
    longest: i64,
    moving: Moving,
    weight: u64,
}

impl Kind {
    fn of(loaded: &Loaded, moving: Moving) -> Kind {
        let tensors = loaded.batch.tensors().into_iter().chain([&loaded.labels]);
        Kind {
            task: loaded.planned.task,
            shapes: tensors.map(Tensor::size).collect(),
            longest: loaded.batch.longest(),
            moving,
            weight: loaded.planned.weight.to_bits(),
        }
    }
}

/// A recorded step.
struct Recording {
    graph: Graph,
    /// What it reads.
    batch: Batch,
    labels: Tensor,
    /// What it writes: the loss and the gradients' norm, float32 `[2]`.
    out: Tensor,
    /// The learning rates of the parameters that it moves, before the schedule's factor.
    rates: Vec<f64>,
}

/// The steps of a run that were seen, and what each kind's optimiser needs on the device.
#[derive(Default)]
pub struct RecordedSteps(HashMap<Kind, (CudaSteps, Option<Recording>)>);

/// Takes a step of one pass: its loss, and the gradients' norm before clipping; scalars on the device.
/// `loaded` is still in page-locked memory.
pub fn take(
    learner: &mut Learner,
    known: &mut RecordedSteps,
    (index, loaded): (u64, &Loaded),
    moving: Moving,
    factor: f64,
) -> Result<(Tensor, Option<Tensor>)> {
    let kind = Kind::of(loaded, moving);
    let device = learner.arithmetic.device();
    let mode = learner.seed(index)?;
    let Some((steps, recording)) = known.0.get_mut(&kind) else {
        let (batch, labels) = loaded.to(device)?;
        let loss = learner.pass(Pass::of(loaded, &batch, &labels), moving, mode)?;
        let mut steps = CudaSteps::new();
        let norm = match learner.optimizer.step_with(&mut steps, factor)? {
            Some(_) => Some(steps.taken()?.0.f_detach_copy()?),
            None => None,
        };
        known.0.insert(kind, (steps, None));
        return Ok((loss, norm));
    };
    if recording.is_none() {
        let (batch, labels) = loaded.to(device)?;
        let (graph, (out, rates)) = Graph::record(|| {
            let loss = learner.pass(Pass::of(loaded, &batch, &labels), moving, mode)?;
            let rates = learner.optimizer.record_with(steps)?;
            let norm = steps.taken()?.0;
            Ok((Tensor::f_stack(&[loss, norm], 0)?, rates))
        })?;
        *recording = Some(Recording {
            graph,
            batch,
            labels,
            out,
            rates,
        });
    }
    let recording = recording.as_mut().expect("recorded");
    recording.batch.fill(&loaded.batch)?;
    libtorch::copy_non_blocking(&recording.labels, &loaded.labels)?;
    let rates: Vec<f64> = recording.rates.iter().map(|rate| rate * factor).collect();
    steps.renew(&rates)?;
    recording.graph.replay()?;
    let out = recording.out.f_detach_copy()?;
    Ok((out.f_select(0, 0)?, Some(out.f_select(0, 1)?)))
}
