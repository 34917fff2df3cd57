//! `covalign predict`.

use std::fmt::Write as _;
use std::io::Read;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{json, Map, Value};

use super::saved_run::{SavedTask, Weights};
use crate::bail_input;
use crate::cli::out;
use crate::data::lines::read_file;
use crate::data::{read_input, InputAs, InputFormat, Rows};
use crate::error::io_error;
use crate::export;
use crate::task::layout::Column;
use crate::task::Labels;
use crate::telemetry::{atomic, progress};
use crate::train::outputs::Outputs;

/// Predict labels for rows of a file or of standard input
///
/// The rows are read as the task's own files are, where they look like them, with or without
/// labels, which are ignored; else as plain text, one a line, two separated by a tab for a pair
/// task. What the input was taken for is said on standard error. Each row has one answer, by the
/// index that the file gives it, else by its line from 1; a blank line's is empty.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign predict runs/demo --task DemoSentiment data/DemoSentiment/dev.tsv
  echo 'A fine film.' | covalign predict runs/demo --task DemoSentiment - --format jsonl
  covalign predict runs/demo --task DemoSentiment r.csv --input-format csv --text review")]
pub struct PredictArgs {
    /// A run folder
    run: PathBuf,
    /// The task whose head predicts
    #[arg(long, value_name = "T")]
    task: String,
    /// The rows, or - for standard input
    #[arg(default_value = "-")]
    input: PathBuf,
    /// How the rows are written [default: as the task's files, else plain text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    input_format: Option<InputFormat>,
    /// The column with the text or image, by name, or by number where there is no header; twice for pairs
    #[arg(long, value_name = "COLUMN")]
    text: Vec<String>,
    /// The rows' encoding, as windows-1252 [default: the task's]
    #[arg(long, value_name = "NAME")]
    encoding: Option<String>,
    /// The data folder, for images that are not named by their paths [default: the run's]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How the answers are written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Add every class's probability
    #[arg(long)]
    probabilities: bool,
    /// Add what the model puts out: each class's logit, or the number before it is cut to the range
    #[arg(long)]
    logits: bool,
    /// Write here instead of to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Which of the run's weights
    #[arg(long, value_enum, default_value_t)]
    weights: Weights,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Tab-separated, with the header `index prediction`, or `line prediction`
    #[default]
    Tsv,
    /// One JSON object a line, with the texts
    Jsonl,
}

pub fn run(args: PredictArgs) -> Result<()> {
    let mut bytes = Vec::new();
    let source = args.input.display().to_string();
    if source == "-" {
        std::io::stdin()
            .read_to_end(&mut bytes)
            .map_err(|e| io_error(&args.input, e))?;
    } else {
        bytes = read_file(&args.input)?;
    }
    let saved = SavedTask::load(&args.run, &args.task, args.weights)?;
    let source = if source == "-" { "stdin" } else { &source };
    let column = |text: &String| match text.parse() {
        Ok(number) => Column::Number(number),
        Err(_) => Column::Name(text.clone()),
    };
    if args.data.is_some() && !saved.task.has_images() {
        bail_input!(
            "--data: is where images are looked for; {} has texts",
            saved.task.name
        );
    }
    let given = InputAs {
        format: args.input_format,
        text: args.text.iter().map(column).collect(),
        encoding: args.encoding.clone(),
        data: args.data.clone().unwrap_or(saved.config.data.clone()),
    };
    let input = read_input(&saved.task, &bytes, source, &given)?;
    let rows = &input.rows;
    progress::say(&format!("{source}: read as {}", input.taken_for));
    if let Some(line) = rows.odd_labels.first() {
        progress::say(&format!(
            "{source}:{line}: no label of {}'s in the label's place, the first of {} such rows; what \
             is there is ignored",
            args.task,
            rows.odd_labels.len()
        ));
    }
    let length = saved.config.training.max_length;
    let split = saved.intake.take(&saved.task, rows, length)?;
    let outputs = saved.outputs(&split)?;
    let answers = Answers {
        rows,
        lines: lines(rows),
        outputs: &outputs,
        labels: &saved.task.labels,
        probabilities: args.probabilities,
        outputs_named: match args.logits {
            true => export::config::labels(&saved.task),
            false => Vec::new(),
        },
        images: saved.task.has_images(),
    };
    let text = match args.format {
        Format::Tsv => answers.tsv(source)?,
        Format::Jsonl => answers.jsonl(),
    };
    let unanswered = answers.lines.len() - rows.examples.len();
    if unanswered > 0 {
        progress::say(&format!(
            "{source}: {unanswered} of {} lines without an answer, blank or left out as the task's \
             layout says",
            answers.lines.len()
        ));
    }
    match &args.out {
        Some(path) => atomic::write(path, text.as_bytes()),
        None => {
            out::print(text.as_bytes());
            Ok(())
        }
    }
}

/// The lines of an input, in order, and the rows that they are; blank lines and lines that were left
/// out are none.
fn lines(rows: &Rows) -> Vec<(u32, Option<usize>)> {
    let examples = rows.examples.iter().enumerate();
    let mut lines: Vec<_> = examples.map(|(row, e)| (e.line, Some(row))).collect();
    let skipped = rows.skipped.iter().map(|skipped| skipped.line);
    lines.extend(
        rows.blank
            .iter()
            .copied()
            .chain(skipped)
            .map(|line| (line, None)),
    );
    lines.sort_unstable();
    lines
}

/// What is written for an input.
struct Answers<'a> {
    rows: &'a Rows,
    lines: Vec<(u32, Option<usize>)>,
    outputs: &'a Outputs,
    labels: &'a Labels,
    probabilities: bool,
    /// The outputs' names, where they are wanted.
    outputs_named: Vec<String>,
    /// Whether the rows are images.
    images: bool,
}

impl Answers<'_> {
    /// # Errors
    /// An input error for an index that cannot stand in a table.
    fn tsv(&self, source: &str) -> Result<String> {
        let indexed = self.rows.examples.iter().any(|e| e.index.is_some());
        let mut text = String::from(if indexed { "index" } else { "line" });
        text.push_str("\tprediction");
        let classes = match self.probabilities {
            true => self.labels.names(),
            false => &[],
        };
        for name in classes {
            let _ = write!(text, "\tp({name})");
        }
        for name in &self.outputs_named {
            let _ = write!(text, "\tlogit({name})");
        }
        text.push('\n');
        for &(line, row) in &self.lines {
            match (
                row.and_then(|row| self.rows.examples[row].index.as_ref()),
                row,
            ) {
                (Some(index), _) if index.contains(['\t', '\n', '\r']) => bail_input!(
                    "{source}:{line}: its index has a tab or a line's end in it; say --format jsonl"
                ),
                (Some(index), _) => text.push_str(index),
                // A line without a row has no index either.
                (None, None) if indexed => continue,
                (None, _) => {
                    let _ = write!(text, "{line}");
                }
            }
            let answer = row.map(|row| self.outputs.text(row, self.labels));
            let _ = write!(text, "\t{}", answer.unwrap_or_default());
            if !classes.is_empty() {
                match row {
                    Some(row) => {
                        for p in self.outputs.probabilities(row, self.labels) {
                            let _ = write!(text, "\t{p:.6}");
                        }
                    }
                    None => text.push_str(&"\t".repeat(classes.len())),
                }
            }
            match row.filter(|_| !self.outputs_named.is_empty()) {
                Some(row) => {
                    for logit in self.outputs.row(row) {
                        let _ = write!(text, "\t{logit:.6}");
                    }
                }
                None => text.push_str(&"\t".repeat(self.outputs_named.len())),
            }
            text.push('\n');
        }
        Ok(text)
    }

    fn jsonl(&self) -> String {
        let mut text = String::new();
        for &(line, row) in &self.lines {
            let mut object = Map::new();
            if let Some(index) = row.and_then(|row| self.rows.examples[row].index.clone()) {
                object.insert("index".into(), index.into());
            }
            object.insert("line".into(), line.into());
            match row {
                Some(row) => self.answer(row, &mut object),
                None => {
                    object.insert("prediction".into(), Value::Null);
                }
            }
            let _ = writeln!(text, "{}", Value::Object(object));
        }
        text
    }

    fn answer(&self, row: usize, object: &mut Map<String, Value>) {
        let example = &self.rows.examples[row];
        let key = if self.images { "image" } else { "text" };
        object.insert(key.into(), example.text_a.clone().into());
        if let Some(second) = &example.text_b {
            object.insert("second_text".into(), second.clone().into());
        }
        let prediction = match self.labels {
            Labels::Classes(classes) => json!(classes.names[self.outputs.class(row)]),
            Labels::Range { min, max } => json!(self.outputs.number(row, *min, *max)),
            Labels::AnyOf(any) => {
                let holds = |(index, _): &(usize, &String)| self.outputs.holds(row, *index);
                let names = any.names.iter().enumerate().filter(holds);
                names.map(|(_, name)| name.as_str()).collect()
            }
        };
        object.insert("prediction".into(), prediction);
        let names = self.labels.names();
        if self.probabilities && !names.is_empty() {
            let all = self.outputs.probabilities(row, self.labels);
            let pairs = names.iter().cloned().zip(all.into_iter().map(Value::from));
            object.insert("probabilities".into(), Value::Object(pairs.collect()));
        }
        if !self.outputs_named.is_empty() {
            let logits = self.outputs.row(row).iter().map(|&logit| json!(logit));
            let pairs = self.outputs_named.iter().cloned().zip(logits);
            object.insert("logits".into(), Value::Object(pairs.collect()));
        }
    }
}
