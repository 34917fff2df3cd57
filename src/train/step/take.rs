//! A whole step: its passes and the optimiser's, or on CUDA a recording of both.

use anyhow::{Error, Result};
use tch::Tensor;

use super::learner::{Learner, Pass};
use super::recorded::{Kind, Recording};
use super::schedule::Moving;
use crate::error::{is_out_of_memory, shortened};
use crate::libtorch;
use crate::libtorch::graph::Graph;
use crate::libtorch::optimizer::CudaSteps;
use crate::model::Mode;
use crate::telemetry::progress;
use crate::train::feed::loader::Loaded;
use crate::train::say::stages::Stage;

impl Learner {
    /// One step of the optimiser, over the batches of its passes with their numbers in the run: the mean
    /// losses of their parts, and the gradients' norm before clipping; scalars on the device.
    pub fn take(
        &mut self,
        passes: &[(u64, Loaded)],
        moving: Moving,
        factor: f64,
    ) -> Result<(Vec<Tensor>, Option<Tensor>)> {
        if let ([(index, loaded)], false) = (passes, self.stages.running()) {
            if self.recorded.is_some() {
                return take_recorded(self, (*index, loaded), moving, factor);
            }
        }
        let mut losses = Vec::with_capacity(passes.len());
        for (number, (index, loaded)) in passes.iter().enumerate() {
            losses.extend(self.backward(*index, loaded, moving)?);
            if number + 1 < passes.len() {
                self.optimizer.widen_gradients()?;
            }
        }
        self.sum(&losses)?;
        let norm = self.optimizer.step(factor)?;
        self.stages.end(Stage::Optimizer);
        Ok((losses, norm))
    }

    /// What `work` makes; where it finds no memory, it is done again without recorded steps, which hold some.
    pub fn with_room<T>(&mut self, work: impl Fn(&mut Learner) -> Result<T>) -> Result<T> {
        let done = work(self);
        let records = self
            .recorded
            .as_ref()
            .is_some_and(|known| !known.is_empty());
        match &done {
            Err(error) if records && is_out_of_memory(error) => {
                self.leave_recordings(error)?;
                work(self)
            }
            _ => done,
        }
    }

    /// Records no step from here on, and says why; what half a step has left goes too.
    fn leave_recordings(&mut self, why: &Error) -> Result<()> {
        let why = shortened(&format!("{why:#}"));
        progress::say(&format!("CUDA graphs are left alone from here on: {why}"));
        self.recorded = None;
        self.optimizer.clear_gradients();
        libtorch::make_room()
    }
}

/// Takes a step of one pass: its losses, and the gradients' norm before clipping; scalars on the device.
/// `loaded` is still in page-locked memory. Where a step cannot be recorded, none is from then on.
fn take_recorded(
    learner: &mut Learner,
    (index, loaded): (u64, &Loaded),
    moving: Moving,
    factor: f64,
) -> Result<(Vec<Tensor>, Option<Tensor>)> {
    let kind = Kind::of(loaded, moving);
    let known = learner.recorded.as_mut();
    let Some((mut steps, recording)) = known.and_then(|known| known.remove(&kind)) else {
        let mut steps = CudaSteps::new();
        let taken = first(learner, &mut steps, (index, loaded), moving, factor)?;
        if let Some(known) = &mut learner.recorded {
            known.insert(kind, (steps, None));
        }
        return Ok(taken);
    };
    let mode = learner.seed(index)?;
    let made = recording.map_or_else(|| record(learner, &mut steps, loaded, (moving, mode)), Ok);
    let mut recording = match made {
        Ok(recording) => recording,
        Err(error) => {
            learner.leave_recordings(&error)?;
            return first(learner, &mut steps, (index, loaded), moving, factor);
        }
    };
    let taken = recording.replay(&mut steps, loaded, factor)?;
    if let Some(known) = &mut learner.recorded {
        known.insert(kind, (steps, Some(recording)));
    }
    Ok(taken)
}

/// Takes the first step of a kind as it is.
fn first(
    learner: &mut Learner,
    steps: &mut CudaSteps,
    (index, loaded): (u64, &Loaded),
    moving: Moving,
    factor: f64,
) -> Result<(Vec<Tensor>, Option<Tensor>)> {
    let (batch, labels) = loaded.to(learner.arithmetic.device())?;
    let pass = Pass::of(loaded, &batch, &labels);
    let losses = learner.with_room(|learner| {
        let mode = learner.seed(index)?;
        learner.pass(&pass, moving, mode)
    })?;
    learner.sum(&losses)?;
    Ok((losses, learner.optimizer.step_on_cuda(steps, factor)?))
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
        let mut out = learner.pass(&Pass::of(loaded, &batch, &labels), moving, mode)?;
        learner.sum(&out)?;
        let rates = learner.optimizer.record_on_cuda(steps)?;
        out.push(steps.taken()?.0);
        Ok((Tensor::f_stack(&out, 0)?, rates))
    })?;
    Ok(Recording {
        graph,
        batch,
        labels,
        out,
        rates,
    })
}
