//! Joint runs as wholes, and [W20]'s summary of them.

use serde::Serialize;

use super::{rows, Row};
use crate::analysis::statistics;
use crate::report::comparison::Comparison;
use crate::report::groups::{by_variant, same_tasks, variant_name, Group, Variant};
use crate::report::samples::Sample;
use crate::report::table::{points, Entry, Table, MISSING};
use crate::report::way::Way;

/// A set of tasks trained jointly, as a whole: an MTL run's own figure is the mean over its tasks
/// ([W20]).
#[derive(Debug, Serialize)]
pub struct JointSet {
    pub tasks: Vec<String>,
    pub variant: Variant,
    pub single: Sample,
    pub multitask: Sample,
    pub aligned: Sample,
}

/// The sets that pairs (or MTL-ALL runs, with `all`) were trained on, each with the mean over its
/// tasks per seed.
pub fn joint_sets(groups: &[Group], all: bool) -> Vec<JointSet> {
    let ways = match all {
        false => [Way::Pair, Way::AlignedPair],
        true => [Way::All, Way::AlignedAll],
    };
    let rows = rows(groups, &ways);
    let tasks = |row: &Row| {
        let mut tasks = vec![row.target.to_owned()];
        tasks.extend(row.supports.iter().cloned());
        tasks
    };
    let mut sets: Vec<JointSet> = Vec::new();
    for row in &rows {
        let set = tasks(row);
        if sets
            .iter()
            .any(|s| same_tasks(&s.tasks, &set) && s.variant == row.variant)
        {
            continue;
        }
        // One row per target; a mean over fewer targets than tasks would be another figure.
        let members: Vec<&Row> = rows
            .iter()
            .filter(|other| other.variant == row.variant && same_tasks(&tasks(other), &set))
            .collect();
        let mean = |way: usize| {
            let samples: Option<Vec<&Sample>> = members
                .iter()
                .map(|row| row.groups[way].map(|group| &group.sample))
                .collect();
            match samples {
                Some(samples) if samples.len() == set.len() => Sample::mean_of(&samples),
                _ => Sample::default(),
            }
        };
        let (multitask, aligned) = (mean(1), mean(2));
        if multitask.points.is_empty() && aligned.points.is_empty() {
            continue;
        }
        sets.push(JointSet {
            variant: row.variant.clone(),
            single: mean(0),
            multitask,
            aligned,
            tasks: set,
        });
    }
    sets
}

/// Runs as wholes, [W20]'s way of counting.
pub fn joint(sets: &[JointSet]) -> Table {
    let columns = ["Tasks", "Setting", "#Best of", "#STL", "#MTL", "#aligned"];
    let note = "A run's figure is the mean over its tasks; STL's is the mean over the same tasks.";
    let differences = ["MTL − STL", "aligned − STL", "aligned − MTL"];
    let mut table =
        Table::new("joint", "Joint runs as a whole", note, &columns).differences(&differences);
    for set in sets {
        let JointSet {
            single,
            multitask,
            aligned,
            ..
        } = set;
        let mut row = vec![
            Entry::text(set.tasks.join("+")),
            Entry::text(variant_name(&set.variant)),
            Entry::best_of([single, multitask, aligned]),
            Entry::sample(single),
            Entry::sample(multitask),
            Entry::sample(aligned),
        ];
        for (a, b) in [(multitask, single), (aligned, single), (aligned, multitask)] {
            row.extend(Entry::comparison(Comparison::of(a, b).as_ref()));
        }
        table.rows.push(row);
    }
    table.without_empty_columns()
}

/// [W20]'s summary: the mean over all pairs per method, and on how many of them one is ahead.
pub fn summary(pairs: &[JointSet]) -> Table {
    let columns = ["Setting", "#Pairs", "#STL", "#MTL", "#aligned"];
    let note = "Mean over the pairs' runs, each the mean over its two tasks, of the pairs that have a \
                score for every method planned. Over seeds, p is of the means over these pairs, seed by \
                seed: would other seeds say the same? Over pairs, it takes each pair's mean as one \
                sample: would other pairs? (Pairs that share a task are less than independent.) Ahead: \
                the pairs on which the first method's mean is higher. Bold: p over pairs below 0.1.";
    let mut table = Table::new("summary", "Summary over pairs", note, &columns);
    for name in ["MTL − STL", "aligned − STL", "aligned − MTL"] {
        table = table.numbers(&[name, "p over seeds", "p over pairs", "ahead"]);
    }
    for (variant, sets) in by_variant(pairs, |set| &set.variant) {
        table.rows.push(summary_row(variant, &sets));
    }
    table.without_empty_columns()
}

fn summary_row(variant: &Variant, sets: &[&JointSet]) -> Vec<Entry> {
    type Method = fn(&JointSet) -> &Sample;
    let methods: [Method; 3] = [|set| &set.single, |set| &set.multitask, |set| &set.aligned];
    let planned = |method: &Method| sets.iter().any(|set| !method(set).points.is_empty());
    let complete: Vec<&JointSet> = sets
        .iter()
        .copied()
        .filter(|set| {
            let mut used = methods.iter().filter(|method| planned(method));
            used.all(|method| method(set).mean().is_some())
        })
        .collect();
    let count = match complete.len() == sets.len() {
        true => sets.len().to_string(),
        false => format!("{} of {}", complete.len(), sets.len()),
    };
    let mut row = vec![Entry::text(variant_name(variant)), Entry::text(count)];
    row.extend(methods.iter().map(|method| {
        if !planned(method) {
            return Entry::default();
        }
        let means: Vec<f64> = complete.iter().filter_map(|s| method(s).mean()).collect();
        Entry::text(statistics::mean(&means).map_or(MISSING.into(), points))
    }));
    let [single, multitask, aligned] = methods;
    for (a, b) in [(multitask, single), (aligned, single), (aligned, multitask)] {
        let of = |method: Method| {
            let samples: Vec<&Sample> = complete.iter().map(|set| method(set)).collect();
            Sample::mean_of(&samples)
        };
        let over_seeds = Comparison::of(&of(a), &of(b));
        let samples: Vec<(&Sample, &Sample)> =
            complete.iter().map(|set| (a(set), b(set))).collect();
        let over_pairs = Comparison::over_sets(&samples);
        let [_, _, p_over_seeds] = Entry::comparison(over_seeds.as_ref());
        let [difference, _, p_over_pairs] = Entry::comparison(over_pairs.as_ref());
        let ahead = over_pairs
            .as_ref()
            .map_or_else(Entry::default, |over_pairs| {
                Entry::text(format!("{} of {}", over_pairs.ahead, over_pairs.n))
            });
        row.extend([difference, p_over_seeds, p_over_pairs, ahead]);
    }
    row
}
