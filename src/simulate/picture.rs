//! A study as one SVG: a chart per panel, lines with their 95 % intervals as bands.

use std::ops::Range;

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::results::{Panel, Point, Study};
use crate::report::figures::{
    drawing, failed, standalone, width_of, write_text, Area, Overlay, INK, TEXT,
};

/// Okabe and Ito's, as in the reports' pictures.
const COLORS: [RGBColor; 7] = [
    RGBColor(0x7a, 0x80, 0x88),
    RGBColor(0x1f, 0x83, 0xc9),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xb5, 0x65, 0xa7),
    RGBColor(0xb8, 0x86, 0x0b),
    RGBColor(0x4b, 0x4b, 0xc8),
];
const WIDTH: u32 = 440;
const CHART: u32 = 280;
const LEGEND: i32 = 20;
const TOP: i32 = 34;

/// The file's text.
pub fn svg(study: &Study) -> Result<String> {
    let columns = study.panels.len().clamp(1, 2);
    let lines = study.panels.len().div_ceil(columns).max(1);
    let most = study
        .panels
        .iter()
        .map(|panel| legend_rows(panel).len())
        .max();
    let height = CHART + (TOP + LEGEND * most.unwrap_or(1) as i32) as u32;
    let size = (WIDTH * columns as u32, height * lines as u32);
    let drawn = drawing(size, &study.title, |area, overlay| {
        let areas = area.split_evenly((lines, columns));
        let mut panels = areas.iter().zip(&study.panels);
        panels.try_for_each(|(area, panel)| draw(area, panel, overlay, most.unwrap_or(1) as i32))
    })?;
    Ok(standalone(&drawn.svg, size.0))
}

/// Which lines stand beside each other in the legend.
fn legend_rows(panel: &Panel) -> Vec<Vec<usize>> {
    let mut rows: Vec<Vec<usize>> = Vec::new();
    let mut x = i32::MAX;
    for (index, line) in panel.lines.iter().enumerate() {
        let width = 38 + width_of(&line.name, TEXT);
        match x.saturating_add(width) > WIDTH as i32 {
            true => {
                rows.push(vec![index]);
                x = 8 + width;
            }
            false => {
                x += width;
                if let Some(row) = rows.last_mut() {
                    row.push(index);
                }
            }
        }
    }
    rows
}

fn draw(area: &Area, panel: &Panel, overlay: &mut Overlay, legends: i32) -> Result<()> {
    // Grey is for what others are compared with; for differences that is 0.
    let shade = |index: usize| COLORS[(index + usize::from(panel.difference)) % COLORS.len()];
    let left = (HPos::Left, VPos::Top);
    write_text(area, &panel.title, (8, 8), TEXT + 2, left, INK)?;
    for (row, lines) in legend_rows(panel).iter().enumerate() {
        let (mut x, y) = (8, TOP + LEGEND * row as i32 + 6);
        for &index in lines {
            let path = PathElement::new([(x, y), (x + 16, y)], shade(index).stroke_width(3));
            area.draw(&path).map_err(failed)?;
            let name = &panel.lines[index].name;
            let middle = (HPos::Left, VPos::Center);
            write_text(area, name, (x + 21, y), TEXT, middle, INK)?;
            x += 38 + width_of(name, TEXT);
        }
    }
    let xs: Vec<u64> = match panel.lines.first() {
        Some(line) => line.points.iter().map(|point| point.x).collect(),
        None => return Ok(()),
    };
    // Values of x stand at equal distances: rows grow by factors, angles by steps.
    let name_of = |x: &f64| match ((x - x.round()).abs() < 1e-6, xs.get(x.round() as usize)) {
        (true, Some(value)) if *x > -0.5 => value.to_string(),
        _ => String::new(),
    };
    let mut chart = ChartBuilder::on(area)
        .margin_top(TOP + LEGEND * legends)
        .margin_right(14)
        .margin_left(4)
        .margin_bottom(6)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(-0.2..xs.len() as f64 - 0.8, range(panel))
        .map_err(failed)?;
    let text = || ("sans-serif", TEXT - 1).into_font().color(&INK);
    chart
        .configure_mesh()
        .x_desc(&panel.x_label)
        .y_desc(&panel.y_label)
        .x_labels(xs.len() + 1)
        .y_labels(6)
        .x_label_formatter(&name_of)
        .y_label_formatter(&|y| short(*y))
        .label_style(text())
        .axis_desc_style(text())
        .axis_style(INK.mix(0.5))
        .bold_line_style(INK.mix(0.12))
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(failed)?;
    if panel.difference {
        let ends = [(-0.2, 0.0), (xs.len() as f64 - 0.8, 0.0)];
        let zero = PathElement::new(ends, INK.mix(0.6));
        chart.draw_series([zero]).map_err(failed)?;
    }
    for (index, line) in panel.lines.iter().enumerate() {
        let places = || line.points.iter().enumerate();
        let bound = |(at, point): (usize, &Point), high: bool| {
            let interval = point.interval?;
            Some((at as f64, if high { interval.high } else { interval.low }))
        };
        let upper: Vec<_> = places().filter_map(|place| bound(place, true)).collect();
        let lower = places().filter_map(|place| bound(place, false));
        if upper.len() > 1 {
            let lower: Vec<_> = lower.collect();
            let outline: Vec<_> = upper.into_iter().chain(lower.into_iter().rev()).collect();
            let band = Polygon::new(outline, shade(index).mix(0.16));
            chart.draw_series([band]).map_err(failed)?;
        }
        let path: Vec<(f64, f64)> = places()
            .map(|(at, point)| (at as f64, point.mean))
            .collect();
        let drawn = LineSeries::new(path.clone(), shade(index).stroke_width(2));
        chart.draw_series(drawn).map_err(failed)?;
        let dots = path
            .iter()
            .map(|&at| Circle::new(at, 3, shade(index).filled()));
        chart.draw_series(dots).map_err(failed)?;
        for (place, point) in path.iter().zip(&line.points) {
            // The chart counts its pixels from the whole picture's corner.
            let (x, y) = chart.backend_coord(place);
            let half = point
                .interval
                .map(|i| format!(" ± {:.3}", (i.high - i.low) / 2.0));
            let tooltip = format!(
                "{}, {} {}: {:.3}{}",
                line.name,
                panel.x_label,
                point.x,
                point.mean,
                half.unwrap_or_default()
            );
            overlay.spot((x - 5, y - 5), (10, 10), &tooltip, None);
        }
    }
    Ok(())
}

/// The means and their intervals, with room around them; with 0, where lines are differences from it.
fn range(panel: &Panel) -> Range<f64> {
    let points = panel.lines.iter().flat_map(|line| &line.points);
    let ends = points.flat_map(|point| match point.interval {
        Some(interval) => [interval.low, interval.high],
        None => [point.mean, point.mean],
    });
    let zero = panel.difference.then_some(0.0);
    let ends = ends.chain(zero).filter(|end| end.is_finite());
    let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), end| {
        (low.min(end), high.max(end))
    });
    if low > high {
        return 0.0..1.0;
    }
    let room = (0.05 * (high - low)).max(1e-3);
    low - room..high + room
}

fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "-0" => "0".into(),
        text => text.replace('-', "−"),
    }
}
