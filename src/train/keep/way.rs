//! How a run uses its tasks for a target: the one definition for every part that compares runs.

use serde::Serialize;

use crate::config::Method;

/// A way to train a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The target alone.
    Alone,
    /// The target alone, behind an alignment: no single-task training as others mean it.
    AlignedAlone,
    /// Jointly with its supports.
    Multitask,
    /// Jointly, each task behind an alignment.
    Aligned,
    /// After its supports.
    Stilts,
    /// After its supports, behind an alignment of its own.
    Transfer,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Way::Alone => "alone",
            Way::AlignedAlone => "aligned, alone",
            Way::Multitask => "MTL",
            Way::Aligned => "aligned MTL",
            Way::Stilts => "STILTs",
            Way::Transfer => "aligned transfer",
        }
    }

    /// How a run over `tasks`, which started from one over `source`, trained `target`, and the tasks
    /// that helped. `None` where it is no way of this list: several tasks jointly after others.
    pub fn of(
        method: Method,
        tasks: &[String],
        source: Option<&[String]>,
        target: &str,
    ) -> Option<(Way, Vec<String>)> {
        let aligned = method == Method::Aligned;
        // `single` trains each of several tasks alone.
        let others = tasks
            .iter()
            .filter(|task| *task != target && method != Method::Single);
        let others: Vec<String> = others.cloned().collect();
        let way = match (source, others.is_empty(), aligned) {
            (None, true, false) => Way::Alone,
            (None, true, true) => Way::AlignedAlone,
            (None, false, false) => Way::Multitask,
            (None, false, true) => Way::Aligned,
            (Some(_), true, false) => Way::Stilts,
            (Some(_), true, true) => Way::Transfer,
            (Some(_), false, _) => return None,
        };
        Some((way, source.map_or(others, <[String]>::to_vec)))
    }
}
