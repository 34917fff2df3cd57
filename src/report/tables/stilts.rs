//! STILTs against pairwise MTL, and the heuristic that chooses between them ([W22]).

use crate::report::groups::{beside, variant_name, Group, Variant};
use crate::report::heuristic::{agreement, by_setting, sweep, Agreement, OrderedPair};
use crate::report::table::{Entry, Table, MISSING};
use crate::report::way::Way;

/// STILTs against pairwise MTL, per ordered pair ([W22]).
pub fn stilts(groups: &[Group], pairs: &[OrderedPair]) -> Table {
    let columns = [
        "Target",
        "Support",
        "Setting",
        "#Rows",
        "#Best of",
        "#STL",
        "#MTL",
        "#STILTs",
        "#MTL − STILTs",
        "#p (Holm)",
        "Better",
        "Heuristic says",
        "Right?",
    ];
    let note =
        "Rows are the target's and the supporting task's, as trained on here; the heuristic says \
                MTL where the target has fewer. Better is named where p < 0.1 over three seeds or more, \
                each pair by itself as in the paper; bold is what is decided among all of them (Holm).";
    let mut table = Table::new("stilts", "STILTs against pairwise MTL", note, &columns);
    let by_id = |id: &str| groups.iter().find(|group| group.id == id);
    let count = |rows: Option<u64>| rows.map_or(MISSING.to_owned(), |n| n.to_string());
    let name = |mtl: Option<bool>, unknown: &str| {
        Entry::text(match mtl {
            Some(true) => "MTL",
            Some(false) => "STILTs",
            None => unknown,
        })
    };
    for pair in pairs {
        let stilts = by_id(&pair.stilts);
        let single = stilts.and_then(|group| beside(groups, Way::Single, &[], group));
        let mut row = vec![
            Entry::text(&pair.target),
            Entry::text(&pair.support),
            Entry::text(variant_name(&pair.variant)),
            Entry::text(format!(
                "{} : {}",
                count(pair.target_rows),
                count(pair.support_rows)
            )),
            Entry::best_of(
                [single, by_id(&pair.mtl), stilts]
                    .into_iter()
                    .flatten()
                    .map(|group| &group.sample),
            ),
            Entry::group(single),
            Entry::group(by_id(&pair.mtl)),
            Entry::group(stilts),
        ];
        let [difference, p] = Entry::comparison(pair.comparison.as_ref());
        row.extend([difference, p]);
        let undecided = match pair.comparison {
            Some(_) => "undecided",
            None => "missing",
        };
        row.push(name(pair.outcome(), undecided));
        row.push(name(pair.says_mtl(1.0), MISSING));
        row.push(Entry::text(match pair.agrees(1.0) {
            Some(true) => "yes",
            Some(false) => "no",
            None => MISSING,
        }));
        table.rows.push(row);
    }
    table.without_empty_columns()
}

/// The heuristic's agreement at ratio 1 in words, for each setting of the grid.
pub fn verdicts(pairs: &[OrderedPair]) -> Vec<String> {
    let settings = by_setting(pairs);
    let verdict = |(variant, pairs): &(&Variant, Vec<&OrderedPair>)| match settings.len() {
        1 => verdict(pairs),
        _ => format!("{}: {}", variant_name(variant), verdict(pairs)),
    };
    settings.iter().map(verdict).collect()
}

fn verdict(pairs: &[&OrderedPair]) -> String {
    let Agreement { right, decided, .. } = agreement(pairs, 1.0);
    let all = pairs.len();
    let compared = pairs
        .iter()
        .filter(|pair| pair.comparison.is_some())
        .count();
    let missing = match all - compared {
        0 => String::new(),
        missing => format!(" ({missing} more are missing)"),
    };
    match agreement(pairs, 1.0).share() {
        None => format!(
            "None of {compared} ordered pairs{missing} is of unequal sizes and decided at p < 0.1 over \
             three seeds or more: these runs say nothing about the heuristic.{}",
            equal(pairs)
        ),
        Some(share) => format!(
            "The heuristic (pairwise MTL where the target has fewer training rows than the supporting \
             task, else STILTs) is right on {right} of {decided} decided pairs, {:.1} %; \
             {decided} of {compared} ordered pairs{missing} are decided at p < 0.1, each by itself \
             as in the paper.{}",
            100.0 * share,
            equal(pairs)
        ),
    }
}

/// The pairs of which the heuristic says nothing.
fn equal(pairs: &[&OrderedPair]) -> String {
    match pairs
        .iter()
        .filter(|pair| pair.ratio() == Some(1.0))
        .count()
    {
        0 => String::new(),
        n => format!(" Of {n} with equal sizes it says nothing."),
    }
}

/// Agreement for every threshold of the ratio.
pub fn thresholds(pairs: &[OrderedPair]) -> Table {
    let note = "MTL is foretold where target rows ÷ support rows is below the threshold: 0 foretells \
                STILTs always, ∞ MTL always. The best threshold is chosen after the fact, on the same \
                pairs: it says how well such a rule can fit, not how well it foretells.";
    let columns = [
        "Setting",
        "#Threshold",
        "#Right",
        "#Decided",
        "#Agreement",
        "Remark",
    ];
    let mut table = Table::new("thresholds", "The heuristic's threshold", note, &columns);
    for (variant, pairs) in by_setting(pairs) {
        table.rows.extend(threshold_rows(variant, &pairs));
    }
    table.without_empty_columns()
}

fn threshold_rows(variant: &Variant, pairs: &[&OrderedPair]) -> Vec<Vec<Entry>> {
    let sweep = sweep(pairs);
    let best = sweep.iter().map(|a| a.right).max();
    let mut lines: Vec<Agreement> = sweep;
    if !lines.is_empty() {
        let at = lines.partition_point(|a| a.threshold < 1.0);
        if lines.get(at).is_none_or(|a| a.threshold != 1.0) {
            lines.insert(at, agreement(pairs, 1.0));
        }
    }
    let row = |line: &Agreement| {
        let mut remarks = Vec::new();
        if line.threshold == 1.0 {
            remarks.push("the heuristic");
        }
        if Some(line.right) == best {
            remarks.push("best, after the fact");
        }
        let threshold = match line.threshold {
            t if t.is_infinite() => "∞".into(),
            t => format!("{t:.3}"),
        };
        let share = line
            .share()
            .map_or(MISSING.into(), |s| format!("{:.1} %", 100.0 * s));
        vec![
            Entry::text(variant_name(variant)),
            Entry::text(threshold),
            Entry::text(line.right.to_string()),
            Entry::text(line.decided.to_string()),
            Entry {
                strong: line.threshold == 1.0,
                ..Entry::text(share)
            },
            Entry::text(remarks.join("; ")),
        ]
    };
    lines.iter().map(row).collect()
}
