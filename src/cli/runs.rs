//! `covalign runs`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use serde::Serialize;

use super::table;
use crate::bail_input;
use crate::cli::out::{complain, say};
use crate::config::{Config, Method};
use crate::error::one_line;
use crate::suite::folder::notes_failure;
use crate::train::keep::checkpoint;
use crate::train::keep::lock;
use crate::train::keep::run_folder::{EvaluationLine, RunFolder};

/// List the runs in a folder, with their state
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign runs
  covalign runs runs/pairs --json

The score is the mean of the tasks' best dev scores; of a run that has not ended, the best mean so far.")]
pub struct RunsArgs {
    /// A folder with run folders, up to four folders down
    #[arg(default_value = "runs")]
    dir: PathBuf,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It has come to its end.
    Finished,
    /// A process holds its folder.
    Training,
    /// Its suite says so.
    Failed,
    /// None of these: `--resume` goes on.
    Stopped,
}

/// A run, as far as it has come.
#[derive(Debug, Serialize)]
struct Run {
    run: String,
    method: &'static str,
    tasks: Vec<String>,
    seed: u64,
    score: Option<f64>,
    state: State,
    /// The last step that was evaluated or saved.
    step: u64,
    /// Steps that it is to have, where that is known.
    of: Option<u64>,
    evaluated: bool,
    /// Seconds since it last wrote.
    seconds_ago: u64,
}

pub fn run(args: RunsArgs) -> Result<()> {
    let shown = args.dir.display();
    if !args.dir.is_dir() {
        bail_input!("{shown}: no such folder; give the one with your run folders");
    }
    let mut runs = Vec::new();
    collect(&args.dir, &args.dir, 0, &mut runs);
    if args.json {
        say!("{}", serde_json::to_string_pretty(&runs)?);
        return Ok(());
    }
    if runs.is_empty() {
        say!("no run folder in {shown}");
        return Ok(());
    }
    let header = ["Run", "Method", "Tasks", "Score", "State", "When"];
    let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
    say!("{}", table::plain(&header.map(String::from), &rows));
    Ok(())
}

/// The runs in `folder`, by name; a suite's lie two folders further down.
fn collect(root: &Path, folder: &Path, depth: usize, runs: &mut Vec<Run>) {
    let place = RunFolder::new(folder);
    // What was made by `covalign train` has a lock; other folders have a config.yaml too.
    if place.config().is_file() && place.lock().is_file() {
        match read(root, &place) {
            Ok(run) => runs.push(run),
            Err(error) => complain!("left out: {}", one_line(&error)),
        }
        return;
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    for folder in folders.iter().filter(|_| depth < 4) {
        collect(root, folder, depth + 1, runs);
    }
}

/// How far a run has come.
///
/// # Errors
/// An input error where its config or its results cannot be read.
fn read(root: &Path, folder: &RunFolder) -> Result<Run> {
    let config = Config::load(&folder.config(), &[])?;
    // Of `single` over several tasks each has a folder of its own.
    let parts: Vec<RunFolder> = match config.method == Method::Single && config.tasks.len() > 1 {
        true => {
            let parts = config.tasks.iter();
            parts
                .map(|task| RunFolder::new(folder.root().join(task)))
                .collect()
        }
        false => vec![folder.clone()],
    };
    let lines: Vec<Vec<EvaluationLine>> = parts.iter().map(evaluations).collect();
    let best = |lines: &Vec<EvaluationLine>| {
        let means = lines.iter().map(|line| line.glue_score);
        means.max_by(f64::total_cmp)
    };
    let so_far: Option<Vec<f64>> = lines.iter().map(best).collect();
    let so_far = so_far.map(|best| best.iter().sum::<f64>() / best.len() as f64);
    let results = folder.ended()?;
    let step = |(part, lines): (&RunFolder, &Vec<EvaluationLine>)| {
        let saved = part.saved_steps().pop().map_or(0, |(step, _)| step);
        lines.last().map_or(0, |line| line.step).max(saved)
    };
    let of: Option<u64> = parts.iter().map(total).sum();
    let name = folder.root().strip_prefix(root).unwrap_or(folder.root());
    let written = parts.iter().chain([folder]).filter_map(last_written).max();
    let state = match &results {
        Some(_) => State::Finished,
        None if lock::held(folder) => State::Training,
        None if notes_failure(folder.root()) => State::Failed,
        None => State::Stopped,
    };
    Ok(Run {
        state,
        run: match name.as_os_str().is_empty() {
            true => folder.root().display().to_string(),
            false => name.display().to_string(),
        },
        method: config.method.name(),
        seed: config.training.seed,
        evaluated: lines.iter().any(|lines| !lines.is_empty()),
        step: match &results {
            Some(results) => results.steps,
            None => parts.iter().zip(&lines).map(step).sum(),
        },
        score: results.map(|results| results.glue_score).or(so_far),
        of,
        tasks: config.tasks,
        seconds_ago: written
            .and_then(|at| SystemTime::now().duration_since(at).ok())
            .map_or(0, |ago| ago.as_secs()),
    })
}

fn evaluations(folder: &RunFolder) -> Vec<EvaluationLine> {
    let text = std::fs::read_to_string(folder.metrics()).unwrap_or_default();
    let lines = text.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The steps that a run is to have, as what it has saved says.
fn total(folder: &RunFolder) -> Option<u64> {
    let saved = folder.saved_steps().pop().map(|(_, path)| path);
    let mut places = saved.into_iter().chain([folder.best()]);
    places.find_map(|place| checkpoint::total_steps(&place))
}

fn last_written(folder: &RunFolder) -> Option<SystemTime> {
    let files = [
        folder.results(),
        folder.metrics(),
        folder.log(),
        folder.config(),
        folder.checkpoints(),
    ];
    let times = files.iter().filter_map(|file| file.metadata().ok());
    times.filter_map(|data| data.modified().ok()).max()
}

fn row(run: &Run) -> Vec<String> {
    let of = run.of.map_or(String::new(), |of| format!(" of {of}"));
    let state = match run.state {
        State::Finished => "finished",
        State::Training => "training",
        State::Failed => "failed",
        State::Stopped => "stopped",
    };
    let state = match (run.state, run.evaluated, run.step) {
        (State::Finished, ..) => state.to_owned(),
        (_, true, step) => format!("{state}, step {step}{of}"),
        (_, false, 0) => format!("{state}, nothing saved"),
        (_, false, step) => format!("{state}, step {step}{of}, never evaluated"),
    };
    let tasks = match run.tasks.len() {
        0..=3 => run.tasks.join(", "),
        n => format!("{}, … ({n})", run.tasks[..2].join(", ")),
    };
    vec![
        run.run.clone(),
        run.method.into(),
        tasks,
        run.score.map_or("–".into(), |score| format!("{score:.2}")),
        state,
        ago(run.seconds_ago),
    ]
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..=59 => "now".into(),
        60..=3599 => format!("{} min ago", seconds / 60),
        3600..=86_399 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}
