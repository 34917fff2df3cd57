//! An LSTM over a row's embeddings (Hochreiter and Schmidhuber 1997), as torch.nn.LSTM computes it.

use anyhow::Result;
use tch::nn::{Init, Path};
use tch::Tensor;

use super::rows::Rows;
use crate::config::words::{Pool, WordModule};

pub struct Lstm {
    /// From the lowest layer up, and of each its readings: forward, and backward where there is one.
    layers: Vec<Vec<Reading>>,
    pool: Pool,
}

/// One layer's parameters of one direction: `[4 width, input]`, `[4 width, width]`, and `[4 width]`
/// twice; the gates are input, forget, cell, output.
struct Reading {
    weights: [Tensor; 4],
    backward: bool,
}

impl Lstm {
    /// Parameters from U(−1/√width, 1/√width) by torch.nn.LSTM's names under `path`.
    pub fn new(path: &Path, module: &WordModule, input: i64) -> Result<Lstm> {
        let width = module.width;
        let ways: &[bool] = match module.bidirectional {
            true => &[false, true],
            false => &[false],
        };
        let bound = 1.0 / (width as f64).sqrt();
        let uniform = Init::Uniform {
            lo: -bound,
            up: bound,
        };
        let reading = |layer: i64, backward: bool| -> Result<Reading> {
            let below = match layer {
                0 => input,
                _ => width * ways.len() as i64,
            };
            let suffix = if backward { "_reverse" } else { "" };
            let gates = 4 * width;
            let parameter = |name: &str, size: &[i64]| {
                path.f_var(&format!("{name}_l{layer}{suffix}"), size, uniform)
            };
            Ok(Reading {
                weights: [
                    parameter("weight_ih", &[gates, below])?,
                    parameter("weight_hh", &[gates, width])?,
                    parameter("bias_ih", &[gates])?,
                    parameter("bias_hh", &[gates])?,
                ],
                backward,
            })
        };
        let layer = |layer| ways.iter().map(|way| reading(layer, *way)).collect();
        Ok(Lstm {
            layers: (0..module.layers).map(layer).collect::<Result<_>>()?,
            pool: module.pool,
        })
    }

    /// A vector for each row, `[rows, width × directions]`, from embeddings `[tokens, input]`;
    /// `dropped` is between two layers.
    pub fn forward(
        &self,
        x: &Tensor,
        rows: &Rows,
        dropped: &dyn Fn(Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mut states = vec![x.shallow_clone()];
        for (index, layer) in self.layers.iter().enumerate() {
            let mut below = match states.len() {
                1 => states.remove(0),
                _ => Tensor::f_cat(&states, 1)?,
            };
            if index > 0 {
                below = dropped(below)?;
            }
            let read = |reading: &Reading| rows.lstm(&below, &reading.weights, reading.backward);
            states = layer.iter().map(read).collect::<Result<_>>()?;
        }
        let ways = self.layers.last().into_iter().flatten();
        let pooled = ways.zip(&states).map(|(reading, states)| match self.pool {
            // A reading ends behind the last word, or before the first.
            Pool::Last if reading.backward => rows.first(states),
            Pool::Last => rows.last(states),
            Pool::Max => rows.max(states),
            Pool::Mean => rows.mean(states),
        });
        Ok(Tensor::f_cat(&pooled.collect::<Result<Vec<_>>>()?, 1)?)
    }
}
