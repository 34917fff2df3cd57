//! A report as it is read: its sections, each with paragraphs, a table, pictures.

use super::figures::Figure;
use super::groups::Group;
use super::heuristic::OrderedPair;
use super::results::Study;
use super::table::Table;
use super::tables::joint::JointSet;

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
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.sections.iter().flat_map(|section| &section.figures)
    }

    pub fn section(&self, id: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.id == id)
    }
}

impl Section {
    pub fn table(table: Table) -> Section {
        let mut table = table.corrected();
        Section {
            id: table.id.clone(),
            title: table.title.clone(),
            paragraphs: vec![std::mem::take(&mut table.note)],
            figures: Vec::new(),
            folded: false,
            table: Some(table),
        }
    }

    pub fn figures(id: &str, title: &str, figures: Vec<Figure>) -> Section {
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

    pub fn says_something(&self) -> bool {
        let rows = self
            .table
            .as_ref()
            .is_some_and(|table| !table.rows.is_empty());
        rows || !self.figures.is_empty() || self.table.is_none() && !self.paragraphs.is_empty()
    }
}
