//! Task weights by the SVD of what labels have in common with inputs (Algorithm 2 of Wu, Zhang and
//! Ré, ICLR 2020).

use anyhow::{bail, Result};
use nalgebra::DMatrix;
use tch::Device;

use super::fixed::Fixed;
use super::{Seen, Weighted, Weighting};

/// The rank where a config names none: what is common to most objectives.
pub const DEFAULT_RANK: usize = 1;

/// Weights that are worked out before the first step, and stay.
pub(super) struct Svd {
    rank: usize,
    device: Device,
    weights: Vec<f64>,
    fixed: Option<Fixed>,
}

impl Svd {
    pub fn new(rank: Option<usize>, count: usize, device: Device) -> Svd {
        Svd {
            rank: rank.unwrap_or(DEFAULT_RANK),
            device,
            weights: vec![1.0; count],
            fixed: None,
        }
    }
}

impl Weighting for Svd {
    fn weigh(&self, seen: &Seen) -> Result<Weighted> {
        match &self.fixed {
            Some(fixed) => fixed.weigh(seen),
            None => bail!("the weights have not been worked out"),
        }
    }

    fn weights(&self) -> Result<Vec<f64>> {
        Ok(self.weights.clone())
    }

    fn begin(
        &mut self,
        knows: Option<&[f64]>,
        theta: &dyn Fn() -> Result<DMatrix<f64>>,
    ) -> Result<()> {
        self.weights = match knows {
            Some(known) => known.to_vec(),
            None => svd_weights(&theta()?, self.rank),
        };
        self.fixed = Some(Fixed::of(&self.weights, self.device)?);
        Ok(())
    }
}

/// α_i = ‖θ_iᵀ U_r‖ of θ = [θ_1 … θ_k] `[d, k]`, θ_i = Xᵀy_i, scaled to sum to k; U_r are the first
/// `r` left singular vectors of θ, of which there are at most min(d, k).
///
/// A task whose labels are random has a short θ_i that lies in no direction of the others. Labels on
/// a larger scale have a longer one: standardise them first. All are 1 where θ is zero.
pub fn svd_weights(theta: &DMatrix<f64>, r: usize) -> Vec<f64> {
    let k = theta.ncols();
    // θ_iᵀ U_r is the i-th row of V_r D_r.
    let Some((values, right)) = decomposed(theta) else {
        return vec![1.0; k];
    };
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    let lengths: Vec<f64> = (0..k)
        .map(|task| {
            let squares = order.iter().take(r);
            let square = |&at: &usize| (values[at] * right[(at, task)]).powi(2);
            squares.map(square).sum::<f64>().sqrt()
        })
        .collect();
    let sum: f64 = lengths.iter().sum();
    match sum > 0.0 && sum.is_finite() {
        true => lengths.iter().map(|l| l * k as f64 / sum).collect(),
        false => vec![1.0; k],
    }
}

/// Singular values and right singular vectors as rows; `None` where numbers are not finite.
fn decomposed(theta: &DMatrix<f64>) -> Option<(Vec<f64>, DMatrix<f64>)> {
    if theta.is_empty() || theta.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let svd = theta.clone().svd(false, true);
    Some((svd.singular_values.iter().copied().collect(), svd.v_t?))
}
