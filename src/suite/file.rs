//! The suite file: a study as a person writes it.
//!
//! ```yaml
//! title: Two tasks, three ways
//! base: ../five-small.yaml            # a training config's path from here, or its keys
//! set: {training.epochs: 5}           # for every run
//! seeds: [1, 2, 3]
//! grid: {alignment.learning_rate: [1x, 20x]}   # every combination is trained
//! experiments:
//!   - {name: alone, strategy: single, tasks: [CoLA, RTE]}
//!   - {name: pairs, strategy: pair, method: [multitask, aligned], tasks: [CoLA, RTE]}
//!   - {name: stilts, strategy: stilts, sources: [CoLA], targets: [RTE]}
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use schemars::{json_schema, JsonSchema, Schema, SchemaGenerator};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_yaml::Value;

use super::plan::Strategy;
use crate::bail_input;
use crate::config::rules::{FOLDS, FOLDS_RULE};
use crate::config::{yaml, Config, Method};
use crate::error::read_text;

/// Dotted config keys and their values.
pub type Settings = BTreeMap<String, Value>;
/// Dotted config keys and the values that are tried.
pub type Grid = BTreeMap<String, Vec<Value>>;

/// A study.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuiteFile {
    /// What the report is headed by.
    #[serde(default)]
    pub title: String,
    /// What every run starts from; its `tasks` are an experiment's that names none.
    pub base: Base,
    /// Further config keys of every run, dotted: `training.epochs: 5`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub set: Settings,
    /// The seeds that each training is done with. By default the base's `training.seed` alone.
    pub seeds: Option<Vec<u64>>,
    /// Cross-validation in so many parts, in place of seeds: each training is done once with each part as
    /// test, seed 1 with the first.
    pub folds: Option<u64>,
    /// Config keys, dotted, and the values that are tried: every combination is trained.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<serde_json::Value>>")]
    pub grid: Grid,
    /// The blocks of the study.
    pub experiments: Vec<Experiment>,
}

/// A training config in the suite file or beside it.
#[derive(Debug, Clone)]
pub enum Base {
    Path(PathBuf),
    Keys(Box<Config>),
}

/// A block of a study's runs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// What the report calls it; no other has the same.
    pub name: String,
    /// How a run uses its data sets.
    pub strategy: Strategy,
    /// `multitask`, `aligned`, or a list; by default all that the strategy has.
    #[serde(default)]
    pub method: Methods,
    /// `single`: each; `all`: together; else every pair of them.
    pub tasks: Option<Vec<String>>,
    /// Instead of `tasks`: `[support, target]`, for `pair` in either order.
    pub pairs: Option<Vec<[String; 2]>>,
    /// Instead of `tasks`: each source helps each target.
    pub sources: Option<Vec<String>>,
    /// With `sources`: the tasks that are helped.
    pub targets: Option<Vec<String>>,
    /// Training rows relative to each other: a study of sizes.
    pub sizes: Option<Sizes>,
    /// Further config keys of these runs, dotted.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub set: Settings,
    /// Further keys of the source's run, for `stilts` and `transfer`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub source_set: Settings,
    /// As the suite's `grid`, for these runs alone.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<serde_json::Value>>")]
    pub grid: Grid,
    /// The seeds, by default the suite's.
    pub seeds: Option<Vec<u64>>,
}

/// Training rows relative to each other.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    /// Shares of the target's rows, from 0 to 1.
    pub target: Vec<f64>,
    /// Rows of the support, as multiples of the target's.
    #[serde(default)]
    pub support: Vec<f64>,
}

impl Sizes {
    /// How many sizes a relation is trained at.
    pub fn count(&self) -> usize {
        self.target.len().saturating_mul(self.support.len().max(1))
    }
}

/// One method or several.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Methods(pub Vec<Method>);

impl SuiteFile {
    /// Reads and checks a suite file.
    ///
    /// # Errors
    /// Input errors that name the line or the key.
    pub fn read(path: &Path) -> Result<SuiteFile> {
        let text = read_text(path)?;
        let source = path.display().to_string();
        let suite: SuiteFile = yaml::from_str(&text, &source)?;
        suite.check(&source)?;
        Ok(suite)
    }

    /// The config that every run starts from; `file` is where the suite was read from.
    pub fn base(&self, file: &Path) -> Result<Config> {
        match &self.base {
            Base::Keys(config) => Ok((**config).clone()),
            Base::Path(path) => {
                let folder = file.parent().unwrap_or(Path::new(""));
                Config::load(&folder.join(path), &[])
            }
        }
    }

    fn check(&self, source: &str) -> Result<()> {
        if self.experiments.is_empty() {
            bail_input!("{source}: key `experiments` must list at least one");
        }
        check_lists(source, &self.seeds, &self.grid)?;
        let mut blocks = self.experiments.iter();
        if self.folds.is_some()
            && (self.seeds.is_some() || blocks.any(|e| e.seeds.is_some() || e.sizes.is_some()))
        {
            bail_input!(
                "{source}: key `folds`: is in place of `seeds`, and does not go with `sizes`"
            );
        }
        if self.folds.is_some_and(|folds| !FOLDS.contains(&folds)) {
            bail_input!("{source}: key `folds` {FOLDS_RULE}");
        }
        check_keys(source, self.set.keys().chain(self.grid.keys()))?;
        for (index, experiment) in self.experiments.iter().enumerate() {
            let place = format!("{source}: experiment `{}`", experiment.name);
            let mut earlier = self.experiments[..index].iter();
            if experiment.name.trim().is_empty() {
                bail_input!("{source}: key `experiments[{index}].name` is empty");
            }
            if earlier.any(|other| other.name == experiment.name) {
                bail_input!("{place}: an earlier one has the same name");
            }
            experiment.check(&place)?;
            let mut own = experiment.grid.keys();
            if let Some(key) = own.find(|key| self.grid.contains_key(*key)) {
                bail_input!("{place}: the suite's grid varies `{key}` already");
            }
        }
        Ok(())
    }
}

impl Experiment {
    /// The methods that it is done with, each once.
    pub fn methods(&self) -> Vec<Method> {
        match (self.method.0.is_empty(), self.strategy) {
            (false, _) => self.method.0.clone(),
            (_, Strategy::Single | Strategy::Stilts) => vec![Method::Single],
            (_, Strategy::Pair | Strategy::All) => vec![Method::Multitask, Method::Aligned],
            (_, Strategy::Transfer) => vec![Method::Single, Method::Aligned],
        }
    }

    fn check(&self, place: &str) -> Result<()> {
        check_lists(place, &self.seeds, &self.grid)?;
        let keys = self.set.keys().chain(self.source_set.keys());
        check_keys(place, keys.chain(self.grid.keys()))?;
        let allowed: &[Method] = match self.strategy {
            Strategy::Single | Strategy::Stilts => &[Method::Single],
            Strategy::Pair | Strategy::All => &[Method::Multitask, Method::Aligned],
            Strategy::Transfer => &[Method::Single, Method::Aligned],
        };
        if let Some(method) = self.method.0.iter().find(|m| !allowed.contains(m)) {
            let names: Vec<&str> = allowed.iter().map(|m| m.name()).collect();
            bail_input!(
                "{place}: key `method`: `{}` does not go with this strategy; it has {}",
                method.name(),
                yaml::list(&names)
            );
        }
        let paired = self.pairs.is_some() || self.sources.is_some() || self.targets.is_some();
        if paired && matches!(self.strategy, Strategy::Single | Strategy::All) {
            bail_input!("{place}: this strategy takes `tasks`, not pairs, sources or targets");
        }
        if self.sources.is_some() != self.targets.is_some() {
            bail_input!("{place}: `sources` and `targets` go together");
        }
        let ways = [&self.tasks, &self.sources].into_iter().flatten();
        if ways.count() + usize::from(self.pairs.is_some()) > 1 {
            bail_input!("{place}: give `tasks`, or `pairs`, or `sources` and `targets`");
        }
        if !self.source_set.is_empty()
            && !matches!(self.strategy, Strategy::Stilts | Strategy::Transfer)
        {
            bail_input!("{place}: key `source_set`: only `stilts` and `transfer` have sources");
        }
        self.sizes
            .as_ref()
            .map_or(Ok(()), |sizes| sizes.check(place, self))
    }
}

impl Sizes {
    fn check(&self, place: &str, experiment: &Experiment) -> Result<()> {
        let share = |x: &f64| *x > 0.0 && *x <= 1.0;
        if self.target.is_empty() || !self.target.iter().all(share) {
            bail_input!("{place}: key `sizes.target` lists shares above 0, up to 1");
        }
        if !self.support.iter().all(|x| *x > 0.0 && x.is_finite()) {
            bail_input!("{place}: key `sizes.support` lists factors above 0");
        }
        let single = experiment.strategy == Strategy::Single;
        if experiment.strategy == Strategy::All || single != self.support.is_empty() {
            bail_input!(
                "{place}: key `sizes`: `single` has `target` alone, pairs have `support` too"
            );
        }
        let told = experiment.sources.is_some() || experiment.pairs.is_some();
        if experiment.strategy == Strategy::Pair && !told {
            bail_input!(
                "{place}: key `sizes`: say which is the target, by `sources` and `targets`"
            );
        }
        Ok(())
    }
}

fn check_lists(place: &str, seeds: &Option<Vec<u64>>, grid: &Grid) -> Result<()> {
    if let Some(seeds) = seeds {
        check_seeds(seeds, place)?;
    }
    for (key, values) in grid {
        if values.is_empty() {
            bail_input!("{place}: key `grid.{key}` has no values");
        }
        let mut rest = values.iter();
        while let Some(value) = rest.next() {
            if rest.clone().any(|other| other == value) {
                bail_input!("{place}: key `grid.{key}` has a value twice");
            }
        }
    }
    Ok(())
}

/// Seeds must be there, each once.
pub fn check_seeds(seeds: &[u64], place: &str) -> Result<()> {
    let mut sorted = seeds.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    if seeds.is_empty() || sorted.len() < seeds.len() {
        bail_input!("{place}: key `seeds` lists at least one seed, and each once");
    }
    Ok(())
}

/// Some keys have a place of their own in a suite.
pub fn check_keys<'a>(place: &str, keys: impl Iterator<Item = &'a String>) -> Result<()> {
    for key in keys {
        let instead = match key.as_str() {
            "tasks" => "`tasks` of the experiment",
            "method" => "`method` of the experiment",
            "training.seed" => "`seeds`",
            "folds" => "its own key `folds`",
            "out" => "`--out`",
            "start" | "start.run" => "the strategy, `stilts` or `transfer`,",
            _ => continue,
        };
        bail_input!("{place}: key `{key}`: in a suite, {instead} says this");
    }
    Ok(())
}

impl JsonSchema for Base {
    fn schema_name() -> Cow<'static, str> {
        "Base".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Its keys are those of a training config, which has a schema of its own.
        json_schema!({
            "anyOf": [
                {"type": "string", "title": "a training config's path from here"},
                {"type": "object", "title": "the keys of a training config"},
            ]
        })
    }
}

impl JsonSchema for Methods {
    fn schema_name() -> Cow<'static, str> {
        "Methods".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let method = generator.subschema_for::<Method>();
        json_schema!({"anyOf": [method.clone(), {"type": "array", "items": method}]})
    }
}

// By hand, so that an error in a base's key is that key's and not "matches no variant".
impl<'de> Deserialize<'de> for Base {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PathOrKeys;
        impl<'de> Visitor<'de> for PathOrKeys {
            type Value = Base;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a training config's path, or its keys")
            }

            fn visit_str<E: Error>(self, path: &str) -> Result<Base, E> {
                Ok(Base::Path(path.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Base, A::Error> {
                let config = Config::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Base::Keys(Box::new(config)))
            }
        }
        deserializer.deserialize_any(PathOrKeys)
    }
}

impl<'de> Deserialize<'de> for Methods {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Methods;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a method or a list of methods")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Methods, E> {
                Method::deserialize(name.into_deserializer()).map(|method| Methods(vec![method]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Methods, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Methods)
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}
