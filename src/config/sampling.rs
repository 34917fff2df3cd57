//! `sampling:`, how an epoch is shared out among tasks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::LengthWindow;

/// How much of an epoch each task gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// In proportion to rows: an epoch sees every row of every task once.
    #[default]
    #[serde(alias = "size")]
    Proportional,
    /// The same for every task; the epoch ends with the smallest task.
    Uniform,
    /// In proportion to rows^τ, in an epoch as long as that of `proportional`.
    Temperature,
    /// The first epoch as `proportional`; then the further a task lies below its single-task
    /// score, the more (Weller et al. 2022, after Gottumukkala et al. 2020).
    Dynamic,
    /// As `temperature`, with a τ that falls from 1 in the first epoch to 0.2 in the last
    /// (Stickland and Murray 2019, PALs).
    Annealed,
}

/// What one batch is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchKind {
    /// Rows of one task.
    #[default]
    Homogeneous,
    /// Rows of several tasks: each task's mean loss goes through its own head and alignment, and
    /// the losses are summed.
    Heterogeneous,
}

/// How an epoch is shared out among tasks, and what a batch is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// How much of an epoch each task gets.
    pub strategy: Strategy,
    /// Whether a batch has rows of one task, or of several.
    pub batches: BatchKind,
    /// τ of `temperature`: 1 is `proportional`, 0 gives every task the same.
    pub temperature: f64,
    /// `dynamic`: each task's score when trained alone, a fraction as in results.json.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reference: BTreeMap<String, f64>,
    /// Rows are drawn at random and sorted by length within about this many batches, which saves
    /// padding, and puts the same rows together again and again; 1 sorts nothing. `auto` is 1 where
    /// the engine packs rows, else `small`: a sixteenth of an epoch's batches, at most 8.
    pub length_window: LengthWindow,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling {
            strategy: Strategy::Proportional,
            batches: BatchKind::Homogeneous,
            temperature: 0.5,
            reference: BTreeMap::new(),
            length_window: LengthWindow::Auto,
        }
    }
}
