//! The report of a study: what it says, in the order in which it is read, and its files.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::figures::cost::cost;
use super::figures::curves::curves;
use super::figures::heat_map::heat_maps;
use super::figures::size::size_lines;
use super::figures::{slug, standalone, Figure};
use super::heuristic::{ordered_pairs, OrderedPair};
use super::results::Study;
use super::samples::{groups, Group};
use super::table::Table;
use super::tables::joint::{self, joint_sets, JointSet};
use super::tables::{pairs, runs, size, stilts};
use super::{export, html, markdown};
use crate::telemetry::atomic;
use crate::train::run_folder::RunFolder;

/// A part of the report.
pub struct Section {
    /// Its anchor.
    pub id: String,
    pub title: String,
    pub paragraphs: Vec<String>,
    pub table: Option<Table>,
    pub figures: Vec<Figure>,
    /// Long and seldom read whole: shown when asked for.
    pub folded: bool,
}

pub struct Report {
    pub title: String,
    pub study: Study,
    pub groups: Vec<Group>,
    pub pairs: Vec<JointSet>,
    pub ordered_pairs: Vec<OrderedPair>,
    pub sections: Vec<Section>,
}

impl Report {
    /// What can be said of a study. `folder` is the way from the report's folder to the study's.
    pub fn of(study: Study, folder: &Path) -> Result<Report> {
        let groups = groups(&study);
        let pairs = joint_sets(&groups, false);
        let ordered_pairs = ordered_pairs(&groups);
        let sections = sections(&study, &groups, &pairs, &ordered_pairs, folder)?;
        Ok(Report {
            title: study.title.clone(),
            study,
            groups,
            pairs,
            ordered_pairs,
            sections,
        })
    }

    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.sections.iter().flat_map(|section| &section.figures)
    }

    pub fn section(&self, id: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.id == id)
    }

    /// Writes `report.{html,md,csv,json}` and `figures/*.svg`, and removes the pictures of an earlier
    /// report there that this one does not have; returns their paths.
    pub fn write(&self, out: &Path) -> Result<Vec<PathBuf>> {
        let figures = out.join("figures");
        RunFolder::create(&figures)?;
        for id in earlier_figures(out) {
            if !self.figures().any(|figure| figure.id == id) {
                let _ = std::fs::remove_file(figures.join(format!("{id}.svg")));
            }
        }
        for figure in self.figures() {
            let path = figures.join(format!("{}.svg", figure.id));
            atomic::write(&path, standalone(figure).as_bytes())?;
        }
        let path = |name: &str| out.join(name);
        let (page, text) = (path("report.html"), path("report.md"));
        let (lines, json) = (path("report.csv"), path("report.json"));
        atomic::write(&page, html::page(self).as_bytes())?;
        atomic::write(&text, markdown::page(self).as_bytes())?;
        atomic::write(&lines, &export::csv(self)?)?;
        atomic::write_json(&json, &export::json(self))?;
        Ok(vec![page, text, lines, json, figures])
    }
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

fn sections(
    study: &Study,
    groups: &[Group],
    pairs: &[JointSet],
    ordered_pairs: &[OrderedPair],
    folder: &Path,
) -> Result<Vec<Section>> {
    let size_points = size::size_points(groups);
    let mut stilts_section = Section::table(stilts::stilts(groups, ordered_pairs));
    let verdicts = stilts::verdicts(ordered_pairs);
    stilts_section.paragraphs.extend(verdicts);
    let mut all = joint::joint(&joint_sets(groups, true));
    all.id = "joint-all".into();
    all.title = "All tasks jointly, as a whole".into();
    let mut size_section = Section::table(size::size(&size_points));
    size_section.figures = size_lines(&size_points)?;
    let sections = vec![
        Section {
            paragraphs: runs::remarks(study),
            ..Section::figures("state", "What there is", Vec::new())
        },
        Section::table(joint::summary(pairs)),
        Section::table(joint::joint(pairs)),
        Section::table(all),
        Section::figures("maps", "Who helps whom", heat_maps(groups)?),
        Section::table(pairs::pairs(groups)),
        Section::table(pairs::transfer(groups)),
        Section::table(pairs::all(groups)),
        stilts_section,
        Section::table(stilts::thresholds(ordered_pairs)),
        size_section,
        Section {
            folded: true,
            ..Section::figures("curves", "Dev score against steps", curves(study, groups)?)
        },
        Section::table(runs::seen(study)),
        Section::figures("costs", "Cost", cost(study)?.into_iter().collect()),
        Section::table(runs::cells(groups)),
        Section::table(runs::runs(study, folder)),
    ];
    Ok(sections
        .into_iter()
        .filter(Section::says_something)
        .collect())
}

impl Section {
    fn table(mut table: Table) -> Section {
        Section {
            id: table.id.clone(),
            title: table.title.clone(),
            paragraphs: vec![std::mem::take(&mut table.note)],
            figures: Vec::new(),
            folded: false,
            table: Some(table),
        }
    }

    fn figures(id: &str, title: &str, figures: Vec<Figure>) -> Section {
        // The pictures of a section say the same of different things.
        let note = figures.first().map(|figure| figure.note.clone());
        Section {
            id: id.into(),
            title: title.into(),
            paragraphs: note.into_iter().collect(),
            table: None,
            figures,
            folded: false,
        }
    }

    fn says_something(&self) -> bool {
        let rows = self
            .table
            .as_ref()
            .is_some_and(|table| !table.rows.is_empty());
        rows || !self.figures.is_empty() || self.table.is_none() && !self.paragraphs.is_empty()
    }
}
