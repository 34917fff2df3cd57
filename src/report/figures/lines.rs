//! Lines over an axis, with their spread over seeds.

use std::ops::Range;

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{color, drawing, failed, width_of, write_text, Area, Drawn, Overlay, INK, TEXT};
use crate::report::table::points;
use crate::report::way::Way;

/// One line: its points are x, mean, and standard deviation over the seeds.
pub struct Series {
    pub way: Way,
    pub points: Vec<(f64, f64, Option<f64>)>,
    /// What a line's tooltip links to.
    pub link: Option<String>,
}

pub struct LineChart<'a> {
    pub title: &'a str,
    pub x_label: &'a str,
    pub series: &'a [Series],
    /// Points of a line as dots too.
    pub dots: bool,
}

pub const SIZE: (u32, u32) = (380, 270);
const LEGEND_Y: i32 = 36;
/// Length of a legend's line.
const KEY: i32 = 24;

impl LineChart<'_> {
    pub fn draw(&self) -> Result<Drawn> {
        drawing(SIZE, self.title, |area, overlay| {
            write_text(
                area,
                self.title,
                (6, 8),
                TEXT + 2,
                (HPos::Left, VPos::Top),
                INK,
            )?;
            self.legend(area)?;
            self.lines(area, overlay)
        })
    }

    fn legend(&self, area: &Area) -> Result<()> {
        let mut x = 8;
        for series in self.series {
            let (dash, gap) = dashes(series.way).unwrap_or((KEY as u32, 0));
            let style = color(series.way).stroke_width(3);
            for start in (0..KEY).step_by((dash + gap) as usize) {
                let end = (start + dash as i32).min(KEY);
                let line = [(x + start, LEGEND_Y), (x + end, LEGEND_Y)];
                area.draw(&PathElement::new(line, style)).map_err(failed)?;
            }
            let label = series.way.label();
            let at = (x + KEY + 5, LEGEND_Y);
            write_text(area, label, at, TEXT, (HPos::Left, VPos::Center), INK)?;
            x += KEY + 5 + width_of(label, TEXT) + 14;
        }
        Ok(())
    }

    fn lines(&self, area: &Area, overlay: &mut Overlay) -> Result<()> {
        let (x_range, y_range) = self.ranges();
        // Steps are whole: no tick between two of them.
        let ticks = match self.whole() {
            true => (x_range.end.floor() - x_range.start.ceil()) as usize + 1,
            false => usize::MAX,
        };
        let mut chart = ChartBuilder::on(area)
            .margin_top(LEGEND_Y + 12)
            .margin_right(12)
            .margin_left(4)
            .x_label_area_size(40)
            .y_label_area_size(58)
            .build_cartesian_2d(x_range, y_range)
            .map_err(failed)?;
        let text = || ("sans-serif", TEXT - 1).into_font().color(&INK);
        chart
            .configure_mesh()
            .x_desc(self.x_label)
            .y_desc("score × 100")
            .x_labels(ticks.min(6))
            .y_labels(6)
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| short(*y))
            .label_style(text())
            .axis_desc_style(text())
            .axis_style(INK.mix(0.5))
            .bold_line_style(INK.mix(0.12))
            .light_line_style(TRANSPARENT)
            .draw()
            .map_err(failed)?;
        for series in self.series {
            let shade = color(series.way);
            let spread: Vec<(f64, f64, f64)> = series
                .points
                .iter()
                .filter_map(|&(x, mean, sd)| Some((x, mean, sd?)))
                .collect();
            let band = spread.iter().map(|&(x, mean, sd)| (x, mean + sd));
            let lower = spread.iter().rev().map(|&(x, mean, sd)| (x, mean - sd));
            let outline: Vec<(f64, f64)> = band.chain(lower).collect();
            if spread.len() > 1 {
                let band = Polygon::new(outline, shade.mix(0.18));
                chart.draw_series([band]).map_err(failed)?;
            }
            let line: Vec<(f64, f64)> = series.points.iter().map(|&(x, y, _)| (x, y)).collect();
            let style = shade.stroke_width(2);
            match dashes(series.way) {
                None => chart.draw_series(LineSeries::new(line.clone(), style)),
                Some((dash, gap)) => {
                    let path = DashedLineSeries::new(line.clone(), dash, gap, style);
                    chart.draw_series(path)
                }
            }
            .map_err(failed)?;
            if self.dots || line.len() < 2 {
                let dots = line.iter().map(|&at| Circle::new(at, 3, shade.filled()));
                chart.draw_series(dots).map_err(failed)?;
            }
            for &(x, mean, sd) in &series.points {
                let (left, top) = chart.backend_coord(&(x, mean));
                let spread = sd.map_or(String::new(), |sd| format!(" ± {sd:.2}"));
                let tooltip = format!(
                    "{}, {} {}: {}{spread}",
                    series.way.label(),
                    self.x_label,
                    short(x),
                    points(mean)
                );
                let corner = (left - 5, top - 5);
                overlay.spot(corner, (10, 10), &tooltip, series.link.as_deref());
            }
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &(f64, f64, Option<f64>)> {
        self.series.iter().flat_map(|series| &series.points)
    }

    /// Whether every x is a whole number.
    fn whole(&self) -> bool {
        self.all().all(|point| point.0.fract() == 0.0)
    }

    /// Both axes with room around what is drawn, one point alone too.
    fn ranges(&self) -> (Range<f64>, Range<f64>) {
        let range = |values: &mut dyn Iterator<Item = f64>, least: f64| {
            let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                (low.min(v), high.max(v))
            });
            let room = (0.05 * (high - low)).max(least);
            low - room..high + room
        };
        let least = match self.whole() {
            true => 0.5,
            false => self.all().map(|p| 0.05 * p.0.abs()).fold(1e-3, f64::max),
        };
        let x = range(&mut self.all().map(|p| p.0), least);
        let mut spread = self
            .all()
            .flat_map(|&(_, y, sd)| [y - sd.unwrap_or(0.0), y + sd.unwrap_or(0.0)]);
        (x, range(&mut spread, 0.1))
    }
}

/// Dash and gap of a way's line, so that lines differ by more than colour; none for a whole line.
fn dashes(way: Way) -> Option<(u32, u32)> {
    match way {
        Way::Single | Way::AlignedSingle => Some((2, 4)),
        Way::Pair | Way::All | Way::Transfer => None,
        Way::AlignedPair | Way::AlignedAll | Way::AlignedTransfer => Some((9, 4)),
        Way::Stilts | Way::AlignedStilts => Some((14, 3)),
    }
}

/// A number for an axis: no more decimals than it needs.
pub fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "-0" => "0".into(),
        text => text.replace('-', "−"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that stand at the axes of lines through `points`, whose scores are far from their steps.
    fn labels(points: &[(f64, f64, Option<f64>)]) -> Vec<String> {
        let series = [Series {
            way: Way::Single,
            points: points.to_vec(),
            link: None,
        }];
        let chart = LineChart {
            title: "T",
            x_label: "step",
            series: &series,
            dots: false,
        };
        let svg = chart.draw().unwrap().svg;
        let numbers = svg.lines().filter(|line| line.parse::<f64>().is_ok());
        let near = numbers.filter(|line| line.parse::<f64>().unwrap() < 40.0);
        near.map(String::from).collect()
    }

    #[test]
    fn every_tick_of_steps_is_a_step_and_stands_once() {
        assert_eq!(labels(&[(8.0, 60.0, None)]), ["8"]);
        assert_eq!(labels(&[(1.0, 60.0, None), (2.0, 61.0, None)]), ["1", "2"]);
        let few: Vec<_> = (1..=3).map(|at| (f64::from(at), 60.0, None)).collect();
        assert_eq!(labels(&few), ["1", "2", "3"]);
        // Values between whole numbers have ticks between them.
        let alone = labels(&[(0.33, 60.0, None)]);
        let mut distinct = alone.clone();
        distinct.dedup();
        assert!(alone.len() > 1 && alone == distinct, "{alone:?}");
    }
}
