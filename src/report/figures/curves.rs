//! Dev score against steps.

use anyhow::Result;

use super::lines::{LineChart, Series, SIZE};
use super::{short_id, Figure};
use crate::analysis::statistics::{mean, standard_deviation};
use crate::report::groups::{variant_name, Group};
use crate::report::results::Study;
use crate::report::tables::{rows, Row};
use crate::report::way::Way;

/// The ways that share a picture: for each target and its supports, STL and these.
const TOGETHER: [&[Way]; 3] = [
    &[Way::Pair, Way::AlignedPair, Way::Stilts],
    &[Way::Transfer, Way::AlignedTransfer],
    &[Way::All, Way::AlignedAll],
];

/// One picture per target, its supports and the grid's values.
pub fn curves(study: &Study, groups: &[Group]) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for ways in TOGETHER {
        for row in rows(groups, ways) {
            figures.extend(picture(study, &row)?);
        }
    }
    if figures.is_empty() {
        let alone = groups.iter().filter(|group| group.way == Way::Single);
        for group in alone {
            let row = Row {
                target: &group.target,
                supports: &[],
                variant: group.variant.clone(),
                groups: vec![Some(group)],
            };
            figures.extend(picture(study, &row)?);
        }
    }
    Ok(figures)
}

fn picture(study: &Study, row: &Row) -> Result<Option<Figure>> {
    let series: Vec<Series> = row
        .groups
        .iter()
        .flatten()
        .filter_map(|group| series(study, group))
        .collect();
    if series.is_empty() {
        return Ok(None);
    }
    let with = match row.supports {
        [] => String::new(),
        supports if supports.len() > 3 => format!(" with {} others", supports.len()),
        supports => format!(" with {}", supports.join("+")),
    };
    let setting = match row.variant.is_empty() {
        true => String::new(),
        false => format!(", {}", variant_name(&row.variant)),
    };
    let title = format!("{}{with}{setting}", row.target);
    let shown: Vec<&str> = series.iter().map(|series| series.way.label()).collect();
    let drawn = LineChart {
        title: &title,
        x_label: "step",
        series: &series,
        dots: false,
    }
    .draw()?;
    let mut runs: Vec<String> = row
        .groups
        .iter()
        .flatten()
        .flat_map(|group| group.sample.runs())
        .collect();
    runs.sort();
    runs.dedup();
    Ok(Some(Figure {
        id: short_id("curve", &format!("{title}-{}", shown.join("-"))),
        note:
            "Dev score × 100 by step, mean and one standard deviation over seeds, where all seeds \
               were evaluated."
                .into(),
        title,
        runs,
        width: SIZE.0,
        svg: drawn.svg,
        values: drawn.values,
        narrow: None,
    }))
}

/// Mean and spread at each step at which all finished seeds of a group were evaluated: a mean over
/// fewer seeds, where some had stopped early, would jump.
fn series(study: &Study, group: &Group) -> Option<Series> {
    let finished: Vec<_> = group
        .sample
        .points
        .values()
        .filter(|point| point.score.is_some())
        .filter_map(|point| study.run(point.runs.first()?)?.curves.get(&group.target))
        .collect();
    let steps = finished.first()?.iter().map(|(step, _)| *step);
    let points: Vec<(f64, f64, Option<f64>)> = steps
        .filter_map(|step| {
            let at = |curve: &&Vec<(u64, f64)>| curve.iter().find(|(s, _)| *s == step).map(|p| p.1);
            let scores: Vec<f64> = finished.iter().map(at).collect::<Option<_>>()?;
            Some((step as f64, mean(&scores)?, standard_deviation(&scores)))
        })
        .collect();
    (!points.is_empty()).then(|| Series {
        way: group.way,
        points,
        link: Some(format!("#{}", group.id)),
    })
}
