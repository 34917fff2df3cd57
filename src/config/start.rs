//! `start:`, the run whose weights another run starts from.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which heads a run starts with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Heads {
    /// New ones.
    #[default]
    Fresh,
    /// The other run's, where the task's name or else the number of labels fits; as the code of
    /// Weller et al. (2022), which keeps the whole model.
    Keep,
}

/// Where the encoder's weights come from, instead of the pretrained ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartFrom {
    /// The folder of a run that has ended.
    pub run: PathBuf,
    /// Whether its heads come too.
    #[serde(default)]
    pub heads: Heads,
}
