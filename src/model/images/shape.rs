//! A network over images with its sizes: the `config.json` of such an encoder's folder.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::config::ImageModule;
use crate::error::read_text;
use crate::input_error;

/// `model_type` in a `config.json`.
pub const MODEL_TYPE: &str = "covalign-images";

/// Colours of a pixel.
pub const CHANNELS: i64 = 3;
/// DenseNet-121: maps of the first convolution, layers of each block, maps that a layer adds, and
/// those in its middle.
pub const STEM: i64 = 64;
pub const BLOCKS: [i64; 4] = [6, 12, 24, 16];
pub const GROWTH: i64 = 32;
pub const BOTTLENECK: i64 = 4 * GROWTH;
/// Width of a row's vector.
pub const FEATURES: i64 = 1024;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageShape {
    pub model_type: String,
    pub module: ImageModule,
}

impl ImageShape {
    pub fn new(module: ImageModule) -> ImageShape {
        ImageShape {
            model_type: MODEL_TYPE.into(),
            module,
        }
    }

    /// Reads an encoder's folder.
    pub fn read(folder: &Path) -> Result<ImageShape> {
        let path = folder.join("config.json");
        let text = read_text(&path)?;
        serde_json::from_str(&text).map_err(|e| input_error!("{}: {e}", path.display()))
    }

    /// Of training on so many images: 2 operations per weight and pixel forward, 4 back.
    pub fn training_flops(&self, images: f64) -> f64 {
        let mut side = self.module.image_size as f64 / 2.0;
        let area = |side: f64| side * side;
        let mut products = area(side) * (STEM * CHANNELS * 49) as f64;
        side /= 2.0;
        let mut maps = STEM;
        for (block, layers) in BLOCKS.iter().enumerate() {
            for _ in 0..*layers {
                products += area(side) * (BOTTLENECK * (maps + 9 * GROWTH)) as f64;
                maps += GROWTH;
            }
            if block + 1 < BLOCKS.len() {
                products += area(side) * (maps * maps / 2) as f64;
                maps /= 2;
                side /= 2.0;
            }
        }
        6.0 * products * images
    }
}
