//! `covalign encoder`: fetch encoders and see which are there.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use comfy_table::{presets, Cell, CellAlignment, Table};

use crate::cli::out::{complain, say};
use crate::config::Engine;
use crate::data::Tokenizer;
use crate::hub::encoder_dir::{encoders_dir, list, resolve};
use crate::hub::fetch::{Hub, Source, Wanted, Weights};
use crate::model::bert::Bert;
use crate::model::encoder_init::init;
use crate::model::{save, weights};
use crate::telemetry::progress::Progress;

/// What `covalign encoder` can do.
#[derive(Debug, clap::Subcommand)]
pub enum EncoderCommand {
    /// Download an encoder's config, tokenizer and weights from the Hugging Face hub
    #[command(after_help = "Examples:
  covalign encoder fetch bert-large-uncased
  covalign encoder fetch prajjwal1/bert-tiny --weights bin
  HF_ENDPOINT=https://mirror.example covalign encoder fetch bert-base-cased

HF_TOKEN, HF_HOME (an encoder cached there is not downloaded again) and HF_HUB_OFFLINE=1 are
honoured. A download that was interrupted goes on where it stopped.")]
    Fetch(FetchArgs),
    /// Make an encoder with random weights, for benchmarks and baselines
    #[command(after_help = "Example:
  covalign encoder init runs/bert-large --config configs/encoders/bert-large-uncased.json")]
    Init(InitArgs),
    /// List the encoders that are there
    #[command(after_help = "Example:\n  covalign encoder list")]
    List,
    /// Say what an encoder's folder holds and whether its weights fit its config
    #[command(after_help = "Examples:
  covalign encoder inspect all-MiniLM-L6-v2
  covalign encoder inspect path/to/folder")]
    Inspect {
        /// An encoder's name, or a folder
        name_or_dir: String,
    },
}

#[derive(Debug, clap::Args)]
pub struct FetchArgs {
    /// bert-{base,large}-{uncased,cased}, all-MiniLM-L6-v2, or a repository's org/name
    name: String,
    /// Which weights to take
    #[arg(long, value_enum, default_value_t)]
    weights: Weights,
    /// A branch, tag or commit of the repository
    #[arg(long, default_value = "main")]
    revision: String,
    /// Replace the encoder if it is there already
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// The folder to make
    folder: PathBuf,
    /// The shapes: a BERT's config.json
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The encoder whose vocabulary to take, a name or a folder
    #[arg(long, value_name = "ENCODER", default_value = "all-MiniLM-L6-v2")]
    vocabulary: String,
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

pub fn run(command: EncoderCommand) -> Result<()> {
    match command {
        EncoderCommand::Fetch(arguments) => fetch(arguments),
        EncoderCommand::Init(args) => {
            let vocabulary = resolve(&args.vocabulary)?;
            let count = init(&args.folder, &args.config, &vocabulary, args.seed)?;
            let folder = args.folder.display();
            say!(
                "{folder}: {:.1} million random parameters",
                count as f64 / 1e6
            );
            Ok(())
        }
        EncoderCommand::List => {
            print_list();
            Ok(())
        }
        EncoderCommand::Inspect { name_or_dir } => inspect(&name_or_dir),
    }
}

fn inspect(name_or_dir: &str) -> Result<()> {
    let folder = resolve(name_or_dir)?;
    let weights = weights::find(&folder)?;
    let tokenizer = Tokenizer::from_folder(&folder)?;
    let (encoder, report) = Bert::load(&folder, None, Engine::Fast, tch::Device::Cpu, 0)?;
    let shape = &encoder.config;
    let parameters: usize = encoder
        .variables
        .variables()
        .values()
        .map(tch::Tensor::numel)
        .sum();
    let names = |names: &[String]| match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    };
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_width(100);
    table.add_row(["folder", &folder.display().to_string()]);
    table.add_row(["weights", &weights.display().to_string()]);
    table.add_row(["sha256", &save::sha256(&weights)?]);
    table.add_row([
        "shape",
        &format!(
            "{} layers, {} wide, {} heads, {} in the middle, {} positions",
            shape.num_hidden_layers,
            shape.hidden_size,
            shape.num_attention_heads,
            shape.intermediate_size,
            shape.max_position_embeddings
        ),
    ]);
    table.add_row([
        "parameters",
        &format!("{:.1} million", parameters as f64 / 1e6),
    ]);
    table.add_row([
        "vocabulary",
        &format!(
            "{} entries; {} embeddings",
            tokenizer.vocab_size(),
            shape.vocab_size
        ),
    ]);
    table.add_row(["tokenizer", tokenizer.description()]);
    for note in tokenizer.notes() {
        table.add_row(["", note]);
    }
    table.add_row([
        "dropout",
        &format!(
            "{} hidden, {} attention",
            shape.hidden_dropout_prob, shape.attention_probs_dropout_prob
        ),
    ]);
    table.add_row(["made fresh", &names(&report.fresh)]);
    table.add_row(["ignored", &names(&report.ignored)]);
    say!("{table}");
    Ok(())
}

fn fetch(arguments: FetchArgs) -> Result<()> {
    let wanted = Wanted {
        name: arguments.name,
        revision: arguments.revision,
        weights: arguments.weights,
        force: arguments.force,
    };
    let mut display = Display::default();
    let mut progress = |file: &str, done, total| display.show(file, done, total);
    let (folder, source) = Hub::from_env().fetch(&wanted, &encoders_dir(), &mut progress)?;
    display.finish();
    let folder = folder.display();
    match source {
        Source::AlreadyThere => say!("{} is already there: {folder}", wanted.name),
        Source::Cache(from) => say!("{} taken from {}: {folder}", wanted.name, from.display()),
        Source::Hub => say!("{} fetched: {folder}", wanted.name),
    }
    Ok(())
}

/// A bar per file on a terminal; elsewhere a line every ten seconds.
#[derive(Default)]
struct Display {
    file: String,
    bar: Option<Progress>,
    last_line: Option<Instant>,
}

impl Display {
    fn show(&mut self, file: &str, done: u64, total: Option<u64>) {
        if self.file != file {
            self.finish();
            self.file = file.to_string();
            self.bar = Some(Progress::bytes(total, file).starting_at(done));
            self.last_line = Some(Instant::now());
        }
        if let Some(bar) = &self.bar {
            bar.at(done, "");
        }
        let waited = |at: Instant| at.elapsed() > Duration::from_secs(10);
        if !std::io::stderr().is_terminal() && self.last_line.is_some_and(waited) {
            self.last_line = Some(Instant::now());
            let total = total.map_or(String::new(), |total| format!(" of {}", megabytes(total)));
            complain!("{file}: {}{total}", megabytes(done));
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }
}

fn print_list() {
    let folder = encoders_dir();
    let installed = list(&folder);
    if installed.is_empty() {
        say!(
            "no encoder in {}; `make setup` fetches all-MiniLM-L6-v2, `covalign encoder fetch NAME` others",
            folder.display()
        );
        return;
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["encoder", "layers × width", "weights", "size"]);
    for encoder in installed {
        let shape = encoder.shape.map_or("unknown".into(), |(layers, width)| {
            format!("{layers} × {width}")
        });
        table.add_row([
            Cell::new(encoder.name),
            Cell::new(shape),
            Cell::new(encoder.weights.unwrap_or("none")),
            Cell::new(megabytes(encoder.bytes)).set_alignment(CellAlignment::Right),
        ]);
    }
    say!("{}\nin {}", table.trim_fmt(), folder.display());
}

/// `90.9 MB`, `1.3 GB`.
pub fn megabytes(bytes: u64) -> String {
    match bytes as f64 {
        b if b >= 1e9 => format!("{:.1} GB", b / 1e9),
        b => format!("{:.1} MB", b / 1e6),
    }
}
