//! Scores per target: pairs ([W20]), transfer ([W20]), and MTL-ALL beside the rest ([W22]).

use super::rows;
use crate::report::comparison::Comparison;
use crate::report::groups::{variant_name, Group};
use crate::report::samples::Sample;
use crate::report::table::{Entry, Table};
use crate::report::way::Way;

/// What all these tables print.
pub const SCORES: &str =
    "Dev scores × 100 at each task's best evaluation: mean ± standard deviation over \
seeds (number of seeds). Best of: the evaluations that it is the best of. Differences of these means \
in points with Student's 95 % interval; p of a two-sided t-test, paired by seed (Welch's where the \
seeds are not the same), and in parentheses the same after Holm's correction over the column. Bold: \
decided, which is p < 0.1 after the correction, over three seeds or more, no run collapsed (†).";

/// Every target with every supporting task: STL, MTL and aligned ([W20]).
pub fn pairs(groups: &[Group]) -> Table {
    let columns = [
        "Target", "With", "Setting", "#Best of", "#STL", "#MTL", "#aligned",
    ];
    let differences = ["aligned − MTL", "MTL − STL", "aligned − STL"];
    let mut table =
        Table::new("pairs", "Pairs: STL, MTL, aligned", SCORES, &columns).differences(&differences);
    for row in rows(groups, &[Way::Pair, Way::AlignedPair]) {
        table.rows.push(row.entries(&[(2, 1), (1, 0), (2, 0)]));
    }
    table.without_empty_columns()
}

/// Targets after a source, with and without an alignment of their own ([W20]'s transfer).
pub fn transfer(groups: &[Group]) -> Table {
    let columns = [
        "Target",
        "Source",
        "Setting",
        "#Best of",
        "#STL",
        "#transfer",
        "#aligned transfer",
    ];
    let note = format!(
        "The encoder trained on the source, then on the target, with and without an alignment matrix \
         of the target's own. {SCORES}"
    );
    let differences = ["aligned − transfer", "transfer − STL", "aligned − STL"];
    let mut table = Table::new("transfer", "Transfer", &note, &columns).differences(&differences);
    for row in rows(groups, &[Way::Transfer, Way::AlignedTransfer]) {
        table.rows.push(row.entries(&[(2, 1), (1, 0), (2, 0)]));
    }
    table.without_empty_columns()
}

/// MTL-ALL beside what the target gets alone and from one supporting task at a time.
pub fn all(groups: &[Group]) -> Table {
    let columns = [
        "Target",
        "Setting",
        "#Best of",
        "#STL",
        "#MTL, mean of pairs",
        "#aligned, mean of pairs",
        "#STILTs, mean of supports",
        "#MTL-ALL",
        "#aligned-ALL",
    ];
    let note =
        "All tasks of the set jointly. A mean over pairs or supports is taken per seed, and \
                missing for a seed while one of them is.";
    let differences = ["MTL-ALL − STL", "MTL-ALL − MTL", "aligned-ALL − MTL-ALL"];
    let mut table =
        Table::new("all", "MTL-ALL beside the rest", note, &columns).differences(&differences);
    for row in rows(groups, &[Way::All, Way::AlignedAll]) {
        let mean = |way: Way| {
            let same = groups.iter().filter(|group| {
                group.way == way && group.target == row.target && group.variant == row.variant
            });
            Sample::mean_of(&same.map(|group| &group.sample).collect::<Vec<_>>())
        };
        let pairs = mean(Way::Pair);
        let mut entries = vec![
            Entry::text(row.target),
            Entry::text(variant_name(&row.variant)),
            row.best_of(),
            Entry::group(row.groups[0]),
            Entry::sample(&pairs),
            Entry::sample(&mean(Way::AlignedPair)),
            Entry::sample(&mean(Way::Stilts)),
            Entry::group(row.groups[1]),
            Entry::group(row.groups[2]),
        ];
        entries.extend(Entry::comparison(row.compare(1, 0).as_ref()));
        let above_pairs = row.groups[1].and_then(|all| Comparison::of(&all.sample, &pairs));
        entries.extend(Entry::comparison(above_pairs.as_ref()));
        entries.extend(Entry::comparison(row.compare(2, 1).as_ref()));
        table.rows.push(entries);
    }
    table.without_empty_columns()
}
