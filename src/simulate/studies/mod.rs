//! The studies: each says what its panels are, and measures one seed's numbers for them.

pub mod capacity;
pub mod map;
pub mod transfer;
pub mod weights;

use rayon::prelude::*;

use super::config::{SimulateConfig, StudyName};
use super::results::Study;

/// Called whenever a model is done.
pub type Tick<'a> = &'a (dyn Fn() + Sync);

/// One study's functions.
struct Parts {
    /// Its panels, without values.
    layout: fn(&SimulateConfig) -> Study,
    /// One seed's values in the order panel, line, x.
    measure: fn(&SimulateConfig, u64, Tick) -> Vec<f64>,
    /// How often it ticks per seed.
    models: fn(&SimulateConfig) -> usize,
}

fn parts(name: StudyName) -> Parts {
    match name {
        StudyName::Capacity => Parts {
            layout: capacity::layout,
            measure: capacity::measure,
            models: capacity::models,
        },
        StudyName::Transfer => Parts {
            layout: transfer::layout,
            measure: transfer::measure,
            models: transfer::models,
        },
        StudyName::Weights => Parts {
            layout: weights::layout,
            measure: weights::measure,
            models: weights::models,
        },
        StudyName::Map => Parts {
            layout: map::layout,
            measure: map::measure,
            models: map::models,
        },
    }
}

/// How many models all seeds of a study train.
pub fn models(name: StudyName, config: &SimulateConfig) -> usize {
    config.seeds * (parts(name).models)(config)
}

/// Does a study: its seeds in parallel, each from random numbers of its own, so that the results do
/// not depend on the number of threads.
pub fn run(name: StudyName, config: &SimulateConfig, tick: Tick) -> Study {
    let parts = parts(name);
    let seeds: Vec<Vec<f64>> = (0..config.seeds as u64)
        .into_par_iter()
        .map(|index| (parts.measure)(config, config.seed.wrapping_add(index), tick))
        .collect();
    (parts.layout)(config).filled(&seeds)
}
