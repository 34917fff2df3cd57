//! `covalign export`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{json, Value};

use super::saved_run::{self, SavedTask, Weights};
use super::table;
use crate::cli::out::say;
use crate::export::card::Card;
use crate::export::classifier::{Aligned, Classifier};
use crate::export::{self, Parts};
use crate::model::exported::Exported;
use crate::telemetry::atomic;

/// Write a run's tasks as transformers loads them, and as ONNX
///
/// One task's folder is DIR, several tasks' are DIR/TASK each. A folder holds config.json,
/// model.safetensors, the tokenizer, a model card and model.onnx.
/// `AutoModelForSequenceClassification.from_pretrained` loads it as it is; with an alignment that is
/// neither diagonal nor the identity by `trust_remote_code=True`, as no plain BERT can hold it.
/// Logits are the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign export runs/demo --out exported
  covalign export runs/demo --task DemoSentiment --out sentiment --format onnx")]
pub struct ExportArgs {
    /// A run folder
    run: PathBuf,
    /// A folder that is not there yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Only this task; may be repeated
    #[arg(long = "task", value_name = "T")]
    tasks: Vec<String>,
    /// Which of the run's weights
    #[arg(long, value_enum, default_value_t)]
    weights: Weights,
    /// What a folder holds
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Both
    #[default]
    All,
    /// Weights with the names and the config of transformers
    Transformers,
    /// A graph, for ONNX Runtime
    Onnx,
}

pub fn run(args: ExportArgs) -> Result<()> {
    let mut names = match args.tasks.is_empty() {
        true => saved_run::open(&args.run)?.tasks,
        false => args.tasks.clone(),
    };
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let single = names.len() == 1;
    let place = |name: &str, root: &Path| match single {
        true => root.to_owned(),
        false => root.join(name),
    };
    let rows = atomic::new_folder(&args.out, |making| {
        let write = |name: &String| {
            let folder = place(name, making);
            let how = write(&args, name, &folder)?;
            let shown = place(name, &args.out).display().to_string();
            Ok(vec![name.clone(), shown, how.to_owned()])
        };
        names.iter().map(write).collect::<Result<Vec<_>>>()
    })?;
    if args.json {
        let all = rows
            .iter()
            .map(|row| json!({"task": row[0], "folder": row[1], "alignment": row[2]}));
        say!("{}", Value::from_iter(all));
        return Ok(());
    }
    let header = ["Task", "Folder", "Alignment"].map(String::from);
    say!("{}", table::plain(&header, &rows));
    Ok(())
}

/// Fills the folder of a task; what became of its alignment.
fn write(args: &ExportArgs, name: &str, folder: &Path) -> Result<&'static str> {
    let saved = SavedTask::load(&args.run, name, args.weights)?;
    let parts = Parts {
        transformers: args.format != Format::Onnx,
        onnx: args.format != Format::Transformers,
    };
    let SavedTask {
        model,
        config,
        task,
        ..
    } = &saved;
    let classifier = Classifier::new(model, saved.index, &saved.source, config)?;
    std::fs::create_dir_all(folder).map_err(|e| crate::error::io_error(folder, e))?;
    let length = config.training.max_length;
    let reading = (&saved.source, &saved.intake);
    let step = saved.progress.step;
    let origin = Exported {
        task: task.name.clone(),
        method: config.method.name().into(),
        tasks: config.tasks.clone(),
        step,
    };
    export::write(folder, &classifier, task, reading, length, &origin, parts)?;
    let results = saved.folder.finished();
    let result = results.as_ref().and_then(|r| r.tasks.get(name));
    let card = Card {
        task,
        config,
        results: results.as_ref(),
        scores: result.filter(|result| args.weights != Weights::Last && result.step == step),
        weights: (weights_name(args.weights), step),
    };
    let text = card.text(folder, &classifier, parts)?;
    atomic::write(&folder.join("README.md"), text.as_bytes())?;
    Ok(match classifier.aligned {
        Aligned::No => "none: a plain BERT",
        Aligned::Folded => "diagonal, folded into the LayerNorm exactly: a plain BERT",
        Aligned::Apart if parts.transformers => {
            "in modeling_covalign.py (trust_remote_code=True): a LayerNorm and a residual stand in the \
             way of folding it exactly"
        }
        Aligned::Apart => "in the graph",
    })
}

fn weights_name(weights: Weights) -> &'static str {
    match weights {
        Weights::Best => "best",
        Weights::Overall => "overall",
        Weights::Last => "last",
    }
}
