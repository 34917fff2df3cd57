//! How the losses of tasks, and of labels of which any may hold, become one objective.
//!
//! A method is a file here and a name in [`Method`]. It is told what a step knows of its objectives
//! and gives their weights; methods that combine gradients by what they have in common find their
//! products in [`Seen::gramian`].

mod equal;
mod fixed;
pub mod products;
pub mod svd;
mod uncertainty;

use std::ops::Range;

use anyhow::Result;
use nalgebra::DMatrix;
use tch::nn::VarStore;
use tch::{Kind, Tensor};

use crate::config::weighting::{Method, Weighting as Config};
use crate::task::Task;

/// What a step knows of the objectives that its batch has rows of.
pub struct Seen<'a> {
    /// Which they are, among all of the run.
    pub which: Range<usize>,
    /// Their losses, `[n]` in float32 on the device.
    pub losses: &'a Tensor,
    /// The products of their gradients on the shared module, G = J Jᵀ `[n, n]`, where they were
    /// worked out.
    pub gramian: Option<&'a Tensor>,
}

/// What makes one objective of several.
pub struct Weighted {
    /// A weight for each, `[n]` on the device; none where all are 1.
    pub weights: Option<Tensor>,
    /// What is learned beside the losses, a scalar.
    pub penalty: Option<Tensor>,
}

/// A way to weigh objectives.
pub trait Weighting {
    fn weigh(&self, seen: &Seen) -> Result<Weighted>;

    /// The weights of all objectives as they stand.
    fn weights(&self) -> Result<Vec<f64>>;

    /// Before the first step: takes the weights that a checkpoint `knows`, or works them out from the
    /// objectives' θ `[width, objectives]`; see [`products`].
    fn begin(
        &mut self,
        _knows: Option<&[f64]>,
        _theta: &dyn Fn() -> Result<DMatrix<f64>>,
    ) -> Result<()> {
        Ok(())
    }
}

/// The objectives of a run: of one task after the other its own, or its labels'.
#[derive(Debug, Clone)]
pub struct Objectives {
    /// `TASK`, or `TASK/LABEL`.
    pub names: Vec<String>,
    /// Those of each task.
    of_tasks: Vec<Range<usize>>,
}

impl Objectives {
    pub fn new<'a>(tasks: impl Iterator<Item = &'a Task>) -> Objectives {
        let (mut names, mut of_tasks) = (Vec::new(), Vec::new());
        for task in tasks {
            let start = names.len();
            names.extend(task.objectives());
            of_tasks.push(start..names.len());
        }
        Objectives { names, of_tasks }
    }

    /// Those of the task at index `task`.
    pub fn of(&self, task: usize) -> Range<usize> {
        self.of_tasks[task].clone()
    }
}

/// The method of a config. What it learns joins `variables`, by the tasks' names.
pub fn build(
    config: &Config,
    objectives: &Objectives,
    tasks: &[&Task],
    variables: &VarStore,
) -> Result<Box<dyn Weighting>> {
    let count = objectives.names.len();
    Ok(match config.method {
        Method::Equal => Box::new(equal::Equal { count }),
        Method::Fixed => Box::new(fixed::Fixed::new(config, objectives, variables.device())?),
        Method::Uncertainty => {
            Box::new(uncertainty::Uncertainty::new(objectives, tasks, variables)?)
        }
        Method::Svd => Box::new(svd::Svd::new(config.rank, count, variables.device())),
    })
}

/// Mean of the losses by their weights, and the penalty: what the backward pass starts from.
pub fn objective(weighting: &dyn Weighting, seen: &Seen) -> Result<Tensor> {
    let Weighted { weights, penalty } = weighting.weigh(seen)?;
    let weighted = match weights {
        Some(weights) => seen.losses.f_mul(&weights)?,
        None => seen.losses.shallow_clone(),
    };
    let mean = weighted.f_mean(Kind::Float)?;
    Ok(match penalty {
        Some(penalty) => mean.f_add(&penalty)?,
        None => mean,
    })
}
