//! The weights that the config gives; 1 where it names none.

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use super::{Objectives, Seen, Weighted, Weighting};
use crate::config::task_of;
use crate::config::weighting::Weighting as Config;

pub(super) struct Fixed {
    /// `[objectives]`.
    weights: Tensor,
}

impl Fixed {
    pub fn new(config: &Config, objectives: &Objectives, device: Device) -> Result<Fixed> {
        let of = |name: &String| {
            let own = config.weights.get(name);
            own.or_else(|| config.weights.get(task_of(name)))
                .map_or(1.0, |weight| *weight)
        };
        let weights: Vec<f64> = objectives.names.iter().map(of).collect();
        Fixed::of(&weights, device)
    }

    /// Of these weights.
    pub fn of(weights: &[f64], device: Device) -> Result<Fixed> {
        let weights = Tensor::f_from_slice(weights)?.f_to_kind(Kind::Float)?;
        Ok(Fixed {
            weights: weights.f_to_device(device)?,
        })
    }
}

impl Weighting for Fixed {
    fn weigh(&self, seen: &Seen) -> Result<Weighted> {
        let (start, count) = (seen.which.start as i64, seen.which.len() as i64);
        Ok(Weighted {
            weights: Some(self.weights.f_narrow(0, start, count)?),
            penalty: None,
        })
    }

    fn weights(&self) -> Result<Vec<f64>> {
        Ok(Vec::try_from(self.weights.f_to_kind(Kind::Double)?)?)
    }
}
