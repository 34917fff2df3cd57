//! A network over images as the module that all tasks share: [`densenet`] is the one kind.
//!
//! It computes in libtorch's operations on every device, in channels-last memory, where oneDNN and
//! cuDNN are fastest. Parameters have torchvision's names, and the running statistics of batch norms
//! are among the variables: checkpoints keep them, optimisers do not step them.

pub mod densenet;
pub mod shape;
mod weights;

use std::path::Path;

use anyhow::{bail, Result};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use self::densenet::DenseNet;
use self::shape::{ImageShape, CHANNELS, FEATURES};
use super::encoder::{Encoder, Limits, Setup};
use super::weights::LoadReport;
use super::{named_seed, Mode, Parameter};
use crate::data::batch::{Batch, Layout, Shape};
use crate::data::images::Frame;

/// A network over images.
pub struct ImageEncoder {
    shape: ImageShape,
    variables: VarStore,
    net: DenseNet,
    dropout: f64,
}

impl ImageEncoder {
    /// A network whose parameters start at random as torchvision's do; `setup.seed` fixes them.
    pub fn new(shape: ImageShape, setup: Setup) -> Result<ImageEncoder> {
        // Drawn by the CPU's generator: the same start on every device.
        let mut variables = VarStore::new(Device::Cpu);
        tch::manual_seed(named_seed(setup.seed, "encoder"));
        let net = DenseNet::new(&(&variables.root() / "features"))?;
        variables.set_device(setup.device);
        Ok(ImageEncoder {
            dropout: setup.dropout.unwrap_or(shape.module.dropout),
            shape,
            variables,
            net,
        })
    }

    /// Takes torchvision's weights from a file.
    ///
    /// # Errors
    /// Input errors where it cannot be read or is another network's.
    pub fn fill(&self, path: &Path) -> Result<LoadReport> {
        weights::load(&self.variables, path)
    }
}

impl Encoder for ImageEncoder {
    /// Of a pixel; nothing aligns them.
    fn embedding_width(&self) -> i64 {
        CHANNELS
    }

    fn output_width(&self) -> i64 {
        FEATURES
    }

    fn limits(&self) -> Option<Limits> {
        None
    }

    fn dropout(&self) -> f64 {
        self.dropout
    }

    fn variables(&self) -> &VarStore {
        &self.variables
    }

    fn parameters(&self) -> Vec<Parameter> {
        let mut all = Parameter::of(&self.variables);
        all.retain(|parameter| !densenet::is_statistic(&parameter.name));
        all
    }

    fn reads_rows(&self) -> bool {
        false
    }

    fn layers_above(&self, parameter: &str) -> i64 {
        densenet::blocks_above(parameter)
    }

    fn batch_shape(&self, _: i64) -> Shape {
        let module = &self.shape.module;
        Shape::Pixels(Frame::new(module.image_size, module.crop, module.flip))
    }

    fn engine_name(&self) -> &'static str {
        "libtorch"
    }

    /// Autocasting is all that half precision takes: weights stay in float32.
    fn set_products(&mut self, _: Kind) -> Result<()> {
        Ok(())
    }

    fn reinitialize(&self, _: usize, _: u64) -> Result<()> {
        bail!("a network over images starts at random with `weights: none`")
    }

    /// The pixels as they are, `[batch, 3, height, width]`.
    fn embed(&self, batch: &Batch, _: Option<&Tensor>, _: Mode) -> Result<Tensor> {
        match &batch.layout {
            Layout::Pixels(pixels) => Ok(pixels.shallow_clone()),
            _ => bail!("a network over images takes pixels"),
        }
    }

    fn segments(&self) -> usize {
        1
    }

    fn segment(&self, _: usize, x: &Tensor, _: &Batch, mode: Mode) -> Result<Tensor> {
        self.net.forward(x, mode.trains(), self.dropout)
    }

    /// `tokens` are images here.
    fn training_flops(&self, tokens: f64) -> f64 {
        self.shape.training_flops(tokens)
    }
}
