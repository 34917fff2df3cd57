//! `covalign train`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use super::shell;
use super::suite::duration::duration;
use super::{classes, table};
use crate::bail_input;
use crate::cli::out::say;
use crate::config::{Config, Strategy};
use crate::error::Interrupted;
use crate::telemetry::progress;
use crate::train::forecast::{forecast, Forecast};
use crate::train::interrupt;
use crate::train::keep::lock::RunLock;
use crate::train::keep::run_folder::RunFolder;
use crate::train::own;
use crate::train::ranks::{gone_of, Gone, Ranks};
use crate::transfer;

/// Fine-tune an encoder as a config says
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign train configs/demo.yaml
  covalign train configs/glue-small.yaml --set method=multitask --set training.seed=7
  covalign train configs/glue-large.yaml --dry-run
  covalign train configs/glue-large.yaml --out runs/large
  covalign train configs/glue-large.yaml --out runs/large --resume
  covalign train runs/large/config.yaml --set training.seed=7
  torchrun --nproc-per-node 4 --no-python covalign train configs/glue-large.yaml
  covalign train mr.yaml --set start.run=runs/sst --set start.heads=keep")]
pub struct TrainArgs {
    /// The training config, a YAML file
    config: PathBuf,
    /// Change a key of the config; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// The run folder [default: the config's `out`, or a fresh one in runs/]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with a run that was stopped; show the scores of one that has ended
    #[arg(long)]
    resume: bool,
    /// Print what results.json has instead of a table
    #[arg(long)]
    json: bool,
    /// Say what the run will take, by preparing it and timing ten steps; nothing is written
    #[arg(long, conflicts_with_all = ["out", "resume", "json"])]
    dry_run: bool,
}

pub fn run(args: TrainArgs) -> Result<()> {
    if args.dry_run {
        return dry_run(&own::config(&args.config, &args.overrides)?);
    }
    let ranks = Arc::new(Ranks::join()?);
    if !ranks.is_first() {
        progress::hush();
    }
    ranks.end(train(&args, &ranks))
}

fn train(args: &TrainArgs, ranks: &Arc<Ranks>) -> Result<()> {
    let config = own::config(&args.config, &args.overrides)?;
    let mut _lock = None;
    let out = ranks.first(|| {
        let out = match args.out.clone().or_else(|| config.out.clone()) {
            Some(out) => out,
            None => default_folder(&args.config, args.resume)?,
        };
        let folder = RunFolder::new(&out);
        check_ours(&folder)?;
        _lock = Some(RunLock::take(&folder)?);
        check_begun(&folder, args.resume)?;
        Ok(out)
    })?;
    let folder = RunFolder::new(&out);
    interrupt::install(ranks.size > 1).context("cannot catch Ctrl-C")?;
    let results = transfer::train(&config, &out, args.resume, ranks);
    let results = results.map_err(|error| how_to_go_on(error, &folder))?;
    if !ranks.is_first() {
        return Ok(());
    }
    if args.json {
        say!("{}", serde_json::to_string(&results)?);
        return Ok(());
    }
    say!("{}", table::score_table(&results, config.encoder.unit()));
    let mut tasks = results.tasks.iter();
    if let (Some((name, task)), None) = (tasks.next(), tasks.next()) {
        if let Some(report) = classes::short_report(name, &task.dev) {
            say!("{report}");
        }
    }
    say!("run folder   {}", out.display());
    say!("TensorBoard  tensorboard --logdir {}", shell::path(&out));
    Ok(())
}

/// What a person types to go on with a run that was stopped: its own config has all that was set.
fn how_to_go_on(error: anyhow::Error, folder: &RunFolder) -> anyhow::Error {
    let (config, out) = (folder.config(), folder.root());
    let (config, out) = (config.to_string_lossy(), out.to_string_lossy());
    let command = shell::line(&["train", &config, "--out", &out, "--resume"]);
    let then = format!("; go on with: {command}");
    if let Some(Interrupted(text)) = error.downcast_ref() {
        return anyhow::Error::new(Interrupted(format!("{text}{then}")));
    }
    match gone_of(&error) {
        Some(gone) if !folder.saved_steps().is_empty() => anyhow::Error::new(Gone {
            then,
            ..gone.clone()
        }),
        _ => error,
    }
}

/// What each run of a config will take.
fn dry_run(config: &Config) -> Result<()> {
    let mut seconds = 0.0;
    let runs = transfer::runs_of(config)?;
    for run in &runs {
        let forecast = forecast(run)?;
        seconds += forecast.seconds;
        say!("{}", shown(run, &forecast));
    }
    if runs.len() > 1 {
        say!("{} runs: about {}", runs.len(), duration(seconds));
    }
    say!("nothing was trained that is kept, and nothing written");
    Ok(())
}

fn shown(config: &Config, forecast: &Forecast) -> String {
    let rows = forecast.rows.iter();
    let rows: Vec<String> = rows.map(|(task, rows)| format!("{task} {rows}")).collect();
    let (timed, seconds) = forecast.timed;
    let megabytes = |bytes: u64| match bytes as f64 / 1e6 {
        few @ ..10.0 => format!("{few:.2} MB"),
        many => format!("{many:.0} MB"),
    };
    let about = match config.sampling.strategy {
        // The shares of later epochs hang on dev scores.
        Strategy::Dynamic => "about ",
        _ => "",
    };
    let fewer = match config.evaluation.patience {
        Some(_) => ", or fewer by evaluation.patience",
        None => "",
    };
    format!(
        "{} on {} ({}, {}), training rows: {}\n\
         steps    {}, an epoch has {:.1}; {} evaluations{fewer}\n\
         {:8} {about}{} to train on, {} to evaluate\n\
         time     about {} ({timed} steps timed, {:.2} s each; loading is not counted)\n\
         disk     weights up to {} while it trains, {} at its end",
        config.method.name(),
        config.encoder,
        forecast.device,
        forecast.precision,
        rows.join(", "),
        forecast.steps,
        forecast.steps_per_epoch,
        forecast.evaluations,
        config.encoder.unit(),
        forecast.tokens,
        forecast.evaluated,
        duration(forecast.seconds),
        seconds / timed as f64,
        megabytes(forecast.bytes.0),
        megabytes(forecast.bytes.1),
    )
}

/// A folder without a lock was not made by covalign; an empty one is welcome.
fn check_ours(folder: &RunFolder) -> Result<()> {
    let mut entries = folder.root().read_dir().into_iter().flatten();
    let ours = folder.lock().is_file() || folder.config().is_file();
    if !ours && entries.next().is_some() {
        bail_input!(
            "{}: the folder is not empty; give another --out",
            folder.root().display()
        );
    }
    Ok(())
}

/// A run is begun once, and resumed only when it was begun.
fn check_begun(folder: &RunFolder, resume: bool) -> Result<()> {
    let shown = folder.root().display();
    match (folder.config().is_file(), resume) {
        (true, false) => {
            bail_input!("{shown}: a run is here already; add --resume, or give another --out")
        }
        (false, true) => bail_input!("{shown}: no run to resume here (it has no config.yaml)"),
        _ => Ok(()),
    }
}

/// `runs/NAME`, `runs/NAME-2`, … after the config's file, or the run whose own it is: the first that is
/// free, or with `resume` the last that is not.
pub(super) fn default_folder(config: &Path, resume: bool) -> Result<PathBuf> {
    let run = own::folder(config);
    let of_run = run.as_ref().and_then(|run| run.root().file_name());
    let name = of_run.or(config.file_stem()).unwrap_or_default();
    let name = name.to_string_lossy();
    let numbered = |n: u32| match n {
        1 => Path::new("runs").join(&*name),
        n => Path::new("runs").join(format!("{name}-{n}")),
    };
    let free = (1..)
        .find(|&n| !numbered(n).exists())
        .context("no free name in runs/")?;
    match (resume, free) {
        (false, free) => Ok(numbered(free)),
        (true, 1) => bail_input!("no run of {name} to resume in runs/; give its folder with --out"),
        (true, free) => Ok(numbered(free - 1)),
    }
}
