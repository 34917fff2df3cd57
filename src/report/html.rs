//! The report as one HTML file that needs nothing else.

use maud::{html, Markup, PreEscaped, DOCTYPE};

use super::figures::Figure;
use super::page::{Report, Section};
use super::table::{Entry, Table};

const STYLE: &str = include_str!("report.css");

/// `report.html`.
pub fn page(report: &Report) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (report.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (report.title) }
                }
                nav aria-label="Contents" {
                    ul {
                        @for section in &report.sections {
                            li { a href={ "#" (section.id) } { (section.title) } }
                        }
                    }
                }
                main {
                    @for section in &report.sections { (part(section)) }
                }
                footer { "covalign " (env!("CARGO_PKG_VERSION")) }
            }
        }
    };
    page.into_string()
}

fn part(section: &Section) -> Markup {
    html! {
        section id=(section.id) {
            h2 { (section.title) }
            @for paragraph in &section.paragraphs { p { (paragraph) } }
            @if let Some(table) = &section.table { (table_box(table)) }
            @if section.folded {
                details {
                    summary { (section.figures.len()) " pictures" }
                    (figures(&section.figures))
                }
            } @else if !section.figures.is_empty() {
                (figures(&section.figures))
            }
        }
    }
}

fn table_box(table: &Table) -> Markup {
    html! {
        div.box tabindex="0" role="region" aria-label=(table.title) {
            table {
                thead {
                    tr {
                        @for column in &table.columns {
                            th scope="col" class=[column.number.then_some("number")] { (column.name) }
                        }
                    }
                }
                tbody {
                    @for (index, row) in table.rows.iter().enumerate() {
                        tr id=[table.anchors.get(index).filter(|anchor| !anchor.is_empty())] {
                            @for (column, entry) in table.columns.iter().zip(row) {
                                td class=[column.number.then_some("number")] { (cell(entry)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(entry: &Entry) -> Markup {
    let title = (!entry.tooltip.is_empty()).then_some(&entry.tooltip);
    let text = html! {
        @if entry.strong { strong { (entry.text) } } @else { (entry.text) }
    };
    html! {
        @match &entry.link {
            Some(link) if !entry.text.is_empty() => a href=(link) title=[title] { (text) },
            _ => span title=[title] { (text) },
        }
    }
}

fn figures(figures: &[Figure]) -> Markup {
    html! {
        div.figures {
            @for figure in figures {
                figure id=(figure.id) {
                    div.picture style={ "--width:" (figure.width) "px" } {
                        (PreEscaped(&figure.svg))
                    }
                    figcaption {
                        details {
                            summary { "from " (figure.runs.len()) " runs" }
                            @for run in &figure.runs {
                                a href={ "#run-" (run) } { (run) } " "
                            }
                        }
                    }
                }
            }
        }
    }
}
