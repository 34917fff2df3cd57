//! `covalign predict`.

use std::fmt::Write as _;
use std::io::Read;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{json, Map, Value};

use super::saved_run::{SavedTask, Weights};
use crate::bail_input;
use crate::cli::out;
use crate::data::{read_input, Example, TokenizedSplit};
use crate::error::io_error;
use crate::task::Labels;
use crate::telemetry::atomic;
use crate::train::evaluate::Outputs;

/// Predict labels for rows of a file or of standard input
///
/// The rows come in the layout of the task's files, or as bare texts: one a line, two separated by
/// a tab for a pair task.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign predict runs/demo --task DemoSentiment reviews.tsv
  echo 'A fine film.' | covalign predict runs/demo --task DemoSentiment - --format jsonl")]
pub struct PredictArgs {
    /// A run folder
    run: PathBuf,
    /// The task whose head predicts
    #[arg(long, value_name = "T")]
    task: String,
    /// The rows, or - for standard input
    #[arg(default_value = "-")]
    input: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Add every class's probability
    #[arg(long)]
    probabilities: bool,
    /// Write here instead of to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Which of the run's weights
    #[arg(long, value_enum, default_value_t)]
    weights: Weights,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Header `index prediction`, tab-separated
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
        bytes = std::fs::read(&args.input).map_err(|e| io_error(&args.input, e))?;
    }
    let saved = SavedTask::load(&args.run, &args.task, args.weights)?;
    let source = if source == "-" { "stdin" } else { &source };
    let rows = read_input(&saved.task, &bytes, source)?;
    if rows.examples.is_empty() {
        bail_input!("{source}: no rows");
    }
    let length = saved.config.training.max_length;
    let split = TokenizedSplit::from_examples(&rows.examples, &saved.tokenizer, length);
    let outputs = saved.outputs(&split)?;
    let labels = &saved.task.labels;
    let text = match args.format {
        Format::Tsv => tsv(&rows.examples, &outputs, labels, args.probabilities),
        Format::Jsonl => jsonl(&rows.examples, &outputs, labels, args.probabilities),
    };
    match &args.out {
        Some(path) => atomic::write(path, text.as_bytes()),
        None => {
            out::print(text.as_bytes());
            Ok(())
        }
    }
}

fn index(examples: &[Example], row: usize) -> String {
    let own = examples[row].index.clone();
    own.unwrap_or_else(|| row.to_string())
}

fn tsv(examples: &[Example], outputs: &Outputs, labels: &Labels, probabilities: bool) -> String {
    let mut text = String::from("index\tprediction");
    if let (Labels::Classes(names), true) = (labels, probabilities) {
        for name in names {
            let _ = write!(text, "\tp({name})");
        }
    }
    text.push('\n');
    for row in 0..examples.len() {
        text.push_str(&index(examples, row));
        let _ = write!(text, "\t{}", outputs.text(row, labels));
        if let (Labels::Classes(_), true) = (labels, probabilities) {
            for p in outputs.probabilities(row) {
                let _ = write!(text, "\t{p:.6}");
            }
        }
        text.push('\n');
    }
    text
}

fn jsonl(examples: &[Example], outputs: &Outputs, labels: &Labels, probabilities: bool) -> String {
    let mut text = String::new();
    for (row, example) in examples.iter().enumerate() {
        let mut object = Map::new();
        object.insert("index".into(), index(examples, row).into());
        object.insert("text".into(), example.text_a.clone().into());
        if let Some(second) = &example.text_b {
            object.insert("second_text".into(), second.clone().into());
        }
        match labels {
            Labels::Classes(names) => {
                object.insert(
                    "prediction".into(),
                    names[outputs.class(row)].clone().into(),
                );
                if probabilities {
                    let all = outputs.probabilities(row);
                    let pairs = names.iter().cloned().zip(all.into_iter().map(Value::from));
                    object.insert("probabilities".into(), Value::Object(pairs.collect()));
                }
            }
            Labels::Range { min, max } => {
                object.insert("prediction".into(), json!(outputs.number(row, *min, *max)));
            }
        }
        let _ = writeln!(text, "{}", Value::Object(object));
    }
    text
}
