//! `covalign evaluate`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use comfy_table::{presets, CellAlignment, Table};

use super::saved_run::{self, SavedTask, Weights};
use super::{classes, table};
use crate::bail_input;
use crate::cli::out::say;
use crate::hub::encoder_dir;
use crate::task::Split;
use crate::train::evaluate::{self, not_above, Scores};

/// Score a run's weights on a labelled split
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign evaluate runs/demo
  covalign evaluate runs/demo --per-class
  covalign evaluate runs/sentiment --split test --task TREC --json")]
pub struct EvaluateArgs {
    /// A run folder
    run: PathBuf,
    /// dev or test
    #[arg(long, value_enum, default_value_t = Split::Dev)]
    split: Split,
    /// Only this task; may be repeated
    #[arg(long = "task", value_name = "T")]
    tasks: Vec<String>,
    /// Read the data from here instead of from where the run did
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Which of the run's weights
    #[arg(long, value_enum, default_value_t)]
    weights: Weights,
    /// Show precision, recall, F1 and rows of each class or label, and which classes are taken for which
    #[arg(long, conflicts_with = "json")]
    per_class: bool,
    /// Print JSON instead of a table; it has what --per-class shows
    #[arg(long)]
    json: bool,
}

pub fn run(args: EvaluateArgs) -> Result<()> {
    let names = match args.tasks.is_empty() {
        true => saved_run::open(&args.run)?.tasks,
        false => args.tasks.clone(),
    };
    let mut all = Vec::new();
    let mut levels = Vec::new();
    for name in names {
        let saved = SavedTask::load(&args.run, &name, args.weights)?;
        let (scores, level) = judge(&saved, args.split, args.data.as_deref())?;
        all.push((name, scores));
        levels.push(level);
    }
    let mean = 100.0 * all.iter().map(|(_, s)| s.score).sum::<f64>() / all.len() as f64;
    if args.json {
        let tasks: serde_json::Map<_, _> = all
            .iter()
            .map(|(name, scores)| Ok((name.clone(), serde_json::to_value(scores)?)))
            .collect::<Result<_>>()?;
        let names = all.iter().map(|(name, _)| name.clone());
        let constant: BTreeMap<String, f64> = names.zip(levels).collect();
        say!(
            "{}",
            serde_json::json!({"split": args.split, "tasks": tasks, "glue_score": mean,
                               "constant_answer": constant})
        );
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["Task", &format!("Metrics on {}", args.split), "Score"]);
    let collapsed = |scores: &Scores, level: f64| not_above(scores.score, level);
    for ((name, scores), &level) in all.iter().zip(&levels) {
        table.add_row([
            name.clone(),
            scores.shown().join("  "),
            table::marked(scores.score, collapsed(scores, level)),
        ]);
    }
    if all.len() > 1 {
        let label = format!("mean of {} tasks", all.len());
        table.add_row([label, String::new(), format!("{mean:.2}")]);
    }
    if let Some(column) = table.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    say!("{table}");
    for ((name, scores), &level) in all.iter().zip(&levels) {
        if collapsed(scores, level) {
            say!("{}", table::constant(name, Some(level)));
        }
    }
    for (name, scores) in &all {
        if !scores.labels.is_empty() {
            say!("{}", classes::of_labels(name, scores));
        }
        if args.per_class {
            say!("{}", classes::report(name, scores));
        }
    }
    Ok(())
}

/// The scores of a task's saved weights on a labelled split, which lies in `data` or where the run read
/// it.
///
/// # Errors
/// Input errors where there is no such split, and for rows without a label.
pub fn score(saved: &SavedTask, asked: Split, data: Option<&Path>) -> Result<Scores> {
    Ok(judge(saved, asked, data)?.0)
}

/// As [`score`], with the score of the best constant answer.
fn judge(saved: &SavedTask, asked: Split, data: Option<&Path>) -> Result<(Scores, f64)> {
    let name = &saved.task.name;
    if !saved.task.has_split(asked) {
        bail_input!("task {name} has no {asked} split");
    }
    let split = saved.intake.load_split(
        &saved.task,
        data.unwrap_or(&saved.config.data),
        asked,
        saved.config.training.max_length,
        Some(&encoder_dir::home()),
        &|_, _| {},
    )?;
    let unlabelled = (0..split.len()).filter(|&row| split.label(row).is_none());
    let (first, count) = (unlabelled.clone().next(), unlabelled.count());
    if let Some(row) = first.filter(|_| count < split.len()) {
        bail_input!(
            "{}:{}: the first of {count} rows without a label; a score needs them all",
            split.files()[split.file(row)].display(),
            split.line(row)
        );
    }
    if first.is_some() {
        bail_input!("task {name}: the {asked} split has no labels; use `covalign predict`");
    }
    let outputs = saved.outputs(&split)?;
    Ok((
        evaluate::scores(&saved.task, &outputs, &split)?,
        evaluate::constant_answer(&saved.task, &split)?,
    ))
}
