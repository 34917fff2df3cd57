//! [W22]'s heuristic, held against the runs: pairwise MTL beats STILTs when the target has fewer
//! training rows than the supporting task, and the reverse.
//!
//! [W22]: Weller, Seppi, Gardner, *When to Use Multi-Task Learning vs Intermediate Fine-Tuning for
//! Pre-Trained Encoder Transfer Learning*, ACL 2022.

use serde::Serialize;

use super::comparison::Comparison;
use super::groups::{beside, by_variant, Group, Variant};
use super::way::Way;

/// An ordered pair that was trained both ways.
#[derive(Debug, Clone, Serialize)]
pub struct OrderedPair {
    pub target: String,
    pub support: String,
    pub variant: Variant,
    pub target_rows: Option<u64>,
    pub support_rows: Option<u64>,
    /// Ids of the groups.
    pub mtl: String,
    pub stilts: String,
    /// MTL − STILTs; `None` while one of them is missing.
    pub comparison: Option<Comparison>,
}

impl OrderedPair {
    /// Rows of the target to one of the supporting task.
    pub fn ratio(&self) -> Option<f64> {
        let (target, support) = (self.target_rows?, self.support_rows?);
        (support > 0).then(|| target as f64 / support as f64)
    }

    /// Whether the runs decide for MTL (`true`) or STILTs; `None` where p ≥ 0.1 or there are
    /// fewer than three seeds, or a run collapsed. As in [W22], p is the pair's own, and not corrected for the others.
    pub fn outcome(&self) -> Option<bool> {
        let comparison = self.comparison.as_ref()?;
        comparison.decided().then_some(comparison.difference > 0.0)
    }

    /// Whether the heuristic says MTL, with `threshold` in the place of 1; of a ratio that is the
    /// threshold, as of equal sizes, it says nothing.
    pub fn says_mtl(&self, threshold: f64) -> Option<bool> {
        let ratio = self.ratio()?;
        (ratio != threshold).then_some(ratio < threshold)
    }

    /// Whether a decided pair is as the heuristic says.
    pub fn agrees(&self, threshold: f64) -> Option<bool> {
        Some(self.outcome()? == self.says_mtl(threshold)?)
    }
}

/// Agreement at one threshold of the ratio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Agreement {
    /// MTL is foretold below it; `f64::INFINITY` (null in JSON) foretells MTL always.
    pub threshold: f64,
    pub right: usize,
    /// Pairs with p < 0.1 whose rows are known.
    pub decided: usize,
}

impl Agreement {
    /// `None` where no pair is decided.
    pub fn share(&self) -> Option<f64> {
        (self.decided > 0).then(|| self.right as f64 / self.decided as f64)
    }
}

/// The ordered pairs that the study trains by MTL and by STILTs. A grid may be of one of them alone:
/// each of its settings is a pair with the other's only one.
pub fn ordered_pairs(groups: &[Group]) -> Vec<OrderedPair> {
    let one_support = |group: &&Group| group.supports.len() == 1;
    let found = groups.iter().filter(one_support).filter_map(|group| {
        let other = |way| beside(groups, way, &group.supports, group);
        match group.way {
            Way::Stilts => Some((group, other(Way::Pair)?, group)),
            Way::Pair => Some((group, group, other(Way::Stilts)?)),
            _ => None,
        }
    });
    let mut pairs: Vec<OrderedPair> = Vec::new();
    for (setting, mtl, stilts) in found {
        if pairs
            .iter()
            .any(|p| p.mtl == mtl.id && p.stilts == stilts.id)
        {
            continue;
        }
        pairs.push(OrderedPair {
            target: stilts.target.clone(),
            support: stilts.supports_name(),
            variant: setting.variant.clone(),
            target_rows: mtl.target_rows.or(stilts.target_rows),
            support_rows: mtl.support_rows.or(stilts.support_rows),
            mtl: mtl.id.clone(),
            stilts: stilts.id.clone(),
            comparison: Comparison::of(&mtl.sample, &stilts.sample),
        });
    }
    pairs
}

/// The pairs of each setting of the grid.
pub fn by_setting(pairs: &[OrderedPair]) -> Vec<(&Variant, Vec<&OrderedPair>)> {
    by_variant(pairs, |pair| &pair.variant)
}

pub fn agreement(pairs: &[&OrderedPair], threshold: f64) -> Agreement {
    let answers: Vec<bool> = pairs.iter().filter_map(|p| p.agrees(threshold)).collect();
    Agreement {
        threshold,
        right: answers.iter().filter(|right| **right).count(),
        decided: answers.len(),
    }
}

/// Agreement for every threshold that sorts the decided pairs differently: from STILTs always (0)
/// through the middles between neighbouring ratios to MTL always.
pub fn sweep(pairs: &[&OrderedPair]) -> Vec<Agreement> {
    let mut ratios: Vec<f64> = pairs
        .iter()
        .filter(|pair| pair.outcome().is_some())
        .filter_map(|pair| pair.ratio())
        .collect();
    if ratios.is_empty() {
        return Vec::new();
    }
    ratios.sort_by(f64::total_cmp);
    ratios.dedup();
    // Ratios are spread like their logarithms.
    let middles = ratios.windows(2).map(|pair| (pair[0] * pair[1]).sqrt());
    let thresholds = std::iter::once(0.0).chain(middles).chain([f64::INFINITY]);
    thresholds.map(|t| agreement(pairs, t)).collect()
}
