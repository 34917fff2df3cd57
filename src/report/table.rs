//! A table of a report, before it is Markdown or HTML, and how its numbers are printed.

use serde::Serialize;

use super::comparison::{Comparison, Pairing};
use super::groups::Group;
use super::samples::Sample;
use crate::analysis::statistics::{holm, DECIDED};

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
    /// Whether that is what stands here.
    #[serde(skip)]
    pub shows_p: bool,
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

    /// Adds columns of differences, each with its interval and p: what [`Entry::comparison`] fills.
    pub fn differences(self, names: &[&str]) -> Table {
        let names: Vec<&str> = names
            .iter()
            .flat_map(|name| [*name, "95 %", "p (Holm)"])
            .collect();
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
                entry.strong = corrected < DECIDED;
                if entry.shows_p && p.len() > 1 {
                    entry.text = format!("{} ({})", entry.text, p_value(corrected));
                }
            }
        }
        self
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
        let range = known.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        Entry::text(match range {
            None => String::new(),
            Some((least, most)) if least == most => most.to_string(),
            Some((least, most)) => format!("{least}–{most}"),
        })
    }

    /// `+0.52 (+0.85 %)`, the interval, and p: three entries.
    pub fn comparison(comparison: Option<&Comparison>) -> [Entry; 3] {
        let Some(comparison) = comparison else {
            return [(); 3].map(|()| Entry::default());
        };
        let tooltip = explain(comparison);
        let percent = comparison
            .percent
            .map_or(String::new(), |p| format!(" ({p:+.2} %)"));
        let interval = comparison.interval.map_or(String::new(), |interval| {
            format!("{} … {}", signed(interval.low), signed(interval.high))
        });
        let texts = [
            format!("{}{}", signed(comparison.difference), minus(&percent)),
            interval,
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
        entries[2].shows_p = true;
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
            "paired t-test over {n} seeds: t = {:.3}, p = {:.4}",
            test.t, test.p
        ),
        (Pairing::Sets, Some(test)) => format!(
            "paired t-test over {n} sets of tasks: t = {:.3}, p = {:.4}",
            test.t, test.p
        ),
        (Pairing::Seeds, None) if n < 2 => "one seed: no test".into(),
        (Pairing::Sets, None) if n < 2 => "one set of tasks: no test".into(),
        (_, None) => "the differences do not vary: no test".into(),
        (Pairing::None, Some(test)) => format!(
            "Welch's t-test, the seeds not being the same: t = {:.3}, df = {:.1}, p = {:.4}",
            test.t, test.degrees_of_freedom, test.p
        ),
    };
    let interval = comparison.interval.map_or(String::new(), |interval| {
        format!(
            "\n95 % {} … {}",
            signed(interval.low),
            signed(interval.high)
        )
    });
    minus(&format!(
        "{how}{interval}\nruns: {}",
        comparison.runs.join(", ")
    ))
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
