//! Layers with ReLU on the mean of a row's embeddings.

use anyhow::Result;
use tch::nn::{Init, Path};
use tch::Tensor;

use super::rows::Rows;
use crate::config::words::WordModule;

/// Weights `[width, input]` and biases `[width]`, as torch.nn.Linear's, from the lowest layer up.
pub struct Mlp(Vec<(Tensor, Tensor)>);

impl Mlp {
    /// Parameters from U(−1/√input, 1/√input) under `path`.
    pub fn new(path: &Path, module: &WordModule, input: i64) -> Result<Mlp> {
        let layers = (0..module.layers).map(|layer| {
            let below = if layer == 0 { input } else { module.width };
            let bound = 1.0 / (below as f64).sqrt();
            let uniform = Init::Uniform {
                lo: -bound,
                up: bound,
            };
            let path = path / layer;
            let weight = path.f_var("weight", &[module.width, below], uniform)?;
            Ok((weight, path.f_var("bias", &[module.width], uniform)?))
        });
        Ok(Mlp(layers.collect::<Result<_>>()?))
    }

    /// A vector for each row, `[rows, width]`, from embeddings `[tokens, input]`; `dropped` is
    /// between two layers.
    pub fn forward(
        &self,
        x: &Tensor,
        rows: &Rows,
        dropped: &dyn Fn(Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mut x = rows.mean(x)?;
        for (index, (weight, bias)) in self.0.iter().enumerate() {
            if index > 0 {
                x = dropped(x)?;
            }
            x = x.f_linear(weight, Some(bias))?.f_relu()?;
        }
        Ok(x)
    }
}
