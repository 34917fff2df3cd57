//! Training of the shared module B `[d, r]`, the output modules A_i `[r]` and, where tasks are
//! aligned, R_i `[d, d]`: by Adam over all rows, a fixed number of steps from a small start, the rate
//! falling along half a cosine.
//!
//! The loss is Σ_i α_i ‖g(X_i R_i B) A_i − y_i‖² / Σ_i m_i + λ Σ_i ‖R_i − I‖²_F, with g the identity
//! or ReLU. R_i starts at the identity. So few steps leave directions unlearned in which the inputs
//! vary little; without that, too few rows would be fitted exactly.

use nalgebra::{DMatrix, DVector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data::{self, Data, Model};

/// How long and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// Adam's steps.
    pub steps: usize,
    /// Adam's rate.
    pub learning_rate: f64,
    /// The R_i's rate as a multiple of it.
    pub alignment_rate: f64,
    /// The length of B's columns at the start, about.
    pub start: f64,
}

impl Default for Training {
    fn default() -> Self {
        Training {
            steps: 1500,
            learning_rate: 0.02,
            alignment_rate: 0.5,
            start: 0.01,
        }
    }
}

/// What is trained on what.
pub struct Problem<'a> {
    pub tasks: &'a [&'a Data],
    /// α_i; all 1 for equal weights.
    pub weights: &'a [f64],
    pub model: Model,
    /// The shared module's width.
    pub r: usize,
    /// λ where each task has its R_i; `None` for none.
    pub decay: Option<f64>,
}

/// A trained model.
#[derive(Debug, Clone)]
pub struct Trained {
    model: Model,
    /// R_i B of each task, `[d, r]`.
    inner: Vec<DMatrix<f64>>,
    outer: Vec<DVector<f64>>,
}

impl Trained {
    /// Task `i`'s predictions for inputs `[rows, d]`.
    pub fn predict(&self, i: usize, x: &DMatrix<f64>) -> DVector<f64> {
        (x * &self.inner[i]).map(|value| self.model.apply(value)) * &self.outer[i]
    }

    /// R_i B, `[d, r]`; B itself where tasks are not aligned.
    pub fn shared(&self, i: usize) -> &DMatrix<f64> {
        &self.inner[i]
    }

    /// R_i B A_i: what task `i`'s inputs are multiplied by in a linear model.
    pub fn theta(&self, i: usize) -> DVector<f64> {
        &self.inner[i] * &self.outer[i]
    }
}

/// Adam's moments for one array.
struct Moments {
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Moments {
    fn new(like: &[f64]) -> Moments {
        Moments {
            first: vec![0.0; like.len()],
            second: vec![0.0; like.len()],
        }
    }

    /// A step down `gradient`; `step` counts from 1.
    fn step(&mut self, values: &mut [f64], gradient: &[f64], rate: f64, step: usize) {
        const BETAS: (f64, f64) = (0.9, 0.999);
        let power = step as i32;
        let rate = rate * (1.0 - BETAS.1.powi(power)).sqrt() / (1.0 - BETAS.0.powi(power));
        let arrays = values.iter_mut().zip(gradient);
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((value, gradient), (first, second)) in arrays.zip(moments) {
            *first += (1.0 - BETAS.0) * (gradient - *first);
            *second += (1.0 - BETAS.1) * (gradient * gradient - *second);
            *value -= rate * *first / (second.sqrt() + 1e-8);
        }
    }
}

/// One task's part of the parameters.
struct Part {
    a: DVector<f64>,
    a_moments: Moments,
    align: Option<(DMatrix<f64>, Moments)>,
}

/// Trains; the start depends on `seed` alone, and is the same for every set of tasks.
pub fn train(problem: &Problem, training: &Training, seed: u64) -> Trained {
    let d = problem.tasks[0].x.ncols();
    let scale = training.start / (d as f64).sqrt();
    let mut b = data::gaussian(d, problem.r, &mut data::random(seed, 900)) * scale;
    // In turn up and down, so that ReLU units can add and take away.
    let root = (problem.r as f64).sqrt();
    let sign = |unit: usize| if unit.is_multiple_of(2) { 1.0 } else { -1.0 };
    let a = DVector::from_fn(problem.r, |unit, _| sign(unit) / root);
    let identity = DMatrix::<f64>::identity(d, d);
    let mut parts: Vec<Part> = problem
        .tasks
        .iter()
        .map(|_| Part {
            a: a.clone(),
            a_moments: Moments::new(a.as_slice()),
            align: problem
                .decay
                .map(|_| (identity.clone(), Moments::new(identity.as_slice()))),
        })
        .collect();
    let mut b_moments = Moments::new(b.as_slice());
    let rows: usize = problem.tasks.iter().map(|task| task.rows()).sum();
    // The same sums over rows, of fewer rows.
    let reduced: Option<Vec<Data>> = (problem.model == Model::Linear)
        .then(|| problem.tasks.iter().map(|task| task.reduced()).collect());
    for step in 1..=training.steps {
        let progress = (step - 1) as f64 / training.steps as f64;
        let rate = training.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        let mut b_gradient = DMatrix::zeros(d, problem.r);
        for (i, part) in parts.iter_mut().enumerate() {
            let task = match &reduced {
                Some(reduced) => &reduced[i],
                None => problem.tasks[i],
            };
            let inner = match &part.align {
                Some((r, _)) => r * &b,
                None => b.clone(),
            };
            let mut units = &task.x * &inner;
            if problem.model == Model::Relu {
                units.apply(|value| *value = value.max(0.0));
            }
            let off = (&units * &part.a - &task.y) * (2.0 * problem.weights[i] / rows as f64);
            let a_gradient = units.tr_mul(&off);
            let mut back = &off * part.a.transpose();
            if problem.model == Model::Relu {
                back.zip_apply(&units, |back, unit| {
                    if unit <= 0.0 {
                        *back = 0.0;
                    }
                });
            }
            let gradient = task.x.tr_mul(&back);
            part.a_moments
                .step(part.a.as_mut_slice(), a_gradient.as_slice(), rate, step);
            match &mut part.align {
                Some((r, moments)) => {
                    b_gradient += r.tr_mul(&gradient);
                    let decay = 2.0 * problem.decay.unwrap_or(0.0);
                    let mut r_gradient = gradient * b.transpose();
                    if decay > 0.0 {
                        r_gradient += (&*r - &identity) * decay;
                    }
                    let rate = rate * training.alignment_rate;
                    moments.step(r.as_mut_slice(), r_gradient.as_slice(), rate, step);
                }
                None => b_gradient += gradient,
            }
        }
        b_moments.step(b.as_mut_slice(), b_gradient.as_slice(), rate, step);
    }
    let inner = |part: &Part| match &part.align {
        Some((r, _)) => r * &b,
        None => b.clone(),
    };
    Trained {
        model: problem.model,
        inner: parts.iter().map(inner).collect(),
        outer: parts.iter().map(|part| part.a.clone()).collect(),
    }
}
