//! A suite file to a plan: every run once, in the order of their needs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use anyhow::Result;

use super::compose::{lacks_reference, Composer, Wanted, Wishes};
use super::file::{check_seeds, Experiment, Grid, Sizes, SuiteFile};
use super::grid::{combinations, count, relations, shown, Relation};
use super::names;
use super::plan::{Cell, Plan, Run, Strategy};
use super::rows::TaskSizes;
use crate::bail_input;
use crate::config::{yaml, After, Config, Method};

/// The most trainings that a suite may ask for.
const MOST: usize = 10_000;

/// The runs and cells of the suite that was read from `path`.
///
/// # Errors
/// Input errors for a key or a value that no training config has, unknown tasks, sizes that
/// the data does not have, and more than [`MOST`] trainings.
pub fn plan(suite: &SuiteFile, path: &Path, wishes: &Wishes) -> Result<Plan> {
    let mut planner = Planner {
        composer: Composer::new(suite, path, wishes)?,
        sizes: TaskSizes::default(),
        plan: Plan {
            title: suite.title.clone(),
            ..Plan::default()
        },
        known: HashMap::new(),
        keeps: BTreeSet::new(),
    };
    if let Some(seeds) = &wishes.seeds {
        check_seeds(seeds, "--seeds")?;
    }
    let default = match suite.folds {
        Some(folds) => (1..=folds).collect(),
        None => vec![planner.composer.default_seed()],
    };
    for experiment in &suite.experiments {
        let given = wishes.seeds.as_ref().or(experiment.seeds.as_ref());
        let seeds = given.or(suite.seeds.as_ref()).map_or(&default[..], |s| s);
        planner.experiment(experiment, [&suite.grid, &experiment.grid], seeds)?;
    }
    planner.decide_what_stays()?;
    Ok(planner.plan)
}

struct Planner<'a> {
    composer: Composer<'a>,
    sizes: TaskSizes,
    plan: Plan,
    /// Runs by their config, without what is kept of them.
    known: HashMap<String, usize>,
    /// Runs whose settings say themselves what is kept of them.
    keeps: BTreeSet<usize>,
}

impl<'a> Planner<'a> {
    fn experiment(
        &mut self,
        experiment: &'a Experiment,
        grids: [&Grid; 2],
        seeds: &[u64],
    ) -> Result<()> {
        let relations = relations(experiment, &self.composer.default_tasks);
        let sizes = experiment.sizes.as_ref().map_or(1, Sizes::count);
        let methods = experiment.methods();
        let factors = [
            relations.len(),
            sizes,
            methods.len(),
            count(grids),
            seeds.len(),
        ];
        let asked = factors.into_iter().fold(1, usize::saturating_mul);
        if asked.saturating_add(self.plan.cells.len()) > MOST {
            bail_input!(
                "{}: experiment `{}`: the suite asks for more than {MOST} trainings; give its grids, seeds or \
                 tasks fewer values",
                self.composer.source,
                experiment.name
            );
        }
        let grid = combinations(grids);
        for relation in relations {
            for rows in self.rows(experiment, &relation)? {
                for &method in &methods {
                    for grid in &grid {
                        for &seed in seeds {
                            let wanted = Wanted {
                                experiment,
                                tasks: Vec::new(),
                                method,
                                seed,
                                grid,
                                rows: &rows,
                                source: None,
                                is_source: false,
                            };
                            self.cells(&relation, wanted)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// One training, what it needs, and the cells that it fills.
    fn cells(&mut self, relation: &Relation, mut wanted: Wanted) -> Result<()> {
        let strategy = wanted.experiment.strategy;
        wanted.tasks = relation.targets.clone();
        if matches!(strategy, Strategy::Stilts | Strategy::Transfer) {
            let source = self.run(&Wanted {
                tasks: relation.supports.clone(),
                method: Method::Single,
                is_source: true,
                ..wanted.clone()
            })?;
            wanted.source = Some(self.plan.runs[source].name.clone());
        } else {
            wanted.tasks.extend(relation.supports.iter().cloned());
        }
        let run = self.run(&wanted)?;
        let all: Vec<String> = [&relation.targets[..], &relation.supports].concat();
        let all = self.composer.ordered(&all);
        for target in &relation.targets {
            let supports = all.iter().filter(|name| *name != target);
            self.plan.cells.push(Cell {
                experiment: wanted.experiment.name.clone(),
                strategy,
                method: wanted.method.name().into(),
                target: self.composer.task(target).name.clone(),
                supports: supports
                    .map(|name| self.composer.task(name).name.clone())
                    .collect(),
                variant: self.variant(&wanted),
                seed: wanted.seed,
                run: self.plan.runs[run].name.clone(),
            });
        }
        Ok(())
    }

    /// What the grid and the study of sizes chose, by config key.
    fn variant(&self, wanted: &Wanted) -> BTreeMap<String, String> {
        let mut variant = shown(wanted.grid);
        for (task, rows) in wanted.rows {
            let task = &self.composer.task(task).name;
            variant.insert(format!("training.max_train_rows.{task}"), rows.to_string());
        }
        variant
    }

    /// The index of the run that trains what is wanted; a new one where there is none yet.
    fn run(&mut self, wanted: &Wanted) -> Result<usize> {
        let config = self.composer.config(wanted)?;
        let mut key = config.clone();
        key.checkpoints.after = After::default();
        let key = key.to_yaml()?;
        if let Some(&run) = self.known.get(&key) {
            return Ok(run);
        }
        let tasks = self.composer.ordered(&wanted.tasks);
        let mut needs: Vec<String> = wanted.source.iter().cloned().collect();
        if lacks_reference(&config) {
            // Its shares follow what each task reaches alone.
            for task in &tasks {
                let alone = self.run(&Wanted {
                    tasks: vec![task.clone()],
                    method: Method::Single,
                    source: None,
                    ..wanted.clone()
                })?;
                needs.push(self.plan.runs[alone].name.clone());
            }
        }
        let named = |name: &String| self.composer.task(name).name.clone();
        let tasks: Vec<String> = tasks.iter().map(named).collect();
        let source = wanted.source.as_ref();
        let name = names::of(&names::Parts {
            method: wanted.method,
            tasks: &tasks,
            source: self.plan.runs.iter().find(|run| Some(&run.name) == source),
            variant: &self.variant(wanted),
            experiment: &wanted.experiment.name,
            seed: wanted.seed,
            taken: &self.plan.runs,
        });
        let index = self.plan.runs.len();
        self.plan.runs.push(Run {
            name,
            method: wanted.method.name().into(),
            tasks,
            seed: wanted.seed,
            source: wanted.source.clone(),
            needs,
            config: config.to_yaml()?,
        });
        self.known.insert(key, index);
        if self.composer.says(wanted, "checkpoints.after") {
            self.keeps.insert(index);
        }
        Ok(index)
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
        let config = self.composer.common(experiment)?;
        let mut available = |name: &String| -> Result<usize> {
            let task = self.composer.task(name);
            let rows = self.sizes.of(task, &config.data)?.train;
            let limit = config.training.max_train_rows.as_ref();
            let limit = limit.and_then(|limit| limit.of(&task.name));
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
                            self.composer.source,
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

    /// Keeps weights only where another run starts from them, unless the suite says otherwise.
    fn decide_what_stays(&mut self) -> Result<()> {
        let sources = self.plan.runs.iter().filter_map(|run| run.source.clone());
        let sources: BTreeSet<String> = sources.collect();
        for (index, run) in self.plan.runs.iter_mut().enumerate() {
            let mut config: Config = yaml::from_str(&run.config, &run.name)?;
            let said = self
                .keeps
                .contains(&index)
                .then_some(config.checkpoints.after);
            config.checkpoints.after = match (said, sources.contains(&run.name)) {
                (None | Some(After::Nothing), true) => After::Best,
                (None, false) => After::Nothing,
                (Some(said), _) => said,
            };
            run.config = config.to_yaml()?;
        }
        Ok(())
    }
}
