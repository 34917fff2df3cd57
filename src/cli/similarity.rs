//! `covalign similarity`.

use std::path::PathBuf;

use anyhow::Result;
use tch::Kind;

use super::saved_run::{self, SavedTask, Weights};
use super::table;
use crate::analysis::features::{Extractor, Tokens};
use crate::analysis::heat_map;
use crate::analysis::similarity::{Comparison, Covariance, Factor, Similarities};
use crate::bail_input;
use crate::cli::out::say;
use crate::config::Config;
use crate::config::Engine;
use crate::data::Intake;
use crate::hub::encoder_dir;
use crate::model::alignment::Alignment;
use crate::model::encoder::{Encoder, Setup};
use crate::model::fit;
use crate::model::source::Source;
use crate::telemetry::atomic;
use crate::telemetry::progress::Progress;
use crate::train::keep::run_folder::RunFolder;
use crate::train::own;
use crate::train::prepare;
use crate::train::step::precision::Arithmetic;
use crate::train::tasks::{self, TaskData};
use crate::transfer;

/// Compare a config's tasks by the covariance of their features
///
/// Covariance similarity (Wu, Zhang, Ré, ICLR 2020) lies between 0 and 1; where it is low, an
/// alignment has something to do, by their theory: on real data it foretold no gain. Features are what the embedding layer puts out for the training
/// rows: of the pretrained encoder, and of a run's best weights.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign similarity configs/sentiment-small.yaml
  covalign similarity configs/demo.yaml --run runs/demo --layers --out similarity")]
pub struct SimilarityArgs {
    /// A training config: its encoder, data, tasks, and how many rows of each
    config: PathBuf,
    /// Change a key of the config; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// After training too, by this run's weights; with alignment, behind each R as well
    #[arg(long, value_name = "RUN")]
    run: Option<PathBuf>,
    /// Behind every encoder layer too
    #[arg(long)]
    layers: bool,
    /// What makes a row of the features
    #[arg(long, value_enum, default_value_t)]
    tokens: Tokens,
    /// Where similarity.json and similarity.svg go [default: runs/NAME-similarity]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print what similarity.json has instead of a table
    #[arg(long)]
    json: bool,
}

/// A task's covariances, by their place in the encoder.
type Places = Vec<(String, Covariance)>;

impl SimilarityArgs {
    fn extractor<'a>(
        &self,
        config: &Config,
        encoder: &'a dyn Encoder,
        alignment: Option<&'a Alignment>,
        pad: i64,
    ) -> Extractor<'a> {
        Extractor {
            encoder,
            alignment,
            tokens: self.tokens,
            layers: self.layers,
            batch_size: config.evaluation.batch_size,
            pad,
        }
    }
}

pub fn run(args: SimilarityArgs) -> Result<()> {
    let config = own::config(&args.config, &args.overrides)?;
    let source = Source::of(&config.encoder)?;
    if config.encoder.images().is_some() {
        bail_input!("key `encoder`: similarity is of embeddings of words, which images have not");
    }
    let intake = source.intake()?;
    saved_run::say_notes(&intake);
    let tasks = tasks::load_tasks(&config)?;
    if tasks.len() < 2 {
        bail_input!("key `tasks`: similarity is between tasks; name at least two");
    }
    let names: Vec<String> = tasks.iter().map(|task| task.name.clone()).collect();
    if let Some(run) = &args.run {
        check_run(run, &names, &intake)?;
    }
    let arithmetic = Arithmetic::new(&config)?;
    let data = tasks::load_data(tasks, &config, &intake, &encoder_dir::home())?;
    let pad = intake.pad_id();
    let measure = |data: &TaskData, weights: &str, extractor: Extractor| {
        let label = format!("{weights} {}", data.task.name);
        let bar = Progress::counter(data.rows.len() as u64, &label);
        let found = extractor.covariances(&data.task.name, &data.train, &data.rows, &|n| {
            bar.add(n as u64)
        });
        bar.finish();
        found
    };
    let setup = Setup {
        engine: Engine::Fast,
        ..prepare::setup(&config, arithmetic)
    };
    let (encoder, _) = source.load(setup)?;
    let max_length = config.training.max_length;
    fit::check(encoder.limits(), &intake, max_length, &source.folder)?;
    let pretrained: Vec<Places> = data
        .iter()
        .map(|data| {
            measure(
                data,
                "pretrained",
                args.extractor(&config, encoder.as_ref(), None, pad),
            )
        })
        .collect::<Result<_>>()?;
    drop(encoder);
    let mut comparisons = compare("pretrained", &pretrained)?;
    if let Some(run) = &args.run {
        let trained = data.iter().map(|data| {
            let name = &data.task.name;
            let mut saved = SavedTask::load_into(run, name, Weights::Overall, Some(Engine::Fast))?;
            saved.model.encoder.set_products(Kind::Float)?;
            let encoder = saved.model.encoder.as_ref();
            let alignment = saved.model.alignment(saved.index);
            measure(
                data,
                "trained",
                args.extractor(&config, encoder, alignment, pad),
            )
        });
        comparisons.extend(compare("trained", &trained.collect::<Result<Vec<_>>>()?)?);
    }
    let found = Similarities {
        encoder: config.encoder.to_string(),
        run: args.run.as_ref().map(|run| run.display().to_string()),
        tokens: args.tokens.name().to_owned(),
        rows: data.iter().map(|data| data.rows.len()).collect(),
        tasks: names,
        comparisons,
    };

    let name = args
        .config
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy();
    let out = args
        .out
        .unwrap_or_else(|| format!("runs/{name}-similarity").into());
    RunFolder::create(&out)?;
    atomic::write_json(&out.join("similarity.json"), &found)?;
    atomic::write(
        &out.join("similarity.svg"),
        heat_map::svg(&found)?.as_bytes(),
    )?;
    if args.json {
        say!("{}", serde_json::to_string(&found)?);
        return Ok(());
    }
    print(&found);
    say!("figures      {}", out.join("similarity.json").display());
    say!("picture      {}", out.join("similarity.svg").display());
    Ok(())
}

/// A run of the same tasks and the same vocabulary.
fn check_run(run: &std::path::Path, names: &[String], intake: &Intake) -> Result<()> {
    let config = saved_run::open(run)?;
    for name in names {
        if !config.tasks.contains(name) {
            bail_input!(
                "{}: the run has no task `{name}`; it has {}",
                run.display(),
                config.tasks.join(", ")
            );
        }
        let folder = RunFolder::open(&transfer::folder_of(run, &config, name))?;
        let own = Source::saved(&folder.encoder())?.intake()?;
        if own.fingerprint() != intake.fingerprint() {
            bail_input!(
                "{}: the run's encoder has another tokenizer than the config's",
                run.display()
            );
        }
    }
    Ok(())
}

/// All tasks at each place.
fn compare(weights: &str, tasks: &[Places]) -> Result<Vec<Comparison>> {
    let places = tasks.first().map_or(0, Vec::len);
    let at = |place: usize| {
        let factors = tasks.iter().map(|places| places[place].1.factor());
        let factors = factors.collect::<Result<Vec<Factor>>>()?;
        Comparison::new(weights, &tasks[0][place].0, &factors)
    };
    (0..places).map(at).collect()
}

/// A square for each place before the layers, both times side by side, and a line for each layer.
fn print(found: &Similarities) {
    let (layers, squares): (Vec<Comparison>, Vec<Comparison>) = found
        .comparisons
        .iter()
        .cloned()
        .partition(|comparison| comparison.at.starts_with("layer"));
    for place in heat_map::side_by_side(&squares) {
        let there: Vec<&Comparison> = place.into_iter().flatten().collect();
        let Some(first) = there.first() else { continue };
        let weights: Vec<&str> = there.iter().map(|c| c.weights.as_str()).collect();
        say!(
            "covariance similarity, {}, {} (rank: directions that hold 99 %)",
            first.at,
            weights.join(" → ")
        );
        let mut header = vec!["Task".to_owned(), "Rows".to_owned(), "Rank".to_owned()];
        header.extend(found.tasks.clone());
        let over = |shown: &dyn Fn(&Comparison) -> String| {
            let each: Vec<String> = there.iter().map(|comparison| shown(comparison)).collect();
            each.join(" → ")
        };
        let row = |i: usize| {
            let mut row = vec![
                found.tasks[i].clone(),
                found.rows[i].to_string(),
                over(&|comparison| comparison.ranks[i].to_string()),
            ];
            let values = 0..found.tasks.len();
            row.extend(values.map(|j| over(&|c| format!("{:.3}", c.similarity[i][j]))));
            row
        };
        let rows: Vec<Vec<String>> = (0..found.tasks.len()).map(row).collect();
        say!("{}", table::plain(&header, &rows));
    }
    say!(
        "The diagonal is a task with itself, which is 1 only where all its rows lie on one line: compare\n\
         a pair with the diagonal of its two tasks, as `relative` in similarity.json does."
    );
    if layers.is_empty() {
        return;
    }
    say!("covariance similarity of different tasks, behind each layer");
    let row = |comparison: Comparison| {
        let pairs = comparison.pairs();
        let mean = pairs.iter().sum::<f64>() / pairs.len() as f64;
        let lowest = pairs.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = pairs.iter().copied().fold(0.0, f64::max);
        let mut row = vec![comparison.weights, comparison.at];
        row.extend([mean, lowest, highest].map(|v| format!("{v:.3}")));
        row
    };
    let rows: Vec<Vec<String>> = layers.into_iter().map(row).collect();
    let header = ["Weights", "Behind", "Mean", "Lowest", "Highest"].map(String::from);
    say!("{}", table::plain(&header, &rows));
}
