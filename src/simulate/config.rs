//! What `covalign simulate` is told: which studies, on which synthetic tasks.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::data::{Model, Order};
use super::train::Training;
use crate::bail_input;
use crate::config::with_overrides;
use crate::error::read_text;

/// The studies there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulateConfig {
    pub study: Vec<StudyName>,
    /// Seeds `seed`, `seed + 1`, …
    pub seed: u64,
    pub seeds: usize,
    pub model: Model,
    /// Width of the inputs.
    pub d: usize,
    /// How much stronger a tenth of the coordinates is.
    pub kappa: f64,
    /// Of θ_1 and θ_2.
    pub cosine: f64,
    /// The standard deviation of the labels' noise, relative to that of the labels.
    pub noise: f64,
    pub order: Order,
    /// Rows for the test error of `relu`; that of `linear` is exact.
    pub validation_rows: usize,
    pub training: Training,
    pub capacity: Capacity,
    pub transfer: Transfer,
    pub weights: Weights,
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capacity {
    /// k.
    pub tasks: usize,
    /// Of each task.
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Transfer {
    /// Of task 1.
    pub target_rows: usize,
    /// Of task 2, 3 or 4.
    pub source_rows: Vec<usize>,
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// k; their θ_i lie in a space of `r` dimensions.
    pub tasks: usize,
    /// How many of them have random labels on a share of their rows.
    pub noisy: usize,
    /// The shares, in per cent.
    pub shares: Vec<u64>,
    pub rows: usize,
    /// Of the shared module and of the SVD.
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Map {
    /// By how many degrees the source's inputs are turned.
    pub angles: Vec<u64>,
    pub r: Vec<usize>,
    pub target_rows: Vec<usize>,
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
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let decays = |list: &[f64]| list.iter().all(|&x| x >= 0.0 && x.is_finite());
        let counts = |list: &[usize]| !list.is_empty() && list.iter().all(|&n| n > 0);
        let has = |name| self.study.contains(&name);
        let rising = |list: &[u64]| !list.is_empty() && list.is_sorted_by(|a, b| a < b);
        let rows_rise = t.source_rows.is_sorted_by(|a, b| a < b);
        let rules: &[(bool, &str, &str)] = &[
            (
                !self.study.is_empty(),
                "study",
                "must name at least one study",
            ),
            (self.seeds > 0, "seeds", "must be above 0"),
            (
                (4..=2000).contains(&self.d),
                "d",
                "must be between 4 and 2000",
            ),
            (
                self.kappa >= 1.0 && self.kappa.is_finite(),
                "kappa",
                "must be at least 1",
            ),
            (
                self.cosine.abs() <= 1.0,
                "cosine",
                "must lie between -1 and 1",
            ),
            (
                self.noise >= 0.0 && self.noise.is_finite(),
                "noise",
                "must be 0 or above",
            ),
            (
                self.validation_rows > 1,
                "validation_rows",
                "must be above 1",
            ),
            (self.training.steps > 0, "training.steps", "must be above 0"),
            (
                positive(self.training.learning_rate),
                "training.learning_rate",
                "must be above 0",
            ),
            (
                self.training.alignment_rate >= 0.0 && self.training.alignment_rate.is_finite(),
                "training.alignment_rate",
                "must be 0 or above",
            ),
            (
                positive(self.training.start),
                "training.start",
                "must be above 0",
            ),
            (c.tasks > 0, "capacity.tasks", "must be above 0"),
            (
                !has(StudyName::Capacity) || c.rows >= self.d,
                "capacity.rows",
                "must be at least d, so that each task has one solution",
            ),
            (
                counts(&c.r) && c.r.is_sorted_by(|a, b| a < b),
                "capacity.r",
                "must be rising numbers above 0",
            ),
            (t.target_rows > 0, "transfer.target_rows", "must be above 0"),
            (
                counts(&t.source_rows) && rows_rise,
                "transfer.source_rows",
                "must be rising numbers above 0",
            ),
            (t.r > 0, "transfer.r", "must be above 0"),
            (decays(&t.decays), "transfer.decays", "must be 0 or above"),
            (w.tasks > 1, "weights.tasks", "must be above 1"),
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
                (1..=w.tasks).contains(&w.r),
                "weights.r",
                "must be between 1 and weights.tasks",
            ),
            (
                !has(StudyName::Weights) || self.model == Model::Linear,
                "model",
                "must be linear for the study `weights`, whose optima are exact",
            ),
            (rising(&m.angles), "map.angles", "must be rising degrees"),
            (counts(&m.r), "map.r", "must be numbers above 0"),
            (
                counts(&m.target_rows),
                "map.target_rows",
                "must be numbers above 0",
            ),
            (m.source_rows > 0, "map.source_rows", "must be above 0"),
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
