//! The tasks of a run with their rows in memory.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::Result;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::class_weights;
use super::keep::run_folder::RunFolder;
use crate::bail_input;
use crate::config::{Config, ScoreScale};
use crate::data::overlap::{self, Overlap, Texts};
use crate::data::planned::TaskRows;
use crate::data::sampling;
use crate::data::sources::sources;
use crate::data::{intake, Intake, TokenizedSplit};
use crate::error::one_line;
use crate::model::{named_seed, TaskShape};
use crate::task::cut::Fold;
use crate::task::{name, Label, Labels, Split, Task};
use crate::telemetry::progress::Progress;

/// A task with its tokenised training and dev split.
pub struct TaskData {
    pub task: Task,
    pub train: TokenizedSplit,
    /// The rows of `train` that are trained on.
    pub rows: Vec<u32>,
    pub dev: TokenizedSplit,
    /// Where there is one that can be read.
    pub test: Option<TokenizedSplit>,
    /// Dev and test rows, its own and other tasks', whose text is among `rows`.
    pub overlaps: Vec<Overlap>,
    /// Training rows that `deduplicate` leaves out.
    pub left_out: usize,
    /// Training rows that were given a label by chance, and of them those that had another.
    pub noise: (usize, usize),
    /// What rows weigh by their class, where that is not all the same.
    pub class_weights: Option<Vec<f64>>,
}

impl TaskData {
    /// What the training row at `row` weighs in its batch.
    pub fn weight(&self, row: u32) -> f64 {
        let class = self.train.label(row as usize).and_then(Label::number);
        match (&self.class_weights, class) {
            (Some(weights), Some(class)) => weights[class as usize],
            _ => 1.0,
        }
    }

    /// The training rows with their lengths, for the sampler.
    pub fn sampled(&self) -> TaskRows {
        let length = |&row: &u32| self.train.length(row as usize) as u32;
        TaskRows {
            lengths: self.rows.iter().map(length).collect(),
            rows: self.rows.clone(),
        }
    }
}

/// The fold that a config's seed trains.
fn fold(config: &Config) -> Option<Fold> {
    let seed = config.training.seed;
    let fold = |of: u64| Fold {
        number: seed % of,
        of,
    };
    config.folds.map(fold)
}

/// Reads a task file as a run of `config` splits its rows.
pub fn load(config: &Config, name: &str) -> Result<Task> {
    let mut task = Task::load(name)?;
    task.take_fold(fold(config));
    Ok(task)
}

/// Reads the task files that a config names; two tasks of one name are an error.
pub fn load_tasks(config: &Config) -> Result<Vec<Task>> {
    let tasks = load_named(config, &config.tasks, "tasks")?;
    let mut read = config.read_tasks();
    if config.folds.is_some() && !read.any(|name| Task::load(name).is_ok_and(|task| task.folds())) {
        bail_input!(
            "key `folds`: every task has splits of its own; it is for those whose file cuts them out of the \
             training file by `split:`"
        );
    }
    Ok(tasks)
}

/// The same of the task files that `key` names.
pub fn load_named(config: &Config, names: &[String], key: &str) -> Result<Vec<Task>> {
    let mut tasks: Vec<Task> = Vec::with_capacity(names.len());
    for given in names {
        let task = load(config, given)?;
        if let Some(other) = tasks.iter().find(|t| name::same(&t.name, &task.name)) {
            bail_input!(
                "key `{key}`: two tasks are called `{}` and `{}`, which must differ by more than \
                 case: they are names of files",
                other.name,
                task.name
            );
        }
        if !task.has_split(Split::Train) || !task.has_split(Split::Dev) {
            bail_input!(
                "key `{key}`: `{}` has no training or no dev rows: it can be predicted, not trained; its file may \
                 cut dev out of `files.train` by `split: {{dev: 0.1}}`",
                task.name
            );
        }
        intake::check(&task, config.encoder.images().is_some())?;
        tasks.push(task);
    }
    Ok(tasks)
}

/// Reads the tasks back that a run folder keeps.
pub fn saved_tasks(folder: &RunFolder, config: &Config) -> Result<Vec<Task>> {
    let names = config.tasks.iter();
    names.map(|name| saved_task(folder, config, name)).collect()
}

/// Reads one task back that the folder of a run of `config` keeps.
///
/// # Errors
/// Input errors for a name that is none, and for a file that holds another task.
pub fn saved_task(folder: &RunFolder, config: &Config, name: &str) -> Result<Task> {
    name::check(name, &folder.config().display().to_string())?;
    let path = folder.task(name);
    let task = load(config, &path.to_string_lossy())?;
    // A file without `name:` has its file's name, which is the task's here.
    if task.name != name {
        bail_input!(
            "{}: holds the task `{}`; a run folder is used as `covalign train` wrote it",
            path.display(),
            task.name
        );
    }
    Ok(task)
}

/// What the model needs to know of a task.
pub fn shape(task: &Task, scores: ScoreScale) -> TaskShape {
    TaskShape {
        name: task.name.clone(),
        outputs: task.outputs(),
        range: match (scores, &task.labels) {
            (ScoreScale::Unit, Labels::Range { min, max }) => Some((*min, *max)),
            _ => None,
        },
    }
}

/// Takes in the splits of every task, or takes them from the cache, and chooses the rows to train
/// on. Test rows are looked at for overlaps alone.
pub fn load_data(
    tasks: Vec<Task>,
    config: &Config,
    intake: &Intake,
    cache_dir: &Path,
) -> Result<Vec<TaskData>> {
    let load = |task: &Task, split: Split| {
        let label = format!("tokenising {} {split}", task.name);
        let bar = OnceLock::new();
        let loaded = intake.load_split(
            task,
            &config.data,
            split,
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
    let (mut training, mut scored) = (Vec::new(), Vec::new());
    let mut data = Vec::with_capacity(tasks.len());
    for task in tasks {
        let mut train = load(&task, Split::Train)?;
        let dev = load(&task, Split::Dev)?;
        training.push(Texts::of_tokens(&task.name, Split::Train, &train));
        scored.push(Texts::of_tokens(&task.name, Split::Dev, &dev));
        let has_test = task.has_split(Split::Test);
        let mut test = None;
        if has_test && sources(&task, &config.data, Split::Test).is_ok() {
            match load(&task, Split::Test) {
                Ok(split) => {
                    scored.push(Texts::of_tokens(&task.name, Split::Test, &split));
                    test = Some(split);
                }
                Err(e) if config.evaluation.test => return Err(e),
                // Training needs no test rows: files that cannot be read do not stop it.
                Err(e) => train.warnings.push(format!(
                    "test rows not compared with training rows: {}",
                    one_line(&e)
                )),
            }
        }
        if config.evaluation.test {
            check_test(&task, test.as_ref())?;
        }
        data.push(TaskData {
            task,
            train,
            rows: Vec::new(),
            dev,
            test,
            overlaps: Vec::new(),
            left_out: 0,
            noise: (0, 0),
            class_weights: None,
        });
    }
    let others = texts_of_others(&data, config)?;
    choose_rows(&mut data, config, &training, &scored, &others)?;
    for data in &mut data {
        let own = data.task.name.clone();
        for (name, share) in config.label_noise_of(&own) {
            add_noise(data, name, share, config.training.seed);
        }
        let labels = data.rows.iter();
        let labels = labels.filter_map(|&row| data.train.label(row as usize));
        data.class_weights = class_weights::of(
            config.training.class_weights.as_ref(),
            (&own, &data.task.labels),
            labels,
        );
    }
    Ok(data)
}

/// Gives a share of the training rows a label by chance, every label being as likely: of two labels,
/// half of those rows keep theirs. Of labels of which any may hold, each is drawn, or the one that
/// `name`, `TASK/LABEL`, names alone.
fn add_noise(data: &mut TaskData, name: &str, share: f64, seed: u64) {
    let count = (share * data.rows.len() as f64).round() as usize;
    let seed = named_seed(seed, &format!("label noise {name}")) as u64;
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let drawn = match data.task.objectives().iter().position(|of| of == name) {
        Some(index) => 1 << index,
        None => u128::MAX >> (128 - data.task.outputs().min(128)),
    };
    for row in sampling::subset(data.rows.len(), Some(count), seed) {
        let row = data.rows[row as usize] as usize;
        let was = data.train.label(row);
        let label = match (&data.task.labels, was) {
            (Labels::Classes(classes), _) => {
                Label::Number(chance.gen_range(0..classes.names.len()) as f32)
            }
            (Labels::Range { min, max }, _) => Label::Number(chance.gen_range(*min..=*max) as f32),
            (Labels::AnyOf(_), Some(Label::Set(set))) => {
                Label::Set(set & !drawn | chance.gen::<u128>() & drawn)
            }
            (Labels::AnyOf(_), _) => continue,
        };
        data.train.relabel(row, label);
        data.noise.0 += 1;
        data.noise.1 += usize::from(was != Some(label));
    }
}

/// Whether there are test rows that can be scored.
fn check_test(task: &Task, test: Option<&TokenizedSplit>) -> Result<()> {
    let name = &task.name;
    let Some(test) = test else {
        bail_input!("key `evaluation.test`: {name} has no test rows; leave the key away");
    };
    match (0..test.len()).find(|&row| test.label(row).is_none()) {
        None => Ok(()),
        Some(row) => bail_input!(
            "key `evaluation.test`: the test row of {name} on line {} has no label; leave the key \
             away",
            test.line(row)
        ),
    }
}

/// The tasks that `deduplicate` names beside a run's own.
pub fn deduplicated_with(config: &Config, is_own: impl Fn(&str) -> bool) -> Result<Vec<Task>> {
    let named = config.deduplicate.named().iter();
    let mut tasks: Vec<Task> = named
        .map(|name| load(config, name))
        .collect::<Result<_>>()?;
    tasks.retain(|task| !is_own(&task.name));
    Ok(tasks)
}

/// What those are scored on.
fn texts_of_others(data: &[TaskData], config: &Config) -> Result<Vec<Texts>> {
    let own = |name: &str| data.iter().any(|data| data.task.name == name);
    let others = deduplicated_with(config, own)?;
    overlap::texts_of_files(&others, &config.data, &[Split::Dev, Split::Test])
}

/// The training rows: without what others are scored on where `deduplicate` says so, then a sample.
fn choose_rows(
    data: &mut [TaskData],
    config: &Config,
    training: &[Texts],
    scored: &[Texts],
    others: &[Texts],
) -> Result<()> {
    let all = match config.deduplicate.is_on() {
        true => overlap::find(training, &[scored, others].concat()),
        false => Vec::new(),
    };
    let shared = overlap::shared_with_others(&all);
    let mut trained = Vec::with_capacity(data.len());
    for (data, texts) in data.iter_mut().zip(training) {
        let name = &data.task.name;
        let leave = shared.get(name.as_str());
        let kept: Vec<u32> = (0..data.train.len() as u32)
            .filter(|row| leave.is_none_or(|leave| !leave.contains(row)))
            .collect();
        if kept.is_empty() {
            bail_input!(
                "key `deduplicate`: no training row of {name} is left; every one of its texts is in \
                 another task's dev or test split"
            );
        }
        let seed = named_seed(config.training.seed, &format!("rows {name}")) as u64;
        let limit = config.training.max_train_rows.as_ref();
        let limit = limit.and_then(|limit| limit.of(name));
        let chosen = sampling::subset(kept.len(), limit, seed);
        data.left_out = data.train.len() - kept.len();
        data.rows = chosen.into_iter().map(|i| kept[i as usize]).collect();
        trained.push(texts.only(&data.rows));
    }
    for found in overlap::find(&trained, scored) {
        let of = data
            .iter_mut()
            .find(|data| data.task.name == found.training);
        if let Some(data) = of {
            data.overlaps.push(found);
        }
    }
    Ok(())
}
