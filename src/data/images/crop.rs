//! Which part of an image is seen, as torchvision's transforms have it.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// A part of an image, in its pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

/// Sides of a crop, width over height, from and to.
const RATIOS: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0];
/// Draws before a crop that fits is taken from the middle.
const DRAWS: usize = 10;

/// `Resize(8/7 size)` of the shorter side, then `CenterCrop(size)`: 256 and 224 with ImageNet's
/// weights.
pub fn centre(width: u32, height: u32, size: u32) -> Region {
    let shorter = (f64::from(size) * 8.0 / 7.0).round();
    let least = f64::from(width.min(height));
    // The longer side is cut to whole pixels.
    let resized = |side: u32| match side == width.min(height) {
        true => shorter,
        false => (shorter * f64::from(side) / least).floor(),
    };
    let cut = |side: u32| {
        let (side, resized) = (f64::from(side), resized(side));
        // Python rounds halves to the even number.
        let first = ((resized - f64::from(size)) / 2.0).round_ties_even();
        let scale = side / resized;
        (first * scale, f64::from(size) * scale)
    };
    let ((left, width), (top, height)) = (cut(width), cut(height));
    Region {
        left,
        top,
        width,
        height,
    }
}

/// `RandomResizedCrop`: a share of the area from `least` to 1 in a shape near a square.
pub fn random(width: u32, height: u32, least: f64, chance: &mut ChaCha8Rng) -> Region {
    let (w, h) = (f64::from(width), f64::from(height));
    for _ in 0..DRAWS {
        let area = w * h * chance.gen_range(least..=1.0);
        let ratio = chance.gen_range(RATIOS[0].ln()..=RATIOS[1].ln()).exp();
        let cut_width = (area * ratio).sqrt().round();
        let cut_height = (area / ratio).sqrt().round();
        if cut_width >= 1.0 && cut_width <= w && cut_height >= 1.0 && cut_height <= h {
            return Region {
                left: f64::from(chance.gen_range(0..=width - cut_width as u32)),
                top: f64::from(chance.gen_range(0..=height - cut_height as u32)),
                width: cut_width,
                height: cut_height,
            };
        }
    }
    let (cut_width, cut_height) = match w / h {
        ratio if ratio < RATIOS[0] => (w, (w / RATIOS[0]).round()),
        ratio if ratio > RATIOS[1] => ((h * RATIOS[1]).round(), h),
        _ => (w, h),
    };
    Region {
        left: ((w - cut_width) / 2.0).floor(),
        top: ((h - cut_height) / 2.0).floor(),
        width: cut_width,
        height: cut_height,
    }
}
