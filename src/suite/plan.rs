//! What a study comes to: runs to train, and the cells of its tables that they fill.
//!
//! A suite's folder holds `suite.yaml` (the study as it was given), `plan.json` (a [`Plan`]) and
//! `runs/<name>/`, a run folder for each run. A run is done when its `results.json` is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::read_text;
use crate::input_error;

/// How a run uses its data sets.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The target alone (STL).
    Single,
    /// The target and one supporting task jointly (pairwise MTL).
    Pair,
    /// All tasks of a set jointly (MTL-ALL).
    All,
    /// The supporting task alone, then the target alone with a new head (STILTs).
    Stilts,
    /// As `Stilts`, the target behind an alignment matrix of its own where the method is aligned.
    Transfer,
}

/// The runs and cells of a study.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub title: String,
    /// What a run needs stands before it.
    pub runs: Vec<Run>,
    pub cells: Vec<Cell>,
}

/// One training run. Two cells that ask for the same training share one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Unique in the plan, and the name of its folder in `runs/`.
    pub name: String,
    /// `single`, `multitask` or `aligned`.
    pub method: String,
    pub tasks: Vec<String>,
    pub seed: u64,
    /// The run whose best weights it starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Names of the runs that must be done before, `source` among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// The training config, as `covalign train` reads it.
    pub config: String,
}

/// One figure of the study: how well `target` does in `run`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The entry of the suite file that asks for it.
    pub experiment: String,
    pub strategy: Strategy,
    /// `single`, `multitask` or `aligned`.
    pub method: String,
    pub target: String,
    /// The tasks that help it, in the plan's order; none for `single`.
    pub supports: Vec<String>,
    /// The grid's values, by config key: cells that differ here are not averaged.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variant: BTreeMap<String, String>,
    pub seed: u64,
    /// The run whose `results.json` has the figure, under `tasks.<target>.dev`.
    pub run: String,
}

impl Plan {
    /// Reads `plan.json` in a suite's folder.
    ///
    /// # Errors
    /// Input errors where the file is missing or is no plan.
    pub fn read(suite: &Path) -> Result<Plan> {
        let path = Plan::path(suite);
        let text = read_text(&path)?;
        serde_json::from_str(&text).map_err(|e| input_error!("{}: {e}", path.display()))
    }

    /// Where a suite's folder keeps its plan.
    pub fn path(suite: &Path) -> PathBuf {
        suite.join("plan.json")
    }

    /// The folder of a run of the suite in `suite`.
    pub fn run_folder(suite: &Path, run: &str) -> PathBuf {
        suite.join("runs").join(run)
    }
}
