//! The training config of a run: the base, and on top of it what the suite, the experiment, the
//! command line and the grid say, later ones winning.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_yaml::Value;

use super::file::{check_keys, Experiment, Grid, Settings, SuiteFile};
use super::grid::relations;
use crate::config::values::{Deduplicate, RowLimit};
use crate::config::weighting::Method as Weigh;
use crate::config::{
    self, task_of, yaml, Alignment, Config, Method, Sampling, ScoreScale, Strategy, Weighting,
};
use crate::task::{Labels, Task};
use crate::{bail_input, input_error};

/// What the command line adds to a suite file.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// `key.path=value`, for every run.
    pub overrides: Vec<String>,
    pub data: Option<PathBuf>,
    pub seeds: Option<Vec<u64>>,
    /// Threads of a run whose config says none.
    pub threads: usize,
}

impl Wishes {
    fn settings(&self) -> Result<Settings> {
        let mut given = Settings::new();
        for item in &self.overrides {
            let Some((key, text)) = item.split_once('=') else {
                bail_input!("--set {item}: write it as key.path=value");
            };
            yaml::check_bounds(text, &format!("--set {key}"))?;
            let value = serde_yaml::from_str(text)
                .map_err(|e| input_error!("--set {item}: not a YAML value: {e}"))?;
            given.insert(key.trim().to_owned(), value);
        }
        check_keys("--set", given.keys())?;
        if let Some(data) = &self.data {
            given.insert("data".into(), data.display().to_string().into());
        }
        Ok(given)
    }
}

/// A training, before it has a config and a name.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    pub experiment: &'a Experiment,
    /// As the suite file names them.
    pub tasks: Vec<String>,
    pub method: Method,
    pub seed: u64,
    /// What the grid chose.
    pub grid: &'a Settings,
    /// Limits of training rows by task, in a study of sizes.
    pub rows: &'a BTreeMap<String, usize>,
    /// The name of the run that it starts from.
    pub source: Option<String>,
    /// Whether another starts from it.
    pub is_source: bool,
}

/// A task that a suite mentions.
pub struct Named {
    pub task: Task,
    /// What stands in a run's config: a built-in task's name, or a file's absolute path.
    entry: String,
}

/// Makes configs of a suite's runs.
pub struct Composer<'a> {
    suite: &'a SuiteFile,
    /// The suite's file, for errors.
    pub source: String,
    base: Value,
    /// The base's tasks.
    pub default_tasks: Vec<String>,
    given: Settings,
    threads: usize,
    tasks: BTreeMap<String, Named>,
    /// Names of tasks in the order in which the suite mentions them.
    order: Vec<String>,
}

impl<'a> Composer<'a> {
    /// # Errors
    /// Input errors for a key that no training config has, a wrong value, an unknown task.
    pub fn new(suite: &'a SuiteFile, path: &Path, wishes: &Wishes) -> Result<Composer<'a>> {
        let base = suite.base(path)?;
        let mut composer = Composer {
            suite,
            source: path.display().to_string(),
            default_tasks: base.tasks.clone(),
            base: serde_yaml::to_value(base)?,
            given: wishes.settings()?,
            threads: wishes.threads,
            tasks: BTreeMap::new(),
            order: Vec::new(),
        };
        composer.check()?;
        for experiment in &suite.experiments {
            composer.name_tasks(experiment)?;
        }
        Ok(composer)
    }

    /// The seed of a suite that names none.
    pub fn default_seed(&self) -> u64 {
        self.base["training"]["seed"].as_u64().unwrap_or(42)
    }

    /// A task by the name that the suite file gives it.
    pub fn task(&self, name: &str) -> &Task {
        &self.tasks[name].task
    }

    /// Tasks in the order in which the suite mentions them: a pair is one run, either way round.
    pub fn ordered(&self, tasks: &[String]) -> Vec<String> {
        let named = self.order.iter().filter(|name| tasks.contains(name));
        named.cloned().collect()
    }

    /// Whether the suite, the experiment or the command line sets `key` for a run.
    pub fn says(&self, wanted: &Wanted, key: &str) -> bool {
        self.layers(wanted).any(|(said, _)| said == key)
    }

    /// The config of a run, without what has no effect on it: equal trainings have equal configs.
    pub fn config(&self, wanted: &Wanted) -> Result<Config> {
        let place = format!("{}: experiment `{}`", self.source, wanted.experiment.name);
        let mut tree = self.base.clone();
        let mut put = |key: &str, value: Value| config::assign(&mut tree, key, value, &place);
        if let Some(source) = &wanted.source {
            put("start.run", format!("runs/{source}").into())?;
        }
        let matters = |key: &str| wanted.source.is_some() || !key.starts_with("start.");
        for (key, value) in self.layers(wanted).filter(|(key, _)| matters(key)) {
            put(key, value.clone())?;
        }
        let tasks = self.ordered(&wanted.tasks);
        let entries = tasks.iter().map(|name| self.tasks[name].entry.as_str());
        put("tasks", entries.map(Value::from).collect::<Vec<_>>().into())?;
        put("method", wanted.method.name().into())?;
        put("training.seed", wanted.seed.into())?;
        if let Some(folds) = self.suite.folds {
            put("folds", folds.into())?;
        }
        if !wanted.rows.is_empty() {
            let limits = wanted.rows.iter();
            let limits = limits.map(|(name, rows)| (self.task(name).name.clone(), *rows));
            let limits = RowLimit::Named(limits.collect());
            put("training.max_train_rows", serde_yaml::to_value(limits)?)?;
        }
        let mut config = Config::from_value(tree, &place)?;
        let own = |task: &str| tasks.iter().any(|name| self.task(name).name == task);
        let with = std::mem::take(&mut config.training.steps_with);
        let joint = |task: &str| {
            let with = with.iter().filter_map(|name| self.tasks.get(name));
            own(task) || with.into_iter().any(|with| with.task.name == task)
        };
        config.training.max_train_rows = config
            .training
            .max_train_rows
            .take()
            .and_then(|limit| limit.only(joint));
        for name in &with {
            let Some(named) = self.tasks.get(name) else {
                bail_input!("{place}: key `training.steps_with`: `{name}` is no task of the suite");
            };
            config.training.steps_with.push(named.entry.clone());
        }
        let of_classes = |name: &String| matches!(self.task(name).labels, Labels::Classes(_));
        let class_weights = config.training.class_weights.take();
        config.training.class_weights = class_weights
            .filter(|_| tasks.iter().any(of_classes))
            .and_then(|weights| weights.only(own));
        config.label_noise.retain(|name, _| own(task_of(name)));
        config
            .weighting
            .weights
            .retain(|name, _| own(task_of(name)));
        if config.weighting.method == Weigh::Fixed && config.weighting.weights.is_empty() {
            config.weighting = Weighting::default();
        }
        config.turned.retain(|task, _| own(task));
        if !tasks.iter().any(|name| self.task(name).is_regression()) {
            config.training.scores = ScoreScale::default();
        }
        if config.method != Method::Aligned {
            config.alignment = Alignment::default();
        }
        if tasks.len() == 1 {
            // How tasks take turns is nothing to one alone.
            config.sampling = Sampling {
                length_window: config.sampling.length_window,
                ..Sampling::default()
            };
        }
        if config.deduplicate == Deduplicate::Switch(true) {
            // Every run without every task's scored rows: a task trains on the same rows alone, with
            // others, and for others.
            let others = self.order.iter().filter(|name| !tasks.contains(name));
            let others: Vec<String> = others.map(|name| self.tasks[name].entry.clone()).collect();
            if !others.is_empty() {
                config.deduplicate = Deduplicate::With(others);
            }
        }
        let folds = |entry: &String| {
            let mut named = self.tasks.values();
            named.any(|named| named.entry == *entry && named.task.folds())
        };
        if !config.read_tasks().any(folds) {
            config.folds = None;
        }
        config.training.threads.get_or_insert(self.threads);
        config.out = None;
        // A run's process works in the suite's folder.
        config.data = std::path::absolute(&config.data)?;
        if Path::new(config.encoder.source()).exists() {
            let source = std::path::absolute(config.encoder.source())?;
            config.encoder = config.encoder.with_source(source.display().to_string());
        }
        Ok(config)
    }

    /// The base with what is said for all runs of an experiment.
    pub fn common(&self, experiment: &Experiment) -> Result<Config> {
        let mut tree = self.base.clone();
        let sets = [&self.suite.set, &experiment.set, &self.given];
        for (key, value) in sets.into_iter().flatten() {
            if !key.starts_with("start.") {
                config::assign(&mut tree, key, value.clone(), &self.source)?;
            }
        }
        yaml::from_value(tree, &self.source)
    }

    /// Keys and values on top of the base.
    fn layers<'w>(&'w self, wanted: &'w Wanted) -> impl Iterator<Item = (&'w String, &'w Value)> {
        let sources = wanted.is_source.then_some(&wanted.experiment.source_set);
        let sets = [&self.suite.set, &wanted.experiment.set].into_iter();
        let given = [&self.given, wanted.grid];
        sets.chain(sources).chain(given).flatten()
    }

    /// Tries each key alone, so that an error is that key's.
    fn check(&self) -> Result<()> {
        self.check_sets("--", &[&self.given], &Grid::new())?;
        let place = format!("{}: ", self.source);
        self.check_sets(&place, &[&self.suite.set], &self.suite.grid)?;
        for experiment in &self.suite.experiments {
            let place = format!("{}: experiment `{}`: ", self.source, experiment.name);
            let sets = [&experiment.set, &experiment.source_set];
            self.check_sets(&place, &sets, &experiment.grid)?;
        }
        Ok(())
    }

    fn check_sets(&self, place: &str, sets: &[&Settings], grid: &Grid) -> Result<()> {
        let attempt = |place: String, key: &str, value: &Value| -> Result<()> {
            let mut tree = self.base.clone();
            if key.starts_with("start.") {
                // It cannot stand without the run that it starts from.
                config::assign(&mut tree, "start.run", "source".into(), &place)?;
            }
            config::assign(&mut tree, key, value.clone(), &place)?;
            yaml::from_value::<Config>(tree, &place).map(drop)
        };
        for (key, value) in sets.iter().copied().flatten() {
            attempt(format!("{place}set"), key, value)?;
        }
        for (key, values) in grid {
            for value in values {
                attempt(format!("{place}grid"), key, value)?;
            }
            if self.given.contains_key(key) {
                bail_input!("--set {key}: the suite's grid varies this key");
            }
        }
        Ok(())
    }

    /// Looks up the tasks that an experiment mentions.
    fn name_tasks(&mut self, experiment: &Experiment) -> Result<()> {
        let relations = relations(experiment, &self.default_tasks);
        if relations.is_empty() || relations.iter().any(|r| r.targets.is_empty()) {
            bail_input!(
                "{}: experiment `{}` has too few tasks; name them with `tasks`",
                self.source,
                experiment.name
            );
        }
        let lists = [&experiment.tasks, &experiment.sources, &experiment.targets];
        let listed = lists.into_iter().flatten().flatten();
        let mut mentioned: Vec<&String> = listed.collect();
        mentioned.extend(experiment.pairs.iter().flatten().flatten());
        if mentioned.is_empty() {
            mentioned.extend(&self.default_tasks);
        }
        let new: Vec<String> = mentioned.into_iter().cloned().collect();
        for name in new {
            if self.tasks.contains_key(&name) {
                continue;
            }
            let named = Named::find(&name)?;
            let mut others = self.tasks.values();
            if others.any(|other| other.task.name == named.task.name) {
                bail_input!(
                    "{}: two tasks are called `{}`",
                    self.source,
                    named.task.name
                );
            }
            self.tasks.insert(name.clone(), named);
            self.order.push(name);
        }
        Ok(())
    }
}

impl Named {
    fn find(name: &str) -> Result<Named> {
        let task = Task::load(name)?;
        let entry = if Task::built_in(name) == Some(task.source()) {
            name.to_owned()
        } else {
            let file = match Path::new(name).is_file() {
                true => PathBuf::from(name),
                false => Path::new("configs/tasks").join(format!("{name}.yaml")),
            };
            std::path::absolute(file)?.display().to_string()
        };
        Ok(Named { task, entry })
    }
}

/// Whether a config's sampling follows single-task scores that it does not name.
pub fn lacks_reference(config: &Config) -> bool {
    config.sampling.strategy == Strategy::Dynamic && config.sampling.reference.is_empty()
}
