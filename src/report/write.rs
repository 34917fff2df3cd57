//! A report's files.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::figures::{slug, standalone};
use super::page::Report;
use super::{export, html, latex, markdown};
use crate::telemetry::atomic;
use crate::train::keep::run_folder::RunFolder;

/// Writes `report.{html,md,csv,json}`, `report.tex` where it is wanted, and `figures/*.svg`, and removes the
/// pictures of an earlier report there that this one does not have; returns their paths.
pub fn write(report: &Report, out: &Path, with_latex: bool) -> Result<Vec<PathBuf>> {
    let figures = out.join("figures");
    RunFolder::create(&figures)?;
    for id in earlier_figures(out) {
        if !report.figures().any(|figure| figure.id == id) {
            let _ = std::fs::remove_file(figures.join(format!("{id}.svg")));
        }
    }
    for figure in report.figures() {
        let path = figures.join(format!("{}.svg", figure.id));
        atomic::write(&path, standalone(&figure.svg, figure.width).as_bytes())?;
    }
    let path = |name: &str| out.join(name);
    let (page, text) = (path("report.html"), path("report.md"));
    let (lines, json) = (path("report.csv"), path("report.json"));
    atomic::write(&page, html::page(report).as_bytes())?;
    atomic::write(&text, markdown::page(report).as_bytes())?;
    atomic::write(&lines, &export::csv(report)?)?;
    atomic::write_json(&json, &export::json(report))?;
    let mut paths = vec![page, text, lines, json];
    if with_latex {
        let tables = path("report.tex");
        atomic::write(&tables, latex::page(report).as_bytes())?;
        paths.push(tables);
    }
    paths.push(figures);
    Ok(paths)
}

/// The pictures of the report that is in `out` already; it may have been one of fewer runs.
fn earlier_figures(out: &Path) -> Vec<String> {
    let bytes = std::fs::read(out.join("report.json")).unwrap_or_default();
    let report: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let figures = report["figures"].as_array().into_iter().flatten();
    let ids = figures.filter_map(|figure| figure["id"].as_str());
    ids.filter(|id| slug(id) == *id)
        .map(str::to_owned)
        .collect()
}
