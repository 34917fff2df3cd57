//! What `covalign simulate` is told: which studies, on which synthetic tasks.

use std::path::Path;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data::{Model, Order};
use super::train::Training;
use crate::bail_input;
use crate::config::with_overrides;
use crate::error::read_text;

/// The studies there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StudyName {
    /// The width of the shared module against the number of tasks (Proposition 1).
    Capacity,
    /// Source tasks of the same and of another covariance (figure 3).
    Transfer,
    /// Task weights where labels are noisy (Algorithm 2).
    Weights,
    /// Misalignment × width × rows × how far R may move.
    Map,
}

/// A whole config; every study reads what lies at the top, and its own part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SimulateConfig {
    /// The studies to do, each once.
    pub study: Vec<StudyName>,
    /// The first seed: `seed`, `seed + 1`, …
    pub seed: u64,
    /// How many seeds; means and intervals are over them.
    pub seeds: usize,
    /// What labels are of inputs.
    pub model: Model,
    /// Width of the inputs.
    pub d: usize,
    /// How much stronger a tenth of the coordinates is.
    pub kappa: f64,
    /// The cosine of θ_1 and θ_2. Where it is below 0, the output modules want opposite signs, and training that
    /// starts from equal ones may stay in a local optimum; turning the labels' sign makes it positive.
    pub cosine: f64,
    /// The standard deviation of the labels' noise, relative to that of the labels.
    pub noise: f64,
    /// Where the orthonormal matrix stands among an input's factors.
    pub order: Order,
    /// Rows for the test error of `relu`; that of `linear` is exact.
    pub validation_rows: usize,
    /// How the synthetic tasks are trained.
    pub training: Training,
    /// The study `capacity`.
    pub capacity: Capacity,
    /// The study `transfer`.
    pub transfer: Transfer,
    /// The study `weights`.
    pub weights: Weights,
    /// The study `map`.
    pub map: Map,
}

impl Default for SimulateConfig {
    fn default() -> Self {
        SimulateConfig {
            study: vec![StudyName::Transfer],
            seed: 1,
            seeds: 24,
            model: Model::Linear,
            d: 100,
            kappa: 100.0,
            cosine: 0.96,
            noise: 0.15,
            order: Order::Turned,
            validation_rows: 4000,
            training: Training::default(),
            capacity: Capacity::default(),
            transfer: Transfer::default(),
            weights: Weights::default(),
            map: Map::default(),
        }
    }
}

/// The width of the shared module against the number of tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Capacity {
    /// Their number, k.
    pub tasks: usize,
    /// Rows of each task.
    pub rows: usize,
    /// Widths of the shared module.
    pub r: Vec<usize>,
}

impl Default for Capacity {
    fn default() -> Self {
        Capacity {
            tasks: 4,
            rows: 60,
            r: (1..=6).collect(),
        }
    }
}

/// Source tasks of the same and of another covariance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Transfer {
    /// Rows of task 1.
    pub target_rows: usize,
    /// Rows of task 2, 3 or 4.
    pub source_rows: Vec<usize>,
    /// Width of the shared module.
    pub r: usize,
    /// λ of each aligned panel.
    pub decays: Vec<f64>,
}

impl Default for Transfer {
    fn default() -> Self {
        Transfer {
            target_rows: 7,
            source_rows: vec![20, 50, 100, 200, 500, 2000],
            r: 1,
            decays: vec![0.0],
        }
    }
}

/// Task weights where labels are noisy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// Their number, k; their θ_i lie in a space of `r` dimensions.
    pub tasks: usize,
    /// How many of them have random labels on a share of their rows.
    pub noisy: usize,
    /// The shares, in per cent.
    pub shares: Vec<u64>,
    /// Rows of each task.
    pub rows: usize,
    /// Width of the shared module, and rank of the SVD.
    pub r: usize,
}

impl Default for Weights {
    fn default() -> Self {
        Weights {
            tasks: 6,
            noisy: 3,
            shares: vec![0, 20, 40, 60, 80, 100],
            rows: 150,
            r: 2,
        }
    }
}

/// Misalignment × width × rows × how far R may move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Map {
    /// By how many degrees the source's inputs are turned.
    pub angles: Vec<u64>,
    /// Widths of the shared module.
    pub r: Vec<usize>,
    /// Rows of the target.
    pub target_rows: Vec<usize>,
    /// Rows of the source.
    pub source_rows: usize,
    /// λ of each aligned line.
    pub decays: Vec<f64>,
}

impl Default for Map {
    fn default() -> Self {
        Map {
            angles: vec![0, 30, 60, 90],
            r: vec![1, 4],
            target_rows: vec![40, 200],
            source_rows: 600,
            decays: vec![0.0, 0.001, 0.01, 0.1],
        }
    }
}

impl SimulateConfig {
    /// Reads a config file and applies `--set key.path=value` overrides.
    pub fn load(path: &Path, overrides: &[String]) -> Result<SimulateConfig> {
        let source = path.display().to_string();
        let config: SimulateConfig = with_overrides(&read_text(path)?, &source, overrides)?;
        config.validate(&source)?;
        Ok(config)
    }

    /// # Errors
    /// An input error that names the key.
    fn validate(&self, source: &str) -> Result<()> {
        let (c, t, w, m) = (&self.capacity, &self.transfer, &self.weights, &self.map);
        // What memory and time allow.
        const ROWS: usize = 1_000_000;
        const WIDTH: usize = 2000;
        let counts: [(&str, &[usize], usize); 17] = [
            ("seeds", &[self.seeds], 100_000),
            ("d", &[self.d], WIDTH),
            ("validation_rows", &[self.validation_rows], ROWS),
            ("training.steps", &[self.training.steps], 100_000_000),
            ("capacity.tasks", &[c.tasks], WIDTH),
            ("capacity.rows", &[c.rows], ROWS),
            ("capacity.r", &c.r, WIDTH),
            ("transfer.target_rows", &[t.target_rows], ROWS),
            ("transfer.source_rows", &t.source_rows, ROWS),
            ("transfer.r", &[t.r], WIDTH),
            ("weights.tasks", &[w.tasks], WIDTH),
            ("weights.rows", &[w.rows], ROWS),
            ("weights.r", &[w.r], w.tasks),
            ("map.r", &m.r, WIDTH),
            ("map.target_rows", &m.target_rows, ROWS),
            ("map.source_rows", &[m.source_rows], ROWS),
            ("study", &[self.study.len()], 4),
        ];
        for (key, numbers, most) in counts {
            let inside = |number: &usize| (1..=most).contains(number);
            if numbers.is_empty() || !numbers.iter().all(inside) {
                bail_input!("{source}: key `{key}`: must be between 1 and {most}");
            }
        }
        let rising = |list: &[u64]| !list.is_empty() && list.is_sorted_by(|a, b| a < b);
        let rise = |list: &[usize]| list.is_sorted_by(|a, b| a < b);
        let at_least = |number: f64, least: f64| number >= least && number.is_finite();
        let decays = |list: &[f64]| list.iter().all(|&decay| at_least(decay, 0.0));
        let has = |name| self.study.contains(&name);
        let training = &self.training;
        let rules: &[(bool, &str, &str)] = &[
            (
                (1..self.study.len()).all(|i| !self.study[..i].contains(&self.study[i])),
                "study",
                "names a study twice",
            ),
            (self.d >= 4, "d", "must be at least 4"),
            (at_least(self.kappa, 1.0), "kappa", "must be at least 1"),
            (
                (0.0..=1.0).contains(&self.cosine),
                "cosine",
                "must lie between 0 and 1; the sign is the output module's",
            ),
            (at_least(self.noise, 0.0), "noise", "must be 0 or above"),
            (
                at_least(training.learning_rate, f64::MIN_POSITIVE),
                "training.learning_rate",
                "must be above 0",
            ),
            (
                at_least(training.alignment_rate, 0.0),
                "training.alignment_rate",
                "must be 0 or above",
            ),
            (
                at_least(training.start, f64::MIN_POSITIVE),
                "training.start",
                "must be above 0",
            ),
            (
                !has(StudyName::Capacity) || c.rows >= self.d,
                "capacity.rows",
                "must be at least d, so that each task has one solution",
            ),
            (rise(&c.r), "capacity.r", "must rise"),
            (rise(&t.source_rows), "transfer.source_rows", "must rise"),
            (decays(&t.decays), "transfer.decays", "must be 0 or above"),
            (
                w.noisy < w.tasks,
                "weights.noisy",
                "must be fewer than weights.tasks",
            ),
            (
                rising(&w.shares) && w.shares.iter().all(|&share| share <= 100),
                "weights.shares",
                "must be rising per cents from 0 to 100",
            ),
            (
                !has(StudyName::Weights) || w.rows > self.d,
                "weights.rows",
                "must be above d",
            ),
            (
                !has(StudyName::Weights) || self.model == Model::Linear,
                "model",
                "must be linear for the study `weights`, whose optima are exact",
            ),
            (rising(&m.angles), "map.angles", "must be rising degrees"),
            (decays(&m.decays), "map.decays", "must be 0 or above"),
        ];
        for (kept, key, rule) in rules {
            if !kept {
                bail_input!("{source}: key `{key}`: {rule}");
            }
        }
        Ok(())
    }
}
