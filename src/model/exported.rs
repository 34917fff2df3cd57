//! What `covalign export` says of a folder's origin, for runs that start from it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::nn::VarStore;
use tch::Tensor;

use super::{save, weights};
use crate::error::read_text;
use crate::input_error;

/// Its key in `config.json`.
pub const ORIGIN: &str = "covalign";

/// Where a folder comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exported {
    /// Whose head it holds.
    pub task: String,
    /// Of the run.
    pub method: String,
    pub tasks: Vec<String>,
    /// Of the weights.
    pub step: u64,
}

impl Exported {
    /// What `folder` says; none where it is no folder that was exported.
    ///
    /// # Errors
    /// Input errors for a config that cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Exported>> {
        let path = folder.join("config.json");
        if !path.is_file() {
            return Ok(None);
        }
        let unreadable = |e: serde_json::Error| input_error!("{}: {e}", path.display());
        let mut config: Value = serde_json::from_str(&read_text(&path)?).map_err(unreadable)?;
        let origin = config.as_object_mut().and_then(|map| map.remove(ORIGIN));
        origin
            .map(|origin| serde_json::from_value(origin).map_err(unreadable))
            .transpose()
    }

    /// Copies the folder's encoder into `encoder`. Its head by a run's names, and the sha256 of the file.
    pub fn give(
        &self,
        folder: &Path,
        encoder: &VarStore,
    ) -> Result<(BTreeMap<String, Tensor>, String)> {
        let file = weights::find(folder)?;
        weights::load_into(encoder, &file)?;
        let mut heads = BTreeMap::new();
        for part in ["weight", "bias"] {
            let tensor = weights::read_one(&file, &format!("classifier.{part}"))?;
            heads.insert(format!("{}.{part}", self.task), tensor);
        }
        Ok((heads, save::sha256(&file)?))
    }
}
