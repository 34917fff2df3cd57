//! In which settings the runs of a study differ: what keeps cells apart that are no seeds of each
//! other.

use std::collections::{BTreeMap, BTreeSet};

use super::groups::same_tasks;
use super::results::{RunRecord, State};
use crate::suite::plan::Cell;
use crate::train::keep::setting::{short, Keys, UNKNOWN};

/// Whether a key is known only when a run has begun: a plan cannot say it.
pub fn is_found_out(key: &str) -> bool {
    const FOUND_OUT: [&str; 6] = [
        "encoder",
        "encoder.read_as",
        "engine",
        "evaluation.every",
        "training.device",
        "training.precision",
    ];
    FOUND_OUT.contains(&key) || key.starts_with("data.")
}

/// Puts into the cells' variants in which settings their runs differ, of the keys that count, and
/// gives back which keys those are.
pub fn tell_apart(
    runs: &[RunRecord],
    cells: &mut [Cell],
    counts: impl Fn(&str) -> bool,
) -> Vec<String> {
    let records: BTreeMap<&str, &RunRecord> = runs
        .iter()
        .map(|record| (record.run.name.as_str(), record))
        .collect();
    let record = |cell: &Cell| records.get(cell.run.as_str()).copied();
    let done = |cell: &Cell| record(cell).is_some_and(|record| record.state == State::Done);
    let mut settings: Vec<Keys> = cells
        .iter()
        .map(|cell| {
            let facts = record(cell).and_then(|record| record.facts.as_ref());
            let mut keys = facts.map_or_else(Keys::new, |f| f.setting(&cell.target).keys());
            keys.retain(|key, _| counts(key));
            keys
        })
        .collect();
    // A run that has not ended does not know all of its setting: it belongs to the first that may be
    // the same.
    for index in (0..cells.len()).filter(|&index| !done(&cells[index])) {
        let may_be = |&other: &usize| {
            let (a, b) = (&cells[index], &cells[other]);
            let same = (a.strategy, &a.method, &a.target, &a.variant)
                == (b.strategy, &b.method, &b.target, &b.variant)
                && same_tasks(&a.supports, &b.supports);
            let fits = |(key, value): (&String, &String)| {
                value == UNKNOWN || settings[other].get(key) == Some(value)
            };
            same && settings[index].iter().all(fits)
        };
        let twin = (0..cells.len()).filter(|&i| done(&cells[i])).find(may_be);
        if let Some(twin) = twin {
            settings[index] = settings[twin].clone();
        }
    }
    let mut differ_in = varying(&settings);
    differ_in.retain(|key| !is_told(cells, &settings, key));
    let names = encoder_names(runs);
    for (cell, keys) in cells.iter_mut().zip(&settings) {
        for (key, value) in keys.iter().filter(|(key, _)| differ_in.contains(*key)) {
            let name = names.get(value).filter(|_| key == "encoder");
            let name = name.map_or(String::new(), |name| format!("{name} "));
            let shown = format!("{name}{}", short(value));
            cell.variant.insert(key.clone(), shown);
        }
    }
    differ_in.into_iter().collect()
}

/// Whether the cells' variants tell a key's values already: cells that could be set beside each other
/// have the same.
fn is_told(cells: &[Cell], settings: &[Keys], key: &str) -> bool {
    let mut known: Vec<(&BTreeMap<String, String>, Option<&String>)> = Vec::new();
    for (cell, setting) in cells.iter().zip(settings) {
        let own = (&cell.variant, setting.get(key));
        if !known.contains(&own) {
            known.push(own);
        }
    }
    let within = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| {
        a.iter().all(|(key, value)| b.get(key) == Some(value))
    };
    known.iter().all(|(a, value)| {
        let mut others = known.iter().filter(|(b, _)| within(a, b));
        others.all(|(_, other)| value.is_none() || other.is_none() || other == value)
    })
}

/// Keys with more than one value. A source's key is nothing new where the run itself always has the
/// same.
fn varying(settings: &[Keys]) -> BTreeSet<String> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut new: BTreeSet<&str> = BTreeSet::new();
    for keys in settings {
        for (key, value) in keys {
            values.entry(key).or_default().insert(value);
            let own = key.strip_prefix("start.").and_then(|own| keys.get(own));
            if own != Some(value) {
                new.insert(key);
            }
        }
    }
    let varies = |(key, values): (&str, BTreeSet<&str>)| {
        (values.len() > 1 && new.contains(key)).then(|| key.to_owned())
    };
    values.into_iter().filter_map(varies).collect()
}

/// Names of encoders by their checksum, the first that a run gives.
fn encoder_names(runs: &[RunRecord]) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for results in runs.iter().filter_map(|record| record.results.as_ref()) {
        let encoder = &results.encoder;
        let name = encoder.name.trim_end_matches('/');
        let name = name.rsplit('/').next().unwrap_or(name);
        names
            .entry(encoder.sha256.clone())
            .or_insert_with(|| name.to_owned());
    }
    names
}
