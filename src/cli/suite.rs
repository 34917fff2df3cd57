//! `covalign suite`.

pub(super) mod duration;
mod live;
mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use super::shell;
use crate::cli::out::say;
use crate::error::{read_text, Interrupted};
use crate::libtorch;
use crate::suite::build;
use crate::suite::check;
use crate::suite::child::devices;
use crate::suite::compose::Wishes;
use crate::suite::estimate;
use crate::suite::file::SuiteFile;
use crate::suite::folder::{self, Entry, SuiteFolder};
use crate::suite::seen::{self, Seen};
use crate::suite::work::{self, Options, State};
use crate::train::interrupt;
use live::Show;
use tables::{plan_table, results_table};

/// Runs whose curves TensorBoard shows without being asked.
const SHOWN: usize = 40;

/// Train every run of a study, each once
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign suite configs/suites/glue-pairs-small.yaml --data data/glue --dry-run
  covalign suite configs/suites/glue-pairs-small.yaml --data data/glue --resume
  covalign suite configs/suites/glue-stilts.yaml --jobs 4 --seeds 42,43
  covalign suite configs/suites/glue-pairs.yaml --out /shared/pairs --shard 2/8

Ctrl-C saves and stops; the same command with --resume goes on, also after a crash: what is done
is not done again. Each run trains in a process of its own; logs/ has what it printed.")]
pub struct SuiteArgs {
    /// The study, a YAML file
    suite: PathBuf,
    /// Change a key of every run's config; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// The folder with the tasks' files, instead of the suite's
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Seeds, instead of the suite's
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    seeds: Option<Vec<u64>>,
    /// The suite's folder [default: runs/NAME after the suite's file]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Begin, or go on where the suite's folder is there already
    #[arg(long)]
    resume: bool,
    /// Runs at a time; they share the cores, or take turns on the CUDA devices
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    jobs: usize,
    /// GPUs that train each run together
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    gpus_per_run: usize,
    /// Be the I-th of N processes that share the folder: begin with that part, then help
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<Shard>,
    /// Show the plan and what it will take, and train nothing
    #[arg(long)]
    dry_run: bool,
    /// Print each run's scores as JSON instead of a table; with --dry-run the plan
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy)]
struct Shard {
    index: usize,
    count: usize,
}

fn shard(text: &str) -> Result<Shard, String> {
    let numbers = text.split_once('/').map(|(i, n)| (i.parse(), n.parse()));
    match numbers {
        Some((Ok(index), Ok(count))) if (1..=count).contains(&index) => Ok(Shard { index, count }),
        _ => Err("write it as 2/8, the second of eight".to_owned()),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("must be a number above 0".to_owned()),
    }
}

pub fn run(args: SuiteArgs) -> Result<()> {
    let suite = SuiteFile::read(&args.suite)?;
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let threads = (cores / args.jobs).max(1);
    let plan_with = |threads| {
        let wishes = Wishes {
            overrides: args.overrides.clone(),
            data: args.data.clone(),
            seeds: args.seeds.clone(),
            threads,
        };
        build::plan(&suite, &args.suite, &wishes)
    };
    let root = match &args.out {
        Some(out) => out.clone(),
        None => Path::new("runs").join(args.suite.file_stem().unwrap_or_default()),
    };
    let cuda = libtorch::usable_cuda_devices();
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let devices = devices(visible.as_deref(), &cuda, args.gpus_per_run)?;
    if args.dry_run {
        let plan = plan_with(threads)?;
        if args.json {
            say!("{}", serde_json::to_string(&plan)?);
            return Ok(());
        }
        let works = estimate::works(&plan, !cuda.is_empty())?;
        let done: Vec<_> = plan
            .runs
            .iter()
            .map(|run| folder::results(&root, &run.name))
            .collect();
        say!("{}", plan_table(&plan, &works, &done, args.jobs));
        // Without the data there is nothing to compare, and the table says so.
        print_seen(&seen::of_plan(&plan).unwrap_or_default());
        return Ok(());
    }
    let entry = match args.resume || args.shard.is_some() {
        true => Entry::Join,
        false => Entry::Begin,
    };
    let text = as_given(&args)?;
    let checked = |threads| {
        let plan = plan_with(threads)?;
        // Before the first run begins.
        if let Some(error) = check::missing(&plan)?.into_iter().next() {
            return Err(error);
        }
        Ok(plan)
    };
    let (folder, plan) = SuiteFolder::enter(&root, &text, threads, entry, checked)?;
    let options = Options {
        jobs: args.jobs,
        shared: args.shard.is_some(),
        start: args
            .shard
            .map_or(0.0, |s| (s.index - 1) as f64 / s.count as f64),
        devices,
    };
    let seen = match seen::read(&root) {
        Some(seen) => seen,
        None => {
            let seen = seen::of_plan(&plan)?;
            seen::write(&root, &seen)?;
            seen
        }
    };
    if !args.json {
        print_seen(&seen);
    }
    interrupt::install(false).context("cannot catch Ctrl-C")?;
    let works = estimate::works(&plan, !cuda.is_empty())?;
    let mut show = Show::new(&plan, works);
    let outcome = work::work(&folder, &plan, &options, &mut |event| show.event(event));
    show.finish();
    let outcome = outcome?;

    let count = |state| outcome.states.iter().filter(|s| **s == state).count();
    let (done, failed, not_run) = (
        count(State::Done),
        count(State::Failed),
        count(State::NotRun),
    );
    let all = plan.runs.len();
    if args.json {
        let scores = plan.runs.iter().map(|run| {
            let results = folder.results(&run.name);
            (&run.name, results.map(|results| results.tasks))
        });
        say!("{}", serde_json::to_string(&BTreeMap::from_iter(scores))?);
    } else {
        say!("{}", results_table(&plan, |run| folder.results(run)));
        say!("suite        {}", root.display());
        say!("report       covalign report {}", shell::path(&root));
        say!(
            "TensorBoard  tensorboard --logdir {}",
            shell::path(&root.join(folder::TENSORBOARD))
        );
        if all > SHOWN {
            // As `^multitask-`.
            let way = plan.runs[0].name.split('-').next().unwrap_or_default();
            say!(
                "             (shows no curve of more than {SHOWN} runs: type a filter over its list of runs, as ^{way}-)"
            );
        }
    }
    if outcome.interrupted {
        let command = shell::resumed();
        let text = format!("stopped with {done} of {all} runs done; go on with: {command}");
        return Err(anyhow::Error::new(Interrupted(text)));
    }
    if failed > 0 {
        bail!(
            "{failed} of {all} runs failed, {not_run} that need them were not run; what they \
             printed is in {}; --resume tries them again",
            root.join("logs").display()
        );
    }
    Ok(())
}

/// Says which scored rows some run trains on.
fn print_seen(seen: &[Seen]) {
    for seen in seen {
        say!("overlap: {}", seen.sentence());
    }
    if seen.iter().any(|seen| !seen.left_out) {
        say!("`--set deduplicate=true` leaves such training rows out of every run");
    }
}

/// The suite file, and what the command line added to it.
fn as_given(args: &SuiteArgs) -> Result<String> {
    let text = read_text(&args.suite)?;
    let mut head = String::new();
    for item in &args.overrides {
        head += &format!("# --set {item}\n");
    }
    if let Some(data) = &args.data {
        head += &format!("# --data {}\n", data.display());
    }
    if let Some(seeds) = &args.seeds {
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        head += &format!("# --seeds {}\n", seeds.join(","));
    }
    Ok(head + &text)
}
