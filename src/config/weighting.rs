//! `weighting:`, how the losses of tasks and labels are weighed.

use std::collections::BTreeMap;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bail_input;

/// A way to weigh objectives: tasks, and labels of which any may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Every loss as it is.
    #[default]
    Equal,
    /// The weights in `weights`.
    Fixed,
    /// Learned with the model (Kendall, Gal, Cipolla, CVPR 2018).
    Uncertainty,
    /// By what labels have in common (Algorithm 2 of Wu, Zhang, Ré, ICLR 2020).
    Svd,
}

/// How the losses of tasks, and of labels of which any may hold, are weighed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Weighting {
    /// Where the weights come from.
    pub method: Method,
    /// `svd`: how many directions are common; 1 unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// `fixed`: the weights of tasks, `TASK`, or of single labels, `TASK/LABEL`; 1 of the others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, f64>,
}

impl Weighting {
    /// # Errors
    /// An input error that names the key.
    pub(super) fn validate(&self, source: &str) -> Result<()> {
        let is = |method| self.method == method;
        let rules = [
            (self.rank != Some(0), "rank", "must be above 0"),
            (self.rank.is_none() || is(Method::Svd), "rank", "is `svd`'s"),
            (
                self.weights.is_empty() != is(Method::Fixed),
                "weights",
                "are `fixed`'s, which needs at least one",
            ),
            (
                self.weights.values().all(|w| *w > 0.0 && w.is_finite()),
                "weights",
                "must be above 0",
            ),
        ];
        for (holds, key, demand) in rules {
            if !holds {
                bail_input!("{source}: key `weighting.{key}` {demand}");
            }
        }
        Ok(())
    }
}
