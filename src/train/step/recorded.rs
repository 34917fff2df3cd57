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
use crate::error::shortened;
use crate::libtorch;
use crate::libtorch::graph::Graph;
use crate::libtorch::optimizer::CudaSteps;
use crate::model::Mode;
use crate::telemetry::progress;
use crate::train::feed::loader::Loaded;

/// What makes two steps alike: the same operations on tensors of the same shapes.
#[derive(PartialEq, Eq, Hash)]
pub struct Kind {
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
pub struct Recording {
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
pub type RecordedSteps = HashMap<Kind, (CudaSteps, Option<Recording>)>;

/// Takes a step of one pass: its loss, and the gradients' norm before clipping; scalars on the device.
/// `loaded` is still in page-locked memory. Where a step cannot be recorded, none is from then on.
pub fn take(
    learner: &mut Learner,
    (index, loaded): (u64, &Loaded),
    moving: Moving,
    factor: f64,
) -> Result<(Tensor, Option<Tensor>)> {
    let mode = learner.seed(index)?;
    let kind = Kind::of(loaded, moving);
    let mut known = learner.recorded.take().unwrap_or_default();
    let Some((mut steps, recording)) = known.remove(&kind) else {
        let mut steps = CudaSteps::new();
        let taken = first(learner, &mut steps, loaded, (moving, mode), factor)?;
        known.insert(kind, (steps, None));
        learner.recorded = Some(known);
        return Ok(taken);
    };
    let made = recording.map_or_else(|| record(learner, &mut steps, loaded, (moving, mode)), Ok);
    let mut recording = match made {
        Ok(recording) => recording,
        Err(error) => {
            let why = shortened(&format!("{error:#}"));
            progress::say(&format!("CUDA graphs are left alone from here on: {why}"));
            learner.optimizer.clear_gradients();
            drop(known);
            libtorch::make_room()?;
            return first(learner, &mut steps, loaded, (moving, mode), factor);
        }
    };
    let taken = recording.replay(&mut steps, loaded, factor)?;
    known.insert(kind, (steps, Some(recording)));
    learner.recorded = Some(known);
    Ok(taken)
}

/// Takes the first step of a kind as it is.
fn first(
    learner: &mut Learner,
    steps: &mut CudaSteps,
    loaded: &Loaded,
    (moving, mode): (Moving, Mode),
    factor: f64,
) -> Result<(Tensor, Option<Tensor>)> {
    let (batch, labels) = loaded.to(learner.arithmetic.device())?;
    let loss = learner.pass(Pass::of(loaded, &batch, &labels), moving, mode)?;
    let norm = match learner.optimizer.step_with(steps, factor)? {
        Some(()) => Some(steps.taken()?.0.f_detach_copy()?),
        None => None,
    };
    Ok((loss, norm))
}

fn record(
    learner: &mut Learner,
    steps: &mut CudaSteps,
    loaded: &Loaded,
    (moving, mode): (Moving, Mode),
) -> Result<Recording> {
    let (batch, labels) = loaded.to(learner.arithmetic.device())?;
    libtorch::make_room()?;
    let (graph, (out, rates)) = Graph::record(|| {
        let loss = learner.pass(Pass::of(loaded, &batch, &labels), moving, mode)?;
        let rates = learner.optimizer.record_with(steps)?;
        Ok((Tensor::f_stack(&[loss, steps.taken()?.0], 0)?, rates))
    })?;
    Ok(Recording {
        graph,
        batch,
        labels,
        out,
        rates,
    })
}

impl Recording {
    fn replay(
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
