//! How to use a task for another: after it (STILTs), with it (pairwise MTL), or not at all.
//!
//! Measured runs decide where there are any. Else the size rule of Weller, Seppi and Gardner (ACL
//! 2022) says which of MTL and STILTs to try, and not whether either helps. What has no evidence is
//! not said.

use std::collections::BTreeMap;

use serde::Serialize;

use super::evidence::{Difference, Evidence, Way};
use super::similarity::Similarities;
use crate::data::overlap::Overlap;
use crate::task::{Labels, Split, Task};

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
    /// How sure the sign of the measured difference is; none where nothing decided was measured.
    pub certainty: Option<f64>,
    /// What speaks for it and against it, a line each.
    pub evidence: Vec<String>,
}

/// What is known of the tasks besides their runs.
pub struct Known<'a> {
    pub tasks: &'a [Task],
    /// Rows that each is trained on.
    pub rows: BTreeMap<String, usize>,
    pub overlaps: &'a [Overlap],
    pub similarities: Option<&'a Similarities>,
    pub evidence: &'a Evidence,
}

const WAYS: [Way; 4] = [Way::Multitask, Way::Aligned, Way::Stilts, Way::Transfer];

impl Known<'_> {
    /// Advice on every task that may help `target`, and on every set of tasks that did in a run.
    pub fn advise(&self, target: &str) -> Vec<Advice> {
        let others = self.tasks.iter().filter(|task| task.name != target);
        let mut supports: Vec<Vec<String>> = others.map(|task| vec![task.name.clone()]).collect();
        for measured in self.evidence.supports_of(target) {
            if !supports.contains(&measured) {
                supports.push(measured);
            }
        }
        let advise = |supports: Vec<String>| self.on(target, supports);
        supports.into_iter().map(advise).collect()
    }

    fn on(&self, target: &str, supports: Vec<String>) -> Advice {
        let difference = |way, than| self.evidence.difference(target, &supports, way, than);
        let with_alone: Vec<(Way, Difference)> = WAYS
            .into_iter()
            .filter_map(|way| Some((way, difference(way, Way::Alone)?)))
            .collect();
        let ways = difference(Way::Multitask, Way::Stilts);
        let rule = self.size_rule(target, &supports);
        let (verdict, certainty) = verdict(&with_alone, ways, rule.as_ref().map(|rule| rule.0));

        let mut evidence: Vec<String> = with_alone
            .iter()
            .map(|(way, found)| format!("measured: {}", points(*way, *found, Way::Alone)))
            .collect();
        evidence.extend(ways.map(|found| {
            let shown = points(Way::Multitask, found, Way::Stilts);
            format!("measured: {shown}")
        }));
        evidence.extend(rule.map(|(_, text)| text));
        if let [support] = supports.as_slice() {
            evidence.extend(self.labels(target, support));
            evidence.extend(self.similarity(target, support));
        }
        evidence.extend(supports.iter().filter_map(|s| self.overlap(target, s)));
        Advice {
            target: target.to_owned(),
            supports,
            verdict,
            certainty,
            evidence,
        }
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
            (Labels::Classes(a), Labels::Classes(b)) if a.len() == b.len() => Some(format!(
                "labels: {} classes in both; STILTs could keep the head",
                a.len()
            )),
            (Labels::Range { .. }, Labels::Range { .. }) => {
                Some("labels: numbers in both; STILTs could keep the head".to_owned())
            }
            _ => None,
        }
    }

    fn similarity(&self, target: &str, support: &str) -> Option<String> {
        let all = self.similarities?;
        let place = |name: &str| all.tasks.iter().position(|task| task == name);
        let (i, j) = (place(target)?, place(support)?);
        let found = all.comparisons.first()?;
        let value = found.similarity[i][j];
        let mut pairs = found.pairs();
        pairs.sort_by(f64::total_cmp);
        let rank = pairs.partition_point(|&other| other < value) + 1;
        Some(format!(
            "covariance similarity {value:.3} ({} {}), number {rank} of {} pairs from the lowest; \
             where it is low, alignment has more to do (Wu et al. 2020)",
            found.weights,
            found.at,
            pairs.len()
        ))
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

/// The measured ways against the target alone, MTL against STILTs, and what the size rule says.
fn verdict(
    with_alone: &[(Way, Difference)],
    ways: Option<Difference>,
    rule: Option<Way>,
) -> (Verdict, Option<f64>) {
    let better = with_alone
        .iter()
        .filter(|(_, d)| d.decided() && d.mean > 0.0);
    if let Some((way, found)) = better.max_by(|a, b| a.1.mean.total_cmp(&b.1.mean)) {
        return (Verdict::Use(*way), found.certainty);
    }
    let worse = |d: &Difference| d.decided() && d.mean < 0.0;
    if !with_alone.is_empty() && with_alone.iter().all(|(_, d)| worse(d)) {
        let least = with_alone.iter().filter_map(|(_, d)| d.certainty);
        return (Verdict::Alone, least.reduce(f64::min));
    }
    match (ways.filter(Difference::decided), rule) {
        (Some(found), _) if found.mean > 0.0 => (Verdict::Rather(Way::Multitask), found.certainty),
        (Some(found), _) => (Verdict::Rather(Way::Stilts), found.certainty),
        // Measured runs outweigh the rule even where they do not agree among themselves.
        (None, _) if ways.is_some() || !with_alone.is_empty() => (Verdict::Undecided, None),
        (None, Some(way)) => (Verdict::Rather(way), None),
        (None, None) => (Verdict::Unknown, None),
    }
}

fn points(way: Way, found: Difference, than: Way) -> String {
    let sure = match found.certainty {
        Some(certainty) => format!(", its sign {:.0} % sure", 100.0 * certainty),
        None => String::new(),
    };
    let runs = if found.n == 1 { "pair" } else { "pairs" };
    format!(
        "{} {:+.2} points against {} in {} {runs} of runs{sure}",
        way.name(),
        found.mean,
        than.name(),
        found.n
    )
}
