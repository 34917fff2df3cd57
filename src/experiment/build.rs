//! A suite file to a plan: every run once, in the order of their needs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_yaml::Value;

use super::file::{check_keys, check_seeds, Experiment, Settings, SuiteFile};
use super::grid::{combinations, relations, shown, Relation};
use super::names;
use super::plan::{Cell, Plan, Run, Strategy};
use super::rows::TaskSizes;
use crate::config::values::RowLimit;
use crate::config::{self, yaml, Alignment, Config, Method};
use crate::task::Task;
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

/// The runs and cells of the suite that was read from `path`.
///
/// # Errors
/// Input errors for a key or a value that no training config has, unknown tasks, and sizes that
/// the data does not have.
pub fn plan(suite: &SuiteFile, path: &Path, wishes: &Wishes) -> Result<Plan> {
    let source = path.display().to_string();
    let base = suite.base(path)?;
    let mut planner = Planner {
        default_tasks: base.tasks.clone(),
        base: serde_yaml::to_value(base)?,
        given: given(wishes)?,
        suite,
        wishes,
        tasks: BTreeMap::new(),
        order: Vec::new(),
        sizes: TaskSizes::default(),
        plan: Plan {
            title: suite.title.clone(),
            ..Plan::default()
        },
        known: HashMap::new(),
        keeps: BTreeSet::new(),
        source,
    };
    planner.check_settings()?;
    planner.name_tasks()?;
    for experiment in &suite.experiments {
        planner.experiment(experiment)?;
    }
    planner.decide_what_stays()?;
    Ok(planner.plan)
}

/// The command line's keys and values.
fn given(wishes: &Wishes) -> Result<Settings> {
    let mut given = Settings::new();
    for item in &wishes.overrides {
        let Some((key, text)) = item.split_once('=') else {
            bail_input!("--set {item}: write it as key.path=value");
        };
        let value = serde_yaml::from_str(text)
            .map_err(|e| input_error!("--set {item}: not a YAML value: {e}"))?;
        given.insert(key.trim().to_owned(), value);
    }
    check_keys("--set", given.keys())?;
    if let Some(data) = &wishes.data {
        given.insert("data".into(), data.display().to_string().into());
    }
    Ok(given)
}

/// A task by the name that the suite file gives it.
struct Named {
    task: Task,
    /// What stands in a run's config: a built-in task's name, or a file's absolute path.
    entry: String,
}

/// What one run is, before it has a name.
struct Wanted<'a> {
    experiment: &'a Experiment,
    /// As in the suite file.
    tasks: Vec<String>,
    method: Method,
    seed: u64,
    grid: &'a Settings,
    /// Training rows by task, of a study of sizes.
    rows: &'a BTreeMap<String, usize>,
    /// The run that it starts from.
    source: Option<usize>,
    /// Whether another starts from it.
    is_source: bool,
}

struct Planner<'a> {
    suite: &'a SuiteFile,
    wishes: &'a Wishes,
    source: String,
    base: Value,
    default_tasks: Vec<String>,
    given: Settings,
    tasks: BTreeMap<String, Named>,
    /// Names of tasks in the order in which the suite file mentions them.
    order: Vec<String>,
    sizes: TaskSizes,
    plan: Plan,
    /// Runs by their config, without what is kept of them.
    known: HashMap<String, usize>,
    /// Runs whose settings say themselves what is kept of them.
    keeps: BTreeSet<usize>,
}

impl Planner<'_> {
    /// Tries each key alone, so that an error is that key's.
    fn check_settings(&self) -> Result<()> {
        let attempt = |place: &str, key: &str, value: &Value| -> Result<()> {
            let mut tree = self.base.clone();
            config::assign(&mut tree, key, value.clone(), place)?;
            if key.starts_with("start.") {
                // It cannot stand without the run that it starts from.
                config::assign(&mut tree, "start.run", "source".into(), place)?;
            }
            yaml::from_value::<Config>(tree, place).map(drop)
        };
        let all = |place: &str, sets: &[&Settings], grid: &BTreeMap<String, Vec<Value>>| {
            for (key, value) in sets.iter().copied().flatten() {
                attempt(&format!("{place}set"), key, value)?;
            }
            for (key, values) in grid {
                for value in values {
                    attempt(&format!("{place}grid"), key, value)?;
                }
                if self.given.contains_key(key) {
                    bail_input!("--set {key}: the suite's grid varies this key");
                }
            }
            anyhow::Ok(())
        };
        all(
            &format!("{}: ", self.source),
            &[&self.suite.set],
            &self.suite.grid,
        )?;
        for experiment in &self.suite.experiments {
            let place = format!("{}: experiment `{}`: ", self.source, experiment.name);
            let sets = [&experiment.set, &experiment.source_set];
            all(&place, &sets, &experiment.grid)?;
        }
        all("--", &[&self.given], &BTreeMap::new())
    }

    /// Looks up every task that the suite mentions.
    fn name_tasks(&mut self) -> Result<()> {
        for experiment in &self.suite.experiments {
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
            let paired = experiment.pairs.iter().flatten().flatten();
            let mentioned: Vec<&String> = listed.chain(paired).collect();
            let mentioned = match mentioned.is_empty() {
                true => self.default_tasks.iter().collect(),
                false => mentioned,
            };
            for name in mentioned {
                if !self.tasks.contains_key(name) {
                    let named = Named::find(name)?;
                    let twin = self.tasks.values().find(|n| n.task.name == named.task.name);
                    if twin.is_some() {
                        bail_input!("{}: two tasks are called {name}", self.source);
                    }
                    self.tasks.insert(name.clone(), named);
                    self.order.push(name.clone());
                }
            }
        }
        Ok(())
    }

    fn experiment(&mut self, experiment: &Experiment) -> Result<()> {
        let seeds = match (&self.wishes.seeds, &experiment.seeds, &self.suite.seeds) {
            (Some(seeds), _, _) => {
                check_seeds(seeds, "--seeds")?;
                seeds.clone()
            }
            (None, Some(seeds), _) | (None, None, Some(seeds)) => seeds.clone(),
            (None, None, None) => vec![self.base["training"]["seed"].as_u64().unwrap_or(42)],
        };
        let grid = combinations([&self.suite.grid, &experiment.grid]);
        for relation in relations(experiment, &self.default_tasks) {
            for rows in self.rows(experiment, &relation)? {
                for method in experiment.methods() {
                    for grid in &grid {
                        for &seed in &seeds {
                            self.cells(experiment, &relation, method, grid, &rows, seed)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// One training and the cells that it fills.
    fn cells(
        &mut self,
        experiment: &Experiment,
        relation: &Relation,
        method: Method,
        grid: &Settings,
        rows: &BTreeMap<String, usize>,
        seed: u64,
    ) -> Result<()> {
        let after = matches!(experiment.strategy, Strategy::Stilts | Strategy::Transfer);
        let mut wanted = Wanted {
            experiment,
            tasks: relation.targets.clone(),
            method,
            seed,
            grid,
            rows,
            source: None,
            is_source: false,
        };
        if after {
            wanted.source = Some(self.run(&Wanted {
                tasks: relation.supports.clone(),
                method: Method::Single,
                is_source: true,
                ..wanted
            })?);
            wanted.tasks = relation.targets.clone();
        } else {
            wanted.tasks.extend(relation.supports.iter().cloned());
        }
        let joint = wanted.tasks.clone();
        let run = self.run(&wanted)?;
        let mut variant = shown(grid);
        for (task, rows) in rows {
            let task = &self.tasks[task].task.name;
            variant.insert(format!("training.max_train_rows.{task}"), rows.to_string());
        }
        for target in &relation.targets {
            let helpers = if after { &relation.supports } else { &joint };
            let helpers = self.ordered(helpers).into_iter();
            let supports = helpers.filter(|name| name != target);
            self.plan.cells.push(Cell {
                experiment: experiment.name.clone(),
                strategy: experiment.strategy,
                method: method.name().into(),
                target: self.tasks[target].task.name.clone(),
                supports: supports.map(|s| self.tasks[&s].task.name.clone()).collect(),
                variant: variant.clone(),
                seed,
                run: self.plan.runs[run].name.clone(),
            });
        }
        Ok(())
    }

    /// Tasks in the order in which the suite mentions them.
    fn ordered(&self, tasks: &[String]) -> Vec<String> {
        let named = self.order.iter().filter(|name| tasks.contains(name));
        named.cloned().collect()
    }

    /// The rows that a study of sizes gives the tasks of a relation; no limits where it is none.
    fn rows(
        &mut self,
        experiment: &Experiment,
        relation: &Relation,
    ) -> Result<Vec<BTreeMap<String, usize>>> {
        let Some(sizes) = &experiment.sizes else {
            return Ok(vec![BTreeMap::new()]);
        };
        let mut tree = self.base.clone();
        for (key, value) in [&self.suite.set, &experiment.set, &self.given]
            .into_iter()
            .flatten()
        {
            config::assign(&mut tree, key, value.clone(), &self.source)?;
        }
        let config: Config = yaml::from_value(tree, &self.source)?;
        let limit = config.training.max_train_rows;
        let mut available = |name: &String| -> Result<usize> {
            let task = &self.tasks[name].task;
            let rows = self.sizes.of(task, &config.data)?.train;
            let limit = limit.as_ref().and_then(|limit| limit.of(&task.name));
            Ok(limit.map_or(rows, |limit| rows.min(limit)))
        };
        let times = |rows: usize, factor: f64| ((rows as f64 * factor).round() as usize).max(1);
        let mut all = Vec::new();
        for target in &relation.targets {
            let whole = available(target)?;
            for rows in sizes.target.iter().map(|&share| times(whole, share)) {
                let Some(support) = relation.supports.first() else {
                    all.push(BTreeMap::from([(target.clone(), rows)]));
                    continue;
                };
                let there = available(support)?;
                for &factor in &sizes.support {
                    let wanted = times(rows, factor);
                    if wanted > there {
                        bail_input!(
                            "{}: experiment `{}`: key `sizes.support`: {factor} times {rows} rows \
                             of {target} is {wanted}, but {support} has {there}",
                            self.source,
                            experiment.name
                        );
                    }
                    let pair = [(target.clone(), rows), (support.clone(), wanted)];
                    all.push(BTreeMap::from(pair));
                }
            }
        }
        Ok(all)
    }

    /// The index of the run that trains what is wanted; a new one where there is none yet.
    fn run(&mut self, wanted: &Wanted) -> Result<usize> {
        let config = self.config(wanted)?;
        let mut needs: Vec<usize> = wanted.source.into_iter().collect();
        if reference_is_missing(&config) {
            // Its shares depend on what each task reaches alone.
            for task in self.ordered(&wanted.tasks) {
                needs.push(self.run(&Wanted {
                    tasks: vec![task],
                    method: Method::Single,
                    ..*wanted
                })?);
            }
            needs.sort_unstable();
            needs.dedup();
        }
        let keeps = self.says(wanted, "checkpoints.after");
        let mut key = config.clone();
        key.checkpoints.after = After::default();
        let key = key.to_yaml()?;
        if let Some(&run) = self.known.get(&key) {
            return Ok(run);
        }
        let index = self.plan.runs.len();
        let tasks: Vec<String> = self
            .ordered(&wanted.tasks)
            .iter()
            .map(|name| self.tasks[name].task.name.clone())
            .collect();
        let mut variant = shown(wanted.grid);
        for (task, rows) in wanted.rows {
            let task = &self.tasks[task].task.name;
            variant.insert(format!("training.max_train_rows.{task}"), rows.to_string());
        }
        let name = names::of(&names::Parts {
            method: wanted.method,
            tasks: &tasks,
            source: wanted.source.map(|source| &self.plan.runs[source]),
            variant: &variant,
            experiment: &wanted.experiment.name,
            seed: wanted.seed,
            taken: &self.plan.runs,
        });
        self.plan.runs.push(Run {
            name,
            method: wanted.method.name().into(),
            tasks,
            seed: wanted.seed,
            source: wanted.source.map(|run| self.plan.runs[run].name.clone()),
            needs: needs
                .iter()
                .map(|&run| self.plan.runs[run].name.clone())
                .collect(),
            config: config.to_yaml()?,
        });
        self.known.insert(key, index);
        if keeps {
            self.keeps.insert(index);
        }
        Ok(index)
    }

    /// The keys and values on top of the base, later ones winning.
    fn layers<'w>(&'w self, wanted: &'w Wanted) -> impl Iterator<Item = (&'w String, &'w Value)> {
        let sources = wanted.is_source.then_some(&wanted.experiment.source_set);
        let sets = [&self.suite.set, &wanted.experiment.set].into_iter();
        sets.chain(sources)
            .chain([&self.given, wanted.grid])
            .flatten()
    }

    fn says(&self, wanted: &Wanted, key: &str) -> bool {
        self.layers(wanted).any(|(said, _)| said == key)
    }

    /// The training config of what is wanted, without what has no effect on it, so that equal
    /// trainings have equal configs.
    fn config(&self, wanted: &Wanted) -> Result<Value> {
        let place = format!("{}: experiment `{}`", self.source, wanted.experiment.name);
        let mut tree = self.base.clone();
        let mut put = |key: &str, value: Value| config::assign(&mut tree, key, value, &place);
        if let Some(source) = wanted.source {
            let name = &self.plan.runs[source].name;
            put("start.run", format!("runs/{name}").into())?;
        }
        let matters = |key: &str| wanted.source.is_some() || !key.starts_with("start.");
        for (key, value) in self.layers(wanted).filter(|(key, _)| matters(key)) {
            put(key, value.clone())?;
        }
        let tasks = self.ordered(&wanted.tasks);
        let entries: Vec<Value> = tasks
            .iter()
            .map(|name| self.tasks[name].entry.as_str().into())
            .collect();
        put("tasks", entries.into())?;
        put("method", wanted.method.name().into())?;
        put("training.seed", wanted.seed.into())?;
        if tasks.len() == 1 {
            // How tasks take turns is nothing to one alone.
            let window = tree["sampling"]["length_window"].clone();
            remove(&mut tree, &["sampling"]);
            config::assign(&mut tree, "sampling.length_window", window, &place)?;
        }
        let unfilled = reference_is_missing(&tree);
        if unfilled {
            // Valid until the real ones are there.
            for name in &tasks {
                let key = ["sampling", "reference"];
                insert(&mut tree, &key, &self.tasks[name].task.name, 0.0.into());
            }
        }
        let mut config = Config::from_value(tree, &place)?;
        if config.method != Method::Aligned {
            config.alignment = Alignment::default();
        }
        let limit = config.training.max_train_rows.take();
        config.training.max_train_rows = self.limit(limit, wanted, &tasks);
        if config.training.threads.is_none() {
            config.training.threads = Some(self.wishes.threads);
        }
        config.data = std::path::absolute(&config.data)?;
        if Path::new(&config.encoder).is_dir() {
            let encoder = std::path::absolute(&config.encoder)?;
            config.encoder = encoder.display().to_string();
        }
        let mut tree = serde_yaml::to_value(config)?;
        if unfilled {
            remove(&mut tree, &["sampling", "reference"]);
        }
        Ok(tree)
    }

    /// The limits of rows of the run's own tasks.
    fn limit(
        &self,
        limit: Option<RowLimit>,
        wanted: &Wanted,
        tasks: &[String],
    ) -> Option<RowLimit> {
        let limit = match (limit, wanted.rows.is_empty()) {
            (Some(RowLimit::Named(limits)), true) => limits,
            (limit, true) => return limit,
            (_, false) => {
                let rows = wanted.rows.iter();
                rows.map(|(name, rows)| (self.tasks[name].task.name.clone(), *rows))
                    .collect()
            }
        };
        let own = |task: &str| tasks.iter().any(|name| self.tasks[name].task.name == task);
        let limits: BTreeMap<_, _> = limit.into_iter().filter(|(task, _)| own(task)).collect();
        (!limits.is_empty()).then_some(RowLimit::Named(limits))
    }

    /// Keeps weights only where another run starts from them, unless the suite says otherwise.
    fn decide_what_stays(&mut self) -> Result<()> {
        let sources = self.plan.runs.iter().filter_map(|run| run.source.clone());
        let sources: BTreeSet<String> = sources.collect();
        for (index, run) in self.plan.runs.iter_mut().enumerate() {
            let source = sources.contains(&run.name);
            let mut config: Value = serde_yaml::from_str(&run.config)?;
            let said = &config["checkpoints"]["after"];
            let stays = match (source, self.keeps.contains(&index)) {
                (true, true) if said != "nothing" => continue,
                (false, true) => continue,
                (true, _) => "best",
                (false, false) => "nothing",
            };
            config::assign(&mut config, "checkpoints.after", stays.into(), &self.source)?;
            run.config = serde_yaml::to_string(&config)?;
        }
        Ok(())
    }
}

impl Named {
    fn find(name: &str) -> Result<Named> {
        let task = Task::load(name)?;
        let built_in = Task::built_in(name);
        let entry = if built_in == Some(task.source()) {
            name.to_owned()
        } else {
            let beside = Path::new("configs/tasks").join(format!("{name}.yaml"));
            let file = match Path::new(name).is_file() {
                true => PathBuf::from(name),
                false => beside,
            };
            std::path::absolute(file)?.display().to_string()
        };
        Ok(Named { task, entry })
    }
}

/// Whether a config's sampling follows single-task scores that it does not name.
pub fn reference_is_missing(config: &Value) -> bool {
    let sampling = &config["sampling"];
    let given = sampling["reference"].as_mapping();
    sampling["strategy"] == "dynamic" && given.is_none_or(|given| given.is_empty())
}

/// Takes a key out of a tree.
fn remove(tree: &mut Value, path: &[&str]) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let mut place = Some(tree);
    for key in parents {
        place = place.and_then(|place| place.get_mut(*key));
    }
    if let Some(Value::Mapping(map)) = place {
        map.remove(*last);
    }
}

/// Puts a value under a key that may have dots in it.
pub fn insert(tree: &mut Value, path: &[&str], key: &str, value: Value) {
    let mut place = tree;
    for key in path {
        if !place.is_mapping() {
            *place = Value::Mapping(Default::default());
        }
        let Value::Mapping(map) = place else { return };
        place = map.entry(Value::from(*key)).or_insert(Value::Null);
    }
    if !place.is_mapping() {
        *place = Value::Mapping(Default::default());
    }
    if let Value::Mapping(map) = place {
        map.insert(key.into(), value);
    }
}
