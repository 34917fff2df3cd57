//! Similarities as a picture: an SVG that is readable on light and on dark ground.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::similarity::{Comparison, Similarities};

/// Stands for the text colour of the page: plotters knows no `currentColor`.
const TEXT: RGBColor = RGBColor(1, 2, 3);
const TEXT_IN_SVG: &str = "#010203";
/// Ink of a file of its own, for light and dark.
const INK: &str =
    "<style>svg{color:#1b1f24}@media(prefers-color-scheme:dark){svg{color:#e6e8eb}}</style>";
/// Fades into the ground where tasks have nothing in common.
const SHADE: RGBColor = RGBColor(38, 120, 200);
/// The most that it covers.
const COVER: f64 = 0.75;
const CELL: i32 = 34;
/// Width of a letter, roughly: plotters measures no font here.
const LETTER: i32 = 7;
const GAP: i32 = 24;
/// Above the squares: the title.
const TOP: i32 = 40;
/// Under them: the scale and what to know.
const BOTTOM: i32 = 84;

const TITLE: &str = "Covariance similarity of tasks' features";
const NOTES: [&str; 2] = [
    "The diagonal is a task with itself, which is 1 only where all its rows lie on one line:",
    "compare a pair with the diagonal of its two tasks rather than with 1.",
];

/// One square of tasks against tasks for each comparison; at one place of the encoder before training
/// (left) and after it (right).
pub fn svg(found: &Similarities) -> Result<String> {
    let longest = found.tasks.iter().map(|task| task.chars().count()).max();
    let name = LETTER * longest.unwrap_or(0) as i32 + 14;
    let cell = name.max(48);
    let tasks = found.tasks.len() as i32;
    let lines = side_by_side(&found.comparisons);
    let columns = lines.iter().map(Vec::len).max().unwrap_or(1) as i32;
    let panel_size = (name + tasks * cell + GAP, (tasks + 2) * CELL + GAP);
    let notes = NOTES
        .iter()
        .map(|note| note.chars().count() as i32 * LETTER);
    let width = (columns * panel_size.0).max(notes.max().unwrap_or(0) + 20);
    let height = TOP + lines.len() as i32 * panel_size.1 + BOTTOM;
    let mut text = String::new();
    {
        let ground =
            SVGBackend::with_string(&mut text, (width as u32, height as u32)).into_drawing_area();
        write(&ground, TITLE, (10, TOP / 2), 17, HPos::Left)?;
        for (row, line) in lines.iter().enumerate() {
            for (column, comparison) in line.iter().enumerate() {
                let corner = (
                    column as i32 * panel_size.0,
                    TOP + row as i32 * panel_size.1,
                );
                if let Some(comparison) = comparison {
                    panel(&ground, &found.tasks, comparison, corner, (name, cell))?;
                }
            }
        }
        scale(&ground, height - BOTTOM + 10)?;
        ground.present()?;
    }
    let text = text.replace(TEXT_IN_SVG, "currentColor");
    Ok(text.replacen('>', &format!(">\n{INK}"), 1))
}

/// The comparisons of each place, those of one weights under each other.
pub fn side_by_side(comparisons: &[Comparison]) -> Vec<Vec<Option<&Comparison>>> {
    let mut weights: Vec<&str> = Vec::new();
    let mut places: Vec<&str> = Vec::new();
    for comparison in comparisons {
        if !weights.contains(&comparison.weights.as_str()) {
            weights.push(&comparison.weights);
        }
        if !places.contains(&comparison.at.as_str()) {
            places.push(&comparison.at);
        }
    }
    let at = |place: &&str| -> Vec<Option<&Comparison>> {
        let of = |weights: &&str| {
            let mut all = comparisons.iter();
            all.find(|c| c.weights == *weights && c.at == *place)
        };
        weights.iter().map(of).collect()
    };
    places.iter().map(at).collect()
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn write(area: &Area, text: &str, at: (i32, i32), size: i32, horizontal: HPos) -> Result<()> {
    let style = ("sans-serif", size)
        .into_font()
        .color(&TEXT)
        .pos(Pos::new(horizontal, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}

fn shade(value: f64) -> ShapeStyle {
    SHADE.mix(COVER * value.clamp(0.0, 1.0)).filled()
}

fn panel(
    area: &Area,
    tasks: &[String],
    comparison: &Comparison,
    (left, top): (i32, i32),
    (name, cell): (i32, i32),
) -> Result<()> {
    let title = format!("{}, {}", comparison.weights, comparison.at);
    write(area, &title, (left + 10, top + CELL / 2), 14, HPos::Left)?;
    for (i, task) in tasks.iter().enumerate() {
        let (x, y) = (left + name + i as i32 * cell, top + (i as i32 + 2) * CELL);
        let header = (x + cell / 2, top + CELL + CELL / 2);
        write(area, task, header, 12, HPos::Center)?;
        write(area, task, (left + name - 6, y + CELL / 2), 12, HPos::Right)?;
        for (j, value) in comparison.similarity[i].iter().enumerate() {
            let x = left + name + j as i32 * cell;
            let corners = [(x + 1, y + 1), (x + cell - 1, y + CELL - 1)];
            area.draw(&Rectangle::new(corners, shade(*value)))?;
            if i == j {
                // The diagonal means something else.
                let edge = TEXT.mix(0.5).stroke_width(1);
                area.draw(&Rectangle::new(corners, edge))?;
            }
            let middle = (x + cell / 2, y + CELL / 2);
            write(area, &format!("{value:.2}"), middle, 12, HPos::Center)?;
        }
    }
    Ok(())
}

/// The colours from 0 to 1, and what the diagonal is.
fn scale(area: &Area, y: i32) -> Result<()> {
    const STEPS: i32 = 20;
    const STEP: i32 = 8;
    let (start, middle) = (34, y + 7);
    write(area, "0", (start - 8, middle), 12, HPos::Right)?;
    for step in 0..STEPS {
        let x = start + STEP * step;
        let value = f64::from(step) / f64::from(STEPS - 1);
        let corners = [(x, y), (x + STEP, y + 14)];
        area.draw(&Rectangle::new(corners, shade(value)))?;
    }
    let end = start + STEP * STEPS + 8;
    write(
        area,
        "1: one and the same direction",
        (end, middle),
        12,
        HPos::Left,
    )?;
    for (line, note) in NOTES.iter().enumerate() {
        let at = (10, y + 34 + 18 * line as i32);
        write(area, note, at, 12, HPos::Left)?;
    }
    Ok(())
}
