//! DenseNet-121 (Huang, Liu, van der Maaten, Weinberger, CVPR 2017), as torchvision computes it.
//!
//! Each layer reads all feature maps before it in its block: batch norm, ReLU and a 1×1 convolution
//! to 128 maps, batch norm, ReLU and a 3×3 convolution to 32 more. Between blocks a 1×1 convolution
//! halves the maps and a mean over 2×2 pixels the picture.

use anyhow::Result;
use tch::nn::{Init, Path};
use tch::Tensor;

use super::shape::{BLOCKS, BOTTLENECK, CHANNELS, GROWTH, STEM};

/// Of the running statistics, the part that a batch gives.
const MOMENTUM: f64 = 0.1;
const EPSILON: f64 = 1e-5;

/// A convolution without bias.
struct Convolution {
    weight: Tensor,
    stride: i64,
    padding: i64,
}

struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
}

struct Layer {
    norms: [BatchNorm; 2],
    convolutions: [Convolution; 2],
}

struct Transition {
    norm: BatchNorm,
    convolution: Convolution,
}

/// The network up to its features; torchvision's classifier is no part of it.
pub struct DenseNet {
    convolution: Convolution,
    norm: BatchNorm,
    blocks: Vec<(Vec<Layer>, Option<Transition>)>,
    last: BatchNorm,
}

impl Convolution {
    /// Weights N(0, 2 / fan-in), He's for ReLU.
    fn new(path: &Path, from: i64, to: i64, size: i64, stride: i64) -> Result<Convolution> {
        let normal = Init::Randn {
            mean: 0.0,
            stdev: (2.0 / (from * size * size) as f64).sqrt(),
        };
        Ok(Convolution {
            weight: path.f_var("weight", &[to, from, size, size], normal)?,
            stride,
            padding: size / 2,
        })
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        let none: Option<Tensor> = None;
        Ok(x.f_conv2d(&self.weight, none, stride, padding, [1, 1], 1)?)
    }
}

impl BatchNorm {
    fn new(path: &Path, maps: i64) -> Result<BatchNorm> {
        Ok(BatchNorm {
            weight: path.f_var("weight", &[maps], Init::Const(1.0))?,
            bias: path.f_var("bias", &[maps], Init::Const(0.0))?,
            mean: path.f_zeros_no_train("running_mean", &[maps])?,
            variance: path.f_ones_no_train("running_var", &[maps])?,
        })
    }

    /// ReLU of the normalised maps: by the batch's statistics in training, which go into the running
    /// ones, else by those.
    fn relu(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let normed = x.f_batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.mean),
            Some(&self.variance),
            train,
            MOMENTUM,
            EPSILON,
            true,
        )?;
        let mut normed = normed;
        Ok(normed.f_relu_()?)
    }
}

impl DenseNet {
    /// Its parameters and running statistics under `path`, by torchvision's names.
    pub fn new(path: &Path) -> Result<DenseNet> {
        let convolution = Convolution::new(&(path / "conv0"), CHANNELS, STEM, 7, 2)?;
        let norm = BatchNorm::new(&(path / "norm0"), STEM)?;
        let mut maps = STEM;
        let mut blocks = Vec::with_capacity(BLOCKS.len());
        for (block, &layers) in (1..).zip(&BLOCKS) {
            let place = path / format!("denseblock{block}");
            let layer = |layer: i64| {
                let place = &place / format!("denselayer{layer}");
                let from = maps + (layer - 1) * GROWTH;
                Ok(Layer {
                    norms: [
                        BatchNorm::new(&(&place / "norm1"), from)?,
                        BatchNorm::new(&(&place / "norm2"), BOTTLENECK)?,
                    ],
                    convolutions: [
                        Convolution::new(&(&place / "conv1"), from, BOTTLENECK, 1, 1)?,
                        Convolution::new(&(&place / "conv2"), BOTTLENECK, GROWTH, 3, 1)?,
                    ],
                })
            };
            let own = (1..=layers).map(layer).collect::<Result<_>>()?;
            maps += layers * GROWTH;
            let transition = if block < BLOCKS.len() {
                let place = path / format!("transition{block}");
                let norm = BatchNorm::new(&(&place / "norm"), maps)?;
                let convolution = Convolution::new(&(&place / "conv"), maps, maps / 2, 1, 1)?;
                maps /= 2;
                Some(Transition { norm, convolution })
            } else {
                None
            };
            blocks.push((own, transition));
        }
        Ok(DenseNet {
            convolution,
            norm,
            blocks,
            last: BatchNorm::new(&(path / "norm5"), maps)?,
        })
    }

    /// The mean over the picture of each feature map, `[batch, 1024]`, from pixels
    /// `[batch, 3, height, width]`; `dropout` is behind each layer's 3×3 convolution.
    pub fn forward(&self, pixels: &Tensor, train: bool, dropout: f64) -> Result<Tensor> {
        let x = self.norm.relu(&self.convolution.apply(pixels)?, train)?;
        let mut x = x.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?;
        for (layers, transition) in &self.blocks {
            let mut maps = vec![x];
            for layer in layers {
                let all = Tensor::f_cat(&maps, 1)?;
                let narrow = layer.convolutions[0].apply(&layer.norms[0].relu(&all, train)?)?;
                let new = layer.convolutions[1].apply(&layer.norms[1].relu(&narrow, train)?)?;
                maps.push(match train && dropout > 0.0 {
                    true => new.f_dropout(dropout, true)?,
                    false => new,
                });
            }
            x = Tensor::f_cat(&maps, 1)?;
            if let Some(Transition { norm, convolution }) = transition {
                let halved = convolution.apply(&norm.relu(&x, train)?)?;
                x = halved.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
            }
        }
        let features = self.last.relu(&x, train)?;
        Ok(features.f_adaptive_avg_pool2d([1, 1])?.f_flatten(1, -1)?)
    }
}

/// Whether a variable is a running statistic, which no gradient moves.
pub fn is_statistic(name: &str) -> bool {
    name.ends_with(".running_mean") || name.ends_with(".running_var")
}

/// How many dense blocks lie above the one of this parameter, or above what comes before it: 0 in the
/// last and behind it.
pub fn blocks_above(parameter: &str) -> i64 {
    let last = BLOCKS.len() as i64;
    let number = |opening: &str| -> Option<i64> {
        let rest = parameter.strip_prefix("features.")?.strip_prefix(opening)?;
        rest.split('.').next()?.parse().ok()
    };
    match (number("denseblock"), number("transition")) {
        (Some(block), _) | (_, Some(block)) => last - block,
        _ if parameter.starts_with("features.norm5.") => 0,
        _ => last,
    }
}
