//! Uncertainty weighting (Kendall, Gal, Cipolla, CVPR 2018): Σ ½ e^{−s_i} L_i + ½ s_i, where s_i, the
//! logarithm of an objective's variance, is learned with the model.

use anyhow::Result;
use tch::nn::{Init, VarStore};
use tch::{Kind, Tensor};

use super::{Objectives, Seen, Weighted, Weighting};
use crate::task::Task;

pub(super) struct Uncertainty {
    /// s of each task's objectives, from 0, `[n]`; they are with its head, `TASK.log_variance`.
    log_variances: Vec<Tensor>,
    objectives: Objectives,
}

impl Uncertainty {
    pub fn new(
        objectives: &Objectives,
        tasks: &[&Task],
        variables: &VarStore,
    ) -> Result<Uncertainty> {
        let of = |(index, task): (usize, &&Task)| {
            let count = objectives.of(index).len() as i64;
            let place = variables.root() / &task.name;
            place.f_var("log_variance", &[count], Init::Const(0.0))
        };
        let log_variances = tasks.iter().enumerate().map(of);
        Ok(Uncertainty {
            log_variances: log_variances.collect::<Result<_, _>>()?,
            objectives: objectives.clone(),
        })
    }

    /// ½ e^{−s}.
    fn weights_of(log_variance: &Tensor) -> Result<Tensor> {
        Ok(log_variance.f_neg()?.f_exp()?.f_mul_scalar(0.5)?)
    }
}

impl Weighting for Uncertainty {
    fn weigh(&self, seen: &Seen) -> Result<Weighted> {
        let mut tasks = (0..self.log_variances.len()).map(|task| (task, self.objectives.of(task)));
        let own = tasks.find(|(_, own)| *own == seen.which);
        let own = own.map(|(task, _)| self.log_variances[task].shallow_clone());
        let own = own.map_or_else(|| Tensor::f_cat(&self.log_variances, 0), Ok)?;
        Ok(Weighted {
            weights: Some(Self::weights_of(&own)?),
            penalty: Some(own.f_mean(Kind::Float)?.f_mul_scalar(0.5)?),
        })
    }

    fn weights(&self) -> Result<Vec<f64>> {
        let all = tch::no_grad(|| Self::weights_of(&Tensor::f_cat(&self.log_variances, 0)?))?;
        Ok(Vec::try_from(all.f_to_kind(Kind::Double)?)?)
    }
}
