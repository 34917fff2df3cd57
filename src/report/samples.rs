//! Scores of the same thing over seeds.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::analysis::statistics;

/// What one seed gave.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Point {
    /// × 100; `None` while a run is missing.
    pub score: Option<f64>,
    pub runs: Vec<String>,
    /// Whether one of the runs learned nothing on a task that counts here.
    pub collapsed: bool,
    /// Evaluations that the score is the best of.
    pub evaluations: Option<usize>,
    /// Steps that its run was trained for.
    pub steps: Option<u64>,
    /// Of a fold of a cross-validation, the number of parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folds: Option<u64>,
}

/// Scores over seeds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sample {
    pub points: BTreeMap<u64, Point>,
}

impl Sample {
    /// The scores that are there, in the order of their seeds.
    pub fn scores(&self) -> Vec<f64> {
        self.points.values().filter_map(|p| p.score).collect()
    }

    /// The seeds that have a score.
    pub fn seeds(&self) -> Vec<u64> {
        let scored = self.points.iter().filter(|(_, p)| p.score.is_some());
        scored.map(|(seed, _)| *seed).collect()
    }

    pub fn mean(&self) -> Option<f64> {
        statistics::mean(&self.scores())
    }

    pub fn standard_deviation(&self) -> Option<f64> {
        statistics::standard_deviation(&self.scores())
    }

    /// Runs behind the sample, each once.
    pub fn runs(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.points.values().flat_map(|p| &p.runs).collect();
        names.into_iter().cloned().collect()
    }

    pub fn collapsed(&self) -> usize {
        self.points.values().filter(|p| p.collapsed).count()
    }

    /// How many evaluations each score is the best of, the least and the most.
    pub fn evaluations(&self) -> Option<(usize, usize)> {
        self.range(|point| point.evaluations)
    }

    /// How many steps its runs were trained for, the least and the most.
    pub fn steps(&self) -> Option<(u64, u64)> {
        self.range(|point| point.steps)
    }

    /// Where its seeds are folds of a cross-validation, the number of parts.
    pub fn folds(&self) -> Option<u64> {
        self.points.values().filter_map(|point| point.folds).max()
    }

    fn range<T: Ord + Copy>(&self, number: impl Fn(&Point) -> Option<T>) -> Option<(T, T)> {
        let scored = self.points.values().filter(|p| p.score.is_some());
        let known: Vec<T> = scored.filter_map(number).collect();
        Some((*known.iter().min()?, *known.iter().max()?))
    }

    /// The part that some seeds are.
    pub fn of_seeds(&self, seeds: &[u64]) -> Sample {
        let kept = self.points.iter().filter(|(seed, _)| seeds.contains(seed));
        Sample {
            points: kept.map(|(seed, point)| (*seed, point.clone())).collect(),
        }
    }

    /// Per seed the mean of several samples; missing where one of them is.
    pub fn mean_of(samples: &[&Sample]) -> Sample {
        let seeds: BTreeSet<u64> = samples
            .iter()
            .flat_map(|s| s.points.keys())
            .copied()
            .collect();
        let point = |seed: u64| {
            let points: Vec<_> = samples.iter().map(|s| s.points.get(&seed)).collect();
            let scores: Option<Vec<f64>> = points.iter().map(|p| p.as_ref()?.score).collect();
            let there = || points.iter().flatten();
            let runs: BTreeSet<String> = there().flat_map(|p| p.runs.clone()).collect();
            Point {
                score: scores.and_then(|scores| statistics::mean(&scores)),
                runs: runs.into_iter().collect(),
                collapsed: there().any(|p| p.collapsed),
                evaluations: there().filter_map(|p| p.evaluations).max(),
                steps: there().filter_map(|p| p.steps).max(),
                folds: there().filter_map(|p| p.folds).max(),
            }
        };
        Sample {
            points: seeds.into_iter().map(|seed| (seed, point(seed))).collect(),
        }
    }
}
