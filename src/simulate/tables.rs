//! Panels as tables: x down, lines across, each cell `mean ±half of the 95 % interval`.

use std::fmt::Write;

use super::results::{Panel, Point, Study, LEVEL};

/// The header and the rows of a panel.
pub fn grid(panel: &Panel) -> (Vec<String>, Vec<Vec<String>>) {
    let names = panel.lines.iter().map(|line| line.name.clone());
    let header = std::iter::once(panel.x_label.clone())
        .chain(names)
        .collect();
    let xs = panel.lines.first().map_or(&[][..], |line| &line.points);
    let row = |(at, point): (usize, &Point)| {
        let cells = panel
            .lines
            .iter()
            .map(|line| cell(&line.points[at], panel.difference));
        std::iter::once(point.x.to_string()).chain(cells).collect()
    };
    (header, xs.iter().enumerate().map(row).collect())
}

fn cell(point: &Point, difference: bool) -> String {
    let number = match difference {
        true => format!("{:+.3}", point.mean),
        false => format!("{:.3}", point.mean),
    };
    let half = point
        .interval
        .map(|i| format!(" ±{:.3}", (i.high - i.low) / 2.0));
    let mark = match point.p_holm {
        Some(p) if p < LEVEL => "*",
        _ => "",
    };
    number.replace('-', "−") + &half.unwrap_or_default() + mark
}

/// What stands above a panel's table.
pub fn heading(panel: &Panel) -> String {
    format!("{}: {}", panel.title, panel.y_label)
}

/// What a panel of differences comes to, a sentence per line.
pub fn verdicts(panel: &Panel) -> Vec<String> {
    let lines = panel.lines.iter().filter(|_| panel.difference);
    lines
        .map(|line| format!("{}: {}", line.name, line.verdict()))
        .collect()
}

/// `±…` and `*` explained.
pub fn legend(seeds: usize) -> String {
    format!(
        "mean ±half of Student's 95 % interval over {seeds} seeds; * p < {LEVEL}, paired t-test, \
         after Holm over the table"
    )
}

/// `results.md`.
pub fn markdown(studies: &[Study], seeds: usize) -> String {
    let mut out = format!("# Synthetic studies\n\n{}.\n", legend(seeds));
    for study in studies {
        // Writing to a string cannot fail.
        let _ = write!(out, "\n## {}\n\n", study.title);
        for note in &study.notes {
            let _ = write!(out, "{note}\n\n");
        }
        let _ = writeln!(out, "![{}]({}.svg)", study.title, study.name);
        for panel in &study.panels {
            let (header, rows) = grid(panel);
            let _ = write!(out, "\n### {}\n\n", heading(panel));
            let mut line = |cells: &[String]| {
                let _ = writeln!(out, "| {} |", cells.join(" | ").replace('*', "\\*"));
            };
            line(&header);
            line(&vec!["---:".to_owned(); header.len()]);
            rows.iter().for_each(|row| line(row));
            for verdict in verdicts(panel) {
                let _ = write!(out, "\n- {verdict}");
            }
            if panel.difference {
                out.push('\n');
            }
        }
    }
    out
}

/// `results.csv`: a line per number.
pub fn csv(studies: &[Study], first_seed: u64) -> anyhow::Result<Vec<u8>> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(["study", "panel", "line", "x", "seed", "value"])?;
    for study in studies {
        for panel in &study.panels {
            for line in &panel.lines {
                for point in &line.points {
                    for (index, value) in point.values.iter().enumerate() {
                        let seed = first_seed.wrapping_add(index as u64).to_string();
                        let (x, value) = (point.x.to_string(), value.to_string());
                        let names = [&study.name, &panel.title, &line.name];
                        let [study, panel, line] = names.map(String::as_str);
                        out.write_record([study, panel, line, &x, &seed, &value])?;
                    }
                }
            }
        }
    }
    Ok(out.into_inner()?)
}
