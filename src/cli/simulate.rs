//! `covalign simulate`.

use std::path::PathBuf;

use anyhow::Result;

use super::{table, train};
use crate::bail_input;
use crate::cli::out::say;
use crate::simulate::config::SimulateConfig;
use crate::simulate::results::Study;
use crate::simulate::{studies, tables, write};
use crate::telemetry::progress::Progress;
use crate::train::keep::run_folder::RunFolder;

/// Ask synthetic tasks when sharing helps
///
/// The studies of Wu, Zhang and Ré (ICLR 2020) on linear and ReLU tasks: the width of the shared
/// module, sources of another covariance with and without alignment, task weights under label noise,
/// and a map of misalignment, width, rows and how far R may move.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign simulate configs/simulate/transfer.yaml
  covalign simulate configs/simulate/map.yaml --set model=linear --set 'map.angles=[0,45,90]'
  covalign simulate configs/simulate/weights.yaml --set seeds=50 --out weights

Written are config.yaml, results.csv (every seed's number), results.json, results.md, a picture per
study, and TensorBoard scalars whose step is x.")]
pub struct SimulateArgs {
    /// The studies and their tasks, a YAML file
    config: PathBuf,
    /// Change a key of the config; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// Where the results go [default: a fresh folder in runs/, named after the config]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print what results.json has instead of tables
    #[arg(long)]
    json: bool,
}

pub fn run(args: SimulateArgs) -> Result<()> {
    let config = SimulateConfig::load(&args.config, &args.overrides)?;
    let out = match args.out {
        Some(out) => out,
        None => train::default_folder(&args.config, false)?,
    };
    if out
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some())
    {
        bail_input!(
            "{}: the folder is not empty; give another --out",
            out.display()
        );
    }
    RunFolder::create(&out)?;
    let models: usize = config
        .study
        .iter()
        .map(|&name| studies::models(name, &config))
        .sum();
    let bar = Progress::counter(models as u64, "models");
    let found: Vec<Study> = config
        .study
        .iter()
        .map(|&name| studies::run(name, &config, &|| bar.add(1)))
        .collect();
    bar.finish();
    let pictures = write::write(&config, &found, &out)?;
    if args.json {
        say!("{}", write::results(&config, &found));
        return Ok(());
    }
    for study in &found {
        say!("{}", study.title);
        for note in &study.notes {
            say!("{}", wrapped(note));
        }
        for panel in &study.panels {
            let (header, rows) = tables::grid(panel);
            say!("\n{}", tables::heading(panel));
            say!("{}", table::plain(&header, &rows));
            for verdict in tables::verdicts(panel) {
                say!("{verdict}");
            }
        }
        say!("");
    }
    say!("{}", wrapped(&tables::legend(config.seeds)));
    say!("results      {}", out.join("results.md").display());
    for picture in pictures {
        say!("picture      {}", picture.display());
    }
    say!("TensorBoard  tensorboard --logdir {}", out.display());
    Ok(())
}

/// In lines of 100 columns at most.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > 100 {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out
}
