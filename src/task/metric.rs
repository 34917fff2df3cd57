//! Scores of predictions against labels, as scikit-learn and scipy compute them.

use schemars::JsonSchema;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::IntoDeserializer;
use serde::{Deserialize, Serialize};

use super::confusion::{dot, Counts};
use super::label::{Classes, Labels};

/// A measure of how well predictions fit the labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The share of rows that are right.
    Accuracy,
    /// F1 of the second class; 0 where precision and recall are undefined.
    F1,
    /// The mean F1 over the classes that occur in labels or predictions; of `any_of` over all labels.
    MacroF1,
    /// F1 of the rows of all labels of `any_of` together.
    MicroF1,
    /// The area under the ROC curve: how often a row with the label is ranked above one without. Of
    /// `any_of` the mean over labels that some rows have and some have not; NaN where none is such.
    Auroc,
    /// The precision at each row that has the label, ranked; the mean over them, and over labels as
    /// with `auroc`.
    AveragePrecision,
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
    /// The metric of that name.
    pub fn named(name: &str) -> Option<Metric> {
        let name: StrDeserializer<ValueError> = name.into_deserializer();
        Metric::deserialize(name).ok()
    }

    /// The name in task files, results and TensorBoard tags.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
            Metric::F1 => "f1",
            Metric::MacroF1 => "macro_f1",
            Metric::MicroF1 => "micro_f1",
            Metric::Auroc => "auroc",
            Metric::AveragePrecision => "average_precision",
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
            Metric::MicroF1 => "Micro F1",
            Metric::Auroc => "AUROC",
            Metric::AveragePrecision => "Average precision",
            Metric::Matthews => "Matthews",
            Metric::Pearson => "Pearson",
            Metric::Spearman => "Spearman",
            Metric::MeanSquaredError => "Mean squared error",
        }
    }

    pub fn higher_is_better(self) -> bool {
        self != Metric::MeanSquaredError
    }

    /// A value as people read it: × 100, but for errors, which have the labels' unit.
    pub fn points(self, value: f64) -> f64 {
        match self.higher_is_better() {
            true => 100.0 * value,
            false => value,
        }
    }

    /// Whether the metric judges answers to such labels.
    pub fn judges(self, labels: &Labels) -> bool {
        use Metric::*;
        match labels {
            Labels::Classes(Classes { names, .. }) => match self {
                Accuracy | MacroF1 | Matthews => true,
                F1 | Auroc | AveragePrecision => names.len() == 2,
                MicroF1 | Pearson | Spearman | MeanSquaredError => false,
            },
            Labels::Range { .. } => matches!(self, Pearson | Spearman | MeanSquaredError),
            Labels::AnyOf(_) => matches!(self, Auroc | AveragePrecision | MicroF1 | MacroF1),
        }
    }

    /// What the metric is for, as a rule of task files.
    pub fn kind(self) -> &'static str {
        use Metric::*;
        match self {
            Accuracy | Matthews => "for classes",
            F1 => "for two classes",
            MacroF1 => "for classes or `any_of`",
            MicroF1 => "for `any_of`",
            Auroc | AveragePrecision => "for two classes or `any_of`",
            Pearson | Spearman | MeanSquaredError => "for a range",
        }
    }

    /// Whether a split's score called `name` is of the metric; a part's own name may precede it.
    pub fn is_named(self, name: &str) -> bool {
        name == self.name()
            || (!matches!(name, "macro_f1" | "micro_f1")
                && name.ends_with(&format!("_{}", self.name())))
    }

    /// Whether the metric is of ranks rather than of decisions.
    pub fn ranks(self) -> bool {
        matches!(self, Metric::Auroc | Metric::AveragePrecision)
    }

    /// The score of one label: `scores` (above 0 where it is predicted) of rows that have it or have
    /// it not. NaN for ranks where all rows have it or none has. Both slices have one entry per row.
    pub fn of_label(self, scores: &[f64], gold: &[bool]) -> f64 {
        assert_eq!(scores.len(), gold.len(), "one score per label");
        match self {
            Metric::Auroc => auroc(scores, gold),
            Metric::AveragePrecision => average_precision(scores, gold),
            _ => {
                let predicted: Vec<usize> = scores.iter().map(|&s| usize::from(s > 0.0)).collect();
                let gold: Vec<usize> = gold.iter().map(|&holds| usize::from(holds)).collect();
                Metric::F1.of_classes(&predicted, &gold)
            }
        }
    }

    /// The score of labels of which any may hold, each with its rows' scores as [`Metric::of_label`]
    /// takes them.
    pub fn of_labels(self, labels: &[(Vec<f64>, Vec<bool>)]) -> f64 {
        if self == Metric::MicroF1 {
            let scores: Vec<f64> = labels.iter().flat_map(|(s, _)| s).copied().collect();
            let gold: Vec<bool> = labels.iter().flat_map(|(_, g)| g).copied().collect();
            return self.of_label(&scores, &gold);
        }
        let each = labels
            .iter()
            .map(|(scores, gold)| self.of_label(scores, gold));
        let defined: Vec<f64> = each.filter(|value| !value.is_nan()).collect();
        defined.iter().sum::<f64>() / defined.len() as f64
    }

    /// The score of predicted class indices; NaN without rows. A metric of numbers or ranks takes the
    /// indices as numbers. Both slices have one entry per row.
    pub fn of_classes(self, predicted: &[usize], gold: &[usize]) -> f64 {
        assert_eq!(predicted.len(), gold.len(), "one prediction per label");
        if gold.is_empty() {
            return f64::NAN;
        }
        match self {
            // Of decisions for one class each, micro F1 is the same.
            Metric::Accuracy | Metric::MicroF1 => Counts::new(predicted, gold).accuracy(),
            Metric::F1 => Counts::new(predicted, gold).f1(1).unwrap_or(0.0),
            Metric::MacroF1 => Counts::new(predicted, gold).macro_f1(),
            Metric::Matthews => Counts::new(predicted, gold).matthews(),
            Metric::Pearson
            | Metric::Spearman
            | Metric::MeanSquaredError
            | Metric::Auroc
            | Metric::AveragePrecision => {
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
            Metric::Auroc | Metric::AveragePrecision => {
                let gold: Vec<bool> = gold.iter().map(|&g| g > 0.5).collect();
                self.of_label(predicted, &gold)
            }
            Metric::Accuracy
            | Metric::F1
            | Metric::MacroF1
            | Metric::MicroF1
            | Metric::Matthews => {
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

/// Mann and Whitney's statistic: the share of pairs of a row with the label and one without in which
/// the former has the higher score, ties counting half.
fn auroc(scores: &[f64], gold: &[bool]) -> f64 {
    let with = gold.iter().filter(|&&holds| holds).count() as f64;
    let without = gold.len() as f64 - with;
    let ranks = ranks(scores);
    let own = ranks.iter().zip(gold).filter(|(_, &holds)| holds);
    let sum: f64 = own.map(|(rank, _)| rank).sum();
    match with * without > 0.0 {
        true => (sum - with * (with + 1.0) / 2.0) / (with * without),
        false => f64::NAN,
    }
}

/// The sum over thresholds of the gain in recall times the precision, without interpolation; rows of
/// one score are one threshold.
fn average_precision(scores: &[f64], gold: &[bool]) -> f64 {
    let with = gold.iter().filter(|&&holds| holds).count();
    if with == 0 || with == gold.len() || scores.iter().any(|score| score.is_nan()) {
        return f64::NAN;
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let (mut sum, mut above, mut found) = (0.0, 0, 0);
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let gained = tied.iter().filter(|&&row| gold[row]).count();
        above += tied.len();
        found += gained;
        sum += gained as f64 * found as f64 / above as f64;
    }
    sum / with as f64
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
