//! Which classes are taken for which.

use serde::{Deserialize, Serialize};

/// The most classes whose confusions are kept.
const MOST: usize = 256;

/// How often each class was the label, was predicted, and was both.
pub(super) struct Counts {
    rows: f64,
    gold: Vec<f64>,
    predicted: Vec<f64>,
    right: Vec<f64>,
}

impl Counts {
    pub fn new(predicted: &[usize], gold: &[usize]) -> Self {
        // Slots for the classes that occur, so that a stray large index costs no memory; 0 and 1
        // always have theirs, which F1 relies on.
        let mut classes: Vec<usize> = predicted
            .iter()
            .chain(gold)
            .copied()
            .chain([0, 1])
            .collect();
        classes.sort_unstable();
        classes.dedup();
        let slot = |class| classes.partition_point(|&c| c < class);
        let empty = vec![0.0; classes.len()];
        let mut counts = Counts {
            rows: gold.len() as f64,
            gold: empty.clone(),
            predicted: empty.clone(),
            right: empty,
        };
        for (&p, &g) in predicted.iter().zip(gold) {
            counts.predicted[slot(p)] += 1.0;
            counts.gold[slot(g)] += 1.0;
            if p == g {
                counts.right[slot(p)] += 1.0;
            }
        }
        counts
    }

    pub fn accuracy(&self) -> f64 {
        self.right.iter().sum::<f64>() / self.rows
    }

    /// F1 of a class; `None` when it is neither a label nor predicted.
    pub fn f1(&self, class: usize) -> Option<f64> {
        f1(self.right[class], self.gold[class], self.predicted[class])
    }

    pub fn macro_f1(&self) -> f64 {
        let present: Vec<f64> = (0..self.gold.len()).filter_map(|c| self.f1(c)).collect();
        present.iter().sum::<f64>() / present.len() as f64
    }

    pub fn matthews(&self) -> f64 {
        let square = self.rows * self.rows;
        let right: f64 = self.right.iter().sum();
        let both = right * self.rows - dot(&self.gold, &self.predicted);
        let gold = square - dot(&self.gold, &self.gold);
        let predicted = square - dot(&self.predicted, &self.predicted);
        if gold * predicted == 0.0 {
            return 0.0;
        }
        both / (gold * predicted).sqrt()
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn f1(right: f64, gold: f64, predicted: f64) -> Option<f64> {
    let total = gold + predicted;
    (total > 0.0).then(|| 2.0 * right / total)
}

/// How the answers of one class, or of one label of which any may hold, fit; as scikit-learn's
/// classification_report, 0 where a class is never predicted, or never there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// Of the rows that are taken for it, the share that is of it.
    pub precision: f64,
    /// Of its rows, the share that is taken for it.
    pub recall: f64,
    pub f1: f64,
    /// Its rows.
    pub support: u64,
}

impl ClassScore {
    /// Of so many rows of the class, taken for it, and both.
    fn new(support: u64, predicted: u64, right: u64) -> ClassScore {
        let (gold, taken, right) = (support as f64, predicted as f64, right as f64);
        let share = |of: f64| if of > 0.0 { right / of } else { 0.0 };
        ClassScore {
            precision: share(taken),
            recall: share(gold),
            f1: f1(right, gold, taken).unwrap_or(0.0),
            support,
        }
    }

    /// Of each of `classes` classes.
    pub fn of_classes(classes: usize, predicted: &[usize], gold: &[usize]) -> Vec<ClassScore> {
        let mut counts = vec![[0; 3]; classes];
        for (&p, &g) in predicted.iter().zip(gold) {
            counts[g][0] += 1;
            counts[p][1] += 1;
            counts[g][2] += u64::from(p == g);
        }
        let scores = counts.into_iter();
        scores
            .map(|[support, predicted, right]| ClassScore::new(support, predicted, right))
            .collect()
    }

    /// Of a label's rows: whether it was predicted, and whether it holds.
    pub fn of_label(rows: impl Iterator<Item = (bool, bool)>) -> ClassScore {
        let [mut gold, mut predicted, mut right] = [0; 3];
        for (says, holds) in rows {
            gold += u64::from(holds);
            predicted += u64::from(says);
            right += u64::from(says && holds);
        }
        ClassScore::new(gold, predicted, right)
    }
}

/// Rows by their class and the one that they are taken for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// The classes, in the order of the task.
    pub labels: Vec<String>,
    /// `[class, taken for]`.
    pub counts: Vec<Vec<u64>>,
}

impl Confusion {
    /// Of rows of these classes; none where there are more classes than anybody looks at.
    pub fn new(labels: &[String], predicted: &[usize], gold: &[usize]) -> Option<Confusion> {
        let classes = labels.len();
        if classes > MOST {
            return None;
        }
        let mut counts = vec![vec![0; classes]; classes];
        for (&p, &g) in predicted.iter().zip(gold) {
            counts[g][p] += 1;
        }
        Some(Confusion {
            labels: labels.to_vec(),
            counts,
        })
    }
}
