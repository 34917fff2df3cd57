//! Covariance similarity between the features of two tasks (Wu, Zhang, Ré, ICLR 2020, section 3).
//!
//! With X_iᵀX_i ≈ U_i D_i U_iᵀ of rank r_i,
//!
//! ```text
//! sim(1, 2) = ‖(U_1 D_1^{1/2})ᵀ U_2 D_2^{1/2}‖_F / (‖U_1 D_1^{1/2}‖_F · ‖U_2 D_2^{1/2}‖_F)
//! ```
//!
//! lies between 0 and 1, does not change when X's rows are rotated, and where it is low an alignment
//! has something to do. A task has with itself ‖D‖_F / tr D: 1 only where all rows lie on one line.
//! So comparisons also have it relative to that, sim(1, 2) / √(sim(1, 1) sim(2, 2)), which is 1 for
//! a task with itself.

use anyhow::{ensure, Result};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// The share of the sum of the singular values of XᵀX that the rank must hold.
const SHARE: f64 = 0.99;

/// XᵀX of features that come in batches: never the whole X.
#[derive(Debug)]
pub struct Covariance {
    /// `[width, width]`, float64, on the features' device.
    sum: Tensor,
    rows: i64,
}

impl Covariance {
    pub fn new(width: i64, device: Device) -> Result<Covariance> {
        Ok(Covariance {
            sum: Tensor::f_zeros([width, width], (Kind::Double, device))?,
            rows: 0,
        })
    }

    /// Adds features `[rows, width]` of any precision.
    pub fn add(&mut self, x: &Tensor) -> Result<()> {
        let x = x.f_to_kind(Kind::Double)?;
        self.rows += x.size()[0];
        self.sum = self.sum.f_addmm(&x.f_transpose(0, 1)?, &x)?;
        Ok(())
    }

    /// Rows of X so far.
    pub fn rows(&self) -> i64 {
        self.rows
    }

    /// U_r D_r^{1/2}. XᵀX is symmetric and positive, so its eigenvalues are its singular values.
    pub fn factor(&self) -> Result<Factor> {
        let (values, vectors) = self.sum.f_to_device(Device::Cpu)?.f_linalg_eigh("L")?;
        // Largest first; rounding leaves tiny negative ones.
        let values = values.f_flip([0])?.f_clamp_min(0.0)?;
        let vectors = vectors.f_flip([1])?;
        let total = values.f_sum(Kind::Double)?.f_double_value(&[])?;
        ensure!(
            total > 0.0 && total.is_finite(),
            "features that are all zero, or not numbers, have no covariance"
        );
        let held: Vec<f64> = Vec::try_from(values.f_cumsum(0, Kind::Double)?)?;
        let rank = 1 + held.partition_point(|&held| held < SHARE * total);
        let rank = rank.min(held.len()) as i64;
        let roots = values.f_narrow(0, 0, rank)?.f_sqrt()?;
        Ok(Factor {
            matrix: vectors.f_narrow(1, 0, rank)?.f_mul(&roots)?,
        })
    }
}

/// U D^{1/2} of a task's features.
#[derive(Debug)]
pub struct Factor {
    /// `[width, rank]`, float64, on the CPU.
    matrix: Tensor,
}

impl Factor {
    /// The smallest number of directions that hold 99 % of the sum of singular values.
    pub fn rank(&self) -> usize {
        self.matrix.size()[1] as usize
    }

    /// The covariance similarity of two tasks' features of one width.
    pub fn similarity(&self, other: &Factor) -> Result<f64> {
        let norm = |t: &Tensor| -> Result<f64> { Ok(t.f_norm()?.f_double_value(&[])?) };
        let product = self.matrix.f_transpose(0, 1)?.f_matmul(&other.matrix)?;
        Ok(norm(&product)? / (norm(&self.matrix)? * norm(&other.matrix)?))
    }
}

/// Every pair of tasks at one place of one encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// `pretrained` or `trained`.
    pub weights: String,
    /// `embeddings`, `aligned`, `layer 1`, …
    pub at: String,
    /// Rank of each task's features.
    pub ranks: Vec<usize>,
    /// sim(i, j), by the tasks' order.
    pub similarity: Vec<Vec<f64>>,
    /// sim(i, j) / √(sim(i, i) sim(j, j)).
    pub relative: Vec<Vec<f64>>,
}

impl Comparison {
    /// Compares the factors of all tasks.
    pub fn new(weights: &str, at: &str, factors: &[Factor]) -> Result<Comparison> {
        let row = |a: &Factor| factors.iter().map(|b| a.similarity(b)).collect();
        let similarity: Vec<Vec<f64>> = factors.iter().map(row).collect::<Result<_>>()?;
        let own = |i: usize| similarity[i][i];
        let relative = (0..factors.len()).map(|i| {
            let with = |j: usize| similarity[i][j] / (own(i) * own(j)).sqrt();
            (0..factors.len()).map(with).collect()
        });
        Ok(Comparison {
            weights: weights.to_owned(),
            at: at.to_owned(),
            ranks: factors.iter().map(Factor::rank).collect(),
            relative: relative.collect(),
            similarity,
        })
    }

    /// The similarities of all pairs of different tasks.
    pub fn pairs(&self) -> Vec<f64> {
        let rows = self.similarity.iter().enumerate();
        rows.flat_map(|(i, row)| row[i + 1..].to_vec()).collect()
    }
}

/// `similarity.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Similarities {
    pub encoder: String,
    /// The run whose weights are the trained ones.
    pub run: Option<String>,
    /// `mean` or `all`.
    pub tokens: String,
    pub tasks: Vec<String>,
    /// Training rows of each task that were read.
    pub rows: Vec<usize>,
    pub comparisons: Vec<Comparison>,
}
