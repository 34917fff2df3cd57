//! Whether one way to train is better than another, over seeds.

use std::collections::BTreeSet;

use serde::Serialize;

use super::samples::Sample;
use crate::analysis::statistics::{self, decides, Interval, TTest, FEWEST};

/// How seeds of both sides were set against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// Seed by seed, both sides having the same.
    Seeds,
    /// All of one side against all of the other (Welch), the seeds not being the same.
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
    /// None over fewer than three.
    pub test: Option<TTest>,
    /// Student's (or Welch's) 95 % interval of the difference; none over fewer than three.
    pub interval: Option<Interval>,
    /// Where its seeds are folds of a cross-validation, the number of parts: test and interval are
    /// corrected for the rows that folds share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folds: Option<u64>,
    /// Whether a run on either side learned nothing: then it decides nothing.
    pub collapsed: bool,
    pub runs: Vec<String>,
}

impl Comparison {
    /// The difference of the two means; `None` where a side has no score.
    pub fn of(a: &Sample, b: &Sample) -> Option<Comparison> {
        let runs: BTreeSet<String> = a.runs().into_iter().chain(b.runs()).collect();
        let behind = Behind {
            runs: runs.into_iter().collect(),
            collapsed: a.collapsed() + b.collapsed() > 0,
            folds: a.folds().max(b.folds()),
        };
        let (sa, sb) = (a.scores(), b.scores());
        if a.seeds() == b.seeds() {
            let pairs: Vec<(f64, f64)> = sa.into_iter().zip(sb).collect();
            return Comparison::paired(&pairs, Pairing::Seeds, behind);
        }
        let base = statistics::mean(&sb)?;
        let difference = statistics::mean(&sa)? - base;
        let n = sa.len().min(sb.len());
        // Nobody has said how different folds of two sides can be set against each other.
        let enough = n >= FEWEST && behind.folds.is_none();
        Some(Comparison {
            difference,
            percent: percent(difference, base),
            n,
            ahead: 0,
            pairing: Pairing::None,
            test: statistics::welch_t_test(&sa, &sb).filter(|_| enough),
            interval: statistics::welch_interval(&sa, &sb).filter(|_| enough),
            folds: behind.folds,
            collapsed: behind.collapsed,
            runs: behind.runs,
        })
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
        let behind = Behind {
            runs: runs.into_iter().collect(),
            collapsed: each.iter().any(|(comparison, _)| comparison.collapsed),
            folds: None,
        };
        Comparison::paired(&pairs, Pairing::Sets, behind)
    }

    fn paired(pairs: &[(f64, f64)], pairing: Pairing, behind: Behind) -> Option<Comparison> {
        let differences: Vec<f64> = pairs.iter().map(|(a, b)| a - b).collect();
        let bases: Vec<f64> = pairs.iter().map(|(_, b)| *b).collect();
        let difference = statistics::mean(&differences)?;
        let enough = differences.len() >= FEWEST;
        let widening = statistics::widening(differences.len(), behind.folds);
        let test = statistics::paired_t_test(&differences).filter(|_| enough);
        let interval = statistics::t_interval(&differences).filter(|_| enough);
        Some(Comparison {
            difference,
            percent: percent(difference, statistics::mean(&bases)?),
            n: differences.len(),
            ahead: differences.iter().filter(|d| **d > 0.0).count(),
            pairing,
            test: test.and_then(|test| test.widened(widening)),
            interval: interval.map(|interval| interval.widened(widening)),
            folds: behind.folds,
            collapsed: behind.collapsed,
            runs: behind.runs,
        })
    }

    pub fn p(&self) -> Option<f64> {
        self.test.map(|test| test.p)
    }

    /// The p that can decide: none over fewer than three seeds or sets, and none where a run
    /// collapsed.
    pub fn deciding_p(&self) -> Option<f64> {
        self.p().filter(|_| !self.collapsed)
    }

    /// Whether this difference, were it the only one, is decided.
    pub fn decided(&self) -> bool {
        self.deciding_p().is_some_and(decides)
    }
}

/// What a comparison was made of.
struct Behind {
    runs: Vec<String>,
    collapsed: bool,
    folds: Option<u64>,
}

fn percent(difference: f64, base: f64) -> Option<f64> {
    (base > 0.0).then(|| 100.0 * difference / base)
}
