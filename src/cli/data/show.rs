//! What `covalign data` prints.

use comfy_table::{presets, CellAlignment, Table, TableComponent};
use serde_json::{json, Map, Value};

use super::found::{FileReport, TaskReport};
use crate::cli::out::say;
use crate::data::overlap::{self, Overlap};
use crate::data::Split;
use crate::task::Labels;

/// The share of tokens that nobody can learn from, above which it is told.
const MOST_UNKNOWN: f64 = 0.02;

/// Which lengths are told: a share of the rows that are no longer.
const PERCENTILES: [f64; 4] = [0.5, 0.95, 0.99, 1.0];

/// The widest that a table gets.
const WIDTH: u16 = 100;

impl TaskReport {
    pub fn print(&self) {
        let task = &self.task;
        match task.title.is_empty() {
            true => say!("{}", task.name),
            false => say!("{}: {}", task.name, task.title),
        }
        let mut table = new_table(&[
            "split",
            "file",
            "rows",
            "official",
            "labels",
            "p50",
            "p95",
            "p99",
            "max",
            &format!(">{}", self.max_length),
            "[UNK]",
        ]);
        for file in &self.files {
            let (rows, mut row) = (file.lengths.len(), Vec::new());
            row.push(file.split.to_string());
            row.push(
                file.path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
            );
            row.push(rows.to_string());
            row.push(self.size(file));
            row.push(file.label_summary(&task.labels));
            // Images are not counted in tokens.
            if !task.has_images() {
                let lengths = PERCENTILES.map(|p| percentile(&file.lengths, p));
                row.extend(lengths.map(|length| length.to_string()));
                row.push(format!(
                    "{:.1}%",
                    100.0 * file.truncated as f64 / rows.max(1) as f64
                ));
                row.extend(file.unknown.map(|share| format!("{:.1}%", 100.0 * share)));
            }
            table.add_row(row);
        }
        if !self.files.is_empty() {
            say!("{table}");
        }
        for file in &self.files {
            file.print_skipped();
            file.warn_of_unknown();
        }
        for split in &self.absent {
            say!("  {split}");
        }
        say!("");
    }

    /// Whether the file has as many rows as the official one.
    fn size(&self, file: &FileReport) -> String {
        // The two sides of a cut are in one file.
        let of_file = |other: &&FileReport| other.cut && other.path == file.path;
        let rows: usize = match file.cut {
            true => self
                .files
                .iter()
                .filter(of_file)
                .map(|f| f.lengths.len())
                .sum(),
            false => file.lengths.len(),
        };
        match file.official {
            None => String::new(),
            Some(n) if n == rows && file.cut => "yes, cut".to_string(),
            Some(n) if n == rows => "yes".to_string(),
            Some(n) => format!("no: {n}"),
        }
    }
}

impl FileReport {
    fn label_summary(&self, labels: &Labels) -> String {
        if self.values.is_empty() {
            return "none".to_string();
        }
        if let Labels::Range { .. } = labels {
            let numbers = self.values.iter().filter_map(|v| v.number());
            return format!("mean {:.2}", mean(numbers.map(f64::from)));
        }
        self.by_label(labels, |rows| rows.to_string())
    }

    /// Shares of the labels, or their mean.
    fn balance(&self, labels: &Labels) -> String {
        if let Labels::Range { .. } = labels {
            return self.label_summary(labels);
        }
        let all = self.values.len().max(1) as f64;
        self.by_label(labels, |rows| format!("{:.0}%", 100.0 * rows as f64 / all))
    }

    /// Each label's name with what is `shown` of the number of its rows.
    fn by_label(&self, labels: &Labels, shown: impl Fn(usize) -> String) -> String {
        let of_label = |(label, name): (usize, &String)| {
            let rows = self.labels.get(&label).copied().unwrap_or(0);
            format!("{name}:{}", shown(rows))
        };
        let all: Vec<String> = labels.names().iter().enumerate().map(of_label).collect();
        all.join(" ")
    }

    /// Says where the encoder cannot spell the texts.
    fn warn_of_unknown(&self) {
        if let Some(share) = self.unknown.filter(|&share| share > MOST_UNKNOWN) {
            say!(
                "  {}: {:.1}% of its tokens are [UNK], which the encoder's vocabulary cannot spell; is it of \
                 another language or script, or `layout.encoding` another?",
                self.path.display(),
                100.0 * share
            );
        }
    }

    fn print_skipped(&self) {
        if self.skipped.is_empty() {
            return;
        }
        let shown: Vec<String> = self
            .skipped
            .iter()
            .take(12)
            .map(|s| s.line.to_string())
            .collect();
        let mut reasons: Vec<&str> = self.skipped.iter().map(|s| s.reason.as_str()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        let of_more = match reasons.len() {
            0..=3 => None,
            n => Some(format!("{} other reasons", n - 3)),
        };
        reasons.truncate(3);
        reasons.extend(of_more.as_deref());
        let more = self.skipped.len().saturating_sub(shown.len());
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        say!(
            "  {}: {} rows left out ({}), at lines {}{more}",
            self.path.display(),
            self.skipped.len(),
            reasons.join("; "),
            shown.join(", ")
        );
    }
}

/// All that is shown, as JSON.
pub fn in_json(found: &[TaskReport], with_overlaps: bool) -> Value {
    let file = |task: &TaskReport, file: &FileReport| {
        let rows = |(label, name): (usize, &String)| {
            let rows = file.labels.get(&label).copied().unwrap_or(0);
            (name.clone(), Value::from(rows))
        };
        let names = task.task.labels.names().iter().enumerate();
        let [p50, p95, p99, max] = PERCENTILES.map(|p| percentile(&file.lengths, p));
        json!({
            "split": file.split, "file": file.path, "rows": file.lengths.len(),
            "official": file.official, "labels": names.map(rows).collect::<Map<_, _>>(),
            "tokens": {"p50": p50, "p95": p95, "p99": p99, "max": max},
            "cut": file.truncated, "unknown": file.unknown, "left_out": file.skipped.len(),
        })
    };
    let task = |report: &TaskReport| {
        let files = report.files.iter().map(|of| file(report, of));
        json!({
            "task": report.task.name, "files": files.collect::<Vec<_>>(),
            "absent": report.absent, "wrong": report.wrong,
        })
    };
    let tasks: Vec<Value> = found.iter().map(task).collect();
    match with_overlaps {
        true => json!({"tasks": tasks, "overlaps": overlaps(found)}),
        false => json!({"tasks": tasks}),
    }
}

/// Dev and test rows whose text is among training rows.
fn overlaps(found: &[TaskReport]) -> Vec<Overlap> {
    let texts = found.iter().flat_map(|report| report.texts.clone());
    let (training, scored): (Vec<_>, Vec<_>) = texts.partition(|t| t.split == Split::Train);
    overlap::find(&training, &scored)
}

pub fn print_overlaps(found: &[TaskReport]) {
    let overlaps = overlaps(found);
    if overlaps.is_empty() {
        say!("no dev or test row has the text of a training row");
        return;
    }
    say!("dev and test rows with the text of a training row");
    let mut table = new_table(&[
        "task",
        "split",
        "rows",
        "share",
        "trained in",
        "training rows",
    ]);
    for found in &overlaps {
        table.add_row([
            found.task.clone(),
            found.split.to_string(),
            found.rows.to_string(),
            format!("{:.1}%", 100.0 * found.rows as f64 / found.of as f64),
            found.training.clone(),
            found.training_rows.len().to_string(),
        ]);
    }
    say!("{table}");
    for found in &overlaps {
        say!("  {found}");
    }
}

pub fn print_stats(found: &[TaskReport]) {
    let mut table = new_table(&[
        "task",
        "train",
        "dev",
        "test",
        "mean tokens",
        "labels in train",
    ]);
    for report in found {
        let of = |split| report.files.iter().filter(move |f| f.split == split);
        let size = |split| match of(split).map(|f| f.lengths.len()).sum::<usize>() {
            0 => "-".to_string(),
            n => n.to_string(),
        };
        let lengths = report.files.iter().flat_map(|f| &f.lengths);
        let balance = of(Split::Train)
            .next()
            .map_or(String::new(), |f| f.balance(&report.task.labels));
        table.add_row([
            report.task.name.clone(),
            size(Split::Train),
            size(Split::Dev),
            size(Split::Test),
            match report.task.has_images() {
                true => "-".to_string(),
                false => format!("{:.1}", mean(lengths.map(|&n| n as f64))),
            },
            balance,
        ]);
    }
    say!("{table}");
}

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_HORIZONTAL_ONLY)
        .set_header(header.to_vec());
    table
        .set_content_arrangement(comfy_table::ContentArrangement::Dynamic)
        .set_width(WIDTH);
    use TableComponent::{
        HorizontalLines, LeftBorderIntersections, MiddleIntersections, RightBorderIntersections,
    };
    for line in [
        HorizontalLines,
        LeftBorderIntersections,
        MiddleIntersections,
        RightBorderIntersections,
    ] {
        table.remove_style(line);
    }
    for (column, name) in header.iter().enumerate() {
        if ![
            "split",
            "file",
            "labels",
            "task",
            "labels in train",
            "official",
            "trained in",
        ]
        .contains(name)
        {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table
}

/// The smallest of sorted values that at least a share `p` of them do not exceed.
fn percentile(sorted: &[usize], p: f64) -> usize {
    let rank = (p * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0usize), |(sum, n), v| (sum + v, n + 1));
    sum / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_values_of_the_sample() {
        let hundred: Vec<usize> = (1..=100).collect();
        assert_eq!(
            [0.5, 0.95, 0.99, 1.0].map(|p| percentile(&hundred, p)),
            [50, 95, 99, 100]
        );
        assert_eq!((percentile(&[7], 0.5), percentile(&[], 0.5)), (7, 0));
    }
}
