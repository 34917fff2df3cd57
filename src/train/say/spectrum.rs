//! An alignment matrix as TensorBoard shows it.

use anyhow::Result;
use image::GrayImage;
use tch::{Device, Kind, Tensor};

use crate::model::alignment::Alignment;

/// Pixels in a row of R's picture, where R has as many.
const SIDE: i64 = 128;

/// A task's R at a step.
pub struct Spectrum {
    pub task: String,
    /// ‖R − I‖_F.
    pub distance: f64,
    /// Singular values, largest first.
    pub values: Vec<f64>,
    /// Where R departs from the identity: black is the most of this picture, white is nothing. None
    /// where R is the identity.
    pub picture: Option<GrayImage>,
}

impl Spectrum {
    pub fn of(task: &str, alignment: &Alignment) -> Result<Spectrum> {
        let distance = alignment.distance_from_identity()?;
        Ok(Spectrum {
            task: task.to_owned(),
            distance,
            values: match distance == 0.0 {
                true => vec![1.0; alignment.width() as usize],
                false => alignment.singular_values()?,
            },
            picture: match distance == 0.0 {
                true => None,
                false => picture(&alignment.map(SIDE)?)?,
            },
        })
    }
}

/// A map `[n, n]` without negative values, dark where it is high.
fn picture(map: &Tensor) -> Result<Option<GrayImage>> {
    let share = map.f_div(&map.f_max()?)?;
    let grey = share.f_mul_scalar(-255.0)?.f_add_scalar(255.0)?;
    let grey = grey.f_round()?.f_to_kind(Kind::Uint8)?;
    let grey = grey.f_to_device(Device::Cpu)?.f_flatten(0, -1)?;
    let side = map.size()[0] as u32;
    let pixels = Vec::try_from(grey)?;
    Ok(GrayImage::from_raw(side, side, pixels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_darkest_where_the_matrix_departs_most() {
        let map = Tensor::from_slice(&[0.0f32, 1.0, 2.0, 4.0]).reshape([2, 2]);
        let pixels = picture(&map).unwrap().unwrap().into_raw();
        assert_eq!(pixels, [255, 191, 128, 0]);
    }
}
