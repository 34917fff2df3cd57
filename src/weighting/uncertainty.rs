//! Uncertainty weighting (Kendall, Gal, Cipolla, CVPR 2018): Σ ½ e^{−s_i} L_i + ½ s_i, where s_i, the
//! logarithm of an objective's variance, is learned with the model.

use std::ops::Range;

use anyhow::{Context, Result};
use tch::nn::{Init, VarStore};
use tch::{Kind, Tensor};

use super::{Objectives, Seen, Weighted, Weighting};
use crate::task::Task;

pub(super) struct Uncertainty {
    /// s of each task's objectives, from 0, `[n]`; they are with its head, `TASK.log_variance`.
    log_variances: Vec<(Range<usize>, Tensor)>,
}

impl Uncertainty {
    pub fn new(
        objectives: &Objectives,
        tasks: &[&Task],
        variables: &VarStore,
    ) -> Result<Uncertainty> {
        let of = |(index, task): (usize, &&Task)| -> Result<(Range<usize>, Tensor)> {
            let own = objectives.of(index);
            let place = variables.root() / &task.name;
            let count = own.len() as i64;
            let from = Init::Const(0.0);
            Ok((own, place.f_var("log_variance", &[count], from)?))
        };
        let log_variances = tasks.iter().enumerate().map(of);
        Ok(Uncertainty {
            log_variances: log_variances.collect::<Result<_>>()?,
        })
    }

    /// ½ e^{−s}.
    fn weights_of(log_variance: &Tensor) -> Result<Tensor> {
        Ok(log_variance.f_neg()?.f_exp()?.f_mul_scalar(0.5)?)
    }
}

impl Weighting for Uncertainty {
    fn weigh(&self, seen: &Seen) -> Result<Weighted> {
        let mut tasks = self.log_variances.iter();
        let own = tasks.find(|(which, _)| *which == seen.which);
        let (_, own) = own.context("a batch has the objectives of one task")?;
        Ok(Weighted {
            weights: Some(Self::weights_of(own)?),
            penalty: Some(own.f_mean(Kind::Float)?.f_mul_scalar(0.5)?),
        })
    }

    fn weights(&self) -> Result<Vec<f64>> {
        let mut all = Vec::new();
        for (_, own) in &self.log_variances {
            let weights = tch::no_grad(|| Self::weights_of(own))?;
            all.extend(Vec::<f64>::try_from(weights.f_to_kind(Kind::Double)?)?);
        }
        Ok(all)
    }
}
