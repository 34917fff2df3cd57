//! An image's file to its pixels.

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result};
use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use super::super::TokenizedSplit;
use super::crop::Region;
use super::CHANNELS;
use crate::error::io_error;
use crate::input_error;

/// Mean and standard deviation of each colour over ImageNet, which torchvision's weights expect.
const MEAN: [f32; CHANNELS] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; CHANNELS] = [0.229, 0.224, 0.225];

/// The most bytes of a decoded image: a small file can say that it is larger than memory.
const MOST: u64 = 256 << 20;

/// An image with one grey or three colours of 8 or 16 bits.
pub struct Decoded(Image<'static>);

/// Decodes the image of a row, turned as its camera says. What is transparent is seen as if it were
/// not, as by torchvision.
///
/// # Errors
/// An input error with the image's path and its row's place.
pub fn open(split: &TokenizedSplit, row: usize) -> Result<Decoded> {
    let path = split.image(row)?;
    let place = || match split.files().get(split.file(row)) {
        Some(file) => format!("{}:{}", file.display(), split.line(row)),
        None => format!("line {}", split.line(row)),
    };
    let image = read(path).map_err(|cause| {
        let at = path.display();
        input_error!(
            "{at}: not readable as a PNG or JPEG image: {cause} (row {})",
            place()
        )
    })?;
    let (width, height) = (image.width(), image.height());
    let (bytes, kind) = match image {
        DynamicImage::ImageLuma8(image) => (image.into_raw(), PixelType::U8),
        DynamicImage::ImageRgb8(image) => (image.into_raw(), PixelType::U8x3),
        image @ DynamicImage::ImageLumaA8(_) => (image.into_luma8().into_raw(), PixelType::U8),
        image @ DynamicImage::ImageRgba8(_) => (image.into_rgb8().into_raw(), PixelType::U8x3),
        image @ (DynamicImage::ImageLuma16(_) | DynamicImage::ImageLumaA16(_)) => {
            (in_memory(&image.into_luma16()), PixelType::U16)
        }
        image => (in_memory(&image.into_rgb16()), PixelType::U16x3),
    };
    let image = Image::from_vec_u8(width, height, bytes, kind);
    Ok(Decoded(image.with_context(|| path.display().to_string())?))
}

/// Whether these bytes are those of a PNG or JPEG file.
pub fn is_image(bytes: &[u8]) -> bool {
    let format = image::guess_format(bytes);
    matches!(format, Ok(ImageFormat::Png | ImageFormat::Jpeg))
}

fn read(path: &Path) -> std::result::Result<DynamicImage, String> {
    let bytes = std::fs::read(path).map_err(|e| io_error(path, e).to_string())?;
    let reader = ImageReader::new(Cursor::new(&bytes)).with_guessed_format();
    let reader = reader.map_err(|e| e.to_string())?;
    if reader.format() == Some(ImageFormat::Jpeg) && is_cut_short(&bytes) {
        return Err("it is cut short".into());
    }
    let mut decoder = reader.into_decoder().map_err(|e| e.to_string())?;
    if decoder.total_bytes() > MOST {
        let (width, height) = decoder.dimensions();
        return Err(format!(
            "its {width} × {height} pixels take more than {} MiB",
            MOST >> 20
        ));
    }
    let decode = || {
        let orientation = decoder.orientation()?;
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        Ok(image)
    };
    decode().map_err(|e: image::ImageError| e.to_string())
}

/// Whether a JPEG file lacks the marker of its end: its decoder makes the rest up, in grey.
fn is_cut_short(bytes: &[u8]) -> bool {
    // Within a picture's data no byte 0xff is followed by these; a thumbnail before it has its own.
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    let (start, end) = (last(0xda), last(0xd9));
    end < start
}

fn in_memory(values: &[u16]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}

impl Decoded {
    /// Width and height in pixels.
    pub fn size(&self) -> [u32; 2] {
        [self.0.width(), self.0.height()]
    }

    /// Brings a part of it to `size` × `size` pixels, as Pillow's bilinear filter does, and writes
    /// them normalised, row after row, three colours each.
    pub fn write(&self, region: Region, mirrored: bool, size: u32, to: &mut [f32]) -> Result<()> {
        let kind = self.0.pixel_type();
        let mut resized = Image::new(size, size, kind);
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
            .crop(region.left, region.top, region.width, region.height);
        Resizer::new().resize(&self.0, &mut resized, &options)?;
        let bytes = resized.buffer();
        let deep = matches!(kind, PixelType::U16 | PixelType::U16x3);
        let most = if deep { f32::from(u16::MAX) } else { 255.0 };
        let value = |at: usize| match deep {
            true => f32::from(u16::from_ne_bytes([bytes[2 * at], bytes[2 * at + 1]])),
            false => f32::from(bytes[at]),
        };
        let colours = match kind {
            PixelType::U8 | PixelType::U16 => 1,
            _ => CHANNELS,
        };
        let size = size as usize;
        for (at, pixel) in to.chunks_exact_mut(CHANNELS).enumerate() {
            let (y, x) = (at / size, at % size);
            let x = if mirrored { size - 1 - x } else { x };
            let from = (y * size + x) * colours;
            for (colour, place) in pixel.iter_mut().enumerate() {
                let share = value(from + colour.min(colours - 1)) / most;
                *place = (share - MEAN[colour]) / DEVIATION[colour];
            }
        }
        Ok(())
    }
}
