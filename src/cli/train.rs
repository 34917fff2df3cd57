//! `covalign train`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::table;
use crate::bail_input;
use crate::cli::out::say;
use crate::config::Config;
use crate::train::interrupt;
use crate::train::keep::lock::RunLock;
use crate::train::keep::run_folder::RunFolder;
use crate::transfer;

/// Fine-tune an encoder as a config says
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign train configs/demo.yaml
  covalign train configs/glue-small.yaml --set method=multitask --set training.seed=7
  covalign train configs/glue-large.yaml --out runs/large
  covalign train configs/glue-large.yaml --out runs/large --resume
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
}

pub fn run(args: TrainArgs) -> Result<()> {
    let config = Config::load(&args.config, &args.overrides)?;
    let out = match args.out.clone().or_else(|| config.out.clone()) {
        Some(out) => out,
        None => default_folder(&args.config, args.resume)?,
    };
    let folder = RunFolder::new(&out);
    check_ours(&folder)?;
    let _lock = RunLock::take(&folder)?;
    check_begun(&folder, args.resume)?;
    interrupt::install().context("cannot catch Ctrl-C")?;
    let results = transfer::train(&config, &out, args.resume)?;
    say!("{}", table::score_table(&results, config.encoder.unit()));
    say!("run folder   {}", out.display());
    say!("TensorBoard  tensorboard --logdir {}", out.display());
    Ok(())
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

/// `runs/NAME`, `runs/NAME-2`, … after the config's file: the first that is free, or with `resume`
/// the last that is not.
pub(super) fn default_folder(config: &Path, resume: bool) -> Result<PathBuf> {
    let name = config.file_stem().unwrap_or_default().to_string_lossy();
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
