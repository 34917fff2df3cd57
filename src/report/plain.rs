//! A folder of run folders that no suite planned, read as if one had: the cells are what the runs'
//! configs say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::results::{RunRecord, State, Study};
use super::variants;
use crate::bail_input;
use crate::config::Method;
use crate::error::io_error;
use crate::suite::plan::{Cell, Run, Strategy};
use crate::train::keep::run_folder::RunFolder;
use crate::train::keep::setting::RunFacts;
use crate::train::keep::way::Way;

/// Reads the run folders in `folder`.
///
/// # Errors
/// An input error where there are none.
pub fn read(folder: &Path) -> Result<Study> {
    let shown = folder.display();
    if RunFolder::new(folder).config().is_file() {
        bail_input!("{shown}: this is one run; give the folder that holds the run folders");
    }
    let places = places(folder)?;
    let mut runs: Vec<RunRecord> = places.iter().map(|place| record(folder, place)).collect();
    if runs.is_empty() {
        bail_input!("{shown}: neither a suite's folder (plan.json) nor one with run folders in it");
    }
    name_sources(&mut runs, &places);
    let mut cells = runs.iter().flat_map(cells).collect::<Vec<_>>();
    let differ_in = variants::tell_apart(&runs, &mut cells, |_| true);
    Ok(Study {
        folder: folder.to_owned(),
        title: format!("Runs in {}", name_of(folder)),
        planned: false,
        runs,
        cells,
        differ_in,
        seen: Vec::new(),
    })
}

/// The run folders, in the order of their names. Of `single` over several tasks that has not come to
/// its end, the runs of the tasks.
fn places(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|e| io_error(folder, e))?;
    let there = |place: &PathBuf| RunFolder::new(place).config().is_file();
    let mut all: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(there)
        .collect();
    all.sort();
    let each = all.into_iter().flat_map(|place| {
        let inner = match RunFacts::read(&place, None) {
            Ok(RunFacts { config, .. })
                if config.method == Method::Single
                    && config.tasks.len() > 1
                    && !RunFolder::new(&place).results().is_file() =>
            {
                let inner = config.tasks.iter().map(|task| place.join(task));
                inner.filter(there).collect()
            }
            _ => Vec::new(),
        };
        match inner.is_empty() {
            true => vec![place],
            false => inner,
        }
    });
    Ok(each.collect())
}

fn record(folder: &Path, place: &Path) -> RunRecord {
    let name = place.strip_prefix(folder).unwrap_or(place);
    let mut run = Run {
        name: name.display().to_string(),
        method: String::new(),
        tasks: Vec::new(),
        seed: 0,
        source: None,
        needs: Vec::new(),
        config: String::new(),
    };
    match RunFacts::read(place, None) {
        Ok(RunFacts { config, .. }) => {
            run.method = config.method.name().into();
            run.tasks = config.tasks;
            run.seed = config.training.seed;
            RunRecord::read(run, folder, place)
        }
        Err(_) => RunRecord {
            state: State::Unreadable,
            results: None,
            ..RunRecord::read(run, folder, place)
        },
    }
}

/// Says which of the runs another started from.
fn name_sources(runs: &mut [RunRecord], places: &[PathBuf]) {
    let names: BTreeMap<PathBuf, String> = places
        .iter()
        .zip(runs.iter())
        .filter_map(|(place, record)| Some((place.canonicalize().ok()?, record.run.name.clone())))
        .collect();
    for record in runs {
        let source = record.facts.as_ref().and_then(RunFacts::source_folder);
        let source = source.and_then(|source| source.canonicalize().ok());
        record.run.source = source.and_then(|source| names.get(&source).cloned());
    }
}

/// What a run says of each of its tasks.
fn cells(record: &RunRecord) -> Vec<Cell> {
    let run = &record.run;
    let cell = |target: &String| {
        let (way, supports) = record.facts.as_ref()?.way(target)?;
        let strategy = match way {
            Way::Alone | Way::AlignedAlone => Strategy::Single,
            Way::Multitask | Way::Aligned if supports.len() == 1 => Strategy::Pair,
            Way::Multitask | Way::Aligned => Strategy::All,
            Way::Stilts => Strategy::Stilts,
            Way::Transfer => Strategy::Transfer,
        };
        Some(Cell {
            experiment: "runs".into(),
            strategy,
            method: run.method.clone(),
            target: target.clone(),
            supports,
            variant: BTreeMap::new(),
            seed: run.seed,
            run: run.name.clone(),
        })
    };
    run.tasks.iter().filter_map(cell).collect()
}

fn name_of(path: &Path) -> String {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| path.display().to_string())
}
