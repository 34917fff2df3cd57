//! A folder of run folders that no suite planned, read as if one had: the cells are what the runs'
//! configs say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_yaml::Value;

use super::results::{RunRecord, Study};
use crate::bail_input;
use crate::error::io_error;
use crate::suite::plan::{Cell, Run, Strategy};
use crate::train::keep::run_folder::RunFolder;

/// Config keys by dotted name.
type Settings = BTreeMap<String, String>;

/// Reads the run folders in `folder`.
///
/// # Errors
/// An input error where there are none.
pub fn read(folder: &Path) -> Result<Study> {
    let shown = folder.display();
    if RunFolder::new(folder).config().is_file() {
        bail_input!("{shown}: this is one run; give the folder that holds the run folders");
    }
    let entries = std::fs::read_dir(folder).map_err(|e| io_error(folder, e))?;
    let mut places: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    places.sort();
    let found: Vec<(RunRecord, Settings)> = places
        .iter()
        .filter_map(|place| {
            let settings = settings(place)?;
            let run = describe(place, &settings)?;
            Some((RunRecord::read(run, folder, place), settings))
        })
        .collect();
    if found.is_empty() {
        bail_input!("{shown}: neither a suite's folder (plan.json) nor one with run folders in it");
    }
    let varying = varying_keys(&found);
    let cells = found.iter().flat_map(|(record, settings)| {
        let (strategy, supports) = strategy(record, settings);
        let variant = varying.iter().filter(|key| {
            // What a run does not use makes no difference to it.
            record.run.method == "aligned" || !key.starts_with("alignment.")
        });
        let variant: Settings = variant
            .filter_map(|key| Some((key.clone(), settings.get(key)?.clone())))
            .collect();
        let run = &record.run;
        run.tasks.iter().map(move |target| Cell {
            experiment: "runs".into(),
            strategy,
            method: run.method.clone(),
            target: target.clone(),
            supports: match &supports {
                Some(supports) => supports.clone(),
                None if strategy == Strategy::Single => Vec::new(),
                None => run.tasks.iter().filter(|t| *t != target).cloned().collect(),
            },
            variant: variant.clone(),
            seed: run.seed,
            run: run.name.clone(),
        })
    });
    let cells = cells.collect();
    Ok(Study {
        folder: folder.to_owned(),
        title: format!("Runs in {}", name_of(folder)),
        planned: false,
        runs: found.into_iter().map(|(record, _)| record).collect(),
        cells,
        seen: Vec::new(),
    })
}

/// The run's config, flat; `None` where there is no run.
fn settings(place: &Path) -> Option<Settings> {
    let text = std::fs::read_to_string(RunFolder::new(place).config()).ok()?;
    let mut settings = Settings::new();
    flatten("", &serde_yaml::from_str(&text).ok()?, &mut settings);
    settings.contains_key("tasks").then_some(settings)
}

fn flatten(prefix: &str, value: &Value, out: &mut Settings) {
    let text = match value {
        Value::Mapping(map) => {
            for (key, value) in map {
                let key = key.as_str().unwrap_or_default();
                let dot = if prefix.is_empty() { "" } else { "." };
                flatten(&format!("{prefix}{dot}{key}"), value, out);
            }
            return;
        }
        Value::Sequence(items) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            words.join(" ")
        }
        other => serde_yaml::to_string(other)
            .unwrap_or_default()
            .trim()
            .to_owned(),
    };
    out.insert(prefix.to_owned(), text);
}

fn describe(place: &Path, settings: &Settings) -> Option<Run> {
    Some(Run {
        name: name_of(place),
        method: settings.get("method")?.clone(),
        tasks: settings
            .get("tasks")?
            .split(' ')
            .map(str::to_owned)
            .collect(),
        seed: settings.get("training.seed")?.parse().ok()?,
        source: None,
        needs: Vec::new(),
        config: String::new(),
    })
}

/// How a run uses its data sets, and what helps it where that is not in the run itself.
fn strategy(record: &RunRecord, settings: &Settings) -> (Strategy, Option<Vec<String>>) {
    let run = &record.run;
    if let Some(start) = settings.get("start.run") {
        let start = Path::new(start);
        let tasks = self::settings(start).and_then(|source| source.get("tasks").cloned());
        let tasks = tasks.unwrap_or_else(|| name_of(start));
        let supports = tasks.split(' ').map(str::to_owned).collect();
        let strategy = match run.method.as_str() {
            "aligned" => Strategy::Transfer,
            _ => Strategy::Stilts,
        };
        return (strategy, Some(supports));
    }
    let strategy = match (run.method.as_str(), run.tasks.len()) {
        ("single", _) | (_, 1) => Strategy::Single,
        (_, 2) => Strategy::Pair,
        _ => Strategy::All,
    };
    (strategy, None)
}

/// The keys in which runs differ, apart from those that say which cell a run fills.
fn varying_keys(found: &[(RunRecord, Settings)]) -> BTreeSet<String> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (record, settings) in found {
        let used = settings
            .iter()
            .filter(|(key, _)| record.run.method == "aligned" || !key.starts_with("alignment."));
        for (key, value) in used {
            values.entry(key).or_default().insert(value);
        }
    }
    let own = ["method", "tasks", "training.seed", "out"];
    values
        .into_iter()
        .filter(|(key, values)| {
            values.len() > 1 && !own.contains(key) && !key.starts_with("start.")
        })
        .map(|(key, _)| key.to_owned())
        .collect()
}

fn name_of(path: &Path) -> String {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| path.display().to_string())
}
