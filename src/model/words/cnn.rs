//! Windows of words (Kim 2014, Convolutional Neural Networks for Sentence Classification).

use anyhow::Result;
use tch::nn::{Init, Path};
use tch::Tensor;

use super::rows::Rows;
use crate::config::words::WordModule;

/// For each size of window, filters `[width, input, window]` and their biases `[width]`, as
/// torch.nn.Conv1d's.
pub struct Cnn(Vec<(Tensor, Tensor)>);

impl Cnn {
    /// Parameters from U(−1/√fan, 1/√fan), fan being input × window, under `path`.
    pub fn new(path: &Path, module: &WordModule, input: i64) -> Result<Cnn> {
        let windows = module.windows.iter().enumerate().map(|(i, &window)| {
            let bound = 1.0 / ((input * window) as f64).sqrt();
            let uniform = Init::Uniform {
                lo: -bound,
                up: bound,
            };
            let path = path / i;
            let weight = path.f_var("weight", &[module.width, input, window], uniform)?;
            Ok((weight, path.f_var("bias", &[module.width], uniform)?))
        });
        Ok(Cnn(windows.collect::<Result<_>>()?))
    }

    /// ReLU of each filter's largest answer over a row, `[rows, width × windows]`, from embeddings
    /// `[tokens, input]`.
    pub fn forward(&self, x: &Tensor, rows: &Rows) -> Result<Tensor> {
        let answers = self.0.iter();
        let answers = answers.map(|(weight, bias)| rows.conv_max(x, weight, bias));
        Ok(Tensor::f_cat(&answers.collect::<Result<Vec<_>>>()?, 1)?)
    }
}
