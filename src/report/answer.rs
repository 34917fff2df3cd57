//! What a study answers, in a sentence for each question.

use super::contrasts::{Contrast, Verdict};
use super::table::{bracket, p_value, signed};
use super::way::Way;
use crate::analysis::statistics::{decides, FEWEST};

/// A sentence for each question, the first question first; none where the runs compare nothing.
pub fn answers(contrasts: &[Contrast]) -> Vec<String> {
    let told = told(contrasts);
    let questions = told.chunk_by(|a, b| (a.arm, a.base) == (b.arm, b.base));
    questions
        .map(|arms| match arms {
            [contrast] => one(contrast),
            arms => several(arms),
        })
        .collect()
}

/// The contrasts that the first screen tells: what an aligned arm adds to training alone is the sum of
/// two others, where there are both, and stands in the table.
pub fn told(contrasts: &[Contrast]) -> Vec<&Contrast> {
    let is_a_sum = |contrast: &Contrast| {
        let of = |arm: Way, base: Way| contrasts.iter().any(|c| (c.arm, c.base) == (arm, base));
        let between = match contrast.arm {
            Way::AlignedPair => Way::Pair,
            Way::AlignedAll => Way::All,
            Way::AlignedTransfer => Way::Transfer,
            _ => return false,
        };
        contrast.base == Way::Single && of(contrast.arm, between) && of(between, Way::Single)
    };
    contrasts
        .iter()
        .filter(|contrast| !is_a_sum(contrast))
        .collect()
}

/// `aligned − MTL: +0.40 points [−0.19, +0.98], 15 pairs, 10 seeds: undecided (p = 0.174).`
fn one(contrast: &Contrast) -> String {
    let setting = match contrast.setting() {
        setting if setting.is_empty() => setting,
        setting => format!(" ({setting})"),
    };
    format!(
        "{}{setting}: {}, {}, {}: {}.",
        contrast.question(),
        figure(contrast),
        contrast.tasks(),
        seeds(contrast),
        sure(contrast)
    )
}

/// `+0.40 points [−0.19, +0.98]`.
fn figure(contrast: &Contrast) -> String {
    let shown = contrast.shown();
    let interval = shown
        .interval
        .map_or(String::new(), |interval| format!(" {}", bracket(interval)));
    format!(
        "{} points{interval}",
        signed(contrast.over_seeds.difference)
    )
}

fn seeds(contrast: &Contrast) -> String {
    match (contrast.seeds.len(), contrast.over_seeds.folds) {
        (1, None) => "1 seed".into(),
        (n, None) => format!("{n} seeds"),
        (n, Some(folds)) => format!("{n} of {folds} folds"),
    }
}

/// The verdict and what it rests on.
fn sure(contrast: &Contrast) -> String {
    let verdict = match contrast.verdict() {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::Undecided => "undecided",
    };
    if contrast.seeds.len() < FEWEST {
        return format!("{verdict}, fewer than {FEWEST} seeds decide nothing");
    }
    let Some(p) = contrast.over_seeds.p() else {
        return format!("{verdict}, the differences do not vary");
    };
    let corrected = match contrast.corrected {
        Some(corrected) if contrast.tests > 1 => format!(
            ", {} after Holm's correction over {} tests",
            p_value(corrected),
            contrast.tests
        ),
        _ => String::new(),
    };
    let collapsed = match (contrast.over_seeds.collapsed, contrast.verdict()) {
        (false, _) => "",
        (true, Verdict::Undecided) => "; a run collapsed",
        (true, _) => ", with and without the seeds of collapsed runs",
    };
    let other_tasks = match contrast.over_sets.as_ref().and_then(|sets| sets.p()) {
        Some(p) if contrast.verdict() != Verdict::Undecided && !decides(p) => format!(
            " on these {0}; whether on other {0} too is undecided (p over {0} {1})",
            contrast.unit(),
            equals(p)
        ),
        _ => String::new(),
    };
    format!(
        "{verdict} (p {}{corrected}){collapsed}{other_tasks}",
        equals(p)
    )
}

fn equals(p: f64) -> String {
    match p_value(p) {
        small if small.starts_with('<') => small,
        p => format!("= {p}"),
    }
}

/// One sentence over the settings of one question.
fn several(arms: &[&Contrast]) -> String {
    let named = |contrast: &Contrast| {
        let setting = contrast.setting();
        let setting = if setting.is_empty() {
            "plain"
        } else {
            &setting
        };
        format!("{setting}: {}", figure(contrast))
    };
    let of = |verdict: Verdict| -> Vec<&Contrast> {
        let own = arms.iter().filter(|contrast| contrast.verdict() == verdict);
        own.copied().collect()
    };
    let (better, worse, undecided) = (
        of(Verdict::Better),
        of(Verdict::Worse),
        of(Verdict::Undecided),
    );
    let by_difference =
        |a: &&Contrast, b: &&Contrast| a.over_seeds.difference.total_cmp(&b.over_seeds.difference);
    let list = |word: &str, mut found: Vec<&Contrast>| match found.len() {
        0 => None,
        n => {
            found.sort_by(|a, b| by_difference(b, a));
            let most = found.iter().max_by(|a, b| {
                let far = |c: &Contrast| c.over_seeds.difference.abs();
                far(a).total_cmp(&far(b))
            });
            let far = most.map_or(String::new(), |most| named(most));
            Some(match n {
                1 => format!("{word} in one ({far})"),
                n => format!("{word} in {n} (most: {far})"),
            })
        }
    };
    let mut parts: Vec<String> = [list("better", better), list("worse", worse)]
        .into_iter()
        .flatten()
        .collect();
    let decided = !parts.is_empty();
    if !undecided.is_empty() {
        parts.push(match undecided.len() == arms.len() {
            true => "undecided in all".to_owned(),
            false => format!("undecided in {}", undecided.len()),
        });
    }
    if !decided {
        let low = arms.iter().min_by(|a, b| by_difference(a, b));
        let high = arms.iter().max_by(|a, b| by_difference(a, b));
        if let (Some(low), Some(high)) = (low, high) {
            parts.push(format!("from {} to {}", named(low), named(high)));
        }
    }
    let range = |number: fn(&Contrast) -> usize, one: &str, many: &str| {
        let numbers = arms.iter().map(|contrast| number(contrast));
        match (numbers.clone().min(), numbers.max()) {
            (Some(1), Some(1)) => format!("1 {one}"),
            (Some(low), Some(high)) if low == high => format!("{low} {many}"),
            (Some(low), Some(high)) => format!("{low}–{high} {many}"),
            _ => String::new(),
        }
    };
    let tasks = match arms.iter().all(|contrast| contrast.sets.len() == 1) {
        true => arms[0].tasks(),
        false => range(|c| c.sets.len(), "pair", arms[0].unit()),
    };
    let (seed, seeds) = match arms[0].over_seeds.folds {
        None => ("seed", "seeds"),
        Some(_) => ("fold", "folds"),
    };
    if arms.iter().any(|contrast| contrast.over_seeds.collapsed) {
        parts.push("runs collapsed (†)".to_owned());
    }
    format!(
        "{}, {} settings, {tasks}, {}: {}.",
        arms[0].question(),
        arms.len(),
        range(|c| c.seeds.len(), seed, seeds),
        parts.join(", ")
    )
}
