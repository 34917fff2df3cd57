//! Cells that differ in nothing but the seed, and which of them stand beside each other.

use std::collections::BTreeMap;

use serde::Serialize;

use super::results::Study;
use super::samples::{Point, Sample};
use super::way::Way;
use crate::suite::plan::Cell;

/// The grid's values of a cell, by config key.
pub type Variant = BTreeMap<String, String>;

/// Cells that differ in nothing but the seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// Its anchor in the report.
    pub id: String,
    pub experiment: String,
    pub way: Way,
    pub target: String,
    pub supports: Vec<String>,
    pub variant: Variant,
    /// Rows of the target that the runs trained on.
    pub target_rows: Option<u64>,
    /// Rows of all supporting tasks that the runs, or their sources, trained on.
    pub support_rows: Option<u64>,
    pub sample: Sample,
}

impl Group {
    /// The supporting tasks in one word.
    pub fn supports_name(&self) -> String {
        self.supports.join("+")
    }

    pub fn variant_name(&self) -> String {
        variant_name(&self.variant)
    }
}

/// `key=value` for each key of the grid, without the room that the key lives in.
pub fn variant_name(variant: &Variant) -> String {
    let values = variant.iter().map(|(key, value)| format!("{key}={value}"));
    values.collect::<Vec<_>>().join(", ")
}

/// What has the same values of the grid together, in the order in which the values come.
pub fn by_variant<'a, T>(
    items: impl IntoIterator<Item = &'a T>,
    variant: impl Fn(&'a T) -> &'a Variant,
) -> Vec<(&'a Variant, Vec<&'a T>)> {
    let mut together: Vec<(&Variant, Vec<&T>)> = Vec::new();
    for item in items {
        let own = variant(item);
        match together.iter_mut().find(|(other, _)| *other == own) {
            Some((_, items)) => items.push(item),
            None => together.push((own, vec![item])),
        }
    }
    together
}

/// The cells of a study, by all but the seed; in the plan's order.
pub fn groups(study: &Study) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for cell in &study.cells {
        let way = Way::of(cell.strategy, &cell.method);
        let same = |group: &&mut Group| {
            group.experiment == cell.experiment
                && group.way == way
                && group.target == cell.target
                && same_tasks(&group.supports, &cell.supports)
                && group.variant == cell.variant
        };
        let point = point(study, cell);
        match groups.iter_mut().find(same) {
            // A run that was trained twice with one seed is one sample, not two: the first that has
            // a score.
            Some(group) => {
                let kept = group.sample.points.entry(cell.seed).or_default();
                if kept.score.is_none() && (point.score.is_some() || kept.runs.is_empty()) {
                    *kept = point;
                }
            }
            None => groups.push(Group {
                id: String::new(),
                experiment: cell.experiment.clone(),
                way,
                target: cell.target.clone(),
                supports: cell.supports.clone(),
                variant: cell.variant.clone(),
                target_rows: None,
                support_rows: None,
                sample: Sample {
                    points: [(cell.seed, point)].into(),
                },
            }),
        }
    }
    let mut groups = merge_experiments(groups);
    for (number, group) in groups.iter_mut().enumerate() {
        group.id = format!("cell-{}", number + 1);
        group.target_rows = rows(study, group, std::slice::from_ref(&group.target));
        group.support_rows = match group.supports.is_empty() {
            true => None,
            false => rows(study, group, &group.supports),
        };
    }
    groups
}

fn point(study: &Study, cell: &Cell) -> Point {
    let record = study.run(&cell.run);
    let collapsed = record.is_some_and(|r| r.collapsed().contains(&cell.target.as_str()));
    Point {
        score: record.and_then(|record| record.score(&cell.target)),
        runs: vec![cell.run.clone()],
        collapsed,
        evaluations: record.and_then(|record| record.evaluations.get(&cell.target).copied()),
    }
}

/// Two entries of a suite may ask for the same cell. Where both come to the same runs they are one
/// group; where they do not, what tells them apart is the entry, which joins their variant.
fn merge_experiments(groups: Vec<Group>) -> Vec<Group> {
    let mut kept: Vec<Group> = Vec::new();
    for group in groups {
        let within = |a: &Group, b: &Group| {
            let mut points = a.sample.points.iter();
            points.all(|(seed, point)| b.sample.points.get(seed) == Some(point))
        };
        let twin = kept.iter_mut().find(|other| {
            same_cell(other, &group) && (within(other, &group) || within(&group, other))
        });
        match twin {
            Some(twin) => twin.sample.points.extend(group.sample.points),
            None => kept.push(group),
        }
    }
    let ambiguous: Vec<bool> = kept
        .iter()
        .map(|group| kept.iter().filter(|other| same_cell(other, group)).count() > 1)
        .collect();
    for (group, ambiguous) in kept.iter_mut().zip(ambiguous) {
        if ambiguous {
            let name = group.experiment.clone();
            group.variant.insert("experiment".into(), name);
        }
    }
    kept
}

fn same_cell(a: &Group, b: &Group) -> bool {
    a.way == b.way
        && a.target == b.target
        && a.variant == b.variant
        && same_tasks(&a.supports, &b.supports)
}

/// Whether two lists name the same tasks, in whatever order.
pub fn same_tasks(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().all(|task| b.contains(task))
}

/// The rows of some tasks together, from the first of the group's runs that tells.
fn rows(study: &Study, group: &Group, tasks: &[String]) -> Option<u64> {
    group.sample.runs().iter().find_map(|run| {
        let each = tasks.iter().map(|task| study.training_rows(run, task));
        each.sum::<Option<u64>>()
    })
}

/// The group of `way` with `supports` to set beside `like`: of the same target and, as far as they
/// are known, the same numbers of rows; the one whose variant says most of what `like`'s says, and
/// nothing else.
pub fn beside<'a>(
    groups: &'a [Group],
    way: Way,
    supports: &[String],
    like: &Group,
) -> Option<&'a Group> {
    let fits = |group: &&Group| {
        let within = |(key, value)| like.variant.get(key) == Some(value);
        group.way == way
            && group.target == like.target
            && same_tasks(&group.supports, supports)
            && group.variant.iter().all(within)
            && agree(group.target_rows, like.target_rows)
            && (supports.is_empty() || agree(group.support_rows, like.support_rows))
    };
    // The first of equals.
    let candidates = groups.iter().filter(fits).rev();
    candidates.max_by_key(|group| group.variant.len())
}

fn agree(a: Option<u64>, b: Option<u64>) -> bool {
    a.is_none() || b.is_none() || a == b
}
