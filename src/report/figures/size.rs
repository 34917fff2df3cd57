//! The size study's lines: score against the supporting task's size.

use anyhow::Result;

use super::lines::{LineChart, Series, SIZE};
use super::{short_id, Figure};
use crate::report::tables::size::{SizePoint, WAYS};
use crate::report::way::Way;

/// One picture per target, support and number of the target's rows.
pub fn size_lines(points: &[SizePoint]) -> Result<Vec<Figure>> {
    let same = |a: &SizePoint, b: &SizePoint| {
        a.row.target == b.row.target
            && a.row.supports == b.row.supports
            && a.target_rows == b.target_rows
    };
    // One size is no line.
    let lines = points.chunk_by(same).filter(|points| points.len() > 1);
    let pictures = lines.map(picture);
    let pictures = pictures.collect::<Result<Vec<_>>>()?;
    Ok(pictures.into_iter().flatten().collect())
}

fn picture(points: &[SizePoint]) -> Result<Option<Figure>> {
    let ways = std::iter::once(Way::Single).chain(WAYS);
    let series: Vec<Series> = ways
        .enumerate()
        .filter_map(|(index, way)| {
            let groups = points
                .iter()
                .filter_map(|point| Some((point.ratio(), point.row.groups[index]?)));
            let places = groups.clone().filter_map(|(ratio, group)| {
                let sample = &group.sample;
                Some((ratio, sample.mean()?, sample.standard_deviation()))
            });
            let points: Vec<_> = places.collect();
            let (_, first) = groups.clone().next()?;
            let link = Some(format!("#{}", first.id));
            (!points.is_empty()).then_some(Series { way, points, link })
        })
        .collect();
    let Some(first) = points.first().filter(|_| !series.is_empty()) else {
        return Ok(None);
    };
    let title = format!(
        "{} ({} rows) with {}",
        first.row.target,
        first.target_rows,
        first.row.supports.join("+")
    );
    let mut runs: Vec<String> = points
        .iter()
        .flat_map(|point| point.row.groups.iter().flatten())
        .flat_map(|group| group.sample.runs())
        .collect();
    runs.sort();
    runs.dedup();
    let drawn = LineChart {
        title: &title,
        x_label: "support rows ÷ target rows",
        series: &series,
        dots: true,
    }
    .draw()?;
    Ok(Some(Figure {
        id: short_id("size", &title),
        note: "The target's dev score × 100, mean and one standard deviation over seeds.".into(),
        title,
        runs,
        width: SIZE.0,
        svg: drawn.svg,
        values: drawn.values,
        narrow: None,
    }))
}
