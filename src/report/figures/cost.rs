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
    /// Of the runs themselves.
    own: f64,
    /// Of the runs that they started from.
    before: f64,
}

impl Bar<'_> {
    fn seconds(&self) -> f64 {
        self.own + self.before
    }
}

/// `None` while no run is done.
pub fn cost(study: &Study) -> Result<Option<Figure>> {
    let bars = bars(study);
    let longest = bars.iter().map(Bar::seconds).fold(0.0, f64::max);
    if longest <= 0.0 {
        return Ok(None);
    }
    let label = bars.iter().map(|bar| width_of(&bar.label, TEXT)).max();
    let left = label.unwrap_or(0) + 16;
    let height = TOP + BAR_HEIGHT * bars.len() as i32 + 8;
    let size = ((left + BARS + 90) as u32, height as u32);
    let title = "Seconds per run, mean over seeds";
    let drawn = drawing(size, title, |area, overlay| {
        write_text(area, title, (6, 8), TEXT + 2, (HPos::Left, VPos::Top), INK)?;
        for (index, bar) in bars.iter().enumerate() {
            let y = TOP + BAR_HEIGHT * index as i32;
            let middle = y + BAR_HEIGHT / 2;
            let at = |seconds: f64| left + (f64::from(BARS) * seconds / longest).round() as i32;
            let text = (HPos::Right, VPos::Center);
            write_text(area, &bar.label, (left - 8, middle), TEXT, text, INK)?;
            let (own, end) = (at(bar.own), at(bar.seconds()));
            let parts = [(left, own.max(left + 1), 1.0), (own, end, 0.45)];
            for (from, to, cover) in parts.into_iter().filter(|(from, to, _)| from < to) {
                let corners = [(from, y + 3), (to, y + BAR_HEIGHT - 3)];
                let part = Rectangle::new(corners, bar.color.mix(cover).filled());
                area.draw(&part).map_err(failed)?;
            }
            let seconds = match bar.before > 0.0 {
                true => format!("{:.0} + {:.0} s", bar.own, bar.before),
                false => format!("{:.0} s", bar.own),
            };
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
        note: "Wall-clock time of training with its evaluations; behind it, paler, that of the run that it \
               started from."
            .into(),
        runs: runs.map(|record| record.run.name.clone()).collect(),
        width: size.0,
        svg: drawn.svg,
        values: drawn.values,
        narrow: None,
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
                own: 0.0,
                before: 0.0,
            }),
        }
    }
    for bar in &mut bars {
        let mean = |seconds: &dyn Fn(&RunRecord) -> Option<f64>| {
            let each = bar.runs.iter().filter_map(|record| seconds(record));
            statistics::mean(&each.collect::<Vec<_>>()).unwrap_or(0.0)
        };
        let own = |record: &RunRecord| Some(record.results.as_ref()?.seconds);
        (bar.own, bar.before) = (mean(&own), mean(&|record| study.seconds_before(record)));
    }
    bars
}
