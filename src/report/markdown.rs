//! The report as Markdown, with its pictures in `figures/`.

use std::fmt::Write;

use super::figures::Figure;
use super::page::{Remark, Report};
use super::table::{Entry, Table};

/// `report.md`.
pub fn page(report: &Report) -> String {
    let mut out = format!("# {}\n", report.title);
    for section in &report.sections {
        out.push_str(&format!("\n## {}\n\n", section.title));
        for paragraph in &section.paragraphs {
            out.push_str(&remark(paragraph));
        }
        if let Some(table) = &section.table {
            write_table(&mut out, table);
        }
        if section.folded {
            let count = section.figures.len();
            out.push_str(&format!("<details><summary>{count} pictures</summary>\n\n"));
        }
        for figure in &section.figures {
            write_figure(&mut out, section.caption(figure), figure);
        }
        if section.folded {
            out.push_str("</details>\n");
        }
    }
    out
}

/// A paragraph, with its names folded.
fn remark(remark: &Remark) -> String {
    let text = plain(&remark.text);
    match remark.names.is_empty() {
        true => format!("{text}\n\n"),
        false => format!(
            "<details><summary>{text}</summary>\n\n{}\n\n</details>\n\n",
            plain(&remark.names.join(", "))
        ),
    }
}

fn write_table(out: &mut String, table: &Table) {
    let mut line = |cells: Vec<String>| out.push_str(&format!("| {} |\n", cells.join(" | ")));
    line(table.columns.iter().map(|c| plain(&c.name)).collect());
    let rule = |number: bool| if number { "---:" } else { "---" };
    line(
        table
            .columns
            .iter()
            .map(|c| rule(c.number).to_owned())
            .collect(),
    );
    for (index, row) in table.rows.iter().enumerate() {
        let mut cells: Vec<String> = row.iter().map(entry).collect();
        let anchor = table.anchors.get(index).filter(|anchor| !anchor.is_empty());
        if let (Some(anchor), Some(first)) = (anchor, cells.first_mut()) {
            // Markdown has no anchors of its own.
            first.insert_str(0, &format!("<a id=\"{anchor}\"></a>"));
        }
        line(cells);
    }
}

fn entry(entry: &Entry) -> String {
    let text = plain(&entry.text);
    let text = match entry.strong && !text.is_empty() {
        true => format!("**{text}**"),
        false => text,
    };
    match &entry.link {
        Some(link) if !text.is_empty() => format!("[{text}](<{link}>)"),
        _ => text,
    }
}

fn write_figure(out: &mut String, caption: &str, figure: &Figure) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "![{}](figures/{}.svg)\n\n{}\n",
        plain(&figure.title),
        figure.id,
        plain(caption)
    );
    let runs = figure.runs.iter().map(|run| format!("`{run}`"));
    let runs = runs.collect::<Vec<_>>().join(", ");
    let count = figure.runs.len();
    let _ = writeln!(
        out,
        "<details><summary>from {count} runs</summary>\n\n{runs}\n\n</details>\n"
    );
}

/// Text without what Markdown would read as something else.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if "|*_[]<>`\\".contains(letter) {
            out.push('\\');
        }
        out.push(if letter == '\n' { ' ' } else { letter });
    }
    out
}
