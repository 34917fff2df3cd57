//! All that was tried for a target, tested, with the correction that so many tests need.
//!
//! Whoever tries eight ways and takes the best finds one that is "significant" at 0.1 more often than
//! not, where none is. Two families of questions are asked of a target's runs, each corrected after
//! Holm (1979): is a way better than the target alone, over every way with every support that was
//! tried; and is one way better than another, over every two ways with the same supports.

use serde::Serialize;

use super::evidence::{Arm, Differences, Evidence};
use super::statistics::{decides, holm, mean, paired_t_test, widening, FEWEST};
use crate::train::keep::way::Way;

/// A mean of paired differences, in points of the score × 100.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    pub mean: f64,
    /// Seeds that both sides have.
    pub n: usize,
    /// Of a two-sided paired t test over them; none for fewer than three, and where all differ alike.
    pub p: Option<f64>,
    /// The same after Holm's correction over the tests of its family.
    pub corrected: Option<f64>,
    /// How many those are.
    pub tests: usize,
}

impl Difference {
    /// Of paired differences, read alone; none without any.
    pub fn of(differences: &Differences) -> Option<Difference> {
        let of_seed = &differences.of_seed;
        let enough = of_seed.len() >= FEWEST;
        let test = paired_t_test(of_seed).filter(|_| enough);
        let widening = widening(of_seed.len(), differences.folds);
        let p = test.and_then(|test| Some(test.widened(widening)?.p));
        Some(Difference {
            mean: mean(of_seed)?,
            n: of_seed.len(),
            p,
            corrected: p,
            tests: usize::from(p.is_some()),
        })
    }

    pub fn decided(&self) -> bool {
        self.corrected.is_some_and(decides)
    }
}

/// `a − b`.
#[derive(Debug, Clone)]
pub struct Measured<'a> {
    pub a: &'a Arm,
    pub b: &'a Arm,
    pub difference: Difference,
}

/// What was measured for a target.
#[derive(Debug, Default)]
pub struct Tried<'a> {
    /// Each way against the target alone.
    pub with_alone: Vec<Measured<'a>>,
    /// Each two ways with the same supports.
    pub ways: Vec<Measured<'a>>,
}

impl<'a> Tried<'a> {
    pub fn of(evidence: &'a Evidence, target: &str) -> Tried<'a> {
        let arms: Vec<&Arm> = evidence.arms(target).map(|(arm, _)| arm).collect();
        let measured = |a: &'a Arm, b: &'a Arm| {
            let difference = Difference::of(&evidence.differences(target, a, b))?;
            Some(Measured { a, b, difference })
        };
        // With the supports that it has, a way is compared; an aligned run of one task has none.
        let helped: Vec<&Arm> = arms
            .iter()
            .copied()
            .filter(|a| !a.supports.is_empty())
            .collect();
        let alone = arms.iter().copied().find(|arm| arm.way == Way::Alone);
        let with_alone = alone.into_iter().flat_map(|alone| {
            let each = helped.iter().copied();
            each.filter_map(move |arm| measured(arm, alone))
        });
        let pairs = helped.iter().enumerate().flat_map(|(index, &a)| {
            let others = helped[index + 1..].iter().copied();
            let same = others.filter(move |b| b.supports == a.supports);
            same.filter_map(move |b| measured(a, b))
        });
        let mut tried = Tried {
            with_alone: with_alone.collect(),
            ways: pairs.collect(),
        };
        correct(&mut tried.with_alone);
        correct(&mut tried.ways);
        tried
    }

    /// How much better one way is than another.
    pub fn between(&self, a: &Arm, b: &Arm) -> Option<Difference> {
        self.ways.iter().find_map(|found| {
            let difference = found.difference;
            match (found.a == a && found.b == b, found.a == b && found.b == a) {
                (true, _) => Some(difference),
                (_, true) => Some(Difference {
                    mean: -difference.mean,
                    ..difference
                }),
                _ => None,
            }
        })
    }
}

/// Corrects a family's p for how many they are.
fn correct(family: &mut [Measured]) {
    let p: Vec<f64> = family.iter().filter_map(|f| f.difference.p).collect();
    let mut corrected = holm(&p).into_iter();
    for found in family.iter_mut() {
        let difference = &mut found.difference;
        if difference.p.is_some() {
            difference.corrected = corrected.next();
            difference.tests = p.len();
        }
    }
}
