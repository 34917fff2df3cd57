//! `covalign predict`.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{json, Map, Value};

use super::saved_run::{SavedTask, Weights};
use crate::bail_input;
use crate::cli::out;
use crate::data::lines::{is_packed, open};
use crate::data::{Example, Input, InputAs, InputFormat, Rows};
use crate::error::io_error;
use crate::export;
use crate::task::layout::Column;
use crate::task::Labels;
use crate::telemetry::atomic;
use crate::telemetry::progress::{self, Progress};
use crate::train::outputs::Outputs;

/// Predict labels for rows of a file or of standard input
///
/// The rows are read as the task's own files are, where they look like them, with or without
/// labels, which are ignored; else as plain text, one a line, two separated by a tab for a pair
/// task. What the input was taken for is said on standard error. Each row has one answer, by the
/// index that the file gives it, else by its line from 1; a blank line's is empty. A long input is
/// read, answered and written part by part.
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

/// Rows that are answered together, like lengths with like ones; their answers are written before the next
/// ones are read.
const TOGETHER: usize = 2048;

pub fn run(args: PredictArgs) -> Result<()> {
    let (stream, source, size): (Box<dyn Read>, _, _) = match args.input.to_str() {
        Some("-") => (Box::new(std::io::stdin()), "stdin".to_owned(), None),
        _ => {
            let stream = open(&args.input)?;
            (
                stream,
                args.input.display().to_string(),
                size_of(&args.input),
            )
        }
    };
    let saved = SavedTask::load(&args.run, &args.task, args.weights)?;
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
        ..InputAs::default()
    };
    let mut input = Input::open(&saved.task, stream, &source, &given)?;
    progress::say(&format!("{source}: read as {}", input.taken_for));
    let writing = Writing {
        source: &source,
        saved: &saved,
        format: args.format,
        probabilities: args.probabilities,
        logits: match args.logits {
            true => export::config::labels(&saved.task),
            false => Vec::new(),
        },
        indexed: input.is_indexed(),
    };
    let bar = Progress::bytes(size, &format!("predicting {}", saved.task.name));
    let told = match &args.out {
        Some(path) => atomic::fill(path, |file| {
            let write = |text: &str| {
                let written = file.write_all(text.as_bytes());
                written.map(|()| true).map_err(|e| io_error(path, e))
            };
            writing.all(&mut input, &bar, write)
        }),
        None => writing.all(&mut input, &bar, |text| {
            out::print(text.as_bytes());
            Ok(!out::closed())
        }),
    };
    bar.finish();
    told
}

/// The bytes that will be read, where that is known.
fn size_of(path: &Path) -> Option<u64> {
    let file = std::fs::metadata(path).ok().filter(|_| !is_packed(path))?;
    Some(file.len()).filter(|&bytes| bytes > 0)
}

/// How answers are written.
struct Writing<'a> {
    source: &'a str,
    saved: &'a SavedTask,
    format: Format,
    probabilities: bool,
    /// The outputs' names, where they are wanted.
    logits: Vec<String>,
    /// Whether rows have names of their own.
    indexed: bool,
}

impl Writing<'_> {
    /// Answers all rows of an input, a part at a time; `write` says whether somebody still reads.
    fn all(
        &self,
        input: &mut Input,
        bar: &Progress,
        mut write: impl FnMut(&str) -> Result<bool>,
    ) -> Result<()> {
        // With the first answers: nothing is written of an input that cannot be read.
        let mut header = (self.format == Format::Tsv).then(|| self.header());
        let (mut unanswered, mut all, mut odd) = (0, 0, Odd::default());
        while let Some(rows) = input.rows()? {
            odd.add(&rows.odd_labels);
            let bytes_a_row = (input.bytes - bar.position()) / rows.examples.len().max(1) as u64;
            for part in parts(rows) {
                unanswered += part.lines.len() - part.rows.examples.len();
                all += part.lines.len();
                let done = |rows: usize| bar.add(rows as u64 * bytes_a_row);
                let answers = self.part(&part, &done)?;
                if !write(&(header.take().unwrap_or_default() + &answers))? {
                    return Ok(());
                }
            }
        }
        odd.tell(self.source, &self.saved.task.name);
        if unanswered > 0 {
            progress::say(&format!(
                "{}: {unanswered} of {all} lines without an answer, blank or left out as the task's \
                 layout says",
                self.source
            ));
        }
        Ok(())
    }

    fn header(&self) -> String {
        let mut text = String::from(if self.indexed { "index" } else { "line" });
        text.push_str("\tprediction");
        for name in self.classes() {
            let _ = write!(text, "\tp({name})");
        }
        for name in &self.logits {
            let _ = write!(text, "\tlogit({name})");
        }
        text.push('\n');
        text
    }

    fn classes(&self) -> &[String] {
        match self.probabilities {
            true => self.saved.task.labels.names(),
            false => &[],
        }
    }

    /// The answers of a part's lines; `done` is told of the rows of each batch.
    fn part(&self, part: &Part, done: &dyn Fn(usize)) -> Result<String> {
        let saved = self.saved;
        let length = saved.config.training.max_length;
        let split = saved.intake.take(&saved.task, &part.rows, length)?;
        let answers = Answers {
            writing: self,
            part,
            outputs: &saved.outputs_of(&split, done)?,
            labels: &saved.task.labels,
        };
        match self.format {
            Format::Tsv => answers.tsv(),
            Format::Jsonl => Ok(answers.jsonl()),
        }
    }
}

/// Lines that are answered together.
#[derive(Default)]
struct Part {
    rows: Rows,
    /// In order, and which of the rows they are; blank lines and lines that were left out are none.
    lines: Vec<(u32, Option<usize>)>,
}

/// The lines of an input with their rows, so many in each part that they are answered together.
fn parts(mut rows: Rows) -> Vec<Part> {
    let skipped = rows.skipped.iter().map(|skipped| (skipped.line, false));
    let blank = rows.blank.iter().map(|&line| (line, false));
    let filled = rows.examples.iter().map(|example| (example.line, true));
    let mut lines: Vec<(u32, bool)> = filled.chain(blank).chain(skipped).collect();
    lines.sort_unstable();
    let mut examples = std::mem::take(&mut rows.examples).into_iter();
    let mut parts = vec![Part::default()];
    for (line, filled) in lines {
        if parts
            .last()
            .is_some_and(|part| part.rows.examples.len() == TOGETHER)
        {
            parts.push(Part::default());
        }
        if let Some(part) = parts.last_mut() {
            let own = &mut part.rows.examples;
            part.lines.push((line, filled.then_some(own.len())));
            own.extend(examples.by_ref().take(usize::from(filled)));
        }
    }
    for part in &mut parts {
        part.rows.files.clone_from(&rows.files);
    }
    parts
}

/// Rows that have something else in the place of a label.
#[derive(Default)]
struct Odd {
    first: Option<u32>,
    count: usize,
}

impl Odd {
    fn add(&mut self, lines: &[u32]) {
        self.first = self.first.or(lines.first().copied());
        self.count += lines.len();
    }

    fn tell(&self, source: &str, task: &str) {
        if let Some(line) = self.first {
            progress::say(&format!(
                "{source}:{line}: no label of {task}'s in the label's place, the first of {} such rows; \
                 what is there is ignored",
                self.count
            ));
        }
    }
}

/// What is written for lines of an input.
struct Answers<'a> {
    writing: &'a Writing<'a>,
    part: &'a Part,
    outputs: &'a Outputs,
    labels: &'a Labels,
}

impl Answers<'_> {
    fn example(&self, row: usize) -> &Example {
        &self.part.rows.examples[row]
    }

    /// # Errors
    /// An input error for an index that cannot stand in a table.
    fn tsv(&self) -> Result<String> {
        let (classes, logits) = (self.writing.classes(), &self.writing.logits);
        let mut text = String::new();
        for &(line, row) in &self.part.lines {
            match (row.and_then(|row| self.example(row).index.as_ref()), row) {
                (Some(index), _) if index.contains(['\t', '\n', '\r']) => bail_input!(
                    "{}:{line}: its index has a tab or a line's end in it; say --format jsonl",
                    self.writing.source
                ),
                (Some(index), _) => text.push_str(index),
                // A line without a row has no index either.
                (None, None) if self.writing.indexed => continue,
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
            match row.filter(|_| !logits.is_empty()) {
                Some(row) => {
                    for logit in self.outputs.row(row) {
                        let _ = write!(text, "\t{logit:.6}");
                    }
                }
                None => text.push_str(&"\t".repeat(logits.len())),
            }
            text.push('\n');
        }
        Ok(text)
    }

    fn jsonl(&self) -> String {
        let mut text = String::new();
        for &(line, row) in &self.part.lines {
            let mut object = Map::new();
            if let Some(index) = row.and_then(|row| self.example(row).index.clone()) {
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
        let example = self.example(row);
        let images = self.writing.saved.task.has_images();
        let key = if images { "image" } else { "text" };
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
        if self.writing.probabilities && !names.is_empty() {
            let all = self.outputs.probabilities(row, self.labels);
            let pairs = names.iter().cloned().zip(all.into_iter().map(Value::from));
            object.insert("probabilities".into(), Value::Object(pairs.collect()));
        }
        if !self.writing.logits.is_empty() {
            let logits = self.outputs.row(row).iter().map(|&logit| json!(logit));
            let pairs = self.writing.logits.iter().cloned().zip(logits);
            object.insert("logits".into(), Value::Object(pairs.collect()));
        }
    }
}
