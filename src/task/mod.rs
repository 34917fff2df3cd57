//! What a task is: inputs, labels, metrics, loss, files.
//!
//! A task is one YAML file (see `configs/tasks`); adding one takes no Rust.

pub mod confusion;
pub mod cut;
pub mod label;
pub mod layout;
pub mod metric;
pub mod name;
mod rules;
pub mod split;
pub mod submission;

use std::path::Path;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::yaml;
use crate::error::read_text;
use crate::{bail_input, input_error};
use cut::{Cut, Fold};
use layout::{File, Files, Format, Layout};
use metric::Metric;

pub use label::{AnyOf, Classes, Label, Labels};
pub use split::Split;

/// What training minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Of one label among several.
    CrossEntropy,
    /// Of a number.
    MeanSquaredError,
    /// Of each label by itself, and their mean.
    BinaryCrossEntropy,
}

impl Loss {
    /// The loss for labels of a kind.
    fn of(labels: &Labels) -> Loss {
        match labels {
            Labels::Classes(_) => Loss::CrossEntropy,
            Labels::Range { .. } => Loss::MeanSquaredError,
            Labels::AnyOf(_) => Loss::BinaryCrossEntropy,
        }
    }
}

/// A task, as its YAML file says.
#[derive(Debug, Clone)]
pub struct Task {
    pub name: String,
    /// The question in a line.
    pub title: String,
    /// The sub-folder of the data folder where its files lie; they may also lie in the data folder.
    pub folder: String,
    pub labels: Labels,
    pub metrics: Vec<Metric>,
    pub loss: Loss,
    /// The task whose head it is evaluated with, as AX with MNLI's.
    pub head_of: Option<String>,
    files: Files,
    layout: Layout,
    cut: Option<Cut>,
    source: String,
}

/// A task's YAML file: what is asked, how it is judged, and where its rows are.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskFile {
    /// What the task is called in configs, results and TensorBoard; by default as its file. Letters,
    /// digits, spaces, `-`, `_` and `+`.
    name: Option<String>,
    /// The question in a line, for people.
    #[serde(default)]
    title: String,
    /// The sub-folder of `data` where its files lie, by default its name; they may also lie in
    /// `data` itself.
    folder: Option<String>,
    /// What is predicted: a list of labels as the files name them, a range of numbers, or labels of
    /// which any may hold.
    labels: Labels,
    /// How predictions are judged; the score is their mean.
    metrics: Vec<Metric>,
    /// What training minimises; the labels' kind decides by default, and allows no other.
    loss: Option<Loss>,
    /// The task whose head it is evaluated with, as AX with MNLI's.
    head_of: Option<String>,
    /// How its files are written; a file's own `layout` wins, key by key.
    #[serde(default)]
    layout: Layout,
    /// Where its rows are.
    files: Files,
    /// How dev, and test, are cut out of the training file where they have no file of their own.
    split: Option<Cut>,
}

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// The tasks that the binary knows, and their YAML.
        const BUILT_IN: &[(&str, &str)] = &[$((
            $name,
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/configs/tasks/", $name, ".yaml")),
        )),*];
    };
}

built_in!(
    "CoLA",
    "SST-2",
    "MRPC",
    "STS-B",
    "QQP",
    "MNLI",
    "QNLI",
    "RTE",
    "WNLI",
    "AX",
    "MR",
    "CR",
    "SUBJ",
    "MPQA",
    "SST",
    "TREC",
    "ChestX-ray14",
    "DemoSentiment",
    "DemoParaphrase",
    "DemoSimilarity",
);

impl Task {
    /// The names of the tasks that the binary knows.
    pub fn built_in_names() -> Vec<&'static str> {
        BUILT_IN.iter().map(|(name, _)| *name).collect()
    }

    /// The YAML text of the built-in task of that name.
    pub fn built_in(name: &str) -> Option<&'static str> {
        let mut known = BUILT_IN.iter();
        known
            .find(|(known, _)| *known == name)
            .map(|(_, text)| *text)
    }

    /// A task by name or by its YAML file. A name means `configs/tasks/NAME.yaml` under the current
    /// folder where that exists, else the built-in task.
    pub fn load(name_or_path: &str) -> Result<Task> {
        let (text, source) = Task::find(name_or_path)?;
        Task::from_yaml(&text, &source)
    }

    /// As [`Task::load`], with all that is wrong instead of the first.
    ///
    /// # Errors
    /// Input errors, at least one.
    pub fn load_all(name_or_path: &str) -> Result<Task, Vec<anyhow::Error>> {
        let (text, source) = Task::find(name_or_path).map_err(|e| vec![e])?;
        yaml::from_str_all::<TaskFile>(&text, &source)?;
        Task::from_yaml(&text, &source).map_err(|e| vec![e])
    }

    /// The text of [`Task::load`]'s file, and what it is called.
    fn find(name_or_path: &str) -> Result<(String, String)> {
        let read = |path: &Path| Ok((read_text(path)?, path.display().to_string()));
        let path = Path::new(name_or_path);
        let is_yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
        if is_yaml || path.is_file() {
            return read(path);
        }
        let beside = Path::new("configs/tasks").join(format!("{name_or_path}.yaml"));
        if beside.is_file() {
            return read(&beside);
        }
        match Task::built_in(name_or_path) {
            Some(text) => Ok((text.to_owned(), format!("{name_or_path}.yaml"))),
            None => bail_input!(
                "unknown task `{name_or_path}`; {} (or give a task's YAML file)",
                yaml::suggest(name_or_path, &Task::built_in_names())
            ),
        }
    }

    /// A task from its YAML text; `source` names it in errors, and names the task where the text
    /// does not.
    pub fn from_yaml(text: &str, source: &str) -> Result<Task> {
        let file: TaskFile = yaml::from_str(text, source)?;
        let stem = || {
            Path::new(source)
                .file_stem()
                .map(|s| s.to_string_lossy().into_owned())
        };
        let name = file
            .name
            .or_else(stem)
            .ok_or_else(|| input_error!("{source}: key `name` is missing"))?;
        name::check(&name, source)?;
        let loss = file.loss.unwrap_or(Loss::of(&file.labels));
        let task = Task {
            folder: file.folder.unwrap_or_else(|| name.clone()),
            name,
            title: file.title,
            labels: file.labels,
            metrics: file.metrics,
            loss,
            head_of: file.head_of,
            files: file.files,
            layout: file.layout,
            cut: file.split,
            source: text.to_string(),
        };
        task.validate(source)?;
        Ok(task)
    }

    /// The YAML text that the task was read from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The head's width: the number of classes or labels, or 1 for a real number.
    pub fn outputs(&self) -> i64 {
        match &self.labels {
            Labels::Classes(classes) => classes.names.len() as i64,
            Labels::Range { .. } => 1,
            Labels::AnyOf(any) => any.names.len() as i64,
        }
    }

    /// What its loss is the mean of, each with a weight of its own: the labels of which any may
    /// hold, else the task itself.
    pub fn objectives(&self) -> Vec<String> {
        match &self.labels {
            Labels::AnyOf(any) => {
                let named = |label| format!("{}/{label}", self.name);
                any.names.iter().map(named).collect()
            }
            _ => vec![self.name.clone()],
        }
    }

    pub fn is_regression(&self) -> bool {
        matches!(self.labels, Labels::Range { .. })
    }

    /// Whether its YAML says where `split` comes from.
    pub fn has_split(&self, split: Split) -> bool {
        self.files_of(split).is_some() || self.cut.as_ref().is_some_and(|cut| cut.makes(split))
    }

    /// Whether its rows are images.
    pub fn has_images(&self) -> bool {
        let mut files = Split::ALL
            .iter()
            .flat_map(|&split| self.files_of(split).unwrap_or_default());
        files.any(|file| self.layout_of(file).image.is_some())
    }

    /// Texts in an example: 1 or 2; of an image 1.
    pub fn inputs(&self) -> usize {
        let file = Split::ALL.iter().find_map(|&s| self.files_of(s)?.first());
        file.map_or(1, |file| self.layout_of(file).input_columns().len())
    }

    /// The files of a split that has some of its own.
    pub fn files_of(&self, split: Split) -> Option<&[File]> {
        let files = match split {
            Split::Train => &self.files.train,
            Split::Dev => &self.files.dev,
            Split::Test => &self.files.test,
        };
        files.as_ref().map(|files| files.0.as_slice())
    }

    /// How the rows of one of its files are written.
    pub fn layout_of(&self, file: &File) -> Layout {
        let mut layout = file.layout.within(&self.layout);
        if file.layout.format.is_none() && file.path.ends_with(".parquet") {
            layout.format = Some(Format::Parquet);
        }
        layout
    }

    /// How the task's files are written: those of the test, dev and training split, each with the
    /// ones that are read in its place.
    pub fn layouts(&self) -> Vec<(Split, Layout)> {
        let mut all = Vec::new();
        for split in [Split::Test, Split::Dev, Split::Train] {
            let mut files: Vec<&File> = self.files_of(split).unwrap_or_default().iter().collect();
            while let Some(file) = files.pop() {
                all.push((split, self.layout_of(file)));
                files.extend(file.otherwise.as_deref());
            }
        }
        all
    }

    /// How dev is cut out of the training file, where it is.
    pub fn cut(&self) -> Option<&Cut> {
        self.cut.as_ref()
    }

    /// Whether a cross-validation can cut it: its rows have no official splits.
    pub fn folds(&self) -> bool {
        self.cut.is_some() && self.files.test.is_none()
    }

    /// Has its splits be those of a fold, where it folds.
    pub fn take_fold(&mut self, fold: Option<Fold>) {
        if let Some(cut) = self.cut.as_mut().filter(|_| self.files.test.is_none()) {
            cut.fold = fold;
        }
    }
}
