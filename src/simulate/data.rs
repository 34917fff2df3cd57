//! The synthetic tasks' inputs and labels.
//!
//! Inputs are X = G D Q: G standard Gaussian `[rows, d]`, D diagonal with κ on a tenth of the
//! coordinates and 1 elsewhere, Q orthonormal. The paper writes G Q D. Since a Gaussian row has no
//! preferred direction, G Q D has the distribution of G D whatever Q is, and task 4 that of task 2;
//! with Q last, the covariance Qᵀ D² Q is the one that the paper's figure speaks of. The order is a
//! choice of the config ([`Order`]).
//!
//! D is divided by the root of its mean square and θ has length 1: a label's variance is then about
//! 1 for every κ. Errors are given relative to the variance of the target's noiseless labels.

use nalgebra::{DMatrix, DVector};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the orthonormal matrix stands among an input's factors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// X = G D Q: Q turns the strong coordinates.
    #[default]
    Turned,
    /// X = G Q D, as the paper prints it: Q changes nothing.
    AsPrinted,
}

/// What labels are of inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// y = Xθ + ε.
    #[default]
    Linear,
    /// y = ReLU(Xθ) + ε.
    Relu,
}

impl Model {
    /// Of a sum over the inputs.
    pub fn apply(self, value: f64) -> f64 {
        match self {
            Model::Linear => value,
            Model::Relu => value.max(0.0),
        }
    }
}

/// A stream of random numbers of its own for each `purpose`, whatever was drawn for others.
pub fn random(seed: u64, purpose: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(purpose);
    random
}

/// Independent standard Gaussian entries.
pub fn gaussian(rows: usize, columns: usize, random: &mut impl Rng) -> DMatrix<f64> {
    DMatrix::from_fn(rows, columns, |_, _| StandardNormal.sample(random))
}

/// A vector of length 1 in a direction drawn evenly.
pub fn direction(d: usize, random: &mut impl Rng) -> DVector<f64> {
    gaussian(d, 1, random).column(0).normalize()
}

/// An orthonormal `[d, d]` drawn evenly (Haar): Gram-Schmidt on a Gaussian matrix.
pub fn orthonormal(d: usize, random: &mut impl Rng) -> DMatrix<f64> {
    let (mut q, r) = gaussian(d, d, random).qr().unpack();
    for (mut column, pivot) in q.column_iter_mut().zip(r.diagonal().iter()) {
        column *= pivot.signum();
    }
    q
}

/// A vector of length 1 whose cosine with `theta`, of length 1, is `cosine`.
pub fn at_cosine(theta: &DVector<f64>, cosine: f64, random: &mut impl Rng) -> DVector<f64> {
    let other = direction(theta.len(), random);
    let beside = (&other - theta * theta.dot(&other)).normalize();
    theta * cosine + beside * (1.0 - cosine * cosine).max(0.0).sqrt()
}

/// The diagonals of D_1 and D_2: κ on d/10 coordinates (at least one), on others for each.
pub fn spectra(d: usize, kappa: f64, random: &mut impl Rng) -> [DVector<f64>; 2] {
    let strong = (d / 10).max(1);
    let mut order: Vec<usize> = (0..d).collect();
    order.shuffle(random);
    let mean_square = (strong as f64 * kappa * kappa + (d - strong) as f64) / d as f64;
    [0, 1].map(|which| {
        let mut spectrum = DVector::from_element(d, 1.0 / mean_square.sqrt());
        for &at in &order[which * strong..(which + 1) * strong] {
            spectrum[at] *= kappa;
        }
        spectrum
    })
}

/// Where inputs come from: a row is gᵀF, so their covariance is FᵀF.
#[derive(Debug, Clone)]
pub struct Source {
    factor: DMatrix<f64>,
}

impl Source {
    pub fn new(spectrum: &DVector<f64>, q: &DMatrix<f64>, order: Order) -> Source {
        let d = DMatrix::from_diagonal(spectrum);
        let factor = match order {
            Order::Turned => d * q,
            Order::AsPrinted => q * d,
        };
        Source { factor }
    }

    /// `[rows, d]`.
    pub fn inputs(&self, rows: usize, random: &mut impl Rng) -> DMatrix<f64> {
        gaussian(rows, self.factor.nrows(), random) * &self.factor
    }

    /// The variance of xᵀv: the expected squared error of a linear model that is off by v.
    pub fn variance(&self, v: &DVector<f64>) -> f64 {
        (&self.factor * v).norm_squared()
    }
}

/// Inputs `[rows, d]` and their labels.
#[derive(Debug, Clone)]
pub struct Data {
    pub x: DMatrix<f64>,
    pub y: DVector<f64>,
}

impl Data {
    /// Labels of the model with noise of standard deviation `noise`.
    pub fn new(
        x: DMatrix<f64>,
        theta: &DVector<f64>,
        model: Model,
        noise: f64,
        random: &mut impl Rng,
    ) -> Data {
        let mut y = (&x * theta).map(|value| model.apply(value));
        for label in y.iter_mut() {
            let drawn: f64 = StandardNormal.sample(random);
            *label += noise * drawn;
        }
        Data { x, y }
    }

    /// The first `rows`.
    pub fn first(&self, rows: usize) -> Data {
        Data {
            x: self.x.rows(0, rows).into_owned(),
            y: self.y.rows(0, rows).into_owned(),
        }
    }

    pub fn rows(&self) -> usize {
        self.y.len()
    }
}

/// The plane rotation by `degrees` in d/2 planes that `frame`'s columns span in pairs; a last one
/// without a partner stays.
pub fn turn(frame: &DMatrix<f64>, degrees: f64) -> DMatrix<f64> {
    let (sine, cosine) = degrees.to_radians().sin_cos();
    let d = frame.ncols();
    let mut planes = DMatrix::identity(d, d);
    for i in (0..d - d % 2).step_by(2) {
        planes[(i, i)] = cosine;
        planes[(i + 1, i + 1)] = cosine;
        planes[(i, i + 1)] = -sine;
        planes[(i + 1, i)] = sine;
    }
    frame * planes * frame.transpose()
}

impl Data {
    /// d rows at most that any linear model fits as well as these, but for a constant: with the
    /// thin X = QU, ‖Xw − y‖² = ‖Uw − Qᵀy‖² + ‖y − QQᵀy‖².
    pub fn reduced(&self) -> Data {
        if self.rows() <= self.x.ncols() {
            return self.clone();
        }
        let qr = self.x.clone().qr();
        Data {
            x: qr.r(),
            y: qr.q().tr_mul(&self.y),
        }
    }
}
