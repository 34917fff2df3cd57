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

/// The key by which a variant tells apart what two entries of a suite name alike.
const ENTRY: &str = "experiment";

/// The suite's entry, where that tells apart, and `key=value` for each key of the grid, those of
/// training without their room.
pub fn variant_name(variant: &Variant) -> String {
    let entry = variant.get(ENTRY).cloned();
    let keys = variant.iter().filter(|(key, _)| *key != ENTRY);
    let values = keys.map(|(key, value)| {
        let key = key.strip_prefix("training.").unwrap_or(key);
        format!("{key}={value}")
    });
    entry
        .into_iter()
        .chain(values)
        .collect::<Vec<_>>()
        .join(", ")
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
        steps: record.and_then(|record| Some(record.results.as_ref()?.steps)),
        folds: record.and_then(|record| record.facts.as_ref()?.config.folds),
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
    // An aligned arm is nobody's base: it has its entry's name wherever another entry has one like it,
    // such as one matrix for all tasks.
    let like = |a: &Group, b: &Group| {
        let same_way = a.way == b.way && a.way.is_aligned();
        let same_task = a.target == b.target && same_tasks(&a.supports, &b.supports);
        same_way && same_task && a.experiment != b.experiment
    };
    let ambiguous: Vec<bool> = kept
        .iter()
        .map(|group| {
            let same = kept.iter().filter(|other| same_cell(other, group));
            same.count() > 1 || kept.iter().any(|other| like(other, group))
        })
        .collect();
    for (group, ambiguous) in kept.iter_mut().zip(ambiguous) {
        if ambiguous {
            let name = group.experiment.clone();
            group.variant.insert(ENTRY.into(), name);
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
    let within = |group: &&Group| {
        let mut own = group.variant.iter();
        own.all(|(key, value)| like.variant.get(key) == Some(value))
    };
    // The first of equals.
    let candidates = of_target(groups, way, supports, like).filter(within);
    candidates.rev().max_by_key(|group| group.variant.len())
}

/// The groups of `way` to set beside `like`: the one of [`beside`], or where there is none the several
/// that differ from what `like`'s variant says only in the suite's entry, such as training alone for
/// as many steps as jointly, and for half of them.
pub fn bases<'a>(
    groups: &'a [Group],
    way: Way,
    supports: &[String],
    like: &Group,
) -> Vec<&'a Group> {
    if let Some(base) = beside(groups, way, supports, like) {
        return vec![base];
    }
    let fits = |group: &&Group| {
        let mut own = group.variant.iter();
        own.all(|(key, value)| key == ENTRY || like.variant.get(key) == Some(value))
    };
    of_target(groups, way, supports, like)
        .filter(fits)
        .collect()
}

/// The groups of `way` with `supports` of the same target and numbers of rows as `like`.
fn of_target<'a>(
    groups: &'a [Group],
    way: Way,
    supports: &[String],
    like: &Group,
) -> impl DoubleEndedIterator<Item = &'a Group> {
    let (supports, like) = (supports.to_owned(), like.clone());
    groups.iter().filter(move |group| {
        group.way == way
            && group.target == like.target
            && same_tasks(&group.supports, &supports)
            && agree(group.target_rows, like.target_rows)
            && (supports.is_empty() || agree(group.support_rows, like.support_rows))
    })
}

fn agree(a: Option<u64>, b: Option<u64>) -> bool {
    a.is_none() || b.is_none() || a == b
}
