//! `covalign train`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::table;
use crate::bail_input;
use crate::config::Config;
use crate::train::interrupt;
use crate::train::run_folder::RunFolder;
use crate::transfer;

/// Fine-tune an encoder as a config says
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign train configs/demo.yaml
  covalign train configs/glue-small.yaml --set method=multitask --set training.seed=7
  covalign train configs/glue-large.yaml --out runs/large
  covalign train configs/glue-large.yaml --out runs/large --resume")]
pub struct TrainArgs {
    /// The training config, a YAML file
    config: PathBuf,
    /// Change a key of the config; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// The run folder [default: the config's `out`, or a fresh one in runs/]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with a run that was stopped
    #[arg(long)]
    resume: bool,
}

pub fn run(args: TrainArgs) -> Result<()> {
    let config = Config::load(&args.config, &args.overrides)?;
    let out = match args.out.clone().or_else(|| config.out.clone()) {
        Some(out) => given(out, args.resume)?,
        None => default(&args.config, args.resume)?,
    };
    interrupt::install().context("cannot catch Ctrl-C")?;
    let results = transfer::train(&config, &out, args.resume)?;
    println!("{}", table::score_table(&results));
    println!("run folder   {}", out.display());
    println!("TensorBoard  tensorboard --logdir {}", out.display());
    Ok(())
}

/// A folder that the user named: new, or with `resume` a run's.
fn given(out: PathBuf, resume: bool) -> Result<PathBuf> {
    let begun = RunFolder::new(&out).config().is_file();
    let shown = out.display();
    match (begun, resume) {
        (true, false) => {
            bail_input!("{shown}: a run is here already; add --resume, or give another --out")
        }
        (false, true) => bail_input!("{shown}: no run to resume here (it has no config.yaml)"),
        (false, false) if out.read_dir().is_ok_and(|mut dir| dir.next().is_some()) => {
            bail_input!("{shown}: the folder is not empty; give another --out")
        }
        _ => Ok(out),
    }
}

/// `runs/NAME`, `runs/NAME-2`, … after the config's file: the first that is free, or with `resume`
/// the last that is not.
fn default(config: &Path, resume: bool) -> Result<PathBuf> {
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
        (true, free) => given(numbered(free - 1), true),
    }
}
