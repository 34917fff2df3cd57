//! Who helps whom: target × supporting task, the difference between two ways to train.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{drawing, short_id, width_of, write_text, Area, Figure, Overlay, INK, TEXT};
use crate::analysis::statistics::{decides, holm};
use crate::report::comparison::Comparison;
use crate::report::groups::{beside, by_variant, same_tasks, variant_name, Group, Variant};
use crate::report::table::{explain, points, signed};
use crate::report::way::Way;

/// Worse and better; the less, the more the ground shows, which may be light or dark.
const WORSE: RGBColor = RGBColor(0xc8, 0x66, 0x0e);
const BETTER: RGBColor = RGBColor(0x1f, 0x78, 0xc8);
/// The most that a colour covers, so that ink is read on it.
const COVER: f64 = 0.72;
const CELL_HEIGHT: i32 = 42;
const TOP: i32 = 72;
/// Size of the letters under a value.
const SMALL: i32 = TEXT - 4;

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
    /// The difference, and whether it is decided among the map's.
    Value(Comparison, bool),
}

/// Every map that has a value and that none before it shows, all in one scale.
pub fn heat_maps(groups: &[Group]) -> Result<Vec<Figure>> {
    let mut maps: Vec<Map> = Vec::new();
    for (a, b) in MAPS {
        let shown = groups.iter().filter(|group| group.way == a);
        for (variant, _) in by_variant(shown, |group| &group.variant) {
            let map = Map::of(groups, (a, b), variant);
            let new = |map: &Map| maps.iter().all(|other| other.runs() != map.runs());
            maps.extend(map.filter(new));
        }
    }
    let differences = maps.iter().flat_map(Map::values);
    let largest = differences.map(|c| c.difference.abs()).fold(1e-9, f64::max);
    maps.iter().map(|map| map.figure(largest)).collect()
}

/// Targets in rows, what helps them in columns.
struct Map<'a> {
    title: String,
    name: String,
    targets: Vec<&'a str>,
    supports: Vec<&'a str>,
    cells: Vec<Vec<Cell>>,
}

impl<'a> Map<'a> {
    /// `None` for fewer than two cells, which the tables have.
    fn of(groups: &'a [Group], (a, b): (Way, Way), variant: &Variant) -> Option<Map<'a>> {
        let shown: Vec<&Group> = groups
            .iter()
            .filter(|g| g.way == a && g.variant == *variant && g.supports.len() == 1)
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
                Some(comparison) => Cell::Value(comparison, false),
                None => {
                    let mut runs = group.sample.runs();
                    runs.extend(base.sample.runs());
                    Cell::Missing(runs)
                }
            }
        };
        let row = |target: &&str| {
            supports
                .iter()
                .map(|support| cell(target, support))
                .collect()
        };
        let mut cells: Vec<Vec<Cell>> = targets.iter().map(row).collect();
        decide(&mut cells);
        let setting = match variant.is_empty() {
            true => String::new(),
            false => format!(" ({})", variant_name(variant)),
        };
        let map = Map {
            title: format!("{} − {}{setting}", a.label(), b.label()),
            name: format!("{}-vs-{}{setting}", a.label(), b.label()),
            cells,
            targets,
            supports,
        };
        let several = map.targets.len() * map.supports.len() > 1;
        (several && map.values().next().is_some()).then_some(map)
    }

    fn values(&self) -> impl Iterator<Item = &Comparison> {
        self.cells.iter().flatten().filter_map(|cell| match cell {
            Cell::Value(comparison, _) => Some(comparison),
            _ => None,
        })
    }

    /// The runs of each cell.
    fn runs(&self) -> Vec<&[String]> {
        self.values().map(|c| c.runs.as_slice()).collect()
    }

    fn figure(&self, largest: f64) -> Result<Figure> {
        let mut runs = self.runs().concat();
        runs.sort();
        runs.dedup();
        let size = self.size();
        let drawn = drawing(size, &self.title, |area, overlay| {
            self.draw(area, overlay, largest)
        })?;
        Ok(Figure {
            id: short_id("map", &self.name),
            title: self.title.clone(),
            note: "Points of the target's score that the supporting task adds, ± half the 95 % \
                   interval, n seeds; all maps in one scale: blue better, orange worse. ? is \
                   undecided: p ≥ 0.1 after Holm's correction over the map, fewer than three seeds, or \
                   a collapsed run (†). Hatched is missing."
                .into(),
            runs,
            width: size.0,
            svg: drawn.svg,
            values: drawn.values,
            narrow: None,
        })
    }
}

/// Which of a map's differences are decided, after Holm's correction over the map.
fn decide(cells: &mut [Vec<Cell>]) {
    let values = || {
        cells.iter().flatten().filter_map(|cell| match cell {
            Cell::Value(comparison, _) => comparison.deciding_p(),
            _ => None,
        })
    };
    let mut corrected = holm(&values().collect::<Vec<_>>()).into_iter();
    for cell in cells.iter_mut().flatten() {
        if let Cell::Value(comparison, decided) = cell {
            if comparison.deciding_p().is_some() {
                *decided = corrected.next().is_some_and(decides);
            }
        }
    }
}

/// `+0.84 ?`, and under it `±1.10, n 10`.
fn texts(comparison: &Comparison, decided: bool) -> [String; 2] {
    let mark = match (comparison.collapsed, decided) {
        (true, _) => " ?†",
        (false, false) => " ?",
        (false, true) => "",
    };
    let half = comparison.interval.map_or(String::new(), |interval| {
        format!("±{}, ", points((interval.high - interval.low) / 2.0))
    });
    [
        format!("{}{mark}", signed(comparison.difference)),
        format!("{half}n {}", comparison.n),
    ]
}

impl Map<'_> {
    fn left(&self) -> i32 {
        let widest = self.targets.iter().map(|task| width_of(task, TEXT)).max();
        widest.unwrap_or(0).max(width_of("target", TEXT)) + 22
    }

    fn cell_width(&self) -> i32 {
        let names = self.supports.iter().map(|task| width_of(task, TEXT));
        let values = self.cells.iter().flatten().filter_map(|cell| match cell {
            Cell::Value(comparison, decided) => Some(texts(comparison, *decided)),
            _ => None,
        });
        let values = values.map(|[value, how]| width_of(&value, TEXT).max(width_of(&how, SMALL)));
        names.chain(values).max().unwrap_or(0).max(48) + 10
    }

    fn size(&self) -> (u32, u32) {
        let width = self.left() + self.cell_width() * self.supports.len() as i32 + 8;
        let width = width.max(290).max(width_of(&self.title, TEXT + 2) + 12);
        let height = TOP + CELL_HEIGHT * self.targets.len() as i32 + 34;
        (width as u32, height as u32)
    }

    fn draw(&self, area: &Area, overlay: &mut Overlay, largest: f64) -> Result<()> {
        let (left, width) = (self.left(), self.cell_width());
        let middle = (HPos::Center, VPos::Center);
        let at_left = (HPos::Left, VPos::Top);
        write_text(area, &self.title, (6, 8), TEXT + 2, at_left, INK)?;
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
                let cell = &self.cells[row][column];
                self.draw_cell(area, overlay, corner, (cell, largest), &pair)?;
            }
        }
        draw_scale(
            area,
            TOP + CELL_HEIGHT * self.targets.len() as i32 + 12,
            largest,
        )
    }

    fn draw_cell(
        &self,
        area: &Area,
        overlay: &mut Overlay,
        corner: (i32, i32),
        (cell, largest): (&Cell, f64),
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
            Cell::Value(comparison, decided) => {
                let fill = shade(comparison.difference / largest);
                area.draw(&box_of(fill.filled())).map_err(super::failed)?;
                let edge = INK.mix(if *decided { 0.8 } else { 0.1 });
                let style = edge.stroke_width(1 + u32::from(*decided));
                area.draw(&box_of(style)).map_err(super::failed)?;
                let [value, how] = texts(comparison, *decided);
                let (middle, at) = ((HPos::Center, VPos::Center), (x + right) / 2);
                write_text(area, &value, (at, y + 14), TEXT, middle, INK)?;
                write_text(area, &how, (at, y + 30), SMALL, middle, INK)?;
                let tooltip = format!("{pair}: {value} points\n{}", explain(comparison));
                (tooltip, comparison.runs.first())
            }
        };
        let link = link.map(|run| format!("#run-{run}"));
        overlay.spot((x, y), (right - x, bottom - y), &tooltip, link.as_deref());
        Ok(())
    }
}

/// The colours' scale: worst, none, best.
fn draw_scale(area: &Area, y: i32, largest: f64) -> Result<()> {
    const STEPS: i32 = 24;
    let low = signed(-largest);
    let start = 10 + width_of(&low, TEXT) + 6;
    let at_right = (HPos::Right, VPos::Center);
    write_text(area, &low, (start - 6, y + 6), TEXT - 1, at_right, INK)?;
    for step in 0..STEPS {
        let share = 2.0 * f64::from(step) / f64::from(STEPS - 1) - 1.0;
        let x = start + 5 * step;
        let bar = Rectangle::new([(x, y), (x + 5, y + 12)], shade(share).filled());
        area.draw(&bar).map_err(super::failed)?;
    }
    let end = format!("{} points", signed(largest));
    let at = (start + 5 * STEPS + 6, y + 6);
    write_text(area, &end, at, TEXT - 1, (HPos::Left, VPos::Center), INK)
}

/// The colour of a difference from −1 (worst) to 1 (best).
fn shade(share: f64) -> RGBAColor {
    let end = if share < 0.0 { WORSE } else { BETTER };
    end.mix(COVER * share.abs().min(1.0))
}
