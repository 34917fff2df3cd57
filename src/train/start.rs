//! Starting from another run's best weights: intermediate fine-tuning (STILTs; Weller, Seppi and
//! Gardner, ACL 2022) and transfer (Wu, Zhang and Ré, ICLR 2020, where the target has an alignment
//! of its own). Optimiser, schedule and alignments start afresh.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;
use tch::Tensor;

use super::keep::checkpoint::{self, SavedWeights};
use super::keep::run_folder::{RunFolder, Started};
use super::step::learner::Learner;
use crate::bail_input;
use crate::config::{Config, Heads, ScoreScale, StartFrom};
use crate::model::exported::Exported;
use crate::model::source::Source as EncoderSource;
use crate::model::MultiTaskModel;

/// A run that has ended and whose weights are there, or a task's folder that one was exported to.
pub struct Source {
    start: StartFrom,
    of: Of,
}

enum Of {
    Run(RunFolder, Box<Config>),
    Folder(Exported),
}

impl Source {
    /// Opens the run that a config starts from, where it names one.
    ///
    /// # Errors
    /// Input errors where the run has not ended, has kept no weights, or has another encoder than
    /// the config names.
    pub fn open(config: &Config) -> Result<Option<Source>> {
        let Some(start) = &config.start else {
            return Ok(None);
        };
        let shown = start.run.display();
        let folder = RunFolder::new(&start.run);
        if let Some(exported) = Exported::read(&start.run)? {
            check_same_encoder(&start.run, &start.run, config)?;
            return Ok(Some(Source {
                start: start.clone(),
                of: Of::Folder(exported),
            }));
        }
        if !folder.config().is_file() {
            bail_input!("key `start.run`: {shown}: no run folder (it has no config.yaml)");
        }
        let source = Config::load(&folder.config(), &[])?;
        if folder.finished().is_none() {
            bail_input!(
                "key `start.run`: {shown}: the run has not ended; let it go on with `covalign \
                 train … --resume`"
            );
        }
        if !folder.best().is_dir() {
            match source.tasks.iter().find(|t| start.run.join(t).is_dir()) {
                Some(task) => bail_input!(
                    "key `start.run`: {shown}: every task has an encoder of its own here; name \
                     one, such as {}",
                    start.run.join(task).display()
                ),
                None => bail_input!(
                    "key `start.run`: {shown}: the run has kept no weights; train it with \
                     checkpoints.after: best"
                ),
            }
        }
        checkpoint::check_description(&folder, &folder.best())?;
        check_same_encoder(folder.root(), &folder.encoder(), config)?;
        Ok(Some(Source {
            start: start.clone(),
            of: Of::Run(folder, Box::new(source)),
        }))
    }

    /// Copies the run's encoder into the learner's model, and heads where they are to be kept.
    pub fn give(&self, learner: &Learner) -> Result<Started> {
        let model = &learner.model;
        let encoder = model.encoder.variables();
        let (saved, method, tasks, scores) = match &self.of {
            Of::Run(folder, config) => {
                let saved = checkpoint::read_encoder(&folder.best(), encoder)?;
                let (method, scores) = (config.method.name().into(), config.training.scores);
                (saved, method, config.tasks.clone(), scores)
            }
            Of::Folder(exported) => {
                let (heads, sha256) = exported.give(&self.start.run, encoder)?;
                let step = exported.step;
                let saved = SavedWeights {
                    heads,
                    step,
                    sha256,
                };
                // Its head puts out scores as they are, whatever the run learned.
                let (method, scores) = (exported.method.clone(), ScoreScale::Raw);
                (saved, method, exported.tasks.clone(), scores)
            }
        };
        let mut heads = BTreeMap::new();
        if self.start.heads == Heads::Keep {
            // A head of scores as they are is none of scores from 0 to 1.
            let same_scores = scores == learner.config.training.scores;
            let own = learner.data.iter().map(|data| &data.task);
            for task in own.filter(|task| same_scores || !task.is_regression()) {
                if let Some(from) = head_for(&task.name, task.outputs(), &tasks, &saved.heads) {
                    copy_head(&saved.heads, from, model, &task.name)?;
                    heads.insert(task.name.clone(), from.to_owned());
                }
            }
        }
        Ok(Started {
            run: self.start.run.display().to_string(),
            method,
            tasks,
            step: saved.step,
            sha256: saved.sha256,
            heads,
        })
    }
}

/// The task among `tasks` whose head fits: that of the same name, else the first with as many outputs.
fn head_for<'a>(
    task: &str,
    outputs: i64,
    tasks: &'a [String],
    saved: &BTreeMap<String, Tensor>,
) -> Option<&'a str> {
    let fits = |name: &&String| {
        let bias = saved.get(&format!("{name}.bias"));
        bias.is_some_and(|bias| bias.size() == [outputs])
    };
    let fitting = || tasks.iter().filter(fits);
    let found = fitting().find(|name| *name == task);
    found.or_else(|| fitting().next()).map(String::as_str)
}

fn copy_head(
    saved: &BTreeMap<String, Tensor>,
    from: &str,
    model: &MultiTaskModel,
    to: &str,
) -> Result<()> {
    let variables = model.heads.variables();
    for part in ["weight", "bias"] {
        let (from, to) = (format!("{from}.{part}"), format!("{to}.{part}"));
        if let (Some(value), Some(variable)) = (saved.get(&from), variables.get(&to)) {
            tch::no_grad(|| variable.shallow_clone().f_copy_(value))?;
        }
    }
    Ok(())
}

/// Weights fit an encoder of the same shapes, which means the same words by the same numbers.
fn check_same_encoder(run: &Path, encoder: &Path, config: &Config) -> Result<()> {
    let ours = EncoderSource::of(&config.encoder)?;
    let saved = EncoderSource::saved(encoder)?;
    let (name, run) = (&config.encoder, run.display());
    let (sizes, theirs) = (ours.shape.sizes(), saved.shape.sizes());
    let named = |sizes: &[(&str, Value)], key: &str| {
        let found = sizes.iter().find(|(name, _)| *name == key);
        found.map_or("none".to_owned(), |(_, size)| size.to_string())
    };
    for (key, _) in theirs.iter().chain(&sizes) {
        let (ours, theirs) = (named(&sizes, key), named(&theirs, key));
        if ours != theirs {
            bail_input!(
                "key `start.run`: {run} trained an encoder with {key} {theirs}, but `encoder: \
                 {name}` has {ours}; name the encoder that the run was trained with"
            );
        }
    }
    let (ours, theirs) = (ours.intake()?, saved.intake()?);
    if ours.fingerprint() != theirs.fingerprint() {
        bail_input!(
            "key `start.run`: {run} was trained with another tokenizer ({}) than \
             `encoder: {name}` has ({}); name the encoder that the run was trained with",
            theirs.description(),
            ours.description()
        );
    }
    Ok(())
}
