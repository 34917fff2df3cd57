//! Similarities as a picture: an SVG that is readable on light and on dark ground.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::similarity::{Comparison, Similarities};

/// Stands for the text colour of the page: plotters knows no `currentColor`.
const TEXT: RGBColor = RGBColor(1, 2, 3);
const TEXT_IN_SVG: &str = "#010203";
/// Fades into the ground where tasks have nothing in common.
const SHADE: RGBColor = RGBColor(38, 120, 200);
const CELL: i32 = 34;
/// Width of a letter, roughly: plotters measures no font here.
const LETTER: i32 = 7;
const GAP: i32 = 24;
/// Comparisons side by side.
const COLUMNS: usize = 3;

/// One square of tasks against tasks for each comparison.
pub fn svg(found: &Similarities) -> Result<String> {
    let longest = found.tasks.iter().map(|task| task.chars().count()).max();
    let name = LETTER * longest.unwrap_or(0) as i32 + 8;
    let cell = name.max(48);
    let tasks = found.tasks.len() as i32;
    let (width, height) = (name + tasks * cell + GAP, (tasks + 2) * CELL + GAP);
    let columns = found.comparisons.len().clamp(1, COLUMNS);
    let lines = found.comparisons.len().div_ceil(COLUMNS).max(1);
    let size = (width as u32 * columns as u32, height as u32 * lines as u32);
    let mut text = String::new();
    {
        let ground = SVGBackend::with_string(&mut text, size).into_drawing_area();
        let areas = ground.split_evenly((lines, columns));
        for (area, comparison) in areas.iter().zip(&found.comparisons) {
            panel(area, &found.tasks, comparison, (name, cell))?;
        }
        ground.present()?;
    }
    Ok(text.replace(TEXT_IN_SVG, "currentColor"))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn panel(
    area: &Area,
    tasks: &[String],
    comparison: &Comparison,
    (name, cell): (i32, i32),
) -> Result<()> {
    let style = |size: i32, horizontal: HPos| {
        ("sans-serif", size)
            .into_font()
            .color(&TEXT)
            .pos(Pos::new(horizontal, VPos::Center))
    };
    let write = |text: &str, at: (i32, i32), style: TextStyle| {
        area.draw(&Text::new(text.to_owned(), at, style))
    };
    let title = format!("{}, {}", comparison.weights, comparison.at);
    write(&title, (name, CELL / 2), style(14, HPos::Left))?;
    for (i, task) in tasks.iter().enumerate() {
        let (x, y) = (name + i as i32 * cell, (i as i32 + 2) * CELL);
        let header = (x + cell / 2, CELL + CELL / 2);
        write(task, header, style(12, HPos::Center))?;
        write(task, (name - 6, y + CELL / 2), style(12, HPos::Right))?;
        for (j, value) in comparison.similarity[i].iter().enumerate() {
            let x = name + j as i32 * cell;
            let corners = [(x + 1, y + 1), (x + cell - 1, y + CELL - 1)];
            let shade = SHADE.mix(0.75 * value.clamp(0.0, 1.0)).filled();
            area.draw(&Rectangle::new(corners, shade))?;
            let middle = (x + cell / 2, y + CELL / 2);
            write(&format!("{value:.2}"), middle, style(12, HPos::Center))?;
        }
    }
    Ok(())
}
