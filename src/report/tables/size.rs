//! [W22]'s size study: what the numbers of rows of target and supporting task change.

use std::collections::BTreeSet;

use super::{rows, Row};
use crate::report::groups::Group;
use crate::report::table::{Entry, Table, MISSING};
use crate::report::way::Way;

/// A target and supporting task at one pair of sizes.
pub struct SizePoint<'a> {
    pub row: Row<'a>,
    pub target_rows: u64,
    pub support_rows: u64,
}

impl SizePoint<'_> {
    /// Rows of the supporting task to one of the target.
    pub fn ratio(&self) -> f64 {
        self.support_rows as f64 / self.target_rows.max(1) as f64
    }
}

/// The ways that a size study compares, after STL.
pub const WAYS: [Way; 3] = [Way::Pair, Way::AlignedPair, Way::Stilts];

/// The targets and supports that were trained at two sizes or more, in the order of their sizes.
pub fn size_points(groups: &[Group]) -> Vec<SizePoint<'_>> {
    let mut points: Vec<SizePoint> = rows(groups, &WAYS)
        .into_iter()
        .filter_map(|row| {
            let known = row.groups.iter().skip(1).flatten();
            let mut sizes = known.filter_map(|g| Some((g.target_rows?, g.support_rows?)));
            let (target_rows, support_rows) = sizes.next()?;
            Some(SizePoint {
                row,
                target_rows,
                support_rows,
            })
        })
        .collect();
    let sizes = |point: &SizePoint| -> usize {
        let same = groups.iter().filter(|group| {
            WAYS.contains(&group.way)
                && group.target == point.row.target
                && group.supports == point.row.supports
        });
        let sizes = same.filter_map(|g| Some((g.target_rows?, g.support_rows?)));
        sizes.collect::<BTreeSet<_>>().len()
    };
    points.retain(|point| sizes(point) > 1);
    points.sort_by(|a, b| {
        let key = |p: &SizePoint| (p.row.target.to_owned(), p.row.supports.to_vec());
        key(a)
            .cmp(&key(b))
            .then(b.target_rows.cmp(&a.target_rows))
            .then(a.support_rows.cmp(&b.support_rows))
    });
    points
}

/// The size study's table.
pub fn size(points: &[SizePoint]) -> Table {
    let columns = [
        "Target",
        "Support",
        "#Target rows",
        "#Support rows",
        "#Support ÷ target",
        "#Best of",
        "#STL",
        "#MTL",
        "#aligned",
        "#STILTs",
    ];
    let note =
        "Rows as trained on. The heuristic expects MTL to win where support ÷ target is above 1.";
    let differences = ["MTL − STL", "MTL − STILTs"];
    let mut table = Table::new("size", "Size study", note, &columns).differences(&differences);
    for point in points {
        let row = &point.row;
        let mut entries = vec![
            Entry::text(row.target),
            Entry::text(row.supports.join("+")),
            Entry::text(point.target_rows.to_string()),
            Entry::text(point.support_rows.to_string()),
            Entry::text(match point.target_rows {
                0 => MISSING.into(),
                _ => format!("{:.2}", point.ratio()),
            }),
        ];
        entries.push(row.best_of());
        entries.extend(row.groups.iter().map(|group| Entry::group(*group)));
        entries.extend(Entry::comparison(row.compare(1, 0).as_ref()));
        entries.extend(Entry::comparison(row.compare(1, 3).as_ref()));
        table.rows.push(entries);
    }
    table.without_empty_columns()
}
