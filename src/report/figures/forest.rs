//! The forest plot: each arm's difference from its base with its interval, and a dot for each seed.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{color, drawing, failed, width_of, write_text, Area, Figure, Overlay, INK, TEXT};
use crate::analysis::statistics::Interval;
use crate::report::contrasts::{Contrast, Verdict};
use crate::report::table::{bracket, explain, signed};

const ROW: i32 = 26;
const HEADING: i32 = 26;
const TOP: i32 = 34;
const AXIS: i32 = 44;
/// Width of the picture for narrow pages.
const NARROW: i32 = 370;

/// One picture of the contrasts, wide and, for narrow pages, narrow; `None` without any.
pub fn forest(contrasts: &[&Contrast]) -> Result<Option<Figure>> {
    if contrasts.is_empty() {
        return Ok(None);
    }
    let title = "Difference from the base, in points";
    let lines = lines(contrasts);
    let range = range(contrasts);
    let wide = Forest::new(&lines, range, Shape::Wide);
    let drawn = drawing(wide.size(), title, |area, overlay| {
        wide.draw(area, overlay, title)
    })?;
    let narrow = Forest::new(&lines, range, Shape::Narrow);
    let narrow_drawn = drawing(narrow.size(), title, |area, overlay| {
        narrow.draw(area, overlay, title)
    })?;
    let mut runs: Vec<String> = contrasts
        .iter()
        .flat_map(|contrast| contrast.over_seeds.runs.clone())
        .collect();
    runs.sort();
    runs.dedup();
    Ok(Some(Figure {
        id: "forest".into(),
        title: title.into(),
        note:
            "Line: 95 % interval of the mean over seeds (Student's t); large mark: the mean, full \
               where it is decided; small dots: each seed."
                .into(),
        runs,
        width: wide.size().0,
        svg: drawn.svg,
        values: drawn.values,
        narrow: Some((narrow.size().0, narrow_drawn.svg)),
    }))
}

/// A line of the plot.
enum Line<'a> {
    Heading(String),
    Row(&'a Contrast, String),
}

/// The settings of one question under its heading; a question of one setting is its own row.
fn lines<'a>(contrasts: &[&'a Contrast]) -> Vec<Line<'a>> {
    let questions = contrasts.chunk_by(|a, b| (a.arm, a.base) == (b.arm, b.base));
    let mut lines = Vec::new();
    for question in questions {
        let name = question[0].question();
        if let [contrast] = question {
            let label = match contrast.setting() {
                setting if setting.is_empty() => name,
                setting => format!("{name} ({setting})"),
            };
            lines.push(Line::Row(contrast, label));
            continue;
        }
        lines.push(Line::Heading(name));
        lines.extend(question.iter().map(|contrast| {
            let setting = contrast.setting();
            let label = if setting.is_empty() {
                "plain".into()
            } else {
                setting
            };
            Line::Row(contrast, label)
        }));
    }
    lines
}

/// What the axis spans: all means and seeds; intervals as far as they are not much longer.
pub fn range(contrasts: &[&Contrast]) -> (f64, f64) {
    let means = contrasts.iter().map(|c| c.over_seeds.difference);
    let dots = contrasts.iter().flat_map(|c| c.by_seed.iter().copied());
    let farthest = means
        .chain(dots)
        .map(f64::abs)
        .fold(0.0, f64::max)
        .max(0.05);
    let ends = contrasts.iter().filter_map(|c| c.shown().interval);
    let ends = ends.flat_map(|interval| [interval.low, interval.high]);
    let clipped = ends.map(|end| end.clamp(-1.6 * farthest, 1.6 * farthest));
    let inner = contrasts
        .iter()
        .flat_map(|c| c.by_seed.iter().copied().chain([c.over_seeds.difference]));
    let (low, high) = inner
        .chain(clipped)
        .chain([0.0])
        .fold((0.0f64, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
    let room = 0.04 * (high - low);
    (low - room, high + room)
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// Label, plot and number beside each other.
    Wide,
    /// Label and number above the plot.
    Narrow,
}

struct Forest<'a> {
    lines: &'a [Line<'a>],
    range: (f64, f64),
    shape: Shape,
    label: i32,
    number: i32,
}

impl<'a> Forest<'a> {
    fn new(lines: &'a [Line<'a>], range: (f64, f64), shape: Shape) -> Forest<'a> {
        let width = |text: &str| width_of(text, TEXT) + 16;
        let labels = lines.iter().map(|line| match line {
            Line::Heading(name) => width(name),
            Line::Row(_, label) => width(label) + 12,
        });
        let numbers = lines.iter().filter_map(|line| match line {
            Line::Heading(_) => None,
            Line::Row(contrast, _) => Some(width(&number(contrast))),
        });
        Forest {
            lines,
            range,
            shape,
            label: labels.max().unwrap_or(0).clamp(120, 460),
            number: numbers.max().unwrap_or(0),
        }
    }

    /// Left and right end of the plot.
    fn plot(&self) -> (i32, i32) {
        match self.shape {
            Shape::Wide => (self.label, self.label + 420),
            Shape::Narrow => (10, NARROW - 10),
        }
    }

    fn row_height(&self, contrast: &Contrast, label: &str) -> i32 {
        match self.shape {
            Shape::Wide => ROW,
            Shape::Narrow if self.fits(contrast, label) => 2 * ROW - 4,
            Shape::Narrow => 3 * ROW - 8,
        }
    }

    /// Whether a label fits beside its number.
    fn fits(&self, contrast: &Contrast, label: &str) -> bool {
        width_of(label, TEXT) + width_of(&number(contrast), TEXT) < NARROW - 20
    }

    fn size(&self) -> (u32, u32) {
        let lines = self.lines.iter().map(|line| match line {
            Line::Heading(_) => HEADING,
            Line::Row(contrast, label) => self.row_height(contrast, label),
        });
        let width = match self.shape {
            Shape::Wide => self.plot().1 + self.number,
            Shape::Narrow => NARROW,
        };
        (width as u32, (TOP + lines.sum::<i32>() + AXIS) as u32)
    }

    fn x(&self, value: f64) -> i32 {
        let (left, right) = self.plot();
        let (low, high) = self.range;
        let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
        left + (f64::from(right - left) * share).round() as i32
    }

    fn draw(&self, area: &Area, overlay: &mut Overlay, title: &str) -> Result<()> {
        let at_left = (HPos::Left, VPos::Center);
        write_text(area, title, (6, 14), TEXT + 2, at_left, INK)?;
        let bottom = self.size().1 as i32 - AXIS;
        let zero = self.x(0.0);
        if self.shape == Shape::Wide {
            let line = PathElement::new([(zero, TOP - 6), (zero, bottom)], INK.mix(0.6));
            area.draw(&line).map_err(failed)?;
        }
        let mut y = TOP;
        for line in self.lines {
            match line {
                Line::Heading(name) => {
                    let at = (6, y + HEADING / 2 + 2);
                    write_text(area, name, at, TEXT, at_left, INK)?;
                    y += HEADING;
                }
                Line::Row(contrast, label) => {
                    self.row(area, overlay, contrast, label, y)?;
                    y += self.row_height(contrast, label);
                }
            }
        }
        self.axis(area, bottom)
    }

    fn row(
        &self,
        area: &Area,
        overlay: &mut Overlay,
        contrast: &Contrast,
        label: &str,
        top: i32,
    ) -> Result<()> {
        let right = (HPos::Right, VPos::Center);
        let left = (HPos::Left, VPos::Center);
        let number = number(contrast);
        let width = self.size().0 as i32;
        let y = match self.shape {
            Shape::Wide => {
                let middle = top + ROW / 2;
                let label = fitted(label, self.label - 24);
                write_text(area, &label, (self.label - 12, middle), TEXT, right, INK)?;
                let at = (self.plot().1 + 12, middle);
                write_text(area, &number, at, TEXT, left, INK)?;
                middle
            }
            Shape::Narrow => {
                let mut above = top + ROW / 2;
                let label = fitted(label, NARROW - 20);
                write_text(area, &label, (10, above), TEXT, left, INK)?;
                if !self.fits(contrast, &label) {
                    above += ROW - 4;
                }
                write_text(area, &number, (width - 8, above), TEXT, right, INK)?;
                above + ROW - 6
            }
        };
        let shade = color(contrast.arm);
        let (from, to) = self.plot();
        let ground = PathElement::new([(from, y), (to, y)], INK.mix(0.12));
        area.draw(&ground).map_err(failed)?;
        if self.shape == Shape::Narrow {
            let zero = self.x(0.0);
            let mark = PathElement::new([(zero, y - 9), (zero, y + 9)], INK.mix(0.6));
            area.draw(&mark).map_err(failed)?;
        }
        for seed in &contrast.by_seed {
            let dot = Circle::new((self.x(*seed), y), 3, shade.mix(0.45).filled());
            area.draw(&dot).map_err(failed)?;
        }
        if let Some(interval) = contrast.shown().interval {
            self.interval(area, interval, y, shade)?;
        }
        let mean = (self.x(contrast.over_seeds.difference), y);
        let decided = contrast.verdict() != Verdict::Undecided;
        let mark = Circle::new(mean, 5, shade.stroke_width(2));
        if decided {
            let full = Circle::new(mean, 6, shade.filled());
            area.draw(&full).map_err(failed)?;
        } else {
            area.draw(&mark).map_err(failed)?;
        }
        let tooltip = format!(
            "{}, {}: {number} points\n{}",
            contrast.question(),
            match contrast.setting() {
                setting if setting.is_empty() => contrast.tasks(),
                setting => format!("{setting}, {}", contrast.tasks()),
            },
            explain(contrast.shown())
        );
        overlay.spot(
            (1, top),
            (width - 2, self.row_height(contrast, label)),
            &tooltip,
            None,
        );
        Ok(())
    }

    /// The interval's line; an end that is not shown has no cap.
    fn interval(&self, area: &Area, interval: Interval, y: i32, shade: RGBColor) -> Result<()> {
        let (low, high) = self.range;
        let ends = (self.x(interval.low), self.x(interval.high));
        let line = PathElement::new([(ends.0, y), (ends.1, y)], shade.stroke_width(2));
        area.draw(&line).map_err(failed)?;
        for (value, x) in [(interval.low, ends.0), (interval.high, ends.1)] {
            if (low..=high).contains(&value) {
                let cap = PathElement::new([(x, y - 5), (x, y + 5)], shade.stroke_width(2));
                area.draw(&cap).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn axis(&self, area: &Area, y: i32) -> Result<()> {
        let (left, right) = self.plot();
        let line = PathElement::new([(left, y), (right, y)], INK.mix(0.6));
        area.draw(&line).map_err(failed)?;
        let middle = (HPos::Center, VPos::Center);
        let step = tick(self.range.1 - self.range.0);
        let first = (self.range.0 / step).ceil() as i64;
        let last = (self.range.1 / step).floor() as i64;
        for number in first..=last {
            let value = number as f64 * step;
            let x = self.x(value);
            let mark = PathElement::new([(x, y), (x, y + 4)], INK.mix(0.6));
            area.draw(&mark).map_err(failed)?;
            let text = super::lines::short(value);
            write_text(area, &text, (x, y + 14), TEXT - 1, middle, INK)?;
        }
        let zero = self.x(0.0);
        let at = y + 32;
        if zero - left > 60 {
            write_text(
                area,
                "← worse",
                (zero - 8, at),
                TEXT - 1,
                (HPos::Right, VPos::Center),
                INK,
            )?;
        }
        if right - zero > 60 {
            write_text(
                area,
                "better →",
                (zero + 8, at),
                TEXT - 1,
                (HPos::Left, VPos::Center),
                INK,
            )?;
        }
        Ok(())
    }
}

/// `+0.40 [−0.19, +0.98]`.
fn number(contrast: &Contrast) -> String {
    let shown = contrast.shown();
    let interval = shown
        .interval
        .map_or(String::new(), |interval| format!(" {}", bracket(interval)));
    format!("{}{interval}", signed(contrast.over_seeds.difference))
}

/// A text as far as there is room for it.
fn fitted(text: &str, room: i32) -> String {
    // Long labels are mostly of small letters, which are narrower.
    let letters = (f64::from(room.max(0)) / (f64::from(TEXT) * 0.42)) as usize;
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    let kept: String = text.chars().take(letters.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// About six ticks, at round numbers.
fn tick(span: f64) -> f64 {
    let raw = span / 6.0;
    let power = 10f64.powf(raw.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0].into_iter();
    let fits = factors
        .map(|factor| factor * power)
        .find(|step| *step >= raw);
    fits.unwrap_or(10.0 * power)
}
