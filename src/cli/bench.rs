//! `covalign bench`.

use std::path::PathBuf;

use anyhow::Result;
use comfy_table::{presets, CellAlignment, Table};
use serde_json::json;

use crate::cli::out::say;
use crate::train::bench::{measure, Costs, WARM_UP};
use crate::train::feed::batches::Batches;
use crate::train::own;
use crate::train::prepare::prepare;
use crate::train::tasks;

/// Measure what training by a config costs on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign bench configs/demo.yaml
  covalign bench configs/glue-small.yaml --steps 50 --set training.precision=bf16
  covalign bench configs/glue-large.yaml --steps 50 --profile trace.json

Open the profile in https://ui.perfetto.dev. Nothing is saved of the training.")]
pub struct BenchArgs {
    /// The training config, a YAML file
    config: PathBuf,
    /// Change a key of the config; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// Optimiser steps to measure [default: one epoch]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Optimiser steps before these that only warm up; with an epoch's, every step is one that CUDA
    /// graphs know
    #[arg(long, value_name = "N", default_value_t = WARM_UP)]
    warm_up: u64,
    /// Profile five more steps into a Chrome trace
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: BenchArgs) -> Result<()> {
    let config = own::config(&args.config, &args.overrides)?;
    let mut learner = prepare(&config, tasks::load_tasks(&config)?)?.learner;
    let mut batches = Batches::new(&learner.config, &learner.data)?;
    let epoch = batches.length.per_epoch.ceil() as u64;
    let steps = args.steps.unwrap_or(epoch);
    let lengths = (args.warm_up, steps);
    let costs = measure(&mut learner, &mut batches, lengths, args.profile.as_deref())?;
    if args.json {
        let mut all = serde_json::to_value(&costs)?;
        all["tokens_per_second"] = json!(costs.tokens_per_second());
        all["density"] = json!(costs.density());
        all["utilisation"] = json!(costs.utilisation());
        say!("{all}");
    } else {
        say!("{}", table(&costs, config.encoder.unit()));
    }
    Ok(())
}

fn table(costs: &Costs, unit: &str) -> Table {
    let per_second = |count: u64| format!("{:.0}", count as f64 / costs.seconds);
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut row = |title: &str, value: String| rows.push((title.to_owned(), value));
    row(&format!("{unit}/s"), per_second(costs.tokens));
    let padded = format!("{unit}/s, padding counted");
    row(&padded, per_second(costs.padded_tokens));
    row("rows/s", per_second(costs.rows));
    let steps = costs.steps as f64 / costs.seconds;
    row("steps/s", format!("{steps:.2}"));
    row("density", format!("{:.1} %", 100.0 * costs.density()));
    let step = 1e3 * costs.seconds / costs.steps as f64;
    row("a step", format!("{step:.1} ms        "));
    for (stage, share) in &costs.stages {
        let time = format!("{:.1} ms  {:4.1} %", share * step, 100.0 * share);
        row(&format!("  {}", stage.title()), time);
    }
    let gigabytes = |bytes: u64| format!("{:.2} GB", bytes as f64 / 1e9);
    row("peak memory of the host", gigabytes(costs.peak_host_bytes));
    if let Some(bytes) = costs.peak_device_bytes {
        row("peak memory of the device", gigabytes(bytes));
    }
    let billions = |rate: f64| format!("{:.0}", rate / 1e9);
    let used = 100.0 * costs.utilisation();
    row("model FLOP utilisation", format!("{used:.0} %"));
    row("  the model's GFLOP/s", billions(costs.model_flops));
    let size = costs.matmul_size;
    let product = format!("  a {size} × {size} product's");
    row(&product, billions(costs.matmul_flops));
    let precision = &costs.precision;
    for (library, rate) in &costs.libraries {
        let title = format!("  a layer's in {precision} by {library}, a core");
        row(&title, billions(*rate));
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        format!(
            "{} steps, {} in {}",
            costs.steps, costs.device, costs.precision
        ),
        format!("{} threads", costs.threads),
    ]);
    rows.into_iter().for_each(|(title, value)| {
        table.add_row([title, value]);
    });
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
