//! Who helps whom: target × supporting task, the difference between two ways to train.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{drawing, slug, width_of, write_text, Area, Figure, Overlay, INK, TEXT};
use crate::report::comparison::Comparison;
use crate::report::groups::{beside, by_variant, same_tasks, variant_name, Group, Variant};
use crate::report::table::{explain, signed};
use crate::report::way::Way;

/// Worse, no difference, better.
const WORSE: RGBColor = RGBColor(0xb3, 0x58, 0x06);
const EVEN: RGBColor = RGBColor(0xf7, 0xf7, 0xf7);
const BETTER: RGBColor = RGBColor(0x1f, 0x66, 0xac);
const CELL_HEIGHT: i32 = 34;
const TOP: i32 = 72;

/// What a map compares, where each map is drawn.
const MAPS: [(Way, Way); 7] = [
    (Way::Pair, Way::Single),
    (Way::AlignedPair, Way::Single),
    (Way::AlignedPair, Way::Pair),
    (Way::Stilts, Way::Single),
    (Way::Transfer, Way::Single),
    (Way::AlignedTransfer, Way::Single),
    (Way::AlignedTransfer, Way::Transfer),
];

enum Cell {
    /// The task itself, or a pair that nobody planned.
    Blank,
    /// Planned, but a run is missing.
    Missing(Vec<String>),
    Value(Comparison),
}

/// Every map that has a value.
pub fn heat_maps(groups: &[Group]) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (a, b) in MAPS {
        let shown = groups.iter().filter(|group| group.way == a);
        for (variant, _) in by_variant(shown, |group| &group.variant) {
            figures.extend(heat_map(groups, (a, b), variant)?);
        }
    }
    Ok(figures)
}

fn heat_map(groups: &[Group], ways: (Way, Way), variant: &Variant) -> Result<Option<Figure>> {
    let (a, b) = ways;
    let shown: Vec<&Group> = groups
        .iter()
        .filter(|group| group.way == a && group.variant == *variant && group.supports.len() == 1)
        .collect();
    let (mut targets, mut supports): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for group in &shown {
        if !targets.contains(&group.target.as_str()) {
            targets.push(&group.target);
        }
        let support = group.supports[0].as_str();
        if !supports.contains(&support) {
            supports.push(support);
        }
    }
    // One order on both sides, so that the empty diagonal is one.
    supports.sort_by_key(|task| targets.iter().position(|t| t == task).unwrap_or(usize::MAX));
    let cell = |target: &str, support: &str| -> Cell {
        let supports = [support.to_owned()];
        let group = shown
            .iter()
            .find(|g| g.target == target && same_tasks(&g.supports, &supports));
        let Some(group) = group else {
            return Cell::Blank;
        };
        let against: &[String] = if b == Way::Single { &[] } else { &supports };
        let Some(base) = beside(groups, b, against, group) else {
            return Cell::Blank;
        };
        match Comparison::of(&group.sample, &base.sample) {
            Some(comparison) => Cell::Value(comparison),
            None => {
                let mut runs = group.sample.runs();
                runs.extend(base.sample.runs());
                Cell::Missing(runs)
            }
        }
    };
    let cells: Vec<Vec<Cell>> = targets
        .iter()
        .map(|target| {
            supports
                .iter()
                .map(|support| cell(target, support))
                .collect()
        })
        .collect();
    let values = || {
        cells.iter().flatten().filter_map(|cell| match cell {
            Cell::Value(comparison) => Some(comparison),
            _ => None,
        })
    };
    // One cell is no map; the tables have it.
    if values().next().is_none() || targets.len() * supports.len() < 2 {
        return Ok(None);
    }
    let largest = values().map(|c| c.difference.abs()).fold(0.0, f64::max);
    let mut runs: Vec<String> = values().flat_map(|c| c.runs.clone()).collect();
    runs.sort();
    runs.dedup();
    let setting = match variant.is_empty() {
        true => String::new(),
        false => format!(" ({})", variant_name(variant)),
    };
    let title = format!("{} − {}{setting}", a.label(), b.label());
    let map = Map {
        targets: &targets,
        supports: &supports,
        cells: &cells,
        largest: largest.max(1e-9),
    };
    let size = map.size(&title);
    let svg = drawing(size, &title, |area, overlay| {
        map.draw(area, overlay, &title)
    })?;
    Ok(Some(Figure {
        id: format!(
            "map-{}",
            slug(&format!("{}-vs-{}{setting}", a.label(), b.label()))
        ),
        note:
            "Points of the target's dev score that the supporting task adds: blue better, orange \
               worse; hatched is missing."
                .into(),
        title,
        runs,
        width: size.0,
        svg,
    }))
}

struct Map<'a> {
    targets: &'a [&'a str],
    supports: &'a [&'a str],
    cells: &'a [Vec<Cell>],
    /// The difference that has the full colour.
    largest: f64,
}

impl Map<'_> {
    fn left(&self) -> i32 {
        let widest = self.targets.iter().map(|task| width_of(task, TEXT)).max();
        widest.unwrap_or(0).max(width_of("target", TEXT)) + 22
    }

    fn cell_width(&self) -> i32 {
        let widest = self.supports.iter().map(|task| width_of(task, TEXT)).max();
        widest.unwrap_or(0).max(48) + 10
    }

    fn size(&self, title: &str) -> (u32, u32) {
        let width = self.left() + self.cell_width() * self.supports.len() as i32 + 8;
        let width = width.max(290).max(width_of(title, TEXT + 2) + 12);
        let height = TOP + CELL_HEIGHT * self.targets.len() as i32 + 34;
        (width as u32, height as u32)
    }

    fn draw(&self, area: &Area, overlay: &mut Overlay, title: &str) -> Result<()> {
        let (left, width) = (self.left(), self.cell_width());
        let middle = (HPos::Center, VPos::Center);
        write_text(area, title, (6, 8), TEXT + 2, (HPos::Left, VPos::Top), INK)?;
        write_text(
            area,
            "target",
            (left - 8, TOP - 14),
            TEXT - 1,
            (HPos::Right, VPos::Center),
            INK,
        )?;
        write_text(
            area,
            "helped by",
            (left + 4, TOP - 32),
            TEXT - 1,
            (HPos::Left, VPos::Center),
            INK,
        )?;
        for (column, support) in self.supports.iter().enumerate() {
            let x = left + width * column as i32 + width / 2;
            write_text(area, support, (x, TOP - 14), TEXT, middle, INK)?;
        }
        for (row, target) in self.targets.iter().enumerate() {
            let y = TOP + CELL_HEIGHT * row as i32;
            let at = (left - 8, y + CELL_HEIGHT / 2);
            write_text(area, target, at, TEXT, (HPos::Right, VPos::Center), INK)?;
            for (column, support) in self.supports.iter().enumerate() {
                let corner = (left + width * column as i32, y);
                let pair = format!("{target}, helped by {support}");
                self.draw_cell(area, overlay, corner, &self.cells[row][column], &pair)?;
            }
        }
        self.draw_scale(area, TOP + CELL_HEIGHT * self.targets.len() as i32 + 12)
    }

    fn draw_cell(
        &self,
        area: &Area,
        overlay: &mut Overlay,
        corner: (i32, i32),
        cell: &Cell,
        pair: &str,
    ) -> Result<()> {
        let (width, height) = (self.cell_width(), CELL_HEIGHT);
        let (x, y) = (corner.0 + 1, corner.1 + 1);
        let (right, bottom) = (corner.0 + width - 1, corner.1 + height - 1);
        let box_of = |style: ShapeStyle| Rectangle::new([(x, y), (right, bottom)], style);
        let (tooltip, link) = match cell {
            Cell::Blank => return Ok(()),
            Cell::Missing(runs) => {
                area.draw(&box_of(INK.mix(0.3).stroke_width(1)))
                    .map_err(super::failed)?;
                for start in (x - (bottom - y)..right).step_by(8) {
                    let (from, to) = (start.max(x), (start + bottom - y).min(right));
                    let line = [(from, bottom - (from - start)), (to, bottom - (to - start))];
                    let path = PathElement::new(line, INK.mix(0.3));
                    area.draw(&path).map_err(super::failed)?;
                }
                (
                    format!("{pair}: missing\nruns: {}", runs.join(", ")),
                    runs.first(),
                )
            }
            Cell::Value(comparison) => {
                let fill = shade(comparison.difference / self.largest);
                area.draw(&box_of(fill.filled())).map_err(super::failed)?;
                let text = signed(comparison.difference);
                let at = ((x + right) / 2, (y + bottom) / 2);
                let middle = (HPos::Center, VPos::Center);
                write_text(area, &text, at, TEXT, middle, ink_on(fill))?;
                let tooltip = format!("{pair}: {text} points\n{}", explain(comparison));
                (tooltip, comparison.runs.first())
            }
        };
        let link = link.map(|run| format!("#run-{run}"));
        overlay.spot((x, y), (right - x, bottom - y), &tooltip, link.as_deref());
        Ok(())
    }

    /// The colours' scale: worst, none, best.
    fn draw_scale(&self, area: &Area, y: i32) -> Result<()> {
        const STEPS: i32 = 24;
        let low = signed(-self.largest);
        let start = 10 + width_of(&low, TEXT) + 6;
        write_text(
            area,
            &low,
            (start - 6, y + 6),
            TEXT - 1,
            (HPos::Right, VPos::Center),
            INK,
        )?;
        for step in 0..STEPS {
            let share = 2.0 * f64::from(step) / f64::from(STEPS - 1) - 1.0;
            let x = start + 5 * step;
            let bar = Rectangle::new([(x, y), (x + 5, y + 12)], shade(share).filled());
            area.draw(&bar).map_err(super::failed)?;
        }
        let end = format!("{} points", signed(self.largest));
        let at = (start + 5 * STEPS + 6, y + 6);
        write_text(area, &end, at, TEXT - 1, (HPos::Left, VPos::Center), INK)
    }
}

/// The colour of a difference from −1 (worst) to 1 (best).
fn shade(share: f64) -> RGBColor {
    let end = if share < 0.0 { WORSE } else { BETTER };
    let strength = share.abs().min(1.0);
    let mix = |from: u8, to: u8| {
        let value = f64::from(from) + (f64::from(to) - f64::from(from)) * strength;
        value.round() as u8
    };
    RGBColor(mix(EVEN.0, end.0), mix(EVEN.1, end.1), mix(EVEN.2, end.2))
}

/// Black or white, whichever is read better on a colour.
fn ink_on(ground: RGBColor) -> RGBColor {
    let light =
        0.299 * f64::from(ground.0) + 0.587 * f64::from(ground.1) + 0.114 * f64::from(ground.2);
    if light > 140.0 {
        RGBColor(0x11, 0x11, 0x11)
    } else {
        WHITE
    }
}
