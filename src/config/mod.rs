//! YAML to structs, defaults, overrides, errors that name the key.
//!
//! A training config has few keys, each with a default worth using; see `configs/`.

pub mod alignment;
pub mod encoder;
pub mod images;
pub mod rules;
pub mod sampling;
mod score;
pub mod start;
pub mod training;
pub mod values;
pub mod weighting;
pub mod words;
pub mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use crate::error::read_text;
use crate::{bail_input, input_error};
pub use alignment::{Alignment, AlignmentForm, Schedule};
pub use encoder::EncoderChoice;
pub use images::ImageModule;
pub use sampling::{BatchKind, Sampling, Strategy};
pub use start::{Heads, StartFrom};
pub use training::{Precision, ScoreScale, Training};
pub use values::task_of;
use values::{Deduplicate, Interval};
pub use weighting::Weighting;

/// How tasks share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Every task fine-tunes an encoder of its own (STL).
    Single,
    /// One encoder for all tasks (MTL).
    Multitask,
    /// One encoder for all tasks, behind one alignment matrix per task.
    #[default]
    Aligned,
}

impl Method {
    /// The name in a config.
    pub fn name(self) -> &'static str {
        match self {
            Method::Single => "single",
            Method::Multitask => "multitask",
            Method::Aligned => "aligned",
        }
    }
}

/// Whose forward pass computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Ours, made for training: packed rows and fused operations on a CPU, else `padded`.
    #[default]
    Fast,
    /// Padded rows in libtorch's operations.
    Padded,
    /// rust-bert's own.
    Reference,
}

/// The whole training config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The module that all tasks share: a BERT's name or folder, or the keys of a module over
    /// words or images.
    pub encoder: EncoderChoice,
    /// Folder with one sub-folder per task; a relative path starts where covalign is called.
    pub data: PathBuf,
    /// Names of built-in tasks, or paths of task files.
    #[schemars(length(min = 1))]
    pub tasks: Vec<String>,
    /// How the tasks share.
    pub method: Method,
    /// The run to start from; by default the pretrained encoder with fresh heads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<StartFrom>,
    /// Leave out training rows whose text is in another task's dev or test split: another of the
    /// run's, or also one of the tasks in a list.
    pub deduplicate: Deduplicate,
    /// Cross-validation: the rows of tasks that have no splits of their own, which their file cuts out
    /// by `split:`, are cut into so many equal parts. The seed chooses: part `seed` modulo this number
    /// is test, the next one dev, the others train.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folds: Option<u64>,
    /// Tasks of whose training rows such a share gets a label by chance; dev and test stay. Of labels
    /// of which any may hold, `TASK/LABEL` names one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub label_noise: BTreeMap<String, f64>,
    /// Tasks whose embeddings are turned by so many degrees, by a fixed rotation that the seed draws:
    /// misalignment made on purpose.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub turned: BTreeMap<String, f64>,
    /// The matrices of `method: aligned`.
    pub alignment: Alignment,
    /// How an epoch is shared out among tasks, and what a batch is made of.
    pub sampling: Sampling,
    /// How the losses of tasks, and of labels of which any may hold, are weighed.
    pub weighting: Weighting,
    /// Length, batches, optimiser, arithmetic.
    pub training: Training,
    /// When and how dev rows are scored.
    pub evaluation: Evaluation,
    /// Which weights are saved when, and which stay.
    pub checkpoints: Checkpoints,
    /// Whose forward pass computes; all give the same numbers up to rounding.
    pub engine: Engine,
    /// The run folder; by default a fresh one in `runs/`, named after the config's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            encoder: "bert-large-uncased".into(),
            data: "data/glue".into(),
            tasks: Vec::new(),
            method: Method::default(),
            start: None,
            deduplicate: Deduplicate::Switch(false),
            folds: None,
            label_noise: BTreeMap::new(),
            turned: BTreeMap::new(),
            alignment: Alignment::default(),
            sampling: Sampling::default(),
            weighting: Weighting::default(),
            training: Training::default(),
            evaluation: Evaluation::default(),
            checkpoints: Checkpoints::default(),
            engine: Engine::default(),
            out: None,
        }
    }
}

/// When and how dev rows are scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluation {
    /// How often: `1 epoch`, `0.1 epochs`, `500 steps`.
    pub every: Interval,
    /// Stop after this many evaluations without a better mean score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// Rows in a forward pass at most; changes speed and memory, no score.
    pub batch_size: usize,
    /// Score a task's test rows too whenever it is best on dev: dev chooses, test judges.
    pub test: bool,
}

impl Default for Evaluation {
    fn default() -> Self {
        Evaluation {
            every: Interval::Epochs(1.0),
            patience: None,
            batch_size: 64,
            test: false,
        }
    }
}

/// Which weights stay in the run folder once the run has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// The last checkpoints and the best weights.
    #[default]
    All,
    /// The best weights alone.
    Best,
    /// None: the scores are what the run was for.
    Nothing,
}

impl After {
    /// The name in a config.
    pub fn name(self) -> &'static str {
        match self {
            After::All => "all",
            After::Best => "best",
            After::Nothing => "nothing",
        }
    }
}

/// Which weights are saved when, and which stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Checkpoints {
    /// How often to save what `--resume` needs.
    pub every: Interval,
    /// How many of them to keep.
    pub keep: usize,
    /// Keep the weights of each task's best evaluation too, not only of the best mean.
    pub best_per_task: bool,
    /// What stays once the run has ended.
    pub after: After,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Checkpoints {
            every: Interval::Epochs(1.0),
            keep: 2,
            best_per_task: true,
            after: After::All,
        }
    }
}

impl Config {
    /// Reads a config file and applies `--set key.path=value` overrides.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Config> {
        let text = read_text(path)?;
        Config::parse(&text, &path.display().to_string(), overrides)
    }

    /// As [`Config::load`] for a text that is already there; `source` names it in errors.
    pub fn parse(text: &str, source: &str, overrides: &[String]) -> Result<Config> {
        let config: Config = with_overrides(text, source, overrides)?;
        config.validate(source)?;
        Ok(config)
    }

    /// As [`Config::parse`], with all that is wrong instead of the first.
    ///
    /// # Errors
    /// Input errors, at least one.
    pub fn parse_all(
        text: &str,
        source: &str,
        overrides: &[String],
    ) -> Result<Config, Vec<anyhow::Error>> {
        yaml::from_str_all::<Config>(text, source)?;
        let config: Config = with_overrides(text, source, overrides).map_err(|e| vec![e])?;
        let faults = config.faults(source);
        match faults.is_empty() {
            true => Ok(config),
            false => Err(faults),
        }
    }

    /// As [`Config::parse`] for a tree of keys and values.
    pub fn from_value(value: Value, source: &str) -> Result<Config> {
        let config: Config = yaml::from_value(value, source)?;
        config.validate(source)?;
        Ok(config)
    }

    /// Every task that is read for a run: its own, those whose steps it takes, those whose scored rows it
    /// leaves out.
    pub fn read_tasks(&self) -> impl Iterator<Item = &String> {
        let others = self.training.steps_with.iter();
        self.tasks
            .iter()
            .chain(others)
            .chain(self.deduplicate.named())
    }

    /// What [`Config::label_noise`] says of a task: names, `TASK` or `TASK/LABEL`, and shares.
    pub fn label_noise_of<'a>(&'a self, task: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let own = self.label_noise.iter();
        own.filter(move |(name, _)| task_of(name) == task)
            .map(|(name, share)| (name.as_str(), *share))
    }

    /// The config with every key, as a run folder keeps it.
    pub fn to_yaml(&self) -> Result<String> {
        Ok(serde_yaml::to_string(self)?)
    }
}

/// Reads `text`, which `source` names in errors, as `T`, with `--set key.path=value` overrides.
pub fn with_overrides<T: DeserializeOwned>(
    text: &str,
    source: &str,
    overrides: &[String],
) -> Result<T> {
    // First as it stands, so that its errors name their lines.
    let mut read: T = yaml::from_str(text, source)?;
    if !overrides.is_empty() {
        let mut value = serde_yaml::from_str(text)
            .map_err(|e| input_error!("{source}: not readable as YAML: {e}"))?;
        if value == Value::Null {
            value = Value::Mapping(Default::default());
        }
        for item in overrides {
            read = apply_override(&mut value, item)?;
        }
    }
    Ok(read)
}

/// Sets one `key.path=value` in `root` and reads the config again, so that an error is this
/// override's.
fn apply_override<T: DeserializeOwned>(root: &mut Value, item: &str) -> Result<T> {
    let shown = match item.char_indices().nth(200) {
        Some((end, _)) => format!("--set {}…", &item[..end]),
        None => format!("--set {item}"),
    };
    let Some((path, text)) = item.split_once('=').filter(|(path, _)| !path.is_empty()) else {
        bail_input!("{shown}: write it as key.path=value");
    };
    yaml::check_bounds(text, &shown)?;
    let new: Value =
        serde_yaml::from_str(text).map_err(|e| input_error!("{shown}: not a YAML value: {e}"))?;
    assign(root, path.trim(), new, &shown)?;
    yaml::from_value(root.clone(), &shown)
}

/// Puts `new` at the dotted `path` in `root`; keys and values join those of a tree that is there.
/// `shown` opens the message of an error.
pub fn assign(root: &mut Value, path: &str, new: Value, shown: &str) -> Result<()> {
    let mut place = root;
    for key in path.split('.') {
        if place.is_null() {
            *place = Value::Mapping(Default::default());
        }
        let Value::Mapping(map) = place else {
            bail_input!("{shown}: `{key}` lies under a key that holds no keys");
        };
        place = map.entry(Value::from(key)).or_insert(Value::Null);
    }
    merge(place, new);
    Ok(())
}

fn merge(place: &mut Value, new: Value) {
    match (place, new) {
        (Value::Mapping(old), Value::Mapping(new)) => {
            for (key, value) in new {
                merge(old.entry(key).or_insert(Value::Null), value);
            }
        }
        (place, new) => *place = new,
    }
}
