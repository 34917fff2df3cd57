//! Positive and negative transfer by the source's covariance (figure 3 of Wu, Zhang and Ré).
//!
//! Task 1 is the target, with θ_1. The sources have θ_2 at a given cosine: task 2 has the target's
//! covariance, task 3 its strong coordinates elsewhere, task 4 its own turn.

use rayon::prelude::*;

use super::Tick;
use crate::simulate::config::SimulateConfig;
use crate::simulate::data::{self, Data, Source};
use crate::simulate::results::{Panel, Study};
use crate::simulate::target::{label_variance, Target};
use crate::simulate::train::{train, Problem};

const SOURCES: [&str; 3] = [
    "task 2 (same covariance)",
    "task 3 (other coordinates)",
    "task 4 (turned)",
];

pub fn layout(config: &SimulateConfig) -> Study {
    let own = &config.transfer;
    let rows: Vec<u64> = own.source_rows.iter().map(|&rows| rows as u64).collect();
    let panel = |title: String| {
        let lines = SOURCES.map(String::from);
        let y = "test error of the target ÷ label variance";
        Panel::new(title, ("source rows", &rows), y, &lines).of_differences()
    };
    let decays = || own.decays.iter().map(|decay| format!("Aligned, λ {decay}"));
    let panels = std::iter::once(panel("MTL minus STL".into()))
        .chain(decays().map(|way| panel(format!("{way}: minus STL"))))
        .chain(decays().map(|way| panel(format!("{way}: minus MTL"))));
    let mut notes = vec![
        format!(
            "Task 1 ({} rows) with one source; below 0 is better; λ is the decay of λ‖R_i − I‖².",
            own.target_rows
        ),
        "With R_i free and r = 1 every task has its own R_i B: at the optimum aligned training without \
         decay is STL, so that harm goes is by construction; what help is left comes from R's start at \
         the identity and from stopping early."
            .to_owned(),
    ];
    if config.order == data::Order::AsPrinted {
        notes.push("Order G Q D: task 4 has the distribution of task 2.".to_owned());
    }
    Study {
        name: "transfer".into(),
        title: "Transfer by the source's covariance".into(),
        notes,
        panels: panels.collect(),
    }
}

pub fn models(config: &SimulateConfig) -> usize {
    let own = &config.transfer;
    1 + SOURCES.len() * own.source_rows.len() * (1 + own.decays.len())
}

pub fn measure(config: &SimulateConfig, seed: u64, tick: Tick) -> Vec<f64> {
    let own = &config.transfer;
    let mut random = data::random(seed, 0);
    let [q1, q2] = [(); 2].map(|()| data::orthonormal(config.d, &mut random));
    let [d1, d2] = data::spectra(config.d, config.kappa, &mut random);
    let theta1 = data::direction(config.d, &mut random);
    let theta2 = data::at_cosine(&theta1, config.cosine, &mut random);
    let inputs = |spectrum, q| Source::new(spectrum, q, config.order);
    let draw = |source: &Source, theta, rows, purpose| {
        let mut random = data::random(seed, purpose);
        let x = source.inputs(rows, &mut random);
        let noise = config.noise * label_variance(source, theta, config.model).sqrt();
        Data::new(x, theta, config.model, noise, &mut random)
    };
    let first = inputs(&d1, &q1);
    let rows1 = draw(&first, &theta1, own.target_rows, 1);
    let most = own.source_rows.iter().copied().max().unwrap_or(0);
    let sources = [inputs(&d1, &q1), inputs(&d2, &q1), inputs(&d1, &q2)];
    let sources = [0, 1, 2].map(|i| draw(&sources[i], &theta2, most, 2 + i as u64));
    let target = Target::new(first, theta1, config.model, config.validation_rows, seed);
    let error = |tasks: &[&Data], decay| {
        let problem = Problem {
            tasks,
            weights: &[1.0, 1.0],
            model: config.model,
            r: own.r,
            decay,
        };
        let error = target.error(&train(&problem, &config.training, seed), 0);
        tick();
        error
    };
    let alone = error(&[&rows1], None);
    let ways = std::iter::once(None).chain(own.decays.iter().copied().map(Some));
    let cells: Vec<_> = ways
        .flat_map(|decay| sources.iter().map(move |source| (decay, source)))
        .flat_map(|(decay, source)| own.source_rows.iter().map(move |&n| (decay, source, n)))
        .collect();
    let jointly: Vec<f64> = cells
        .par_iter()
        .map(|&(decay, source, rows)| error(&[&rows1, &source.first(rows)], decay))
        .collect();
    let (mtl, aligned) = jointly.split_at(sources.len() * own.source_rows.len());
    let over_stl = jointly.iter().map(|error| error - alone);
    let over_mtl = aligned.chunks(mtl.len()).flat_map(|panel| {
        let pairs = panel.iter().zip(mtl);
        pairs.map(|(aligned, mtl)| aligned - mtl)
    });
    over_stl.chain(over_mtl).collect()
}
