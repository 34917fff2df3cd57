//! Misalignment × width × rows × how far R may move.
//!
//! The source's labels are made first, and then its inputs are turned by an angle in d/2 planes: R_2
//! that turns them back would align it fully. Each way to train is compared with STL and with MTL.

use rayon::prelude::*;

use super::Tick;
use crate::simulate::config::SimulateConfig;
use crate::simulate::data::{self, Data, Source};
use crate::simulate::results::{Panel, Study};
use crate::simulate::target::{label_variance, Target};
use crate::simulate::train::{train, Problem};

/// Pairs of a width and a number of target rows, each a panel of errors and one of differences.
fn cells(config: &SimulateConfig) -> impl Iterator<Item = (usize, usize)> + '_ {
    let own = &config.map;
    own.target_rows
        .iter()
        .flat_map(|&rows| own.r.iter().map(move |&r| (r, rows)))
}

pub fn layout(config: &SimulateConfig) -> Study {
    let own = &config.map;
    let ways = || own.decays.iter().map(|decay| format!("R, λ {decay}"));
    let lines: Vec<String> = ["STL".to_owned(), "MTL".to_owned()]
        .into_iter()
        .chain(ways())
        .collect();
    let differences: Vec<String> = std::iter::once("MTL − STL".to_owned())
        .chain(ways().map(|name| format!("{name} − MTL")))
        .collect();
    let x = ("turn, degrees", own.angles.as_slice());
    let panels = cells(config).flat_map(|(r, rows)| {
        let of = format!("width {r}, {rows} target rows");
        [
            Panel::new(
                of.clone(),
                x,
                "test error of the target ÷ label variance",
                &lines,
            ),
            Panel::new(
                format!("{of}: differences"),
                x,
                "difference of test error ÷ label variance",
                &differences,
            )
            .of_differences(),
        ]
    });
    Study {
        name: "map".into(),
        title: "Misalignment, width, rows and freedom of R".into(),
        notes: vec![format!(
            "A source of {} rows, its inputs turned; R: aligned, with the decay λ‖R − I‖² of each task.",
            own.source_rows
        )],
        panels: panels.collect(),
    }
}

pub fn models(config: &SimulateConfig) -> usize {
    let own = &config.map;
    own.r.len() * own.target_rows.len() * (1 + own.angles.len() * (1 + own.decays.len()))
}

pub fn measure(config: &SimulateConfig, seed: u64, tick: Tick) -> Vec<f64> {
    let own = &config.map;
    let mut random = data::random(seed, 30);
    let q = data::orthonormal(config.d, &mut random);
    let [spectrum, _] = data::spectra(config.d, config.kappa, &mut random);
    let source = Source::new(&spectrum, &q, config.order);
    let theta1 = data::direction(config.d, &mut random);
    let theta2 = data::at_cosine(&theta1, config.cosine, &mut random);
    let frame = data::orthonormal(config.d, &mut random);
    let draw = |theta, rows, purpose| {
        let mut random = data::random(seed, purpose);
        let x = source.inputs(rows, &mut random);
        let noise = config.noise * label_variance(&source, theta, config.model).sqrt();
        Data::new(x, theta, config.model, noise, &mut random)
    };
    let most = own.target_rows.iter().copied().max().unwrap_or(0);
    let first = draw(&theta1, most, 31);
    let second = draw(&theta2, own.source_rows, 32);
    let turned: Vec<Data> = own
        .angles
        .iter()
        .map(|&angle| Data {
            x: &second.x * data::turn(&frame, angle as f64),
            y: second.y.clone(),
        })
        .collect();
    let target = Target::new(source, theta1, config.model, config.validation_rows, seed);
    let error = |tasks: &[&Data], r, decay| {
        let problem = Problem {
            tasks,
            weights: &[1.0, 1.0],
            model: config.model,
            r,
            decay,
        };
        let error = target.error(&train(&problem, &config.training, seed), 0);
        tick();
        error
    };
    let ways: Vec<Option<f64>> = std::iter::once(None)
        .chain(own.decays.iter().copied().map(Some))
        .collect();
    let panels: Vec<(usize, usize)> = cells(config).collect();
    let of_panel = |&(r, rows): &(usize, usize)| {
        let first = first.first(rows);
        let alone = error(&[&first], r, None);
        let jobs: Vec<(Option<f64>, &Data)> = ways
            .iter()
            .flat_map(|&way| turned.iter().map(move |source| (way, source)))
            .collect();
        let jointly: Vec<f64> = jobs
            .par_iter()
            .map(|&(way, source)| error(&[&first, source], r, way))
            .collect();
        let angles = own.angles.len();
        let (mtl, aligned) = jointly.split_at(angles);
        let mut values = vec![alone; angles];
        values.extend(&jointly);
        values.extend(mtl.iter().map(|mtl| mtl - alone));
        for line in aligned.chunks(angles) {
            values.extend(line.iter().zip(mtl).map(|(aligned, mtl)| aligned - mtl));
        }
        values
    };
    panels.par_iter().flat_map_iter(of_panel).collect()
}
