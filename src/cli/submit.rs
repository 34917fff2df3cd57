//! `covalign submit`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::saved_run::{self, SavedTask, Weights};
use super::table;
use crate::cli::out::say;
use crate::config::yaml::suggest;
use crate::data::sources::sources;
use crate::data::TokenizedSplit;
use crate::hub::encoder_dir;
use crate::model::source::Source;
use crate::task::submission::{self, SubmissionFile, FILES};
use crate::task::{Split, Task};
use crate::telemetry::atomic;
use crate::telemetry::progress::Progress;
use crate::train::keep::run_folder::RunFolder;
use crate::train::tasks::saved_task;
use crate::transfer;
use crate::{bail_input, input_error};

/// Write a submission to the GLUE server from one or several runs
///
/// Each task's test rows are answered by the first run that has the task; AX by MNLI's head. The zip
/// holds all eleven files, with the rows and labels that the server wants, or is not written.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign submit runs/glue --out submission.zip
  covalign submit runs/joint --task RTE=runs/rte-from-mnli --out submission.zip
  covalign submit runs/glue-small --fill-missing --out submission.zip")]
pub struct SubmitArgs {
    /// Run folders; of several that have a task, the first answers it
    runs: Vec<PathBuf>,
    /// The run that answers a task, whatever the others have; may be repeated
    #[arg(long = "task", value_name = "T=RUN")]
    chosen: Vec<String>,
    /// The zip file
    #[arg(long, value_name = "ZIP")]
    out: PathBuf,
    /// Read the test rows from here instead of from where the runs have their data
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Give tasks without a run or without test rows one answer in every row, a common one
    #[arg(long)]
    fill_missing: bool,
    /// Which of the runs' weights
    #[arg(long, value_enum, default_value_t)]
    weights: Weights,
}

/// A task with the run that answers it.
struct Answered {
    root: PathBuf,
    /// Whose head answers: the task itself, or AX's MNLI.
    head: String,
    split: TokenizedSplit,
    task: Task,
}

pub fn run(args: SubmitArgs) -> Result<()> {
    if args.runs.is_empty() && args.chosen.is_empty() {
        bail_input!("name at least one run folder");
    }
    let mut names: Vec<&str> = FILES.iter().map(|file| file.task).collect();
    names.dedup();
    let chosen = chosen(&args.chosen, &names)?;
    let mut answered = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        match find(&args, &chosen, name)? {
            Ok(found) => answered.push(found),
            Err(why) => missing.push(format!("{name} ({why})")),
        }
    }
    if !missing.is_empty() && !args.fill_missing {
        bail_input!(
            "the server wants all eleven files; there is nothing for {}; name runs that have them, \
             or --fill-missing writes one answer into every row",
            missing.join(", ")
        );
    }
    // Before hours of predicting.
    for file in &FILES {
        if let Some(found) = answered.iter().find(|found| found.task.name == file.task) {
            rows_of(file, found)?;
        }
    }
    let mut answers = BTreeMap::new();
    for found in &answered {
        answers.insert(found.task.name.as_str(), predict(found, args.weights)?);
    }
    let (mut texts, mut rows) = (Vec::new(), Vec::new());
    for file in &FILES {
        let found = answered.iter().find(|found| found.task.name == file.task);
        let from = match found {
            Some(found) => found.root.display().to_string(),
            None => format!("nothing: `{}` in every row", file.filler),
        };
        rows.push(vec![
            format!("{}.tsv", file.name),
            file.rows.to_string(),
            from,
        ]);
        texts.push(match found {
            Some(found) => file.text(&answers[file.task][rows_of(file, found)?])?,
            None => file.filled()?,
        });
    }
    atomic::write(&args.out, &submission::zip(&texts)?)?;
    let header = ["File", "Rows", "Answered by"].map(String::from);
    say!("{}", table::plain(&header, &rows));
    say!("submission   {}", args.out.display());
    Ok(())
}

/// `--task T=RUN`, taken apart.
fn chosen<'a>(items: &'a [String], names: &[&str]) -> Result<Vec<(&'a str, &'a Path)>> {
    let pair = |item: &'a String| {
        let (task, run) = item
            .split_once('=')
            .ok_or_else(|| input_error!("--task {item}: write it as TASK=RUN"))?;
        if !names.contains(&task) {
            bail_input!(
                "--task {item}: not one of GLUE's tasks; {}",
                suggest(task, names)
            );
        }
        Ok((task, Path::new(run)))
    };
    items.iter().map(pair).collect()
}

/// The run that answers a task, with the task's test rows; or why there is none.
fn find(
    args: &SubmitArgs,
    chosen: &[(&str, &Path)],
    name: &str,
) -> Result<Result<Answered, String>> {
    let known = Task::load(name)?;
    let head = known.head_of.clone().unwrap_or_else(|| name.to_owned());
    let given = chosen.iter().find(|(task, _)| *task == name);
    let mut root = given.map(|(_, run)| run.to_path_buf());
    for run in args.runs.iter().filter(|_| given.is_none()) {
        if saved_run::open(run)?.tasks.contains(&head) {
            root = Some(run.clone());
            break;
        }
    }
    let Some(root) = root else {
        return Ok(Err(format!("no run has {head}")));
    };
    let config = saved_run::open(&root)?;
    if !config.tasks.contains(&head) {
        bail_input!("{}: the run has no task `{head}`", root.display());
    }
    let folder = RunFolder::open(&transfer::folder_of(&root, &config, &head))?;
    let saved = saved_task(&folder, &config, &head)?;
    let task = if head == name { saved.clone() } else { known };
    if task.labels != saved.labels {
        bail_input!(
            "{}: {head}'s labels are not in the order of {name}'s; its head cannot answer it",
            root.display()
        );
    }
    let data = args.data.as_deref().unwrap_or(&config.data);
    if !task.has_split(Split::Test) || sources(&task, data, Split::Test).is_err() {
        return Ok(Err(format!("no test rows in {}", data.display())));
    }
    let label = format!("tokenising {name}");
    let bar = std::sync::OnceLock::new();
    let split = Source::saved(&folder.encoder())?.intake()?.load_split(
        &task,
        data,
        Split::Test,
        config.training.max_length,
        Some(&encoder_dir::home()),
        &|done, total| {
            bar.get_or_init(|| Progress::counter(total as u64, &label))
                .at(done as u64, "");
        },
    )?;
    if let Some(bar) = bar.into_inner() {
        bar.finish();
    }
    Ok(Ok(Answered {
        root,
        head,
        split,
        task,
    }))
}

/// Where a file's rows are in the task's test split. They must be the official ones, in order.
fn rows_of(file: &SubmissionFile, found: &Answered) -> Result<std::ops::Range<usize>> {
    let split = &found.split;
    let part = split
        .parts()
        .iter()
        .find(|part| file.part.is_none() || part.name.as_deref() == file.part);
    let rows = part.map_or(0..0, |part| part.rows.clone());
    if rows.len() != file.rows {
        let files: Vec<_> = split
            .files()
            .iter()
            .map(|f| f.display().to_string())
            .collect();
        bail_input!(
            "{}: {} rows for {}.tsv, the official test file has {}; the server would refuse it",
            files.join(", "),
            rows.len(),
            file.name,
            file.rows
        );
    }
    for (number, row) in rows.clone().enumerate() {
        if let Some(index) = split
            .index(row)
            .filter(|index| *index != number.to_string())
        {
            bail_input!(
                "{}:{}: index `{index}` where the official test file has {number}",
                split.files()[split.file(row)].display(),
                split.line(row)
            );
        }
    }
    Ok(rows)
}

/// The run's answers to all test rows, as a submission writes them.
fn predict(found: &Answered, weights: Weights) -> Result<Vec<String>> {
    let saved = SavedTask::load(&found.root, &found.head, weights)?;
    let split = &found.split;
    let outputs = saved.outputs(split)?;
    let labels = &found.task.labels;
    Ok((0..split.len())
        .map(|row| outputs.text(row, labels))
        .collect())
}
