//! A report as it is read: its sections, each with paragraphs, a table, pictures.

use super::contrasts::Contrast;
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
    pub paragraphs: Vec<Remark>,
    pub table: Option<Table>,
    pub figures: Vec<Figure>,
    /// Long and seldom read whole: shown when asked for.
    pub folded: bool,
}

/// A paragraph.
#[derive(Debug, Clone, Default)]
pub struct Remark {
    pub text: String,
    /// Names that it is about, more than are read: shown when asked for.
    pub names: Vec<String>,
}

impl From<String> for Remark {
    fn from(text: String) -> Remark {
        Remark {
            text,
            names: Vec::new(),
        }
    }
}

impl Remark {
    /// `text: a, b.`, or of more names than are read `text.` with the names folded.
    pub fn naming<S: ToString>(text: &str, names: &[S]) -> Remark {
        const READ: usize = 3;
        let names: Vec<String> = names.iter().map(S::to_string).collect();
        match names.len() <= READ {
            true => format!("{text}: {}.", names.join(", ")).into(),
            false => Remark {
                text: format!("{text}."),
                names,
            },
        }
    }
}

pub struct Report {
    pub title: String,
    pub study: Study,
    pub groups: Vec<Group>,
    pub contrasts: Vec<Contrast>,
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
            paragraphs: std::iter::once(std::mem::take(&mut table.note))
                .chain(table.tests())
                .map(Remark::from)
                .collect(),
            figures: Vec::new(),
            folded: false,
            table: Some(table),
        }
    }

    pub fn figures(id: &str, title: &str, figures: Vec<Figure>) -> Section {
        // The pictures of a section say the same of different things; a single one says it itself.
        let several = figures.len() > 1;
        let note = figures.first().filter(|_| several);
        let note = note.map(|figure| figure.note.clone());
        Section {
            id: id.into(),
            title: title.into(),
            paragraphs: note.into_iter().map(Remark::from).collect(),
            table: None,
            figures,
            folded: false,
        }
    }

    /// What stands under a picture.
    pub fn caption<'a>(&self, figure: &'a Figure) -> &'a str {
        match self.figures.len() {
            1 => &figure.note,
            _ => &figure.title,
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
