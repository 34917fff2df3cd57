//! A folder of runs, read: a suite's by its plan, any other by its runs' configs.

use std::path::Path;

use anyhow::Result;

use super::results::{RunRecord, Study};
use super::{plain, variants};
use crate::suite::plan::{Plan, Run};
use crate::suite::seen;
use crate::{bail_input, input_error};

/// Reads a suite's folder, or a folder of run folders.
///
/// # Errors
/// Input errors where there is neither, and where the plan does not fit together.
pub fn study(folder: &Path) -> Result<Study> {
    let shown = folder.display();
    if !folder.is_dir() {
        bail_input!("{shown}: no such folder; give a suite's folder, or one of run folders");
    }
    if !Plan::path(folder).is_file() {
        return plain::read(folder);
    }
    let plan = Plan::read(folder)?;
    let read = |run: &Run| {
        let place = Plan::run_folder(folder, &run.name);
        RunRecord::read(run.clone(), folder, &place)
    };
    let runs: Vec<RunRecord> = plan.runs.iter().map(read).collect();
    let mut cells = plan.cells;
    let differ_in = variants::tell_apart(&runs, &mut cells, variants::is_found_out);
    let study = Study {
        folder: folder.to_owned(),
        title: plan.title.clone(),
        planned: true,
        runs,
        cells,
        differ_in,
        seen: seen::read(folder).unwrap_or_default(),
    };
    if study.runs.is_empty() {
        bail_input!("{shown}: the plan has no runs; write it anew with `covalign suite`");
    }
    match study
        .cells
        .iter()
        .find(|cell| study.run(&cell.run).is_none())
    {
        Some(cell) => Err(input_error!(
            "{}: a cell names the run `{}`, which the plan does not have; write it anew with \
             `covalign suite`",
            Plan::path(folder).display(),
            cell.run
        )),
        None => Ok(study),
    }
}
