//! The shared module's width against the number of tasks (Proposition 1 of Wu, Zhang and Ré).
//!
//! Each of k tasks has its own covariance and θ_i at a given cosine from a common one. From r = k on
//! the joint optimum has every task's own solution, and nothing transfers.

use rayon::prelude::*;

use super::Tick;
use crate::simulate::closed::least_squares;
use crate::simulate::config::SimulateConfig;
use crate::simulate::data::{self, Data, Model, Source};
use crate::simulate::results::{Panel, Study};
use crate::simulate::target::{label_variance, Target};
use crate::simulate::train::{train, Problem};

pub fn layout(config: &SimulateConfig) -> Study {
    let own = &config.capacity;
    let widths: Vec<u64> = own.r.iter().map(|&r| r as u64).collect();
    let x = ("width r", widths.as_slice());
    let mut panels = vec![Panel::new(
        "Test error",
        x,
        "test error ÷ label variance, mean of tasks",
        &["MTL".to_owned(), "STL".to_owned()],
    )];
    if config.model == Model::Linear {
        panels.push(Panel::new(
            "Distance of B A_i from the least squares of task i",
            x,
            "distance ÷ length, mean of tasks",
            &["MTL".to_owned(), "STL".to_owned()],
        ));
    }
    Study {
        name: "capacity".into(),
        title: "Width of the shared module".into(),
        notes: vec![format!(
            "k = {} tasks of {} rows. For r >= k the joint optimum has every task's own solution: \
             that is Proposition 1, not a finding.",
            own.tasks, own.rows
        )],
        panels,
    }
}

pub fn models(config: &SimulateConfig) -> usize {
    config.capacity.tasks + config.capacity.r.len()
}

pub fn measure(config: &SimulateConfig, seed: u64, tick: Tick) -> Vec<f64> {
    let own = &config.capacity;
    let mut random = data::random(seed, 10);
    let common = data::direction(config.d, &mut random);
    // Two thetas at the cosine c from a common one are at c² from each other; so take its root.
    let from_common = config.cosine.sqrt();
    let (targets, tasks): (Vec<Target>, Vec<Data>) = (0..own.tasks)
        .map(|_| {
            let q = data::orthonormal(config.d, &mut random);
            let [spectrum, _] = data::spectra(config.d, config.kappa, &mut random);
            let source = Source::new(&spectrum, &q, config.order);
            let theta = data::at_cosine(&common, from_common, &mut random);
            let x = source.inputs(own.rows, &mut random);
            let noise = config.noise * label_variance(&source, &theta, config.model).sqrt();
            let rows = Data::new(x, &theta, config.model, noise, &mut random);
            let target = Target::new(source, theta, config.model, config.validation_rows, seed);
            (target, rows)
        })
        .unzip();
    let optima: Vec<_> = tasks.iter().map(least_squares).collect();
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let fit = |tasks: &[&Data], r: usize| {
        let weights = vec![1.0; tasks.len()];
        let problem = Problem {
            tasks,
            weights: &weights,
            model: config.model,
            r,
            decay: None,
        };
        let trained = train(&problem, &config.training, seed);
        tick();
        trained
    };
    let alone: Vec<_> = tasks.par_iter().map(|task| fit(&[task], 1)).collect();
    let all: Vec<&Data> = tasks.iter().collect();
    let jointly: Vec<_> = own.r.par_iter().map(|&r| fit(&all, r)).collect();
    let indices = || 0..own.tasks;
    let off = |theta, i: usize| -> f64 {
        let optimum: &nalgebra::DVector<f64> = &optima[i];
        let off: nalgebra::DVector<f64> = theta - optimum;
        off.norm() / optimum.norm()
    };
    let widths = own.r.len();
    let mut values: Vec<f64> = jointly
        .iter()
        .map(|model| mean(indices().map(|i| targets[i].error(model, i)).collect()))
        .collect();
    let error = mean(indices().map(|i| targets[i].error(&alone[i], 0)).collect());
    values.extend(vec![error; widths]);
    if config.model == Model::Linear {
        values.extend(
            jointly
                .iter()
                .map(|model| mean(indices().map(|i| off(model.theta(i), i)).collect())),
        );
        let distance = mean(indices().map(|i| off(alone[i].theta(0), i)).collect());
        values.extend(vec![distance; widths]);
    }
    values
}
