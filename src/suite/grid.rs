//! Who helps whom, and the combinations of a grid.

use std::collections::BTreeMap;

use serde_yaml::Value;

use super::file::{Experiment, Grid, Settings};
use super::plan::Strategy;

/// One training of an experiment, before method, grid and seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Tasks whose figures it gives.
    pub targets: Vec<String>,
    /// Tasks that help, beside the other targets.
    pub supports: Vec<String>,
}

/// The trainings of an experiment; `default` are the base's tasks.
pub fn relations(experiment: &Experiment, default: &[String]) -> Vec<Relation> {
    let tasks = experiment.tasks.as_deref().unwrap_or(default);
    let one = |target: &String, support: &String| Relation {
        targets: vec![target.clone()],
        supports: vec![support.clone()],
    };
    let both = |a: &String, b: &String| Relation {
        targets: vec![a.clone(), b.clone()],
        supports: Vec::new(),
    };
    let unordered = experiment.strategy == Strategy::Pair;
    let mut all = Vec::new();
    match experiment.strategy {
        Strategy::Single => all.extend(tasks.iter().map(|task| Relation {
            targets: vec![task.clone()],
            supports: Vec::new(),
        })),
        Strategy::All => all.push(Relation {
            targets: tasks.to_vec(),
            supports: Vec::new(),
        }),
        Strategy::Pair | Strategy::Stilts | Strategy::Transfer => {
            if let (Some(sources), Some(targets)) = (&experiment.sources, &experiment.targets) {
                for target in targets {
                    let others = sources.iter().filter(|source| *source != target);
                    all.extend(others.map(|source| one(target, source)));
                }
            } else if let Some(pairs) = &experiment.pairs {
                let whole = unordered && experiment.sizes.is_none();
                all.extend(pairs.iter().map(|[support, target]| match whole {
                    true => both(support, target),
                    false => one(target, support),
                }));
            } else if unordered {
                for (index, a) in tasks.iter().enumerate() {
                    all.extend(tasks[index + 1..].iter().map(|b| both(a, b)));
                }
            } else {
                for target in tasks {
                    let others = tasks.iter().filter(|source| *source != target);
                    all.extend(others.map(|source| one(target, source)));
                }
            }
        }
    }
    all
}

/// How many combinations the values of `grids` have; the highest number there is where they have more.
pub fn count(grids: [&Grid; 2]) -> usize {
    let values = grids.into_iter().flatten().map(|(_, values)| values.len());
    values.fold(1, usize::saturating_mul)
}

/// Every combination of the values of `grids`, the last key moving fastest.
pub fn combinations(grids: [&Grid; 2]) -> Vec<Settings> {
    let mut all = vec![Settings::new()];
    for (key, values) in grids.into_iter().flatten() {
        all = all
            .iter()
            .flat_map(|chosen| {
                values.iter().map(|value| {
                    let mut chosen = chosen.clone();
                    chosen.insert(key.clone(), value.clone());
                    chosen
                })
            })
            .collect();
    }
    all
}

/// A combination as a cell shows it.
pub fn shown(settings: &Settings) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => serde_yaml::to_string(other)
            .unwrap_or_default()
            .trim()
            .replace('\n', ", "),
    };
    let pairs = settings.iter();
    pairs
        .map(|(key, value)| (key.clone(), text(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml;

    fn of(text: &str) -> Vec<String> {
        let experiment: Experiment = yaml::from_str(text, "test").expect(text);
        let default = ["A", "B", "C"].map(str::to_owned);
        let shown = |r: Relation| format!("{}<{}", r.targets.join("+"), r.supports.join("+"));
        relations(&experiment, &default)
            .into_iter()
            .map(shown)
            .collect()
    }

    #[test]
    fn strategies_relate_tasks_as_the_papers_do() {
        assert_eq!(of("{name: x, strategy: single}"), ["A<", "B<", "C<"]);
        assert_eq!(of("{name: x, strategy: all}"), ["A+B+C<"]);
        assert_eq!(of("{name: x, strategy: pair}"), ["A+B<", "A+C<", "B+C<"]);
        let ordered = ["A<B", "A<C", "B<A", "B<C", "C<A", "C<B"];
        assert_eq!(of("{name: x, strategy: stilts}"), ordered);
        let some = "{name: x, strategy: transfer, sources: [A], targets: [A, B, C]}";
        assert_eq!(of(some), ["B<A", "C<A"]);
        assert_eq!(of("{name: x, strategy: stilts, pairs: [[A, B]]}"), ["B<A"]);
        assert_eq!(of("{name: x, strategy: pair, pairs: [[A, B]]}"), ["A+B<"]);
        // The counts of Weller, Seppi and Gardner (2022).
        let nine = "tasks: [a, b, c, d, e, f, g, h, i]";
        let count = |strategy| of(&format!("{{name: x, strategy: {strategy}, {nine}}}")).len();
        assert_eq!((count("pair"), count("stilts")), (36, 72));
    }

    #[test]
    fn a_grid_is_every_combination() {
        let grid: Grid = yaml::from_str("{a: [1, 2], b: [x, y]}", "test").expect("a grid");
        let other: Grid = yaml::from_str("{c: [0.5]}", "test").expect("a grid");
        let all: Vec<_> = combinations([&grid, &other]).iter().map(shown).collect();
        assert_eq!(all.len(), 4);
        let last: Vec<(&str, &str)> = all[3].iter().map(|(k, v)| (&k[..], &v[..])).collect();
        assert_eq!(last, [("a", "2"), ("b", "y"), ("c", "0.5")]);
    }
}
