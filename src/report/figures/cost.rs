//! What runs cost: seconds, a bar for each training, mean over seeds.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{drawing, failed, width_of, write_text, Figure, INK, TEXT};
use crate::analysis::statistics;
use crate::report::groups::variant_name;
use crate::report::results::{RunRecord, Study};

const BAR_HEIGHT: i32 = 22;
const TOP: i32 = 40;
const BARS: i32 = 260;

struct Bar<'a> {
    label: String,
    color: RGBColor,
    runs: Vec<&'a RunRecord>,
    seconds: f64,
}

/// `None` while no run is done.
pub fn cost(study: &Study) -> Result<Option<Figure>> {
    let bars = bars(study);
    let longest = bars.iter().map(|bar| bar.seconds).fold(0.0, f64::max);
    if longest <= 0.0 {
        return Ok(None);
    }
    let label = bars.iter().map(|bar| width_of(&bar.label, TEXT)).max();
    let left = label.unwrap_or(0) + 16;
    let height = TOP + BAR_HEIGHT * bars.len() as i32 + 8;
    let size = ((left + BARS + 70) as u32, height as u32);
    let title = "Seconds per run, mean over seeds";
    let svg = drawing(size, title, |area, overlay| {
        write_text(area, title, (6, 8), TEXT + 2, (HPos::Left, VPos::Top), INK)?;
        for (index, bar) in bars.iter().enumerate() {
            let y = TOP + BAR_HEIGHT * index as i32;
            let middle = y + BAR_HEIGHT / 2;
            let end = left + (f64::from(BARS) * bar.seconds / longest).round() as i32;
            let text = (HPos::Right, VPos::Center);
            write_text(area, &bar.label, (left - 8, middle), TEXT, text, INK)?;
            let corners = [(left, y + 3), (end.max(left + 1), y + BAR_HEIGHT - 3)];
            area.draw(&Rectangle::new(corners, bar.color.filled()))
                .map_err(failed)?;
            let seconds = format!("{:.0} s", bar.seconds);
            let text = (HPos::Left, VPos::Center);
            write_text(area, &seconds, (end + 6, middle), TEXT - 1, text, INK)?;
            let each = bar.runs.iter().map(|record| {
                let seconds = record.results.as_ref().map_or(0.0, |r| r.seconds);
                format!("{}: {seconds:.1} s", record.run.name)
            });
            let tooltip = each.collect::<Vec<_>>().join("\n");
            let link = bar
                .runs
                .first()
                .map(|record| format!("#run-{}", record.run.name));
            let width = size.0 as i32 - 2;
            overlay.spot((1, y), (width, BAR_HEIGHT), &tooltip, link.as_deref());
        }
        Ok(())
    })?;
    let runs = bars.iter().flat_map(|bar| &bar.runs);
    Ok(Some(Figure {
        id: "cost".into(),
        title: title.into(),
        note: "Wall-clock time of training with its evaluations.".into(),
        runs: runs.map(|record| record.run.name.clone()).collect(),
        width: size.0,
        svg,
    }))
}

/// Runs that differ in nothing but the seed, in the plan's order.
fn bars(study: &Study) -> Vec<Bar<'_>> {
    let source = |record: &RunRecord| -> Vec<String> {
        let source = record
            .run
            .source
            .as_deref()
            .and_then(|name| study.run(name));
        source.map_or_else(Vec::new, |source| source.run.tasks.clone())
    };
    let mut bars: Vec<Bar> = Vec::new();
    for record in study.runs.iter().filter(|record| record.results.is_some()) {
        let before = source(record);
        let start = match before.is_empty() {
            true => String::new(),
            false => format!("{} → ", before.join("+")),
        };
        let cell = study.cells.iter().find(|cell| cell.run == record.run.name);
        let setting = match cell.map(|cell| variant_name(&cell.variant)) {
            Some(setting) if !setting.is_empty() => format!(" ({setting})"),
            _ => String::new(),
        };
        let tasks = record.run.tasks.join("+");
        let label = format!("{} {start}{tasks}{setting}", record.run.method);
        match bars.iter_mut().find(|bar| bar.label == label) {
            Some(bar) => bar.runs.push(record),
            None => bars.push(Bar {
                label,
                color: match (record.run.method.as_str(), before.is_empty()) {
                    ("aligned", _) => RGBColor(0xd5, 0x5e, 0x00),
                    (_, false) => RGBColor(0x00, 0x9e, 0x73),
                    ("single", _) => RGBColor(0x7a, 0x80, 0x88),
                    _ => RGBColor(0x1f, 0x83, 0xc9),
                },
                runs: vec![record],
                seconds: 0.0,
            }),
        }
    }
    for bar in &mut bars {
        let seconds = bar
            .runs
            .iter()
            .filter_map(|r| Some(r.results.as_ref()?.seconds));
        let seconds: Vec<f64> = seconds.collect();
        bar.seconds = statistics::mean(&seconds).unwrap_or(0.0);
    }
    bars
}
