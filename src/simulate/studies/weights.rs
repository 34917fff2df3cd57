//! Task weights where some tasks have noisy labels (Algorithm 2 of Wu, Zhang and Ré).
//!
//! k linear tasks on the same X, whose θ_i lie in a space of r dimensions; some have random labels on
//! a share of their rows. A shared module of width r is fitted with equal weights, with the SVD's, and
//! with uncertainty weights (Kendall, Gal and Cipolla, CVPR 2018). All are exact optima: by Proposition
//! 3, and for uncertainty weights by turns, since its optimum has α_i in proportion to 1 / L_i.

use nalgebra::DMatrix;
use rand::seq::SliceRandom;
use rand_distr::{Distribution, StandardNormal};

use super::Tick;
use crate::simulate::closed::weighted_optimum;
use crate::simulate::config::SimulateConfig;
use crate::simulate::data::{self, Source};
use crate::simulate::results::{Panel, Study};
use crate::weighting::svd::svd_weights;

const TURNS: usize = 30;

pub fn layout(config: &SimulateConfig) -> Study {
    let own = &config.weights;
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|n| (*n).to_owned()).collect() };
    let x = ("random labels, %", own.shares.as_slice());
    let clean = own.tasks - own.noisy;
    Study {
        name: "weights".into(),
        title: "Task weights under label noise".into(),
        notes: vec![format!(
            "{} clean and {} noisy tasks on the same {} rows; r = {}. The noisy ones have random labels on a share of their rows.",
            clean, own.noisy, own.rows, own.r
        )],
        panels: vec![
            Panel::new(
                "Clean tasks",
                x,
                "test error ÷ label variance, mean of clean tasks",
                &names(&["STL", "equal", "uncertainty", "SVD"]),
            ),
            Panel::new(
                "Clean tasks: minus equal weights",
                x,
                "difference of test error ÷ label variance",
                &names(&["STL", "uncertainty", "SVD"]),
            )
            .of_differences(),
            Panel::new(
                "Clean tasks: SVD minus uncertainty weights",
                x,
                "difference of test error ÷ label variance",
                &names(&["SVD minus uncertainty"]),
            )
            .of_differences(),
            Panel::new(
                "Weights (equal is 1)",
                x,
                "mean weight",
                &names(&["SVD, clean", "SVD, noisy", "uncertainty, clean", "uncertainty, noisy"]),
            ),
        ],
    }
}

pub fn models(config: &SimulateConfig) -> usize {
    config.weights.shares.len()
}

/// What one share of random labels gives.
struct Cell {
    /// Errors of STL, equal, uncertainty, SVD.
    errors: [f64; 4],
    svd: [f64; 2],
    uncertainty: [f64; 2],
}

pub fn measure(config: &SimulateConfig, seed: u64, tick: Tick) -> Vec<f64> {
    let cells: Vec<Cell> = config
        .weights
        .shares
        .iter()
        .map(|&share| {
            let cell = cell(config, seed, share as f64 / 100.0);
            tick();
            cell
        })
        .collect();
    let line = |of: &dyn Fn(&Cell) -> f64| cells.iter().map(of).collect::<Vec<f64>>();
    let mut values = Vec::new();
    for way in 0..4 {
        values.extend(line(&|cell| cell.errors[way]));
    }
    for way in [0, 2, 3] {
        values.extend(line(&|cell| cell.errors[way] - cell.errors[1]));
    }
    values.extend(line(&|cell| cell.errors[3] - cell.errors[2]));
    for which in 0..2 {
        values.extend(line(&|cell| cell.svd[which]));
    }
    for which in 0..2 {
        values.extend(line(&|cell| cell.uncertainty[which]));
    }
    values
}

/// The same tasks and rows for every share; the random labels of a larger share include a smaller's.
fn cell(config: &SimulateConfig, seed: u64, share: f64) -> Cell {
    let own = &config.weights;
    let (d, k, m) = (config.d, own.tasks, own.rows);
    let mut random = data::random(seed, 20);
    let q = data::orthonormal(d, &mut random);
    let [spectrum, _] = data::spectra(d, config.kappa, &mut random);
    let source = Source::new(&spectrum, &q, config.order);
    let mut theta = data::gaussian(d, own.r, &mut random) * data::gaussian(own.r, k, &mut random);
    for mut column in theta.column_iter_mut() {
        let length = source.variance(&column.clone_owned()).sqrt();
        column /= length;
    }
    let x = source.inputs(m, &mut random);
    let mut labels = &x * &theta + data::gaussian(m, k, &mut random) * config.noise;
    let scale = (1.0 + config.noise * config.noise).sqrt();
    let replaced = (share * m as f64).round() as usize;
    for task in k - own.noisy..k {
        let mut rows: Vec<usize> = (0..m).collect();
        rows.shuffle(&mut random);
        let drawn: Vec<f64> = (0..m).map(|_| StandardNormal.sample(&mut random)).collect();
        for (&row, label) in rows.iter().zip(drawn).take(replaced) {
            labels[(row, task)] = scale * label;
        }
    }
    let clean = k - own.noisy;
    let error = |found: &DMatrix<f64>| {
        let off = found - &theta;
        let of = |task: usize| source.variance(&off.column(task).clone_owned());
        (0..clean).map(of).sum::<f64>() / clean as f64
    };
    let fit = |weights: &[f64]| weighted_optimum(&x, &labels, weights, own.r);
    let ones = vec![1.0; k];
    let svd = svd_weights(&x.tr_mul(&labels), own.r);
    let mut uncertainty = ones.clone();
    for _ in 0..TURNS {
        let off = &x * fit(&uncertainty) - &labels;
        let inverse: Vec<f64> = off
            .column_iter()
            .map(|off| 1.0 / off.norm_squared())
            .collect();
        let sum: f64 = inverse.iter().sum();
        uncertainty = inverse.iter().map(|value| value * k as f64 / sum).collect();
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let both = |weights: &[f64]| [mean(&weights[..clean]), mean(&weights[clean..])];
    Cell {
        errors: [
            error(&weighted_optimum(&x, &labels, &ones, k)),
            error(&fit(&ones)),
            error(&fit(&uncertainty)),
            error(&fit(&svd)),
        ],
        svd: both(&svd),
        uncertainty: both(&uncertainty),
    }
}
