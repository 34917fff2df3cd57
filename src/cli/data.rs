//! `covalign data`: what is in a data folder, and whether it can be used.

mod found;
mod show;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::bail_input;
use crate::cli::out::{complain, say};
use crate::data::sources::sources;
use crate::data::{Intake, Split, Tokenizer};
use crate::error::io_error;
use crate::hub::encoder_dir;
use crate::task::Task;
use found::TaskReport;
use show::{in_json, print_overlaps, print_stats};

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
    /// Print JSON
    #[arg(long)]
    json: bool,
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
    let texts = match tasks.iter().all(Task::has_images) {
        true => Intake::Images,
        false => {
            let folder = encoder_dir::resolve(&args.encoder)?;
            Intake::Texts(Box::new(Tokenizer::from_folder(&folder)?))
        }
    };
    super::saved_run::say_notes(&texts);
    let intake = |task: &Task| {
        if task.has_images() {
            &Intake::Images
        } else {
            &texts
        }
    };
    let found: Vec<TaskReport> = tasks
        .iter()
        .map(|task| {
            let length = args.max_length as usize;
            TaskReport::read(task, &args.dir, intake(task), length, check)
        })
        .collect();
    match (args.json, check) {
        (true, _) => say!("{}", in_json(&found, overlaps)),
        (false, true) => found.iter().for_each(TaskReport::print),
        (false, false) => print_stats(&found),
    }
    if overlaps && !args.json {
        print_overlaps(&found);
    }
    let wrong: Vec<&String> = found.iter().flat_map(|t| &t.wrong).collect();
    for message in &wrong {
        complain!("wrong: {message}");
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
