//! The papers' names for the ways to train.

use serde::Serialize;

use crate::suite::plan::Strategy;

/// A way to train for a target: a strategy, with or without alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Way {
    #[serde(rename = "STL")]
    Single,
    /// One task behind an alignment: no single-task training as the papers mean it.
    #[serde(rename = "aligned STL")]
    AlignedSingle,
    #[serde(rename = "MTL")]
    Pair,
    #[serde(rename = "aligned")]
    AlignedPair,
    #[serde(rename = "MTL-ALL")]
    All,
    #[serde(rename = "aligned-ALL")]
    AlignedAll,
    #[serde(rename = "STILTs")]
    Stilts,
    #[serde(rename = "aligned STILTs")]
    AlignedStilts,
    #[serde(rename = "transfer")]
    Transfer,
    #[serde(rename = "aligned transfer")]
    AlignedTransfer,
}

impl Way {
    pub fn of(strategy: Strategy, method: &str) -> Way {
        match (strategy, method == "aligned") {
            (Strategy::Single, false) => Way::Single,
            (Strategy::Single, true) => Way::AlignedSingle,
            (Strategy::Pair, false) => Way::Pair,
            (Strategy::Pair, true) => Way::AlignedPair,
            (Strategy::All, false) => Way::All,
            (Strategy::All, true) => Way::AlignedAll,
            (Strategy::Stilts, false) => Way::Stilts,
            (Strategy::Stilts, true) => Way::AlignedStilts,
            (Strategy::Transfer, false) => Way::Transfer,
            (Strategy::Transfer, true) => Way::AlignedTransfer,
        }
    }

    pub fn is_aligned(self) -> bool {
        matches!(
            self,
            Way::AlignedSingle
                | Way::AlignedPair
                | Way::AlignedAll
                | Way::AlignedStilts
                | Way::AlignedTransfer
        )
    }

    /// The papers' name, for tables.
    pub fn label(self) -> &'static str {
        match self {
            Way::Single => "STL",
            Way::AlignedSingle => "aligned STL",
            Way::Pair => "MTL",
            Way::AlignedPair => "aligned",
            Way::All => "MTL-ALL",
            Way::AlignedAll => "aligned-ALL",
            Way::Stilts => "STILTs",
            Way::AlignedStilts => "aligned STILTs",
            Way::Transfer => "transfer",
            Way::AlignedTransfer => "aligned transfer",
        }
    }
}
