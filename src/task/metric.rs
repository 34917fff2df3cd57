//! Scores of predictions against labels, as scikit-learn and scipy compute them.

use serde::{Deserialize, Serialize};

/// A metric of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of rows whose class is right.
    Accuracy,
    /// F1 of class 1; 0 where neither labels nor predictions have it.
    F1,
    /// Mean of the F1 of every class that labels or predictions have.
    MacroF1,
    /// Matthews' correlation for any number of classes (Gorodkin 2004); 0 where a side is constant.
    Matthews,
    /// Pearson's r; not a number where a side is constant, as scipy has it.
    Pearson,
    /// Spearman's ρ: Pearson's r of the ranks, ties at their mean rank.
    Spearman,
    /// Mean of the squared differences.
    MeanSquaredError,
}

impl Metric {
    /// The name in task files and results.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
            Metric::F1 => "f1",
            Metric::MacroF1 => "macro_f1",
            Metric::Matthews => "matthews",
            Metric::Pearson => "pearson",
            Metric::Spearman => "spearman",
            Metric::MeanSquaredError => "mean_squared_error",
        }
    }

    /// Whether it compares classes, not numbers.
    pub fn needs_classes(self) -> bool {
        matches!(
            self,
            Metric::Accuracy | Metric::F1 | Metric::MacroF1 | Metric::Matthews
        )
    }

    /// The metric of predicted against true classes; a metric of numbers takes the class indices.
    pub fn of_classes(self, predicted: &[usize], gold: &[usize]) -> f64 {
        match self {
            Metric::Accuracy => accuracy(predicted, gold),
            Metric::F1 => f1(predicted, gold, 1),
            Metric::MacroF1 => macro_f1(predicted, gold),
            Metric::Matthews => matthews(predicted, gold),
            Metric::Pearson | Metric::Spearman | Metric::MeanSquaredError => {
                let numbers = |classes: &[usize]| classes.iter().map(|&c| c as f64).collect();
                let (predicted, gold): (Vec<f64>, Vec<f64>) = (numbers(predicted), numbers(gold));
                self.of_values(&predicted, &gold)
            }
        }
    }

    /// The metric of predicted against true numbers; a metric of classes rounds them.
    pub fn of_values(self, predicted: &[f64], gold: &[f64]) -> f64 {
        match self {
            Metric::Pearson => pearson(predicted, gold),
            Metric::Spearman => pearson(&ranks(predicted), &ranks(gold)),
            Metric::MeanSquaredError => {
                let squares = predicted.iter().zip(gold).map(|(p, g)| (p - g).powi(2));
                squares.sum::<f64>() / gold.len() as f64
            }
            Metric::Accuracy | Metric::F1 | Metric::MacroF1 | Metric::Matthews => {
                let classes = |x: &[f64]| x.iter().map(|v| v.round().max(0.0) as usize).collect();
                let (predicted, gold): (Vec<usize>, Vec<usize>) =
                    (classes(predicted), classes(gold));
                self.of_classes(&predicted, &gold)
            }
        }
    }
}

/// A task's score: the mean of its metrics, in which one that is no number counts as 0 (a model
/// that predicts a constant has found no correlation).
pub fn score(metrics: &[f64]) -> f64 {
    let sum: f64 = metrics.iter().filter(|value| !value.is_nan()).sum();
    sum / metrics.len().max(1) as f64
}

fn accuracy(predicted: &[usize], gold: &[usize]) -> f64 {
    let right = predicted.iter().zip(gold).filter(|(p, g)| p == g).count();
    right as f64 / gold.len() as f64
}

fn f1(predicted: &[usize], gold: &[usize], class: usize) -> f64 {
    let pairs = || predicted.iter().zip(gold);
    let both = pairs().filter(|(&p, &g)| p == class && g == class).count();
    let one = pairs()
        .filter(|(&p, &g)| (p == class) != (g == class))
        .count();
    match 2 * both + one {
        0 => 0.0,
        denominator => 2.0 * both as f64 / denominator as f64,
    }
}

fn macro_f1(predicted: &[usize], gold: &[usize]) -> f64 {
    let mut classes: Vec<usize> = predicted.iter().chain(gold).copied().collect();
    classes.sort_unstable();
    classes.dedup();
    let all = classes.iter().map(|&class| f1(predicted, gold, class));
    all.sum::<f64>() / classes.len() as f64
}

fn matthews(predicted: &[usize], gold: &[usize]) -> f64 {
    let classes = predicted.iter().chain(gold).max().map_or(0, |&c| c + 1);
    let counts = |side: &[usize]| {
        let mut counts = vec![0.0; classes];
        side.iter().for_each(|&class| counts[class] += 1.0);
        counts
    };
    let (p, t) = (counts(predicted), counts(gold));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let rows = gold.len() as f64;
    let right = predicted.iter().zip(gold).filter(|(p, g)| p == g).count() as f64;
    let covariance = right * rows - dot(&t, &p);
    let spread = (rows * rows - dot(&p, &p)) * (rows * rows - dot(&t, &t));
    if spread == 0.0 {
        0.0
    } else {
        covariance / spread.sqrt()
    }
}

fn pearson(x: &[f64], y: &[f64]) -> f64 {
    let constant = |v: &[f64]| v.windows(2).all(|pair| pair[0] == pair[1]);
    if x.len() < 2 || constant(x) || constant(y) {
        return f64::NAN;
    }
    let centred = |v: &[f64]| -> Vec<f64> {
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        let differences: Vec<f64> = v.iter().map(|a| a - mean).collect();
        // Scaled before squaring, so that tiny and huge numbers neither vanish nor overflow.
        let largest = differences.iter().fold(0.0f64, |m, d| m.max(d.abs()));
        differences.iter().map(|d| d / largest).collect()
    };
    let (x, y) = (centred(x), centred(y));
    let norm = |v: &[f64]| v.iter().map(|a| a * a).sum::<f64>().sqrt();
    let product: f64 = x.iter().zip(&y).map(|(a, b)| a * b).sum();
    (product / norm(&x) / norm(&y)).clamp(-1.0, 1.0)
}

/// Ranks from 1, equal values at the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    while first < order.len() {
        let value = values[order[first]];
        let ties = order[first..]
            .iter()
            .take_while(|&&i| values[i] == value)
            .count()
            .max(1);
        let mean = first as f64 + (ties as f64 + 1.0) / 2.0;
        order[first..first + ties]
            .iter()
            .for_each(|&i| ranks[i] = mean);
        first += ties;
    }
    ranks
}
