//! A target task: where its rows come from, and how wrong a model is on new ones.

use nalgebra::DVector;

use super::data::{self, Data, Model, Source};
use super::train::Trained;

/// Task 1 of a study.
pub struct Target {
    source: Source,
    theta: DVector<f64>,
    model: Model,
    /// New rows without noise, where the error has no closed form.
    validation: Option<Data>,
}

impl Target {
    /// `rows` new rows for `relu`; for `linear` none are needed.
    pub fn new(
        source: Source,
        theta: DVector<f64>,
        model: Model,
        rows: usize,
        seed: u64,
    ) -> Target {
        let validation = (model == Model::Relu).then(|| {
            let mut random = data::random(seed, 901);
            let x = source.inputs(rows, &mut random);
            Data::new(x, &theta, model, 0.0, &mut random)
        });
        Target {
            source,
            theta,
            model,
            validation,
        }
    }

    /// The variance of its labels without noise.
    pub fn label_variance(&self) -> f64 {
        label_variance(&self.source, &self.theta, self.model)
    }

    /// Mean squared error of task `i`'s predictions for new inputs against noiseless labels, as a
    /// share of the labels' variance: exact for `linear`, over the validation rows for `relu`.
    pub fn error(&self, trained: &Trained, i: usize) -> f64 {
        let error = match &self.validation {
            None => self.source.variance(&(trained.theta(i) - &self.theta)),
            Some(rows) => {
                let off = trained.predict(i, &rows.x) - &rows.y;
                off.norm_squared() / rows.rows() as f64
            }
        };
        error / self.label_variance()
    }
}

/// The variance of noiseless labels: of a Gaussian of variance v, or of its positive part.
pub fn label_variance(source: &Source, theta: &DVector<f64>, model: Model) -> f64 {
    let variance = source.variance(theta);
    match model {
        Model::Linear => variance,
        Model::Relu => variance * (0.5 - 0.5 / std::f64::consts::PI),
    }
}
