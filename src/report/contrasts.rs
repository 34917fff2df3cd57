//! Each arm of a study against its base, over all of its sets of tasks: what the first screen says.

use std::collections::BTreeSet;

use serde::Serialize;

use super::comparison::Comparison;
use super::groups::{bases, same_tasks, variant_name, Group, Variant};
use super::samples::Sample;
use super::way::Way;
use crate::analysis::statistics::{decides, holm, FEWEST};

/// The questions in the order in which they are answered: an arm and its base.
const QUESTIONS: [(Way, Way); 11] = [
    (Way::AlignedPair, Way::Pair),
    (Way::Pair, Way::Single),
    (Way::AlignedPair, Way::Single),
    (Way::AlignedAll, Way::All),
    (Way::All, Way::Single),
    (Way::AlignedAll, Way::Single),
    (Way::Pair, Way::Stilts),
    (Way::Stilts, Way::Single),
    (Way::AlignedTransfer, Way::Transfer),
    (Way::Transfer, Way::Single),
    (Way::AlignedTransfer, Way::Single),
];

/// An arm minus its base, both as means over the same sets of tasks and the same seeds.
#[derive(Debug, Clone, Serialize)]
pub struct Contrast {
    pub arm: Way,
    pub base: Way,
    /// The arm's settings.
    pub variant: Variant,
    /// The base's, where the arm has not the same.
    pub base_variant: Variant,
    /// The sets of tasks that count.
    pub sets: Vec<String>,
    pub sets_planned: usize,
    pub seeds: Vec<u64>,
    pub seeds_planned: usize,
    pub arm_sample: Sample,
    pub base_sample: Sample,
    /// Arm minus base for each seed.
    pub by_seed: Vec<f64>,
    /// Would other seeds say the same, on these tasks?
    pub over_seeds: Comparison,
    /// The same over the seeds of which no run collapsed, where some did.
    pub without_collapsed: Option<Comparison>,
    /// Would other tasks? None over one set.
    pub over_sets: Option<Comparison>,
    /// p over seeds after Holm's correction over all contrasts.
    pub corrected: Option<f64>,
    /// For how many tests that corrects.
    pub tests: usize,
}

/// What a contrast's seeds decide, after the correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Better,
    Worse,
    Undecided,
}

impl Contrast {
    /// `aligned − MTL`.
    pub fn question(&self) -> String {
        format!("{} − {}", self.arm.label(), self.base.label())
    }

    /// The settings in which the arm stands apart from others, and its base.
    pub fn setting(&self) -> String {
        let own = variant_name(&self.variant);
        match variant_name(&self.base_variant) {
            base if base.is_empty() => own,
            base if own.is_empty() => format!("against {base}"),
            base => format!("{own}, against {base}"),
        }
    }

    pub fn verdict(&self) -> Verdict {
        match self.corrected.is_some_and(decides) {
            false => Verdict::Undecided,
            true if self.over_seeds.difference > 0.0 => Verdict::Better,
            true => Verdict::Worse,
        }
    }

    /// The p over seeds that can decide: where runs collapsed, the larger of that with them and that
    /// without their seeds, if both differences have one sign.
    pub fn deciding_p(&self) -> Option<f64> {
        let all = &self.over_seeds;
        if !all.collapsed {
            return all.p();
        }
        let without = self.without_collapsed.as_ref()?;
        let one_sign = without.difference * all.difference > 0.0;
        Some(all.p()?.max(without.p()?)).filter(|_| one_sign)
    }

    /// The comparison whose interval is shown: over the sets where there are too few seeds.
    pub fn shown(&self) -> &Comparison {
        let sets = self.over_sets.as_ref();
        sets.filter(|_| self.seeds.len() < FEWEST)
            .unwrap_or(&self.over_seeds)
    }

    /// What its sets are, and how many: `15 pairs`, or the name of the one.
    pub fn tasks(&self) -> String {
        match &self.sets[..] {
            [set] => set.clone(),
            sets => format!("{} {}", sets.len(), self.unit()),
        }
    }

    /// What several of its sets are called.
    pub fn unit(&self) -> &'static str {
        match self.arm {
            Way::All | Way::AlignedAll => "sets of tasks",
            _ if is_joint(self.arm) && is_joint(self.base) || self.base == Way::Single => {
                match is_joint(self.arm) {
                    true => "pairs",
                    false => "ordered pairs",
                }
            }
            _ => "ordered pairs",
        }
    }
}

/// Every contrast for which the study has scores.
pub fn contrasts(groups: &[Group]) -> Vec<Contrast> {
    let mut found: Vec<Contrast> = Vec::new();
    for (arm, base) in QUESTIONS {
        for side in sides(groups, arm, base) {
            let contrast = side.contrast(arm, base);
            // The same runs may stand under two names, as STILTs' do under transfer's.
            let known = |contrast: &Contrast| {
                found.iter().any(|other| {
                    other.over_seeds.runs == contrast.over_seeds.runs
                        && other.by_seed == contrast.by_seed
                })
            };
            found.extend(contrast.filter(|contrast| !known(contrast)));
        }
    }
    let deciding = found.iter().filter_map(Contrast::deciding_p);
    let p: Vec<f64> = deciding.collect();
    let mut corrected = holm(&p).into_iter();
    for contrast in &mut found {
        if contrast.deciding_p().is_some() {
            contrast.corrected = corrected.next();
            contrast.tests = p.len();
        }
    }
    found
}

/// The groups of an arm and of its base in one setting of each.
struct Sides<'a> {
    variant: &'a Variant,
    base_variant: &'a Variant,
    /// Arm and base on a target.
    pairs: Vec<(&'a Group, &'a Group)>,
}

fn sides(groups: &[Group], arm: Way, base: Way) -> Vec<Sides<'_>> {
    let none: &[String] = &[];
    let mut found: Vec<(&Group, &Group)> = Vec::new();
    for group in groups.iter().filter(|group| group.way == arm) {
        let supports = if base == Way::Single {
            none
        } else {
            &group.supports
        };
        let each = bases(groups, base, supports, group).into_iter();
        found.extend(each.map(|base| (group, base)));
    }
    // The base alone may have a grid.
    for group in groups
        .iter()
        .filter(|group| group.way == base && base != Way::Single)
    {
        let each = bases(groups, arm, &group.supports, group).into_iter();
        found.extend(each.map(|arm| (arm, group)));
    }
    let mut sides: Vec<Sides> = Vec::new();
    for (a, b) in found {
        let same =
            |side: &&mut Sides| *side.variant == a.variant && *side.base_variant == b.variant;
        match sides.iter_mut().find(same) {
            Some(side) if side.pairs.iter().any(|(x, y)| x.id == a.id && y.id == b.id) => {}
            Some(side) => side.pairs.push((a, b)),
            None => sides.push(Sides {
                variant: &a.variant,
                base_variant: &b.variant,
                pairs: vec![(a, b)],
            }),
        }
    }
    sides
}

/// A set of tasks with both sides' mean over those of its targets that both have.
struct Set {
    name: String,
    arm: Sample,
    base: Sample,
}

impl Sides<'_> {
    fn contrast(&self, arm: Way, base: Way) -> Option<Contrast> {
        let sets = self.sets(is_joint(arm) && (is_joint(base) || base == Way::Single));
        let planned: BTreeSet<u64> = sets
            .iter()
            .flat_map(|set| set.arm.points.keys().chain(set.base.points.keys()).copied())
            .collect();
        let (kept, seeds) = complete(&sets)?;
        let of = |side: fn(&Set) -> &Sample| -> Vec<Sample> {
            kept.iter().map(|set| side(set).of_seeds(&seeds)).collect()
        };
        let (arms, bases) = (of(|set| &set.arm), of(|set| &set.base));
        let mean = |samples: &[Sample]| Sample::mean_of(&samples.iter().collect::<Vec<_>>());
        let (arm_sample, base_sample) = (mean(&arms), mean(&bases));
        let by_set: Vec<(&Sample, &Sample)> = arms.iter().zip(&bases).collect();
        let by_seed = arm_sample.scores().into_iter().zip(base_sample.scores());
        let mut base_variant = self.base_variant.clone();
        base_variant.retain(|key, value| self.variant.get(key) != Some(value));
        Some(Contrast {
            arm,
            base,
            variant: self.variant.clone(),
            base_variant,
            sets: kept.iter().map(|set| set.name.clone()).collect(),
            sets_planned: sets.len(),
            seeds_planned: planned.len(),
            by_seed: by_seed.map(|(a, b)| a - b).collect(),
            over_seeds: Comparison::of(&arm_sample, &base_sample)?,
            without_collapsed: without_collapsed(&arm_sample, &base_sample),
            over_sets: (kept.len() > 1)
                .then(|| Comparison::over_sets(&by_set))
                .flatten(),
            arm_sample,
            base_sample,
            seeds,
            corrected: None,
            tests: 0,
        })
    }

    fn sets(&self, joint: bool) -> Vec<Set> {
        let mut found: Vec<Members> = Vec::new();
        for &(a, b) in &self.pairs {
            let mut tasks = vec![a.target.clone()];
            tasks.extend(a.supports.iter().cloned());
            let same = |set: &&mut Members| match joint {
                true => same_tasks(&set.tasks, &tasks),
                false => set.tasks == tasks,
            };
            match found.iter_mut().find(same) {
                Some(set) => set.add(a, b),
                None => {
                    let name = match joint {
                        true => tasks.join("+"),
                        false => format!("{} after {}", a.target, a.supports.join("+")),
                    };
                    let mut set = Members {
                        tasks,
                        name,
                        arms: Vec::new(),
                        bases: Vec::new(),
                    };
                    set.add(a, b);
                    found.push(set);
                }
            }
        }
        let set = |members: Members| Set {
            name: members.name,
            arm: Sample::mean_of(&members.arms),
            base: Sample::mean_of(&members.bases),
        };
        found.into_iter().map(set).collect()
    }
}

/// A set of tasks with both sides of each of its targets.
struct Members<'a> {
    tasks: Vec<String>,
    name: String,
    arms: Vec<&'a Sample>,
    bases: Vec<&'a Sample>,
}

impl<'a> Members<'a> {
    fn add(&mut self, arm: &'a Group, base: &'a Group) {
        self.arms.push(&arm.sample);
        self.bases.push(&base.sample);
    }
}

fn without_collapsed(arm: &Sample, base: &Sample) -> Option<Comparison> {
    if arm.collapsed() + base.collapsed() == 0 {
        return None;
    }
    let learned = |sample: &Sample, seed: &u64| !sample.points[seed].collapsed;
    let seeds = arm.seeds().into_iter();
    let seeds: Vec<u64> = seeds
        .filter(|seed| learned(arm, seed) && learned(base, seed))
        .collect();
    Comparison::of(&arm.of_seeds(&seeds), &base.of_seeds(&seeds))
}

/// The sets and seeds to average over: each of these sets has a score on both sides for each of these
/// seeds, and no other choice counts more scores. `None` where no set has a seed on both sides.
fn complete(sets: &[Set]) -> Option<(Vec<&Set>, Vec<u64>)> {
    let seeds_of = |set: &Set| -> Vec<u64> {
        let base = set.base.seeds();
        let both = set.arm.seeds().into_iter();
        both.filter(|seed| base.contains(seed)).collect()
    };
    let own: Vec<Vec<u64>> = sets.iter().map(seeds_of).collect();
    let with = |seeds: &[u64]| -> Vec<&Set> {
        let has = |own: &Vec<u64>| seeds.iter().all(|seed| own.contains(seed));
        let sets = sets.iter().zip(&own).filter(|(_, own)| has(own));
        sets.map(|(set, _)| set).collect()
    };
    let choices = own.iter().filter(|seeds| !seeds.is_empty());
    let choices = choices.map(|seeds| (with(seeds), seeds.clone()));
    choices.max_by_key(|(sets, seeds)| (sets.len() * seeds.len(), sets.len()))
}

fn is_joint(way: Way) -> bool {
    matches!(
        way,
        Way::Pair | Way::AlignedPair | Way::All | Way::AlignedAll
    )
}
