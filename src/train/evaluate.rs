//! Scores of what the model puts out for a split.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{from_value, to_value, Map, Value};

use super::outputs::Outputs;
use crate::data::TokenizedSplit;
use crate::task::confusion::{ClassScore, Confusion};
use crate::task::metric::{self, Metric};
use crate::task::{AnyOf, Label, Labels, Task};

/// A token's forward pass beside its forward and backward pass.
pub const COST: f64 = 1.0 / 3.0;

/// The keys of what is of single labels or classes, beside the metrics' names.
const LABELS: &str = "labels";
const CLASSES: &str = "classes";
const CONFUSION: &str = "confusion";

/// Metrics of one task on one split, in the order of its file, and their mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    pub metrics: Vec<(String, f64)>,
    /// Of each label by itself, where any may hold: its metrics. NaN where a metric is undefined.
    pub labels: Vec<(String, Vec<(String, f64)>)>,
    /// Of each class, or label of which any may hold, how its answers fit; in [`EvaluationLine`]s none.
    ///
    /// [`EvaluationLine`]: super::keep::run_folder::EvaluationLine
    pub classes: Vec<(String, ClassScore)>,
    /// Of classes, over all parts of the split; as with `classes`.
    pub confusion: Option<Confusion>,
    /// The mean of the metrics, GLUE's score of the task, as a fraction; errors count negatively.
    pub score: f64,
}

impl Serialize for Scores {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = Map::new();
        for (name, value) in &self.metrics {
            map.insert(name.clone(), Value::from(*value));
        }
        if !self.labels.is_empty() {
            let metrics = |(name, metrics): &(String, Vec<(String, f64)>)| {
                let metrics = metrics
                    .iter()
                    .map(|(metric, value)| (metric.clone(), Value::from(*value)));
                (name.clone(), Value::Object(metrics.collect()))
            };
            let labels = self.labels.iter().map(metrics);
            map.insert(LABELS.into(), Value::Object(labels.collect()));
        }
        map.insert("score".into(), Value::from(self.score));
        if !self.classes.is_empty() {
            let classes = self.classes.iter();
            let classes = classes.map(|(name, score)| Ok((name.clone(), to_value(score)?)));
            let classes: Result<_, serde_json::Error> = classes.collect();
            let classes = classes.map_err(serde::ser::Error::custom)?;
            map.insert(CLASSES.into(), Value::Object(classes));
        }
        if let Some(confusion) = &self.confusion {
            let confusion = to_value(confusion).map_err(serde::ser::Error::custom)?;
            map.insert(CONFUSION.into(), confusion);
        }
        map.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Scores {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = Map::deserialize(deserializer)?;
        // What is not a number (a correlation with a constant) was written as null.
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        let numbers = |map: &Map<String, Value>| -> Vec<(String, f64)> {
            let metrics = map.iter().filter(|(name, _)| *name != "score");
            let metrics = metrics.filter(|(_, value)| !value.is_object());
            metrics
                .map(|(name, value)| (name.clone(), number(value)))
                .collect()
        };
        let labels = map.get(LABELS).and_then(Value::as_object);
        let labels = labels.into_iter().flatten().filter_map(|(name, metrics)| {
            let metrics = numbers(metrics.as_object()?);
            Some((name.clone(), metrics))
        });
        let classes = map.get(CLASSES).and_then(Value::as_object);
        let classes = classes.into_iter().flatten();
        let classes = classes.map(|(name, score)| Ok((name.clone(), from_value(score.clone())?)));
        let classes: Result<_, serde_json::Error> = classes.collect();
        let confusion = map.get(CONFUSION).cloned();
        Ok(Scores {
            classes: classes.map_err(serde::de::Error::custom)?,
            confusion: confusion
                .map(from_value)
                .transpose()
                .map_err(serde::de::Error::custom)?,
            score: map.get("score").map_or(f64::NAN, number),
            labels: labels.collect(),
            metrics: numbers(&map),
        })
    }
}

impl Scores {
    /// The scores without what is of single classes.
    pub fn summary(&self) -> Scores {
        Scores {
            classes: Vec::new(),
            confusion: None,
            ..self.clone()
        }
    }

    /// The metrics for people; one that is of the second of two classes names it.
    pub fn shown(&self) -> Vec<String> {
        let second = match &self.classes[..] {
            [_, (second, _)] if self.labels.is_empty() => Some(second),
            _ => None,
        };
        let shown = |(name, value): &(String, f64)| {
            let of_second = [Metric::F1, Metric::Auroc, Metric::AveragePrecision];
            let whose = second.filter(|_| of_second.iter().any(|metric| metric.is_named(name)));
            match whose {
                Some(second) => format!("{name} of {second} {value:.4}"),
                None => format!("{name} {value:.4}"),
            }
        };
        self.metrics.iter().map(shown).collect()
    }
}

/// The task's metrics over a labelled split. A split of several parts (MNLI's matched and
/// mismatched) has each metric per part.
pub fn scores(task: &Task, outputs: &Outputs, split: &TokenizedSplit) -> Result<Scores> {
    let mut metrics = Vec::new();
    let mut values = Vec::new();
    for part in split.parts() {
        let answers = Answers::new(task, outputs, split, part.rows.clone())?;
        for &metric in &task.metrics {
            let name = match &part.name {
                Some(part) => format!("{part}_{}", metric.name()),
                None => metric.name().to_owned(),
            };
            let value = answers.value(metric);
            values.push((metric, value));
            metrics.push((name, value));
        }
    }
    let whole = Answers::new(task, outputs, split, 0..split.len())?;
    Ok(Scores {
        score: metric::score(&values),
        labels: match &task.labels {
            Labels::AnyOf(any) => whole.labels(any, &task.metrics),
            _ => Vec::new(),
        },
        classes: whole.classes(&task.labels),
        confusion: match (&task.labels, &whole) {
            (Labels::Classes(classes), Answers::Classes(predicted, gold, _)) => {
                Confusion::new(&classes.names, predicted, gold)
            }
            _ => None,
        },
        metrics,
    })
}

/// The dev score of the best constant answer: of the classes, of numbers the mean label (with which
/// a correlation counts as 0), of labels of which any may hold none, all, or those of most rows.
pub fn constant_answer(task: &Task, split: &TokenizedSplit) -> Result<f64> {
    let constant = |answer: &[f32]| -> Result<f64> {
        let outputs = Outputs {
            values: answer.repeat(split.len()),
            width: answer.len(),
        };
        Ok(scores(task, &outputs, split)?.score)
    };
    let labels = || (0..split.len()).filter_map(|row| split.label(row));
    match &task.labels {
        Labels::Classes(classes) => {
            let mut best = f64::NEG_INFINITY;
            let count = classes.names.len();
            for class in 0..count {
                let mut logits = vec![0.0; count];
                logits[class] = 1.0;
                best = best.max(constant(&logits)?);
            }
            Ok(best)
        }
        Labels::Range { .. } => {
            let sum: f32 = labels().filter_map(Label::number).sum();
            constant(&[sum / split.len().max(1) as f32])
        }
        Labels::AnyOf(any) => {
            let common = |index: usize| {
                let rows = labels().filter(|label| label.holds(index)).count();
                2 * rows > split.len()
            };
            let mut best = f64::NEG_INFINITY;
            let answers: [&dyn Fn(usize) -> bool; 3] = [&|_| false, &|_| true, &common];
            for holds in answers {
                let logit = |index| if holds(index) { 1.0 } else { -1.0 };
                let logits: Vec<f32> = (0..any.names.len()).map(logit).collect();
                best = best.max(constant(&logits)?);
            }
            Ok(best)
        }
    }
}

/// Whether a score is not above that of the best constant answer, `level`: nothing was learned.
pub fn not_above(score: f64, level: f64) -> bool {
    // As written and read again.
    score <= level + 1e-9
}

/// Rows' answers beside what is right, as metrics take them.
enum Answers {
    /// Predicted and right classes; and of two classes how much likelier the second is.
    Classes(Vec<usize>, Vec<usize>, Vec<f64>),
    Numbers(Vec<f64>, Vec<f64>),
    /// Of each label its scores, above 0 where it is predicted, and where it holds.
    Labels(Vec<(Vec<f64>, Vec<bool>)>),
}

impl Answers {
    fn new(
        task: &Task,
        outputs: &Outputs,
        split: &TokenizedSplit,
        rows: std::ops::Range<usize>,
    ) -> Result<Answers> {
        let label = |row: usize| {
            split.label(row).ok_or_else(|| {
                crate::input_error!("task {}: the split has rows without labels", task.name)
            })
        };
        let gold: Vec<Label> = rows.clone().map(label).collect::<Result<_>>()?;
        let numbers = || gold.iter().map(|label| label.number().unwrap_or(f32::NAN));
        Ok(match &task.labels {
            Labels::Classes(_) => Answers::Classes(
                rows.clone().map(|row| outputs.class(row)).collect(),
                numbers().map(|class| class as usize).collect(),
                rows.map(|row| match outputs.row(row) {
                    [first, second] => f64::from(second - first),
                    _ => f64::NAN,
                })
                .collect(),
            ),
            &Labels::Range { min, max } => Answers::Numbers(
                rows.map(|row| outputs.number(row, min, max)).collect(),
                numbers().map(f64::from).collect(),
            ),
            Labels::AnyOf(any) => {
                let of_label = |index: usize| {
                    let scores = rows.clone().map(|row| f64::from(outputs.row(row)[index]));
                    let holds = gold.iter().map(|label| label.holds(index));
                    (scores.collect(), holds.collect())
                };
                Answers::Labels((0..any.names.len()).map(of_label).collect())
            }
        })
    }

    fn value(&self, metric: Metric) -> f64 {
        match self {
            Answers::Classes(_, gold, scores) if metric.ranks() => {
                let second: Vec<bool> = gold.iter().map(|&class| class == 1).collect();
                metric.of_label(scores, &second)
            }
            Answers::Classes(predicted, gold, _) => metric.of_classes(predicted, gold),
            Answers::Numbers(predicted, gold) => metric.of_values(predicted, gold),
            Answers::Labels(labels) => metric.of_labels(labels),
        }
    }

    /// Of each class or label, how its answers fit.
    fn classes(&self, labels: &Labels) -> Vec<(String, ClassScore)> {
        let (names, scores) = match (self, labels) {
            (Answers::Classes(predicted, gold, _), Labels::Classes(classes)) => (
                &classes.names,
                ClassScore::of_classes(classes.names.len(), predicted, gold),
            ),
            (Answers::Labels(labels), Labels::AnyOf(any)) => {
                let of_label = |(scores, gold): &(Vec<f64>, Vec<bool>)| {
                    let says = scores.iter().map(|&score| score > 0.0);
                    ClassScore::of_label(says.zip(gold.iter().copied()))
                };
                (&any.names, labels.iter().map(of_label).collect())
            }
            _ => return Vec::new(),
        };
        names.iter().cloned().zip(scores).collect()
    }

    /// Each label's own metrics: those of the task that are of one label too.
    fn labels(&self, any: &AnyOf, metrics: &[Metric]) -> Vec<(String, Vec<(String, f64)>)> {
        let Answers::Labels(labels) = self else {
            return Vec::new();
        };
        let mut own: Vec<Metric> = Vec::new();
        for metric in metrics {
            let metric = if metric.ranks() { *metric } else { Metric::F1 };
            if !own.contains(&metric) {
                own.push(metric);
            }
        }
        let of_label = |(name, (scores, gold)): (&String, &(Vec<f64>, Vec<bool>))| {
            let value = |metric: &Metric| {
                let value = metric.of_label(scores, gold);
                (metric.name().to_owned(), value)
            };
            (name.clone(), own.iter().map(value).collect())
        };
        any.names.iter().zip(labels).map(of_label).collect()
    }
}
