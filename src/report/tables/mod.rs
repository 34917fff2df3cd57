//! The papers' tables, from a study's groups.
//!
//! [W20]: Wu, Zhang, Ré, *Understanding and Improving Information Transfer in Multi-Task
//! Learning*, ICLR 2020. [W22]: see [`super::heuristic`].

pub mod joint;
pub mod pairs;
pub mod papers;
pub mod runs;
pub mod size;
pub mod stilts;
pub mod summary;

use super::comparison::Comparison;
use super::groups::{beside, same_tasks, variant_name, Group, Variant};
use super::table::Entry;
use super::way::Way;

/// A target with what helps it, under one variant of the grid.
pub struct Row<'a> {
    pub target: &'a str,
    pub supports: &'a [String],
    pub variant: Variant,
    /// STL's first, then one for each way that was asked for.
    pub groups: Vec<Option<&'a Group>>,
}

/// The rows that groups of `ways` make, each with the group of every way (and STL first). A row
/// that shows nothing which another row does not show is left out.
pub fn rows<'a>(groups: &'a [Group], ways: &[Way]) -> Vec<Row<'a>> {
    let mut rows: Vec<Row> = Vec::new();
    for group in groups.iter().filter(|group| ways.contains(&group.way)) {
        let known = rows.iter().any(|row| {
            row.target == group.target
                && same_tasks(row.supports, &group.supports)
                && row.variant == group.variant
        });
        if known {
            continue;
        }
        let single = beside(groups, Way::Single, &[], group);
        let others = ways
            .iter()
            .map(|way| beside(groups, *way, &group.supports, group));
        rows.push(Row {
            target: &group.target,
            supports: &group.supports,
            variant: group.variant.clone(),
            groups: std::iter::once(single).chain(others).collect(),
        });
    }
    let first = |row: &Row| {
        let same = |g: &Group| g.target == row.target && same_tasks(&g.supports, row.supports);
        groups.iter().position(same)
    };
    // The grid's values of one target and its supports under each other.
    rows.sort_by_cached_key(first);
    let shows = |row: &Row| -> Vec<String> {
        let shown = row.groups.iter().skip(1).flatten();
        shown.map(|group| group.id.clone()).collect()
    };
    let all: Vec<Vec<String>> = rows.iter().map(shows).collect();
    let mut index = 0;
    rows.retain(|_| {
        let own = &all[index];
        let subsumed = all.iter().enumerate().any(|(other, shown)| {
            other != index && shown.len() > own.len() && own.iter().all(|id| shown.contains(id))
        });
        index += 1;
        !subsumed
    });
    rows
}

impl Row<'_> {
    /// The difference of two of the groups.
    pub fn compare(&self, a: usize, b: usize) -> Option<Comparison> {
        Comparison::of(&self.groups[a]?.sample, &self.groups[b]?.sample)
    }

    /// Of how many evaluations the scores are the best.
    pub fn best_of(&self) -> Entry {
        let groups = self.groups.iter().flatten();
        Entry::best_of(groups.map(|group| &group.sample))
    }

    /// Target, supports, variant, number of evaluations, the groups' means, and the differences of
    /// pairs of groups.
    pub fn entries(&self, differences: &[(usize, usize)]) -> Vec<Entry> {
        let mut entries = vec![
            Entry::text(self.target),
            Entry::text(self.supports.join("+")),
            Entry::text(variant_name(&self.variant)),
            self.best_of(),
        ];
        entries.extend(self.groups.iter().map(|group| Entry::group(*group)));
        for &(a, b) in differences {
            entries.extend(Entry::comparison(self.compare(a, b).as_ref()));
        }
        entries
    }
}
