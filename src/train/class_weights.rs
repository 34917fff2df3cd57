//! What training rows weigh by their class.

use crate::config::training::{ClassWeight, ClassWeights};
use crate::task::{Label, Labels};

/// The weight of each class of a task, in which the rows that are trained on have these `labels`; none
/// where all weigh the same.
pub fn of(
    weights: Option<&ClassWeights>,
    (task, kind): (&str, &Labels),
    labels: impl Iterator<Item = Label>,
) -> Option<Vec<f64>> {
    let Labels::Classes(classes) = kind else {
        return None;
    };
    let alike = || vec![1.0; classes.names.len()];
    let of_classes = match weights? {
        ClassWeights::Balanced(_) => balanced(classes.names.len(), labels),
        ClassWeights::Named(named) => {
            let mut of_classes = match named.contains_key(task) {
                true => balanced(classes.names.len(), labels),
                false => alike(),
            };
            for (weight, class) in of_classes.iter_mut().zip(&classes.names) {
                if let Some(ClassWeight::Weight(own)) = named.get(&format!("{task}/{class}")) {
                    *weight = *own;
                }
            }
            of_classes
        }
    };
    (of_classes != alike()).then_some(of_classes)
}

/// scikit-learn's `compute_class_weight("balanced")`: rows / (classes that there are · rows of the class);
/// 1 for a class without rows.
fn balanced(classes: usize, labels: impl Iterator<Item = Label>) -> Vec<f64> {
    let mut rows = vec![0u64; classes];
    for class in labels.filter_map(Label::number) {
        rows[class as usize] += 1;
    }
    let all: u64 = rows.iter().sum();
    let there = rows.iter().filter(|&&rows| rows > 0).count();
    let weight = |&rows: &u64| match rows {
        0 => 1.0,
        rows => all as f64 / (there as f64 * rows as f64),
    };
    rows.iter().map(weight).collect()
}
