//! How to use a task for another: after it (STILTs), with it (pairwise MTL), or not at all.
//!
//! Measured runs decide where there are any, corrected for how many ways were [`tried`](super::tried).
//! Else the size rule of Weller, Seppi and Gardner (ACL
//! 2022) says which of MTL and STILTs to try, and not whether either helps. What has no evidence is
//! not said.

use std::collections::BTreeMap;

use serde::Serialize;

use super::evidence::{Arm, Evidence};
use super::statistics::FEWEST;
use super::tried::{Difference, Measured, Tried};
use crate::data::overlap::Overlap;
use crate::task::{Labels, Split, Task};
use crate::train::keep::setting::short;
use crate::train::keep::way::Way;

/// What to do with a support for a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "advice", content = "way", rename_all = "snake_case")]
pub enum Verdict {
    /// Measured to be better than the target alone.
    Use(Way),
    /// Every way that was measured is worse than the target alone.
    Alone,
    /// Of MTL and STILTs this one; whether it is better than the target alone is not known.
    Rather(Way),
    /// Measured, without a sure sign.
    Undecided,
    /// There is no evidence either way.
    Unknown,
}

impl Verdict {
    pub fn text(self) -> String {
        match self {
            Verdict::Use(way) => way.name().to_owned(),
            Verdict::Alone => "alone".to_owned(),
            Verdict::Rather(Way::Stilts) => "if at all, STILTs".to_owned(),
            Verdict::Rather(way) => format!("if at all, {}", way.name()),
            Verdict::Undecided => "undecided".to_owned(),
            Verdict::Unknown => "no evidence either way".to_owned(),
        }
    }
}

/// Advice on one target and the tasks that may help it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Advice {
    pub target: String,
    pub supports: Vec<String>,
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Of the verdict's difference, after Holm's correction; none where nothing decided was measured.
    pub p: Option<f64>,
    /// How many tests that corrects for.
    pub tests: usize,
    /// The settings of the way's own, where several were tried.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub setting: String,
    /// Where a way is advised, the next best with the same supports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Next>,
    /// What speaks for it and against it, a line each.
    pub evidence: Vec<String>,
}

/// The way that is next best.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Next {
    pub way: Way,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub setting: String,
    /// Whether the best is surely better.
    pub surely_worse: bool,
    /// Its name for people.
    #[serde(skip)]
    pub name: String,
}

/// What is known of the tasks besides their runs.
pub struct Known<'a> {
    pub tasks: &'a [Task],
    /// Rows that each is trained on.
    pub rows: BTreeMap<String, usize>,
    pub overlaps: &'a [Overlap],
    pub evidence: &'a Evidence,
}

impl Known<'_> {
    /// Advice on every task that may help `target`, and on every set of tasks that did in a run.
    pub fn advise(&self, target: &str) -> Vec<Advice> {
        let others = self.tasks.iter().filter(|task| task.name != target);
        let mut supports: Vec<Vec<String>> = others.map(|task| vec![task.name.clone()]).collect();
        for (arm, _) in self.evidence.arms(target) {
            if !arm.supports.is_empty() && !supports.contains(&arm.supports) {
                supports.push(arm.supports.clone());
            }
        }
        let tried = Tried::of(self.evidence, target);
        let advise = |supports: Vec<String>| self.on(target, supports, &tried);
        supports.into_iter().map(advise).collect()
    }

    fn on(&self, target: &str, supports: Vec<String>, tried: &Tried) -> Advice {
        let with_alone = tried.with_alone.iter();
        let mut with_alone: Vec<&Measured> = with_alone
            .filter(|found| found.a.supports == supports)
            .collect();
        let ways = tried.ways.iter().filter(|f| f.a.supports == supports);
        let ways: Vec<&Measured> = ways.collect();
        let rule = self.size_rule(target, &supports);
        let verdict = verdict(&with_alone, &ways, rule.as_ref().map(|rule| rule.0));
        let name = |arm: &Arm| self.name(target, arm);

        let shown = |found: &Measured| {
            let (a, b) = (name(found.a), name(found.b));
            format!("measured: {}", points(&a, found.difference, &b))
        };
        let mut evidence: Vec<String> = with_alone.iter().copied().map(shown).collect();
        with_alone.sort_by(|a, b| b.difference.mean.total_cmp(&a.difference.mean));
        let next = match with_alone[..] {
            [best, next, ..] => tried.between(best.a, next.a).map(|d| (best.a, next.a, d)),
            _ => None,
        };
        if let Some((best, next, difference)) = next {
            let shown = points(&name(best), difference, &name(next));
            evidence.push(format!("measured, the best two: {shown}"));
        }
        let told = |found: &&&Measured| {
            next.is_none_or(|(best, next, _)| {
                [best, next] != [found.a, found.b] && [next, best] != [found.a, found.b]
            })
        };
        let rivals = ways.iter().filter(|found| are_rivals(found)).filter(told);
        evidence.extend(rivals.copied().map(shown));
        evidence.extend(self.left_out(target, &supports));
        evidence.extend(rule.map(|(_, text)| text));
        if let [support] = supports.as_slice() {
            evidence.extend(self.labels(target, support));
        }
        evidence.extend(supports.iter().filter_map(|s| self.overlap(target, s)));
        let advised = verdict.arm;
        Advice {
            target: target.to_owned(),
            supports,
            verdict: verdict.verdict,
            p: verdict
                .difference
                .and_then(|difference| difference.corrected),
            tests: verdict.difference.map_or(0, |difference| difference.tests),
            setting: advised.map_or(String::new(), |arm| self.setting(target, arm)),
            next: next
                .filter(|(best, ..)| advised == Some(best))
                .map(|(_, next, difference)| Next {
                    way: next.way,
                    setting: self.setting(target, next),
                    surely_worse: difference.decided(),
                    name: name(next),
                }),
            evidence,
        }
    }

    /// A way, with its settings where it was tried with several.
    fn name(&self, target: &str, arm: &Arm) -> String {
        match self.setting(target, arm) {
            setting if setting.is_empty() => arm.way.name().to_owned(),
            setting => format!("{} ({setting})", arm.way.name()),
        }
    }

    /// The settings by which an arm differs from others of its way and supports.
    fn setting(&self, target: &str, arm: &Arm) -> String {
        let all = self.evidence.arms(target).map(|(arm, _)| arm);
        let same = all.filter(|other| other.way == arm.way && other.supports == arm.supports);
        let same: Vec<&Arm> = same.collect();
        let varies = |key: &str| {
            same.iter()
                .any(|other| other.own.get(key) != arm.own.get(key))
        };
        let own = arm.own.iter().filter(|(key, _)| varies(key));
        let shown = own.map(|(key, value)| format!("{key}={}", short(value)));
        shown.collect::<Vec<_>>().join(", ")
    }

    /// Runs that are no evidence because they learned nothing.
    fn left_out(&self, target: &str, supports: &[String]) -> Vec<String> {
        let arms = self.evidence.arms(target);
        let own = arms.filter(|(arm, _)| arm.way == Way::Alone || arm.supports == supports);
        own.filter(|(_, scores)| scores.collapsed > 0)
            .map(|(arm, scores)| {
                format!(
                    "caution: {} {} of {} collapsed (not above the best constant answer) and are \
                     left out",
                    scores.collapsed,
                    if scores.collapsed == 1 { "run" } else { "runs" },
                    self.name(target, arm)
                )
            })
            .collect()
    }

    /// MTL is ahead of STILTs where the target has fewer rows than its support, and the reverse.
    fn size_rule(&self, target: &str, supports: &[String]) -> Option<(Way, String)> {
        let [support] = supports else { return None };
        let (ours, theirs) = (*self.rows.get(target)?, *self.rows.get(support)?);
        let (way, sign) = match ours.cmp(&theirs) {
            std::cmp::Ordering::Less => (Way::Multitask, "<"),
            std::cmp::Ordering::Greater => (Way::Stilts, ">"),
            std::cmp::Ordering::Equal => return None,
        };
        let text = format!(
            "size rule of Weller et al. 2022 (GLUE, distilroberta; not measured here): \
             {ours} {sign} {theirs} training rows, so {} before {}",
            way.name(),
            if way == Way::Stilts { "MTL" } else { "STILTs" }
        );
        Some((way, text))
    }

    fn labels(&self, target: &str, support: &str) -> Option<String> {
        let of = |name: &str| self.tasks.iter().find(|task| task.name == name);
        match (&of(target)?.labels, &of(support)?.labels) {
            (Labels::Classes(a), Labels::Classes(b)) if a.names.len() == b.names.len() => {
                Some(format!(
                    "labels: {} classes in both; STILTs could keep the head",
                    a.names.len()
                ))
            }
            (Labels::Range { .. }, Labels::Range { .. }) => {
                Some("labels: numbers in both; STILTs could keep the head".to_owned())
            }
            (Labels::AnyOf(a), Labels::AnyOf(b)) if a.names.len() == b.names.len() => {
                Some(format!(
                    "labels: any of {} in both; STILTs could keep the head",
                    a.names.len()
                ))
            }
            _ => None,
        }
    }

    /// What a measured gain may owe to rows that were trained on.
    fn overlap(&self, target: &str, support: &str) -> Option<String> {
        let found = self
            .overlaps
            .iter()
            .find(|o| o.task == target && o.split == Split::Dev && o.training == support)?;
        Some(format!(
            "caution: {} of {} dev rows are among {support}'s training rows; a gain may be memory \
             unless the runs have `deduplicate: true`",
            found.rows, found.of
        ))
    }
}

/// A verdict with what it rests on.
struct Reached<'a> {
    verdict: Verdict,
    /// The way that it advises.
    arm: Option<&'a Arm>,
    difference: Option<Difference>,
}

/// The measured ways against the target alone, MTL against STILTs, and what the size rule says.
fn verdict<'a>(
    with_alone: &[&Measured<'a>],
    ways: &[&Measured<'a>],
    rule: Option<Way>,
) -> Reached<'a> {
    let reached = |verdict, arm, difference| Reached {
        verdict,
        arm,
        difference,
    };
    let better = |found: &&&Measured| found.difference.decided() && found.difference.mean > 0.0;
    let worse = |found: &&Measured| found.difference.decided() && found.difference.mean < 0.0;
    let by_mean = |a: &&&Measured, b: &&&Measured| a.difference.mean.total_cmp(&b.difference.mean);
    if let Some(best) = with_alone.iter().filter(better).max_by(by_mean) {
        let way = Verdict::Use(best.a.way);
        return reached(way, Some(best.a), Some(best.difference));
    }
    let by_p = |a: &&&Measured, b: &&&Measured| {
        let p = |found: &Measured| found.difference.corrected.unwrap_or(1.0);
        p(a).total_cmp(&p(b))
    };
    if !with_alone.is_empty() && with_alone.iter().all(worse) {
        let least_sure = with_alone.iter().max_by(by_p).map(|f| f.difference);
        return reached(Verdict::Alone, None, least_sure);
    }
    let rivals = ways.iter().filter(|found| are_rivals(found));
    let decided = rivals
        .filter(|found| found.difference.decided())
        .min_by(by_p);
    match (decided, rule) {
        (Some(found), _) => {
            let ahead = if found.difference.mean > 0.0 {
                found.a
            } else {
                found.b
            };
            let way = Verdict::Rather(ahead.way);
            reached(way, Some(ahead), Some(found.difference))
        }
        // Measured runs outweigh the rule even where they do not agree among themselves.
        (None, _) if !ways.is_empty() || !with_alone.is_empty() => {
            reached(Verdict::Undecided, None, None)
        }
        (None, Some(way)) => reached(Verdict::Rather(way), None, None),
        (None, None) => reached(Verdict::Unknown, None, None),
    }
}

/// Whether a difference is between MTL and STILTs, the size rule's two.
fn are_rivals(found: &Measured) -> bool {
    matches!(
        (found.a.way, found.b.way),
        (Way::Multitask, Way::Stilts) | (Way::Stilts, Way::Multitask)
    )
}

fn points(way: &str, found: Difference, than: &str) -> String {
    let seeds = if found.n == 1 { "seed" } else { "seeds" };
    let sure = match (found.p, found.corrected) {
        (Some(p), Some(corrected)) => format!(
            "p {} ({} after Holm's correction over {} tests)",
            shown_p(p),
            shown_p(corrected),
            found.tests
        ),
        _ if found.n < FEWEST => format!("too few to decide ({FEWEST} are the fewest)"),
        _ => "which do not vary: no test".to_owned(),
    };
    format!(
        "{way} {:+.2} points against {than} over {} {seeds}, {sure}",
        found.mean, found.n
    )
}

/// A p with as many digits as say something.
pub fn shown_p(p: f64) -> String {
    match p < 0.001 {
        true => "< 0.001".into(),
        false => format!("= {p:.3}"),
    }
}
