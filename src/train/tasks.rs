//! The tasks of a run with their rows in memory.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::Result;

use super::run_folder::RunFolder;
use crate::bail_input;
use crate::config::Config;
use crate::data::cache;
use crate::data::sampling::{self, TaskRows};
use crate::data::tokenizer::Tokenizer;
use crate::data::TokenizedSplit;
use crate::model::{named_seed, TaskShape};
use crate::task::{Split, Task};
use crate::telemetry::progress::Progress;

/// A task with its tokenised training and dev split.
pub struct TaskData {
    pub task: Task,
    pub train: TokenizedSplit,
    /// The rows of `train` that are trained on.
    pub rows: Vec<u32>,
    pub dev: TokenizedSplit,
}

impl TaskData {
    /// The training rows with their lengths, for the sampler.
    pub fn sampled(&self) -> TaskRows {
        let length = |&row: &u32| self.train.ids(row as usize).len() as u32;
        TaskRows {
            lengths: self.rows.iter().map(length).collect(),
            rows: self.rows.clone(),
        }
    }
}

/// Reads the task files that a config names; two tasks of one name are an error.
pub fn load_tasks(config: &Config) -> Result<Vec<Task>> {
    let mut tasks: Vec<Task> = Vec::with_capacity(config.tasks.len());
    for name in &config.tasks {
        let task = Task::load(name)?;
        if tasks.iter().any(|other| other.name == task.name) {
            bail_input!("key `tasks`: two tasks are called `{}`", task.name);
        }
        if !task.has_split(Split::Train) || !task.has_split(Split::Dev) {
            bail_input!(
                "key `tasks`: `{}` has no training or no dev rows; it can be predicted, not trained",
                task.name
            );
        }
        tasks.push(task);
    }
    Ok(tasks)
}

/// Reads the tasks back that a run folder keeps.
pub fn saved_tasks(folder: &RunFolder, config: &Config) -> Result<Vec<Task>> {
    let names = config.tasks.iter();
    names
        .map(|name| Task::load(&folder.task(name).to_string_lossy()))
        .collect()
}

/// What the model needs to know of a task.
pub fn shape(task: &Task) -> TaskShape {
    TaskShape {
        name: task.name.clone(),
        outputs: task.outputs(),
    }
}

/// Tokenises both splits of every task, or takes them from the cache.
pub fn load_data(
    tasks: Vec<Task>,
    config: &Config,
    tokenizer: &Tokenizer,
    cache_dir: &Path,
) -> Result<Vec<TaskData>> {
    let load = |task: &Task, split: Split| {
        let label = format!("tokenising {} {split}", task.name);
        let bar = OnceLock::new();
        let loaded = cache::load_split_with(
            task,
            &config.data,
            split,
            tokenizer,
            config.training.max_length,
            Some(cache_dir),
            &|done, total| {
                bar.get_or_init(|| Progress::counter(total as u64, &label))
                    .at(done as u64, "");
            },
        );
        if let Some(bar) = bar.into_inner() {
            bar.finish();
        }
        loaded
    };
    tasks
        .into_iter()
        .map(|task| {
            let train = load(&task, Split::Train)?;
            let dev = load(&task, Split::Dev)?;
            let seed = named_seed(config.training.seed, &format!("rows {}", task.name)) as u64;
            let limit = config.training.max_train_rows.as_ref();
            let limit = limit.and_then(|limit| limit.of(&task.name));
            let rows = sampling::subset(train.len(), limit, seed);
            Ok(TaskData {
                task,
                train,
                rows,
                dev,
            })
        })
        .collect()
}
