//! The report's tables for a paper: LaTeX with booktabs.

use super::page::Report;
use super::table::{Entry, Table};

/// `report.tex`: every table of scores, to `\input` or to copy from.
pub fn page(report: &Report) -> String {
    const NOT_FOR_PAPERS: [&str; 4] = ["thresholds", "seen", "cells", "runs"];
    let mut out = format!(
        "% {}\n% Needs \\usepackage{{booktabs}}; wide tables fit with \\usepackage{{graphicx}} and \
         \\resizebox.\n",
        report.title.replace('\n', " ")
    );
    let tables = report.sections.iter().filter_map(|section| {
        let table = section.table.as_ref()?;
        let kept = !table.rows.is_empty() && !NOT_FOR_PAPERS.contains(&table.id.as_str());
        kept.then_some((section, table))
    });
    for (section, table) in tables {
        let notes: Vec<String> = section.paragraphs.iter().map(|p| escape(&p.text)).collect();
        out.push_str(&written(table, &notes.join(" ")));
    }
    out
}

fn written(table: &Table, note: &str) -> String {
    let columns = table.columns.iter();
    let aligned: String = columns
        .clone()
        .map(|column| if column.number { 'r' } else { 'l' })
        .collect();
    let line = |cells: Vec<String>| format!("    {} \\\\\n", cells.join(" & "));
    let header = line(columns.map(|column| escape(&column.name)).collect());
    let rows = table.rows.iter();
    let rows: String = rows
        .map(|row| line(row.iter().map(entry).collect()))
        .collect();
    format!(
        "\n\\begin{{table}}\n  \\centering\n  \\caption{{{}. {note}}}\n  \\label{{tab:{}}}\n  \
         \\begin{{tabular}}{{{aligned}}}\n    \\toprule\n{header}    \\midrule\n{rows}    \
         \\bottomrule\n  \\end{{tabular}}\n\\end{{table}}\n",
        escape(&table.title),
        table.id
    )
}

fn entry(entry: &Entry) -> String {
    match entry.strong {
        true => format!("\\textbf{{{}}}", escape(&entry.text)),
        false => escape(&entry.text),
    }
}

/// Text as LaTeX reads it, with its own signs for what is no letter.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        let sign = match letter {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                out.push('\\');
                out.push(letter);
                continue;
            }
            '\\' => "\\textbackslash{}",
            '~' => "\\textasciitilde{}",
            '^' => "\\textasciicircum{}",
            '<' => "$<$",
            '>' => "$>$",
            '−' => "$-$",
            '±' => "$\\pm$",
            '→' => "$\\to$",
            '÷' => "$\\div$",
            '×' => "$\\times$",
            '∞' => "$\\infty$",
            '≥' => "$\\ge$",
            '‖' => "$\\|$",
            '†' => "\\dag{}",
            '–' => "--",
            '…' => "\\ldots{}",
            '\n' => " ",
            _ => {
                out.push(letter);
                continue;
            }
        };
        out.push_str(sign);
    }
    out
}
