//! A trained model out of a run folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use crate::bail_input;
use crate::config::{Config, Engine};
use crate::data::{Intake, TokenizedSplit};
use crate::model::source::Source;
use crate::model::{fit, MultiTaskModel};
use crate::task::{name, Task};
use crate::telemetry::progress::{self, Progress};
use crate::train::keep::checkpoint;
use crate::train::keep::run_folder::RunFolder;
use crate::train::outputs::{self, Outputs, Way};
use crate::train::ranks::Ranks;
use crate::train::step::precision::Arithmetic;
use crate::train::{prepare, tasks};
use crate::transfer;

/// Which of a run's saved weights to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Weights {
    /// Each task's best evaluation, as results.json counts
    #[default]
    Best,
    /// The evaluation with the best mean over the tasks
    Overall,
    /// The last checkpoint
    Last,
}

/// One task of a run, ready to predict.
pub struct SavedTask {
    /// The folder that it was trained in: the run's own, or one of its sub-folders.
    pub folder: RunFolder,
    pub config: Config,
    pub source: Source,
    /// Where the run stood when the weights were saved.
    pub progress: checkpoint::Progress,
    pub task: Task,
    /// The task's index in `model`.
    pub index: usize,
    pub model: MultiTaskModel,
    pub intake: Intake,
    pub arithmetic: Arithmetic,
}

/// Says on standard error what people should know of what takes rows in, each line once.
pub fn say_notes(intake: &Intake) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    for note in intake.notes() {
        if said.insert(note.clone()) {
            progress::say(note);
        }
    }
}

/// A run folder's config and the names of its tasks.
pub fn open(root: &Path) -> Result<Config> {
    let folder = RunFolder::open(root)?;
    let config = Config::load(&folder.config(), &[])?;
    // They name folders.
    let place = folder.config().display().to_string();
    let mut names = config.tasks.iter();
    names.try_for_each(|task| name::check(task, &place))?;
    Ok(config)
}

impl SavedTask {
    /// Loads what a run saved for one of its tasks.
    pub fn load(root: &Path, name: &str, weights: Weights) -> Result<SavedTask> {
        SavedTask::load_into(root, name, weights, None)
    }

    /// As [`SavedTask::load`], into another engine than the run's.
    pub fn load_into(
        root: &Path,
        name: &str,
        weights: Weights,
        engine: Option<Engine>,
    ) -> Result<SavedTask> {
        let whole = open(root)?;
        if !whole.tasks.iter().any(|task| task == name) {
            bail_input!(
                "{}: the run has no task `{name}`; it has {}",
                root.display(),
                whole.tasks.join(", ")
            );
        }
        let folder = RunFolder::open(&transfer::folder_of(root, &whole, name))?;
        let mut config = Config::load(&folder.config(), &[])?;
        config.engine = engine.unwrap_or(config.engine);
        let tasks = tasks::saved_tasks(&folder, &config)?;
        let index = tasks.iter().position(|task| task.name == name);
        let Some(index) = index else {
            bail_input!("{}: has no task `{name}`", folder.config().display());
        };
        let arithmetic = Arithmetic::new(&config)?;
        let source = Source::saved(&folder.encoder())?;
        let intake = source.intake()?;
        let max_length = config.training.max_length;
        fit::check(
            source.shape.limits(),
            &intake,
            max_length,
            &folder.encoder(),
        )?;
        let place = saved(&folder, &config, name, weights)?;
        checkpoint::check_description(&folder, &place)?;
        let encoder = source.blank(prepare::setup(&config, arithmetic))?;
        let all: Vec<&Task> = tasks.iter().collect();
        let (mut model, ..) = prepare::model(&config, encoder, &all)?;
        let progress = checkpoint::read(&place, &model, None)?;
        model.encoder.set_products(arithmetic.products())?;
        say_notes(&intake);
        Ok(SavedTask {
            folder,
            source,
            progress,
            arithmetic,
            intake,
            task: tasks[index].clone(),
            index,
            model,
            config,
        })
    }

    /// The model's outputs on every row of a split, with its progress.
    pub fn outputs(&self, split: &TokenizedSplit) -> Result<Outputs> {
        let label = format!("predicting {}", self.task.name);
        let bar = Progress::counter(split.len() as u64, &label);
        let outputs = self.outputs_of(split, &|rows| bar.add(rows as u64))?;
        bar.finish();
        Ok(outputs)
    }

    /// The model's outputs on every row of a split; `done` is told of the rows of each batch.
    pub fn outputs_of(&self, split: &TokenizedSplit, done: &dyn Fn(usize)) -> Result<Outputs> {
        outputs::compute(
            &self.model,
            (self.index, &self.task.name),
            split,
            &Way {
                batch_size: self.config.evaluation.batch_size,
                pad: self.intake.pad_id(),
                arithmetic: self.arithmetic,
                ranks: &Ranks::alone(),
            },
            &|rows| {
                done(rows);
                Ok(())
            },
        )
    }
}

/// The folder of the weights that were asked for.
fn saved(folder: &RunFolder, config: &Config, task: &str, weights: Weights) -> Result<PathBuf> {
    let best = folder.best_of(task);
    let lost = config.checkpoints.best_per_task && !best.is_dir() && folder.best().is_dir();
    if weights == Weights::Best && lost {
        bail_input!(
            "{}: is missing, where the run kept the task's best weights; put it back, or take those of \
             the best mean with `--weights overall`",
            best.display()
        );
    }
    let place = match weights {
        Weights::Best if best.is_dir() => Some(best),
        Weights::Best | Weights::Overall => Some(folder.best()),
        Weights::Last => folder.saved_steps().pop().map(|(_, path)| path),
    };
    match place.filter(|place| place.is_dir()) {
        Some(place) => Ok(place),
        None if folder.finished().is_some() => bail_input!(
            "{}: the run has ended and kept no such weights (checkpoints.after: {})",
            folder.root().display(),
            config.checkpoints.after.name()
        ),
        None if !folder.saved_steps().is_empty() => bail_input!(
            "{}: the run was stopped before its first evaluation, so no weights are the best; take \
             the last checkpoint with `--weights last`, or let the run go on with `covalign train … \
             --resume`",
            folder.root().display()
        ),
        None => bail_input!(
            "{}: no saved weights yet; let the run go on with `covalign train … --resume`",
            folder.root().display()
        ),
    }
}
