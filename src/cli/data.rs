//! `covalign data`: what is in a data folder, and whether it can be used.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use comfy_table::{presets, CellAlignment, Table, TableComponent};

use crate::data::overlap::{self, Texts};
use crate::data::sources::{sources, Source};
use crate::data::{read_split, Skipped, Split, TokenizedSplit, Tokenizer};
use crate::error::{io_error, one_line};
use crate::task::{Labels, Task};
use crate::{bail_input, model::encoder_dir};

/// The widest that a table gets.
const WIDTH: u16 = 100;

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Read every file of every task in a folder, and say what is in it and what is wrong
    #[command(after_help = "Examples:
  covalign data check data/glue --task CoLA --task RTE
  covalign data check data/sentiment --overlaps")]
    Check(CheckArgs),
    /// One line per task: sizes, token lengths, label balance
    #[command(after_help = "Example:\n  covalign data stats data/glue")]
    Stats(DataArgs),
}

#[derive(Debug, Args)]
pub struct DataArgs {
    /// Folder with one sub-folder per task, or with the tasks' files themselves
    dir: PathBuf,
    /// A task's name or YAML file; may be repeated [default: every known task found in DIR]
    #[arg(long = "task", value_name = "T")]
    tasks: Vec<String>,
    /// The encoder whose tokens are counted: a name or a folder
    #[arg(long, default_value = "all-MiniLM-L6-v2")]
    encoder: String,
    /// Tokens after which a row is cut
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(3..))]
    max_length: u32,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Name dev and test rows whose text is among training rows, the task's own or another's
    #[arg(long)]
    overlaps: bool,
}

pub fn run(command: DataCommand) -> Result<()> {
    let (args, check, overlaps) = match command {
        DataCommand::Check(args) => (args.data, true, args.overlaps),
        DataCommand::Stats(args) => (args, false, false),
    };
    if !args.dir.is_dir() {
        return Err(io_error(&args.dir, std::io::ErrorKind::NotFound.into()));
    }
    let tasks = tasks(&args)?;
    let tokenizer = Tokenizer::from_folder(&encoder_dir::resolve(&args.encoder)?)?;
    let found: Vec<TaskReport> = tasks
        .iter()
        .map(|task| TaskReport::read(task, &args, &tokenizer))
        .collect();
    match check {
        true => found.iter().for_each(TaskReport::print),
        false => print_stats(&found),
    }
    if overlaps {
        print_overlaps(&found);
    }
    let wrong: Vec<&String> = found.iter().flat_map(|t| &t.wrong).collect();
    for message in &wrong {
        eprintln!("wrong: {message}");
    }
    match wrong.len() {
        0 => Ok(()),
        1 => bail_input!("{}: 1 file cannot be used", args.dir.display()),
        n => bail_input!("{}: {n} files cannot be used", args.dir.display()),
    }
}

/// The tasks asked for, or the built-in ones of which a file is in the folder.
fn tasks(args: &DataArgs) -> Result<Vec<Task>> {
    if !args.tasks.is_empty() {
        return args.tasks.iter().map(|name| Task::load(name)).collect();
    }
    let mut tasks = Vec::new();
    for name in Task::built_in_names() {
        let task = Task::load(name)?;
        let here = |split| sources(&task, &args.dir, split).is_ok();
        if args.dir.join(&task.folder).is_dir()
            || own_names(&task) && Split::ALL.into_iter().any(here)
        {
            tasks.push(task);
        }
    }
    match tasks.is_empty() {
        false => Ok(tasks),
        true => bail_input!(
            "{}: no known task in this folder; it needs sub-folders as CoLA or RTE, or say --task",
            args.dir.display()
        ),
    }
}

/// Whether the names of its files say whose they are; train.tsv could be any task's.
fn own_names(task: &Task) -> bool {
    let files = Split::ALL
        .into_iter()
        .filter_map(|split| task.files_of(split))
        .flatten();
    files.into_iter().all(|file| !file.path.ends_with(".tsv"))
}

/// What a file of a task holds, or a split that is cut out of one.
struct FileReport {
    split: Split,
    path: PathBuf,
    /// Set for rows that make a split of their own, as dev cut out of train.
    cut: bool,
    official: Option<usize>,
    labels: BTreeMap<usize, usize>,
    values: Vec<f32>,
    lengths: Vec<usize>,
    truncated: usize,
    skipped: Vec<Skipped>,
}

struct TaskReport {
    task: Task,
    max_length: usize,
    files: Vec<FileReport>,
    /// A line for each file that cannot be used.
    wrong: Vec<String>,
    /// Splits whose files are not there.
    absent: Vec<String>,
    texts: Vec<Texts>,
}

impl TaskReport {
    fn read(task: &Task, args: &DataArgs, tokenizer: &Tokenizer) -> TaskReport {
        let mut report = TaskReport {
            task: task.clone(),
            max_length: args.max_length as usize,
            files: Vec::new(),
            wrong: Vec::new(),
            absent: Vec::new(),
            texts: Vec::new(),
        };
        for split in Split::ALL
            .into_iter()
            .filter(|&split| task.has_split(split))
        {
            let found = match sources(task, &args.dir, split) {
                Ok(found) => found,
                // Test files are not needed for training.
                Err(_) if split == Split::Test => {
                    report.absent.push(format!("{split}: not there"));
                    continue;
                }
                Err(e) => {
                    report.wrong.push(one_line(&e));
                    continue;
                }
            };
            match read_split(task, &args.dir, split) {
                Ok(rows) => {
                    let tokens =
                        TokenizedSplit::from_rows(rows, tokenizer, report.max_length, &|_, _| {});
                    for (number, source) in found.iter().enumerate() {
                        let file = FileReport::new(
                            task,
                            split,
                            number,
                            source,
                            &tokens,
                            report.max_length,
                        );
                        report.files.push(file);
                    }
                    let texts = Texts::of_tokens(&task.name, split, &tokens);
                    report.texts.push(texts);
                }
                Err(e) if report.wrong.contains(&one_line(&e)) => {}
                Err(e) => report.wrong.push(one_line(&e)),
            }
        }
        report
    }

    fn print(&self) {
        let task = &self.task;
        println!("{}: {}", task.name, task.title);
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
            row.extend([0.5, 0.95, 0.99, 1.0].map(|p| percentile(&file.lengths, p).to_string()));
            row.push(format!(
                "{:.1}%",
                100.0 * file.truncated as f64 / rows.max(1) as f64
            ));
            table.add_row(row);
        }
        if !self.files.is_empty() {
            println!("{table}");
        }
        for file in &self.files {
            file.print_skipped();
        }
        for split in &self.absent {
            println!("  {split}");
        }
        println!();
    }
}

impl TaskReport {
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
    fn new(
        task: &Task,
        split: Split,
        number: usize,
        source: &Source,
        tokens: &TokenizedSplit,
        max_length: usize,
    ) -> FileReport {
        let rows: Vec<usize> = (0..tokens.len())
            .filter(|&row| tokens.file(row) == number)
            .collect();
        let mut lengths: Vec<usize> = rows.iter().map(|&row| tokens.full_length(row)).collect();
        lengths.sort_unstable();
        let values: Vec<f32> = rows.iter().filter_map(|&row| tokens.label(row)).collect();
        let mut labels = BTreeMap::new();
        if !task.is_regression() {
            values
                .iter()
                .for_each(|&class| *labels.entry(class as usize).or_default() += 1);
        }
        let skipped = tokens
            .skipped
            .iter()
            .filter(|s| s.file == source.path)
            .cloned()
            .collect();
        FileReport {
            split,
            path: source.path.clone(),
            cut: task.cut().is_some() && source.of == Split::Train,
            official: source.file.rows,
            labels,
            values,
            truncated: lengths.iter().filter(|&&n| n > max_length).count(),
            lengths,
            skipped,
        }
    }

    fn label_summary(&self, labels: &Labels) -> String {
        match labels {
            _ if self.values.is_empty() => "none".to_string(),
            Labels::Classes(names) => {
                let count = |(class, name): (usize, &String)| {
                    format!("{name}:{}", self.labels.get(&class).unwrap_or(&0))
                };
                names
                    .iter()
                    .enumerate()
                    .map(count)
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            Labels::Range { .. } => {
                format!("mean {:.2}", mean(self.values.iter().map(|&v| v.into())))
            }
        }
    }

    /// Shares of the labels, or their mean.
    fn balance(&self, labels: &Labels) -> String {
        let Labels::Classes(names) = labels else {
            return self.label_summary(labels);
        };
        let share = |(class, name): (usize, &String)| {
            let count = *self.labels.get(&class).unwrap_or(&0) as f64;
            format!(
                "{name}:{:.0}%",
                100.0 * count / self.values.len().max(1) as f64
            )
        };
        names
            .iter()
            .enumerate()
            .map(share)
            .collect::<Vec<_>>()
            .join(" ")
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
        let more = self.skipped.len().saturating_sub(shown.len());
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        println!(
            "  {}: {} short rows left out, at lines {}{more}",
            self.path.display(),
            self.skipped.len(),
            shown.join(", ")
        );
    }
}

fn print_overlaps(found: &[TaskReport]) {
    let texts = found.iter().flat_map(|report| report.texts.clone());
    let (training, scored): (Vec<_>, Vec<_>) = texts.partition(|t| t.split == Split::Train);
    let overlaps = overlap::find(&training, &scored);
    if overlaps.is_empty() {
        println!("no dev or test row has the text of a training row");
        return;
    }
    println!("dev and test rows with the text of a training row");
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
    println!("{table}");
    for found in &overlaps {
        println!("  {found}");
    }
}

fn print_stats(found: &[TaskReport]) {
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
            format!("{:.1}", mean(lengths.map(|&n| n as f64))),
            balance,
        ]);
    }
    println!("{table}");
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
