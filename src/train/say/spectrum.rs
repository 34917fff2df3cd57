//! An alignment matrix as TensorBoard shows it.

use std::thread::JoinHandle;

use anyhow::{bail, Result};
use image::GrayImage;
use tch::{Device, Kind, Tensor};

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
    /// Of R − I, `[width, width]` on the CPU.
    pub fn of(task: &str, departure: &Tensor) -> Result<Spectrum> {
        let squared = departure.f_square()?.f_sum(Kind::Double)?;
        let distance = f64::try_from(squared)?.sqrt();
        Ok(Spectrum {
            task: task.to_owned(),
            distance,
            values: match distance == 0.0 {
                true => vec![1.0; departure.size()[0] as usize],
                false => singular_values(departure)?,
            },
            picture: match distance == 0.0 {
                true => None,
                false => picture(&map(departure, SIDE)?)?,
            },
        })
    }
}

/// What is told of several tasks' R, perhaps still on its way.
pub enum Spectra {
    Known(Vec<Spectrum>),
    Coming(JoinHandle<Result<Vec<Spectrum>>>),
}

impl Spectra {
    /// Of tasks' R − I, as [`Spectrum::of`]; `beside` other work on a thread of its own.
    pub fn of(departures: Vec<(String, Tensor)>, beside: bool) -> Result<Spectra> {
        let all = move || {
            let of = |(task, departure): &(String, Tensor)| Spectrum::of(task, departure);
            departures.iter().map(of).collect()
        };
        Ok(match beside {
            true => Spectra::Coming(std::thread::spawn(all)),
            false => Spectra::Known(all()?),
        })
    }

    /// Waits for them.
    pub fn finish(self) -> Result<Vec<Spectrum>> {
        match self {
            Spectra::Known(spectra) => Ok(spectra),
            Spectra::Coming(thread) => match thread.join() {
                Ok(spectra) => spectra,
                Err(_) => bail!("the thread that looks at alignments has panicked"),
            },
        }
    }
}

/// Those of R, largest first.
fn singular_values(departure: &Tensor) -> Result<Vec<f64>> {
    let departure = departure.f_to_kind(Kind::Double)?;
    let identity = Tensor::f_eye(departure.size()[0], (Kind::Double, Device::Cpu))?;
    let (_, values, _) = departure.f_add(&identity)?.f_svd(true, false)?;
    Ok(Vec::try_from(values)?)
}

/// How far R is from the identity where: the root mean square of the blocks of R − I, of which there are at
/// most `most` in a row, as `[n, n]`.
fn map(departure: &Tensor, most: i64) -> Result<Tensor> {
    let side = most.min(departure.size()[0]);
    let squared = departure.f_square()?.f_unsqueeze(0)?;
    let means = squared.f_adaptive_avg_pool2d([side, side])?;
    Ok(means.f_squeeze_dim(0)?.f_sqrt()?)
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
