//! Whether one way to train is better than another, over seeds.

use std::collections::BTreeSet;

use serde::Serialize;

use super::samples::Sample;
use crate::analysis::statistics::{self, Interval, TTest, DECIDED, FEWEST};

/// Resamples of a bootstrap.
const RESAMPLES: usize = 10_000;
/// Of the bootstrap's random numbers: the same runs give the same report.
const BOOTSTRAP_SEED: u64 = 42;

/// How seeds of both sides were set against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// Seed by seed, over the seeds that both sides have.
    Seeds,
    /// All of one side against all of the other (Welch), fewer than two seeds being common.
    None,
    /// Set of tasks by set of tasks, each with its mean over the seeds.
    Sets,
}

/// `a − b` in points (score × 100).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    pub difference: f64,
    /// Of `b`'s mean; `None` where that is not positive.
    pub percent: Option<f64>,
    /// Differences behind it; with [`Pairing::None`] the smaller side's number of seeds.
    pub n: usize,
    /// Of these, the differences above 0; with [`Pairing::None`] there are none to count.
    #[serde(skip)]
    pub ahead: usize,
    pub pairing: Pairing,
    pub test: Option<TTest>,
    /// 95 % bootstrap interval of the mean difference, for three or more pairs of scores.
    pub interval: Option<Interval>,
    pub runs: Vec<String>,
}

impl Comparison {
    /// `None` where a side has no score.
    pub fn of(a: &Sample, b: &Sample) -> Option<Comparison> {
        let runs: BTreeSet<String> = a.runs().into_iter().chain(b.runs()).collect();
        let runs = runs.into_iter().collect();
        let pairs: Vec<(f64, f64)> = a
            .points
            .iter()
            .filter_map(|(seed, point)| Some((point.score?, b.points.get(seed)?.score?)))
            .collect();
        let (sa, sb) = (a.scores(), b.scores());
        if pairs.len() < 2 && sa.len() > 1 && sb.len() > 1 || pairs.is_empty() {
            let base = statistics::mean(&sb)?;
            let difference = statistics::mean(&sa)? - base;
            return Some(Comparison {
                difference,
                percent: percent(difference, base),
                n: sa.len().min(sb.len()),
                ahead: 0,
                pairing: Pairing::None,
                test: statistics::welch_t_test(&sa, &sb),
                interval: None,
                runs,
            });
        }
        Comparison::paired(&pairs, Pairing::Seeds, runs)
    }

    /// Over sets of tasks, `(a, b)` of each: whether one way is ahead on tasks like these, rather
    /// than on these tasks with other seeds. `None` where no set has both.
    pub fn over_sets(sets: &[(&Sample, &Sample)]) -> Option<Comparison> {
        let each: Vec<(Comparison, f64)> = sets
            .iter()
            .filter_map(|(a, b)| Some((Comparison::of(a, b)?, b.mean()?)))
            .collect();
        let runs: BTreeSet<String> = each.iter().flat_map(|(c, _)| c.runs.clone()).collect();
        let pairs: Vec<(f64, f64)> = each
            .iter()
            .map(|(comparison, base)| (base + comparison.difference, *base))
            .collect();
        Comparison::paired(&pairs, Pairing::Sets, runs.into_iter().collect())
    }

    fn paired(pairs: &[(f64, f64)], pairing: Pairing, runs: Vec<String>) -> Option<Comparison> {
        let differences: Vec<f64> = pairs.iter().map(|(a, b)| a - b).collect();
        let bases: Vec<f64> = pairs.iter().map(|(_, b)| *b).collect();
        let difference = statistics::mean(&differences)?;
        Some(Comparison {
            difference,
            percent: percent(difference, statistics::mean(&bases)?),
            n: differences.len(),
            ahead: differences.iter().filter(|d| **d > 0.0).count(),
            pairing,
            test: statistics::paired_t_test(&differences),
            interval: statistics::bootstrap_interval(&differences, RESAMPLES, BOOTSTRAP_SEED),
            runs,
        })
    }

    pub fn p(&self) -> Option<f64> {
        self.test.map(|test| test.p)
    }

    /// The p that can decide: none over fewer than three seeds or sets.
    pub fn deciding_p(&self) -> Option<f64> {
        self.p().filter(|_| self.n >= FEWEST)
    }

    /// Whether this difference, were it the only one, is decided.
    pub fn decided(&self) -> bool {
        self.deciding_p().is_some_and(|p| p < DECIDED)
    }
}

fn percent(difference: f64, base: f64) -> Option<f64> {
    (base > 0.0).then(|| 100.0 * difference / base)
}
