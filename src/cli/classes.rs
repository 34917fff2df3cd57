//! Tables of single classes and labels.

use super::table;
use crate::train::evaluate::Scores;

/// The most classes whose confusions fit into a table.
const MOST: usize = 12;

/// A row for each label of a task of which any may hold; what is undefined is a dash.
pub fn of_labels(task: &str, scores: &Scores) -> String {
    let shown = |value: &f64| match value.is_nan() {
        true => "-".to_owned(),
        false => format!("{value:.4}"),
    };
    let first = scores.labels.iter().take(1);
    let metrics = first.flat_map(|(_, metrics)| metrics);
    let mut header = vec![format!("{task}, by label")];
    header.extend(metrics.map(|(metric, _)| metric.clone()));
    let rows = scores.labels.iter().map(|(label, metrics)| {
        let mut row = vec![label.clone()];
        row.extend(metrics.iter().map(|(_, value)| shown(value)));
        row
    });
    table::plain(&header, &rows.collect::<Vec<_>>())
}

/// Precision, recall, F1 and rows of each class or label, with their means, and of few classes which are
/// taken for which; of a task of numbers only that it has none.
pub fn report(task: &str, scores: &Scores) -> String {
    if scores.classes.is_empty() {
        return format!("{task} has no classes");
    }
    let columns = ["precision", "recall", "f1", "rows"].map(String::from);
    let header: Vec<String> = [format!("{task}, by class")]
        .into_iter()
        .chain(columns)
        .collect();
    let number = |value: f64| format!("{value:.4}");
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (name, score) in &scores.classes {
        let own = [score.precision, score.recall, score.f1].map(number);
        let support = score.support.to_string();
        rows.push([std::slice::from_ref(name), &own[..], &[support]].concat());
    }
    let all = scores.classes.iter().map(|(_, score)| score);
    let support: u64 = all.clone().map(|score| score.support).sum();
    let means: [(&str, &dyn Fn(u64) -> f64); 2] = [
        ("mean of classes", &|_| 1.0 / scores.classes.len() as f64),
        ("mean by rows", &|rows| rows as f64 / support.max(1) as f64),
    ];
    for (name, weight) in means {
        let mut mean = [0.0; 3];
        for score in all.clone() {
            let own = [score.precision, score.recall, score.f1];
            mean.iter_mut()
                .zip(own)
                .for_each(|(mean, own)| *mean += weight(score.support) * own);
        }
        rows.push(
            [
                &[name.to_owned()],
                &mean.map(number)[..],
                &[support.to_string()],
            ]
            .concat(),
        );
    }
    let report = table::plain(&header, &rows);
    match &scores.confusion {
        Some(confusion) if confusion.labels.len() <= MOST => {
            let header = [format!("{task}: is ↓, is taken for →")].into_iter();
            let header: Vec<String> = header.chain(confusion.labels.iter().cloned()).collect();
            let rows = confusion.labels.iter().zip(&confusion.counts);
            let rows = rows.map(|(label, counts)| {
                let counts = counts.iter().map(u64::to_string);
                [label.clone()].into_iter().chain(counts).collect()
            });
            format!(
                "{report}\n{}",
                table::plain(&header, &rows.collect::<Vec<_>>())
            )
        }
        _ => report,
    }
}

/// The [`report`] of a run's only task, where it has a few classes more than two.
pub fn short_report(task: &str, scores: &Scores) -> Option<String> {
    let few = (3..=MOST).contains(&scores.classes.len());
    few.then(|| report(task, scores))
}
