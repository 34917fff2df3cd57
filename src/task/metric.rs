//! Scores of predictions against labels, as scikit-learn and scipy compute them.

use serde::{Deserialize, Serialize};

/// A measure of how well predictions fit the labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The share of rows that are right.
    Accuracy,
    /// F1 of class 1; 0 where precision and recall are undefined.
    F1,
    /// The mean F1 over the classes that occur in labels or predictions.
    MacroF1,
    /// Matthews' correlation, for any number of classes (Gorodkin's R_K); 0 where undefined.
    Matthews,
    /// Pearson's correlation; NaN when one side is constant.
    Pearson,
    /// Spearman's rank correlation, ties sharing their mean rank; NaN when one side is constant.
    Spearman,
    /// The mean squared difference.
    MeanSquaredError,
}

impl Metric {
    /// The name in task files, results and TensorBoard tags.
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

    /// The name for tables and reports.
    pub fn title(self) -> &'static str {
        match self {
            Metric::Accuracy => "Accuracy",
            Metric::F1 => "F1",
            Metric::MacroF1 => "Macro F1",
            Metric::Matthews => "Matthews",
            Metric::Pearson => "Pearson",
            Metric::Spearman => "Spearman",
            Metric::MeanSquaredError => "Mean squared error",
        }
    }

    pub fn higher_is_better(self) -> bool {
        self != Metric::MeanSquaredError
    }

    /// Whether the metric compares classes rather than numbers.
    pub fn needs_classes(self) -> bool {
        matches!(
            self,
            Metric::Accuracy | Metric::F1 | Metric::MacroF1 | Metric::Matthews
        )
    }

    /// The score of predicted class indices; NaN without rows. A metric of numbers takes the
    /// indices as numbers. Both slices have one entry per row.
    pub fn of_classes(self, predicted: &[usize], gold: &[usize]) -> f64 {
        assert_eq!(predicted.len(), gold.len(), "one prediction per label");
        if gold.is_empty() {
            return f64::NAN;
        }
        match self {
            Metric::Accuracy => Confusion::new(predicted, gold).accuracy(),
            Metric::F1 => Confusion::new(predicted, gold).f1(1).unwrap_or(0.0),
            Metric::MacroF1 => Confusion::new(predicted, gold).macro_f1(),
            Metric::Matthews => Confusion::new(predicted, gold).matthews(),
            Metric::Pearson | Metric::Spearman | Metric::MeanSquaredError => {
                let numbers = |classes: &[usize]| classes.iter().map(|&c| c as f64).collect();
                let (predicted, gold): (Vec<f64>, Vec<f64>) = (numbers(predicted), numbers(gold));
                self.of_values(&predicted, &gold)
            }
        }
    }

    /// The score of predicted numbers; NaN without rows. A metric of classes takes each number as
    /// the nearest class index. Both slices have one entry per row.
    pub fn of_values(self, predicted: &[f64], gold: &[f64]) -> f64 {
        assert_eq!(predicted.len(), gold.len(), "one prediction per label");
        if gold.is_empty() {
            return f64::NAN;
        }
        match self {
            Metric::Pearson => pearson(predicted, gold),
            Metric::Spearman => pearson(&ranks(predicted), &ranks(gold)),
            Metric::MeanSquaredError => {
                let pairs = predicted.iter().zip(gold);
                pairs.map(|(p, g)| (p - g).powi(2)).sum::<f64>() / gold.len() as f64
            }
            Metric::Accuracy | Metric::F1 | Metric::MacroF1 | Metric::Matthews => {
                let classes = |values: &[f64]| values.iter().map(|v| v.round() as usize).collect();
                let (predicted, gold): (Vec<usize>, Vec<usize>) =
                    (classes(predicted), classes(gold));
                self.of_classes(&predicted, &gold)
            }
        }
    }
}

/// A task's score: the mean of its metrics, where a NaN (the correlation of a constant) counts as
/// 0, so that a collapsed run scores 0 on the task instead of losing it, and an error has a minus,
/// so that the higher score is the better one. NaN for no values.
pub fn score(values: &[(Metric, f64)]) -> f64 {
    let signed = values.iter().map(|&(metric, value)| match value {
        v if v.is_nan() => 0.0,
        v if metric.higher_is_better() => v,
        v => -v,
    });
    signed.sum::<f64>() / values.len() as f64
}

/// How often each class was the label, was predicted, and was both.
struct Confusion {
    rows: f64,
    gold: Vec<f64>,
    predicted: Vec<f64>,
    right: Vec<f64>,
}

impl Confusion {
    fn new(predicted: &[usize], gold: &[usize]) -> Self {
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
        let mut counts = Confusion {
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

    fn accuracy(&self) -> f64 {
        self.right.iter().sum::<f64>() / self.rows
    }

    /// F1 of a class; `None` when it is neither a label nor predicted.
    fn f1(&self, class: usize) -> Option<f64> {
        let total = self.gold[class] + self.predicted[class];
        (total > 0.0).then(|| 2.0 * self.right[class] / total)
    }

    fn macro_f1(&self) -> f64 {
        let present: Vec<f64> = (0..self.gold.len()).filter_map(|c| self.f1(c)).collect();
        present.iter().sum::<f64>() / present.len() as f64
    }

    fn matthews(&self) -> f64 {
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

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Pearson's correlation; NaN when a side is constant or holds a NaN.
fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let constant = |values: &[f64]| values.iter().all(|v| *v == values[0]);
    if constant(a) || constant(b) {
        return f64::NAN;
    }
    let (a, b) = (unit(a), unit(b));
    dot(&a, &b).clamp(-1.0, 1.0)
}

/// The values less their mean, scaled to length 1.
fn unit(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let centred: Vec<f64> = values.iter().map(|v| v - mean).collect();
    // Scaled by the largest first: squares of very small or large values would vanish or overflow.
    let largest = centred.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let scaled: Vec<f64> = centred.iter().map(|v| v / largest).collect();
    let norm = dot(&scaled, &scaled).sqrt();
    scaled.iter().map(|v| v / norm).collect()
}

/// Ranks from 1, ties sharing their mean rank; all NaN when a value is.
fn ranks(values: &[f64]) -> Vec<f64> {
    if values.iter().any(|v| v.is_nan()) {
        return vec![f64::NAN; values.len()];
    }
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| values[a].total_cmp(&values[b]));
    let (mut ranks, mut below) = (vec![0.0; values.len()], 0);
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        for &row in tied {
            ranks[row] = below as f64 + (tied.len() + 1) as f64 / 2.0;
        }
        below += tied.len();
    }
    ranks
}
