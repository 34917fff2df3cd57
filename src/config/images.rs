//! `encoder: {kind: densenet121, …}`, a network over images.

use std::fmt;
use std::path::Path;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bail_input;

/// What reads images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageKind {
    /// torchvision's DenseNet-121 (Huang, Liu, van der Maaten, Weinberger, CVPR 2017).
    Densenet121,
}

/// A network over images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageModule {
    /// Which network it is.
    pub kind: ImageKind,
    /// A safetensors file of torchvision's weights, or `none` for a random start.
    pub weights: String,
    /// Pixels of the square that the network sees.
    #[serde(default = "imagenets")]
    pub image_size: i64,
    /// Share of each layer's new values that training drops, and by default before the heads.
    #[serde(default)]
    pub dropout: f64,
    /// The least share of an image's area that training cuts out of it and brings to `image_size`;
    /// 1 takes images as evaluation does.
    #[serde(default = "torchvisions")]
    pub crop: f64,
    /// Whether training mirrors every second image, left to right.
    #[serde(default = "yes")]
    pub flip: bool,
}

fn imagenets() -> i64 {
    224
}

fn torchvisions() -> f64 {
    0.08
}

fn yes() -> bool {
    true
}

impl ImageModule {
    /// The file of its weights; none for a random start.
    pub fn file(&self) -> Option<&Path> {
        (self.weights != "none").then_some(Path::new(&self.weights))
    }

    /// # Errors
    /// An input error that names the key.
    pub(super) fn validate(&self, place: &str) -> Result<()> {
        let rules = [
            (
                // Below, the last block has pictures of one pixel, which have no spread.
                (64..=4096).contains(&self.image_size),
                "image_size",
                "must lie from 64 to 4096",
            ),
            (
                (0.0..1.0).contains(&self.dropout),
                "dropout",
                "must lie in [0, 1)",
            ),
            (
                self.crop > 0.0 && self.crop <= 1.0,
                "crop",
                "is a share of an image's area, above 0 and at most 1",
            ),
            (
                !self.weights.is_empty(),
                "weights",
                "is a safetensors file, or `none` for a random start",
            ),
        ];
        for (holds, key, demand) in rules {
            if !holds {
                bail_input!("{place}: key `encoder.{key}` {demand}");
            }
        }
        Ok(())
    }
}

/// What people and results call it; of two modules that differ, the names do.
impl fmt::Display for ImageModule {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let ImageModule {
            kind: ImageKind::Densenet121,
            weights,
            image_size,
            dropout,
            crop,
            flip,
        } = self;
        write!(f, "densenet121, ")?;
        match self.file() {
            Some(_) => write!(f, "weights of {weights}")?,
            None => write!(f, "random weights")?,
        }
        write!(f, ", {image_size} px")?;
        if *crop < 1.0 {
            write!(f, ", crops from {crop}")?;
        }
        if *flip {
            write!(f, ", mirrored")?;
        }
        if *dropout > 0.0 {
            write!(f, ", dropout {dropout}")?;
        }
        Ok(())
    }
}
