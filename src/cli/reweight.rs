//! `covalign reweight`.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{json, Value};

use super::table;
use crate::cli::out::say;
use crate::train::own;
use crate::train::prepare::prepare;
use crate::train::start::Source;
use crate::train::tasks;
use crate::weighting::svd::{self, svd_weights};

/// Weigh a config's labels by what they have in common
///
/// Algorithm 2 of Wu, Zhang and Ré (ICLR 2020): θ is what a label has in common with the features
/// that the shared module puts out for its training rows; a label weighs as much as of its θ lies in
/// the directions that are common to all. Labels full of chance weigh less. Training does the same by
/// itself with `weighting: {method: svd}`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign reweight configs/chest-xray.yaml
  covalign reweight configs/sentiment-small.yaml --set tasks=[CR,MR] --rank 2 --json")]
pub struct ReweightArgs {
    /// A training config: its encoder, or the run it starts from, its data and tasks
    config: PathBuf,
    /// Change a key of the config; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// How many directions are common [default: the config's weighting.rank, else 1]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..))]
    rank: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: ReweightArgs) -> Result<()> {
    let config = own::config(&args.config, &args.overrides)?;
    let source = Source::open(&config)?;
    let learner = prepare(&config, tasks::load_tasks(&config)?)?.learner;
    if let Some(source) = source {
        source.give(&learner)?;
    }
    let theta = learner.theta()?;
    let rank = args.rank.map(|rank| rank as usize);
    let rank = rank.or(config.weighting.rank);
    let rank = rank.unwrap_or(svd::DEFAULT_RANK);
    let weights = svd_weights(&theta, rank);
    let lengths: Vec<f64> = theta.column_iter().map(|column| column.norm()).collect();
    let names = &learner.objectives.names;
    if args.json {
        let objectives = names.iter().zip(weights.iter().zip(&lengths));
        let objectives: serde_json::Map<String, Value> = objectives
            .map(|(name, (weight, length))| {
                let value = json!({"weight": weight, "theta": length});
                (name.clone(), value)
            })
            .collect();
        say!("{}", json!({"rank": rank, "objectives": objectives}));
        return Ok(());
    }
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    let rows: Vec<Vec<String>> = order
        .into_iter()
        .map(|at| {
            vec![
                names[at].clone(),
                format!("{:.4}", weights[at]),
                format!("{:.2e}", lengths[at]),
            ]
        })
        .collect();
    let header = ["Label", "Weight", "Length of theta"].map(str::to_owned);
    say!("{}", table::plain(&header, &rows));
    say!(
        "weights of rank {rank}, their mean is 1; training takes them with `--set \
         'weighting={{method: svd, rank: {rank}}}'`"
    );
    Ok(())
}
