//! Images as rows: found on disk, decoded, cropped, and put together as pixels.
//!
//! Nothing but the paths of a split's images is in memory; a batch's images are decoded in parallel
//! when it is put together, which training has done ahead of its steps.

mod crop;
mod decode;
mod files;

use anyhow::Result;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use tch::{Device, Tensor};

use super::TokenizedSplit;
use crate::bail_input;
pub use decode::is_image;
pub use files::{locate, Places};

/// Colours of a pixel.
const CHANNELS: usize = 3;

/// What becomes of an image: a square of pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    size: i64,
    crop: f64,
    flip: bool,
    /// What fixes crops and flips; none where images are taken as they are.
    draw: Option<u64>,
}

impl Frame {
    /// A square of `size` pixels: of training a crop of at least a share `crop` of the image, half of
    /// them mirrored with `flip`, once [`Frame::drawn`] says by what they are drawn.
    pub fn new(size: i64, crop: f64, flip: bool) -> Frame {
        Frame {
            size,
            crop,
            flip,
            draw: None,
        }
    }

    /// The same for a pass of training; `seed` and the row's number fix what is drawn.
    pub fn drawn(self, seed: u64) -> Frame {
        Frame {
            draw: Some(seed),
            ..self
        }
    }

    /// The part of an image `[width, height]` that is seen, and whether it is mirrored.
    fn cut(&self, row: u32, [width, height]: [u32; 2]) -> (crop::Region, bool) {
        let Some(seed) = self.draw else {
            return (crop::centre(width, height, self.size as u32), false);
        };
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        chance.set_stream(u64::from(row));
        let mirrored = chance.gen::<bool>() && self.flip;
        let region = match self.crop < 1.0 {
            true => crop::random(width, height, self.crop, &mut chance),
            false => crop::centre(width, height, self.size as u32),
        };
        (region, mirrored)
    }
}

/// Decodes every image of a split once.
///
/// # Errors
/// An input error that tells the first that cannot be read, and how many cannot.
pub fn check(split: &TokenizedSplit) -> Result<()> {
    let faults = (0..split.len()).into_par_iter();
    let faults: Vec<_> = faults
        .filter_map(|row| decode::open(split, row).err())
        .collect();
    match faults.first() {
        Some(first) => bail_input!("{first}; the first of {} such images", faults.len()),
        None => Ok(()),
    }
}

/// The images of `rows` together, `[batch, 3, size, size]` in float32, normalised as ImageNet's are, in
/// channels-last memory.
///
/// # Errors
/// An input error with the image's path and its row's place where one cannot be read.
pub fn pixels(
    split: &TokenizedSplit,
    rows: &[u32],
    frame: Frame,
    device: Device,
) -> Result<Tensor> {
    let size = frame.size as usize;
    let one = size * size * CHANNELS;
    let mut values = vec![0f32; rows.len() * one];
    values
        .par_chunks_mut(one)
        .zip(rows)
        .try_for_each(|(values, &row)| {
            let image = decode::open(split, row as usize)?;
            let (region, mirrored) = frame.cut(row, image.size());
            image.write(region, mirrored, frame.size as u32, values)
        })?;
    let side = frame.size;
    Ok(Tensor::f_from_slice(&values)?
        .f_view([rows.len() as i64, side, side, CHANNELS as i64])?
        .f_permute([0, 3, 1, 2])?
        .f_to_device(device)?)
}
