//! The report as one HTML file that needs nothing else.

use maud::{html, Markup, PreEscaped, DOCTYPE};

use super::figures::Value;
use super::page::{Remark, Report, Section};
use super::table::{Entry, Table};

const STYLE: &str = include_str!("report.css");

/// `report.html`.
pub fn page(report: &Report) -> String {
    // The answer stands before the contents.
    let of_answer = |section: &&Section| ["answer", "summary"].contains(&section.id.as_str());
    let answer = report.sections.iter().take_while(of_answer).count();
    let (first, rest) = report.sections.split_at(answer);
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
                main {
                    @for section in first { (part(section)) }
                    nav aria-label="Contents" {
                        ul {
                            @for section in rest {
                                li { a href={ "#" (section.id) } { (section.title) } }
                            }
                        }
                    }
                    @for section in rest { (part(section)) }
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
            @if section.id != "summary" { (remarks(section)) }
            @if let Some(table) = &section.table { (table_box(table)) }
            // The first table is read before what it means.
            @if section.id == "summary" { (remarks(section)) }
            @if section.folded {
                details {
                    summary { (section.figures.len()) " pictures" }
                    (figures(section))
                }
            } @else if !section.figures.is_empty() {
                (figures(section))
            }
        }
    }
}

fn remarks(section: &Section) -> Markup {
    html! {
        @for (index, paragraph) in section.paragraphs.iter().enumerate() {
            (remark(paragraph, section.id == "answer" && index == 0))
        }
    }
}

fn remark(remark: &Remark, first: bool) -> Markup {
    html! {
        @if remark.names.is_empty() {
            p class=[first.then_some("answer")] { (remark.text) }
        } @else {
            details {
                summary { (remark.text) }
                p.names { (remark.names.join(", ")) }
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

/// A cell; what it was made of appears under the page when it is pointed at, tabbed to or touched.
fn cell(entry: &Entry) -> Markup {
    let text = html! {
        @if entry.strong { strong { (entry.text) } } @else { (entry.text) }
    };
    let link = entry.link.as_ref().filter(|_| !entry.text.is_empty());
    html! {
        @if entry.tooltip.is_empty() {
            @match link {
                Some(link) => a href=(link) { (text) },
                None => (text),
            }
        } @else {
            span.tip tabindex="0" {
                (text)
                span.note role="note" {
                    (entry.tooltip)
                    @if let Some(link) = link { " " a href=(link) { "where it comes from" } }
                }
            }
        }
    }
}

fn figures(section: &Section) -> Markup {
    html! {
        div.figures {
            @for figure in &section.figures {
                figure id=(figure.id) {
                    div.picture.wide[figure.narrow.is_some()] style={ "--width:" (figure.width) "px" } {
                        (PreEscaped(&figure.svg))
                    }
                    @if let Some((width, svg)) = &figure.narrow {
                        div.picture.narrow style={ "--width:" (width) "px" } { (PreEscaped(svg)) }
                    }
                    figcaption {
                        (section.caption(figure))
                        details {
                            summary { "in words, from " (figure.runs.len()) " runs" }
                            ul { @for value in &figure.values { li { (said(value)) } } }
                        }
                    }
                }
            }
        }
    }
}

fn said(value: &Value) -> Markup {
    html! {
        @match &value.link {
            Some(link) => a href=(link) { (value.text) },
            None => (value.text),
        }
    }
}
