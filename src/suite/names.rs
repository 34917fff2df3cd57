//! Names of runs, as TensorBoard shows them: `multitask-CoLA+RTE-seed1`,
//! `single-QNLI=500-after-MNLI=1000-seed1`.

use std::collections::BTreeMap;

use super::plan::Run;
use crate::config::Method;

/// The keys of limits of rows, before the task's name.
const ROWS: &str = "training.max_train_rows.";

/// What a run is called after.
pub struct Parts<'a> {
    pub method: Method,
    pub tasks: &'a [String],
    /// The run that it starts from.
    pub source: Option<&'a Run>,
    /// What the grid chose, by config key.
    pub variant: &'a BTreeMap<String, String>,
    pub experiment: &'a str,
    pub seed: u64,
    /// Runs whose names are taken.
    pub taken: &'a [Run],
}

/// A name that no other run has; good as a folder's name on any system.
pub fn of(parts: &Parts) -> String {
    let mut name = format!("{}-{}", parts.method.name(), joined(parts.tasks, parts));
    if let Some(source) = parts.source {
        name += &format!("-after-{}", joined(&source.tasks, parts));
    }
    for (key, value) in parts.variant.iter().filter(|(key, _)| matters(key, parts)) {
        // The last two words tell `alignment.learning_rate` from `training.learning_rate`.
        let dots: Vec<usize> = key.rmatch_indices('.').map(|(at, _)| at).collect();
        let short = dots.get(1).map_or(key.as_str(), |at| &key[at + 1..]);
        name += &format!("-{short}={value}");
    }
    let seed = format!("-seed{}", parts.seed);
    let free = |name: &String| !parts.taken.iter().any(|run| run.name == *name);
    let plain = clean(&name) + &seed;
    if free(&plain) {
        return plain;
    }
    let named = clean(&format!("{name}-{}", parts.experiment));
    let numbered = (2..).map(|n| format!("{named}-{n}{seed}"));
    std::iter::once(format!("{named}{seed}"))
        .chain(numbered)
        .find(free)
        .unwrap_or(plain)
}

/// `CoLA+RTE`, or with limits of rows `CoLA=1000+RTE=500`.
fn joined(tasks: &[String], parts: &Parts) -> String {
    let limited = |task: &String| match parts.variant.get(&format!("{ROWS}{task}")) {
        Some(rows) => format!("{task}={rows}"),
        None => task.clone(),
    };
    let tasks: Vec<String> = tasks.iter().map(limited).collect();
    tasks.join("+")
}

/// Whether a key can change what the run does, and is not in its tasks' names.
fn matters(key: &str, parts: &Parts) -> bool {
    match key.split_once('.') {
        Some(("alignment", _)) => parts.method == Method::Aligned,
        Some(("sampling", key)) => parts.tasks.len() > 1 || key == "length_window",
        _ => !key.starts_with(ROWS),
    }
}

fn clean(name: &str) -> String {
    let fine = |c: char| c.is_ascii_alphanumeric() || "+-_.=".contains(c);
    name.chars()
        .map(|c| if fine(c) { c } else { '_' })
        .collect()
}
