//! Dynamic loss scaling for fp16 (Micikevicius et al. 2018), as `torch.amp.GradScaler` does it.
//!
//! Gradients below 6e-8 are zero in fp16. The loss is multiplied by a scale before the backward
//! pass and the gradients are divided by it; a step whose gradients are not finite is left out and
//! halves the scale, and [`PATIENCE`] good steps double it. All of it stays on the device.

use anyhow::Result;
use tch::{Device, Kind, Tensor};

const START: f64 = 65536.0;
const PATIENCE: i64 = 2000;

/// The scale, and how long it has held.
#[derive(Debug)]
pub struct LossScale {
    /// A float32 scalar.
    scale: Tensor,
    /// Good steps since the scale changed: an int32 scalar.
    good_steps: Tensor,
}

impl LossScale {
    pub fn new(device: Device) -> Result<LossScale> {
        Ok(LossScale {
            scale: Tensor::f_full([1; 0], START, (Kind::Float, device))?,
            good_steps: Tensor::f_zeros([1; 0], (Kind::Int, device))?,
        })
    }

    /// What gradients are too large by, a scalar.
    pub fn scale(&self) -> &Tensor {
        &self.scale
    }

    /// After a step: `not_finite` is 1 where it was left out, else 0, a float32 scalar.
    pub fn update(&mut self, not_finite: &Tensor) -> Result<()> {
        let _ = self.scale.f_internal_amp_update_scale_(
            &self.good_steps,
            not_finite,
            2.0,
            0.5,
            PATIENCE,
        )?;
        Ok(())
    }

    /// What a checkpoint holds, by name.
    pub fn state(&self) -> Result<[(&'static str, Tensor); 2]> {
        Ok([
            ("scale", self.scale.shallow_clone()),
            ("good_steps", self.good_steps.f_to_kind(Kind::Int64)?),
        ])
    }

    /// The tensors that [`LossScale::state`] names, to be filled.
    pub fn parts(&self) -> [(&'static str, &Tensor); 2] {
        [("scale", &self.scale), ("good_steps", &self.good_steps)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overflow_halves_the_scale_and_2000_good_steps_double_it() {
        let mut scale = LossScale::new(Device::Cpu).unwrap();
        let (good, bad) = (Tensor::from(0f32), Tensor::from(1f32));
        scale.update(&bad).unwrap();
        assert_eq!(f64::try_from(scale.scale()).unwrap(), START / 2.0);
        for _ in 0..PATIENCE - 1 {
            scale.update(&good).unwrap();
        }
        assert_eq!(f64::try_from(scale.scale()).unwrap(), START / 2.0);
        scale.update(&good).unwrap();
        assert_eq!(f64::try_from(scale.scale()).unwrap(), START);
    }
}
