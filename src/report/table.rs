//! A table of a report, before it is Markdown or HTML, and how its numbers are printed.

use serde::Serialize;

use super::comparison::{Comparison, Pairing};
use super::groups::Group;
use super::samples::Sample;
use crate::analysis::statistics::{decides, holm, Interval, DECIDED, FEWEST};

/// What stands for a run or a figure that is not there.
pub const MISSING: &str = "–";

#[derive(Debug, Clone, Default, Serialize)]
pub struct Table {
    /// Its anchor.
    pub id: String,
    pub title: String,
    /// What the columns mean, above the table.
    pub note: String,
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Entry>>,
    /// Row by row; empty where nothing links to a row.
    #[serde(skip)]
    pub anchors: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Column {
    pub name: String,
    /// Set to the right.
    pub number: bool,
}

/// A cell of a table.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Entry {
    pub text: String,
    /// What a pointer over it shows: where the figure comes from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tooltip: String,
    /// An anchor in the report (`cell-3`, `run-…`) or a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// A decided difference; see [`Table::corrected`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strong: bool,
    /// The p that may decide it.
    #[serde(skip)]
    pub p: Option<f64>,
    /// Whether it is never set in bold, since a run collapsed.
    #[serde(skip)]
    pub collapsed: bool,
    /// The p that stands here.
    #[serde(skip)]
    pub shown_p: Option<f64>,
}

impl Table {
    /// Columns are given as their names, those of numbers with a leading `#`.
    pub fn new(id: &str, title: &str, note: &str, columns: &[&str]) -> Table {
        let column = |name: &&str| Column {
            name: name.trim_start_matches('#').to_owned(),
            number: name.starts_with('#'),
        };
        Table {
            id: id.into(),
            title: title.into(),
            note: note.into(),
            columns: columns.iter().map(column).collect(),
            rows: Vec::new(),
            anchors: Vec::new(),
        }
    }

    /// Adds columns of differences, each with its p: what [`Entry::comparison`] fills.
    pub fn differences(self, names: &[&str]) -> Table {
        let names: Vec<&str> = names.iter().flat_map(|name| [*name, "p (Holm)"]).collect();
        self.numbers(&names)
    }

    /// Adds columns of numbers.
    pub fn numbers(mut self, names: &[&str]) -> Table {
        self.columns.extend(names.iter().map(|name| Column {
            name: (*name).to_owned(),
            number: true,
        }));
        self
    }

    /// Adds a row that links can go to.
    pub fn push_anchored(&mut self, anchor: impl Into<String>, row: Vec<Entry>) {
        self.anchors.resize(self.rows.len(), String::new());
        self.anchors.push(anchor.into());
        self.rows.push(row);
    }

    /// Corrects the p of each column for how many are read under each other, and marks what is decided
    /// then.
    pub fn corrected(mut self) -> Table {
        for column in 0..self.columns.len() {
            let mut entries: Vec<&mut Entry> = self
                .rows
                .iter_mut()
                .map(|row| &mut row[column])
                .filter(|entry| entry.p.is_some())
                .collect();
            let p: Vec<f64> = entries.iter().filter_map(|entry| entry.p).collect();
            for (entry, corrected) in entries.iter_mut().zip(holm(&p)) {
                entry.strong = decides(corrected) && !entry.collapsed;
                if entry.shown_p.is_some() && p.len() > 1 {
                    entry.text = format!("{} ({})", entry.text, p_value(corrected));
                }
            }
        }
        self
    }

    /// How many tests are printed, and what chance alone makes of so many; `None` for a single one.
    pub fn tests(&self) -> Option<String> {
        let entries = self.rows.iter().flatten();
        let p: Vec<f64> = entries.filter_map(|entry| entry.shown_p).collect();
        let below = p.iter().filter(|p| decides(**p)).count();
        (p.len() > 1).then(|| {
            format!(
                "{} tests here, {below} with p below {DECIDED} before the correction; by chance alone \
                 {:.1} are expected.",
                p.len(),
                DECIDED * p.len() as f64
            )
        })
    }

    /// Leaves out the columns in which no row says anything.
    pub fn without_empty_columns(mut self) -> Table {
        let used: Vec<bool> = (0..self.columns.len())
            .map(|i| self.rows.iter().any(|row| !row[i].text.is_empty()))
            .collect();
        let mut kept = used.iter();
        self.columns.retain(|_| *kept.next().unwrap_or(&true));
        for row in &mut self.rows {
            let mut kept = used.iter();
            row.retain(|_| *kept.next().unwrap_or(&true));
        }
        self
    }
}

impl Entry {
    pub fn text(text: impl Into<String>) -> Entry {
        Entry {
            text: text.into(),
            ..Entry::default()
        }
    }

    /// `61.20 ± 0.51 (5)`: mean, standard deviation and number of seeds; `(3 of 5)` where runs are
    /// missing, `†` where a run learned nothing. Empty for what nobody planned.
    pub fn group(group: Option<&Group>) -> Entry {
        group.map_or_else(Entry::default, |group| Entry {
            link: Some(format!("#{}", group.id)),
            ..Entry::sample(&group.sample)
        })
    }

    /// The same of a sample that is no single cell; it links to the first of its runs.
    pub fn sample(sample: &Sample) -> Entry {
        if sample.points.is_empty() {
            return Entry::default();
        }
        let (there, planned) = (sample.scores().len(), sample.points.len());
        let count = match there == planned {
            true => there.to_string(),
            false => format!("{there} of {planned}"),
        };
        let mean = sample.mean().map_or(MISSING.to_owned(), points);
        let spread = sample
            .standard_deviation()
            .map_or(String::new(), |sd| format!(" ± {sd:.2}"));
        let mark = if sample.collapsed() > 0 { " †" } else { "" };
        let seeds = sample.points.iter().map(|(seed, point)| {
            let score = point.score.map_or("missing".to_owned(), points);
            format!("seed {seed}: {score} ({})", point.runs.join(", "))
        });
        Entry {
            text: format!("{mean}{spread} ({count}){mark}"),
            tooltip: seeds.collect::<Vec<_>>().join("\n"),
            link: run_link(&sample.runs()),
            ..Entry::default()
        }
    }

    /// Of how many evaluations the samples' scores are the best: `3`, or `3–30`.
    pub fn best_of<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Entry {
        let known = samples.into_iter().filter_map(Sample::evaluations);
        let both = known.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        Entry::text(match both {
            None => String::new(),
            Some((least, most)) if least == most => most.to_string(),
            Some((least, most)) => format!("{least}–{most}"),
        })
    }

    /// `+0.52 [−0.11, +1.15]` and p: two entries.
    pub fn comparison(comparison: Option<&Comparison>) -> [Entry; 2] {
        let Some(comparison) = comparison else {
            return [(); 2].map(|()| Entry::default());
        };
        let tooltip = explain(comparison);
        let interval = comparison
            .interval
            .map_or(String::new(), |interval| format!(" {}", bracket(interval)));
        let texts = [
            format!("{}{interval}", signed(comparison.difference)),
            comparison.p().map_or(MISSING.to_owned(), p_value),
        ];
        let link = run_link(&comparison.runs);
        let mut entries = texts.map(|text| Entry {
            text,
            tooltip: tooltip.clone(),
            link: link.clone(),
            p: comparison.deciding_p(),
            ..Entry::default()
        });
        entries[1].shown_p = comparison.p();
        entries
    }
}

/// An anchor of the first run.
fn run_link(runs: &[String]) -> Option<String> {
    runs.first().map(|run| format!("#run-{run}"))
}

/// What was computed, from which runs.
pub fn explain(comparison: &Comparison) -> String {
    let n = comparison.n;
    let how = match (comparison.pairing, &comparison.test) {
        (Pairing::Seeds, Some(test)) => format!(
            "paired t-test over {n} {}: t = {:.3}, p = {:.4}",
            match comparison.folds {
                None => "seeds",
                Some(_) => "folds, corrected for the rows that they share (Nadeau and Bengio 2003)",
            },
            test.t,
            test.p
        ),
        (Pairing::Sets, Some(test)) => format!(
            "paired t-test over {n} sets of tasks: t = {:.3}, p = {:.4}",
            test.t, test.p
        ),
        (Pairing::Sets, None) if n < FEWEST => format!("{n} sets of tasks: too few for a test"),
        (_, None) if n < FEWEST => format!("{n} seeds: too few for a test"),
        (Pairing::None, None) if comparison.folds.is_some() => "not the same folds: no test".into(),
        (_, None) => "the differences do not vary: no test".into(),
        (Pairing::None, Some(test)) => format!(
            "Welch's t-test, the seeds not being the same: t = {:.3}, df = {:.1}, p = {:.4}",
            test.t, test.degrees_of_freedom, test.p
        ),
    };
    let interval = comparison.interval.map_or(String::new(), |interval| {
        format!("\n95 % {}", bracket(interval))
    });
    let percent = comparison
        .percent
        .map_or(String::new(), |p| format!("\n{p:+.2} % of the second"));
    let collapsed = match comparison.collapsed {
        true => "\na run collapsed (†)",
        false => "",
    };
    minus(&format!(
        "{how}{interval}{percent}{collapsed}\nruns: {}",
        first_of(&comparison.runs)
    ))
}

/// The first names of many; `report.json` has them all.
fn first_of(names: &[String]) -> String {
    const NAMED: usize = 12;
    match names.get(..NAMED) {
        Some(first) if names.len() > NAMED => {
            format!("{} and {} more", first.join(", "), names.len() - NAMED)
        }
        _ => names.join(", "),
    }
}

/// `[−0.19, +0.98]`.
pub fn bracket(interval: Interval) -> String {
    format!("[{}, {}]", signed(interval.low), signed(interval.high))
}

/// Points with two decimals.
pub fn points(value: f64) -> String {
    minus(&format!("{value:.2}"))
}

/// Points with two decimals and their sign.
pub fn signed(value: f64) -> String {
    minus(&format!("{value:+.2}"))
}

pub fn p_value(p: f64) -> String {
    match p < 0.001 {
        true => "< 0.001".into(),
        false => format!("{p:.3}"),
    }
}

/// A minus sign where a hyphen stands before a digit at the start of a word.
fn minus(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let digit = letters.peek().is_some_and(char::is_ascii_digit);
        let sign = letter == '-' && digit && !before.is_alphanumeric();
        out.push(if sign { '−' } else { letter });
        before = letter;
    }
    out
}
