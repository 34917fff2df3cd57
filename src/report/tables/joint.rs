//! Joint runs as wholes ([W20]).

use serde::Serialize;

use super::{rows, Row};
use crate::report::comparison::Comparison;
use crate::report::groups::{same_tasks, variant_name, Group, Variant};
use crate::report::samples::Sample;
use crate::report::table::{Entry, Table};
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
    let differences = ["aligned − MTL", "MTL − STL", "aligned − STL"];
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
        for (a, b) in [(aligned, multitask), (multitask, single), (aligned, single)] {
            row.extend(Entry::comparison(Comparison::of(a, b).as_ref()));
        }
        table.rows.push(row);
    }
    table.without_empty_columns()
}
