//! A file per command; the only room that prints.

pub mod advise;
pub mod bench;
mod classes;
pub mod completions;
pub mod config;
pub mod data;
pub mod doctor;
pub mod encoder;
pub mod evaluate;
pub mod export;
pub mod out;
pub mod predict;
pub mod report;
pub mod reweight;
pub mod runs;
pub mod saved_run;
mod shell;
pub mod similarity;
pub mod simulate;
pub mod submit;
pub mod suite;
pub mod table;
pub mod train;
pub mod verify;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

use crate::error;
use crate::telemetry::progress;

/// Fine-tunes BERT on several tasks at once, each through its own alignment matrix
#[derive(Debug, Parser)]
#[command(name = "covalign", version, max_term_width = 100)]
#[command(
    after_help = "Exit code: 0 done, 1 failed while running, 2 wrong use or input, \
130 stopped by Ctrl-C."
)]
pub struct Arguments {
    /// Say nothing but the result and errors: no progress, no notes
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::TrainArgs),
    Suite(suite::SuiteArgs),
    Bench(bench::BenchArgs),
    Evaluate(evaluate::EvaluateArgs),
    Predict(predict::PredictArgs),
    Verify(verify::VerifyArgs),
    Submit(submit::SubmitArgs),
    Export(export::ExportArgs),
    Similarity(similarity::SimilarityArgs),
    Advise(advise::AdviseArgs),
    Report(report::ReportArgs),
    Runs(runs::RunsArgs),
    Reweight(reweight::ReweightArgs),
    Simulate(simulate::SimulateArgs),
    /// Check configs, tasks and suites, and say what may stand in them
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Check data and count what is in it
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Fetch encoders and look at them
    #[command(subcommand)]
    Encoder(encoder::EncoderCommand),
    Doctor(doctor::DoctorArgs),
    Completions(completions::CompletionsArgs),
}

/// Does what the command line asks for.
pub fn run(arguments: Arguments) -> Result<()> {
    if arguments.quiet {
        progress::hush();
    }
    error::caught(|| perform(arguments.command))
}

fn perform(command: Command) -> Result<()> {
    match command {
        Command::Train(args) => train::run(args),
        Command::Suite(args) => suite::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Submit(args) => submit::run(args),
        Command::Export(args) => export::run(args),
        Command::Similarity(args) => similarity::run(args),
        Command::Advise(args) => advise::run(args),
        Command::Report(args) => report::run(args),
        Command::Runs(args) => runs::run(args),
        Command::Config(command) => config::run(command),
        Command::Reweight(args) => reweight::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Data(command) => data::run(command),
        Command::Encoder(command) => encoder::run(command),
        Command::Doctor(args) => doctor::run(args),
        Command::Completions(args) => completions::run(args, &mut Arguments::command()),
    }
}
