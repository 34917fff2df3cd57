//! What made a run's score on a task: the one definition of "the same setting", for every part that
//! compares runs.
//!
//! Two scores may be set against each other where everything that changes a score is equal. Where
//! data lay, how many threads computed, what was saved, changes none and is no part of it; neither is
//! what a method does not use. Files are told by their checksums (`made_of.json`); a run of a version
//! that kept none has `unknown` in their place, and compares with others of its kind by its config.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use serde_json::{json, Value};
use sha2::{Digest, Sha256};

use super::made_of::MadeOf;
use super::run_folder::{Results, RunFolder};
use super::way::Way;
use crate::config::training::{Freeze, RateSchedule};
use crate::config::values::Interval;
use crate::config::{
    yaml, Alignment, AlignmentForm, BatchKind, Checkpoints, Config, Evaluation, Method, Sampling,
    Schedule, StartFrom, Strategy, Training, Weighting,
};
use crate::error::read_text;
use crate::task::Task;

/// Stands for what a run does not tell.
pub const UNKNOWN: &str = "unknown";

/// Values by config key, or by a name of that kind for what no key says.
pub type Keys = BTreeMap<String, String>;

/// What made a run's score on a target, but for the seed.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// What every way to train the target has.
    pub common: Keys,
    /// What only some ways have: alignments, sampling over tasks, the supports, the source.
    pub own: Keys,
}

impl Setting {
    /// Whether a score of one and a score of the other differ only by what the ways are.
    pub fn comparable(&self, other: &Setting) -> bool {
        self.common == other.common && agree(&self.own, &other.own)
    }

    /// All keys.
    pub fn keys(&self) -> Keys {
        let both = self.common.iter().chain(&self.own);
        both.map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

/// Whether what both have is equal.
pub fn agree(a: &Keys, b: &Keys) -> bool {
    a.iter()
        .all(|(key, value)| b.get(key).is_none_or(|other| other == value))
}

/// A run folder as far as it says what made its scores.
#[derive(Debug)]
pub struct RunFacts {
    folder: PathBuf,
    pub config: Config,
    /// Of a run that has ended.
    pub results: Option<Results>,
    /// The run that it started from, where that is still there.
    source: Option<Box<RunFacts>>,
}

impl RunFacts {
    /// Reads a run's config, and the run that it started from.
    ///
    /// # Errors
    /// Input errors for a config that cannot be read.
    pub fn read(folder: &Path, results: Option<Results>) -> Result<RunFacts> {
        let path = RunFolder::new(folder).config();
        let text = read_text(&path)?;
        let config: Config = yaml::from_str(&text, &path.display().to_string())?;
        let tasks = results.as_ref().and_then(|results| results.start.as_ref());
        let tasks = tasks.map(|start| start.tasks.as_slice());
        let source = config.start.as_ref();
        let source = source.and_then(|start| source_run(folder, &start.run, tasks));
        Ok(RunFacts {
            folder: folder.to_owned(),
            config,
            results,
            source: source.map(Box::new),
        })
    }

    /// The folder of the run that it started from, where that is still there.
    pub fn source_folder(&self) -> Option<&Path> {
        self.source.as_ref().map(|source| source.folder.as_path())
    }

    /// How it trained a target, and with which tasks' help; `None` where that is no way of [`Way`].
    pub fn way(&self, target: &str) -> Option<(Way, Vec<String>)> {
        let started = self.results.as_ref().and_then(|r| r.start.as_ref());
        let source = match (started, &self.source, &self.config.start) {
            (Some(started), _, _) => Some(started.tasks.clone()),
            (None, Some(source), _) => Some(source.config.tasks.clone()),
            // The folder is gone: its name is all there is.
            (None, None, Some(start)) => Some(vec![name_of(&start.run)]),
            (None, None, None) => None,
        };
        let tasks = &self.config.tasks;
        Way::of(self.config.method, tasks, source.as_deref(), target)
    }

    /// What made its score on `target`, a task of the run.
    pub fn setting(&self, target: &str) -> Setting {
        // `single` over several tasks is a run for each, in a folder of its own.
        if self.config.method == Method::Single && self.config.tasks.len() > 1 {
            let folder = self.folder.join(target);
            let results = RunFolder::new(&folder).finished();
            if let Ok(alone) = RunFacts::read(&folder, results) {
                return alone.setting(target);
            }
        }
        let Config {
            method,
            tasks,
            start,
            deduplicate,
            folds,
            label_noise: _,
            turned,
            alignment,
            sampling,
            weighting,
            training,
            evaluation,
            // What follows is known better by what it came to, or changes no score.
            encoder: _,
            engine: _,
            data: _,
            checkpoints: Checkpoints { .. },
            out: _,
        } = &self.config;
        let record = self.made_of();
        let mut setting = Setting::default();
        let common = &mut setting.common;
        let record = record.as_ref();
        self.add_arithmetic(record, common);
        self.add_training(training, common);
        let Evaluation {
            every,
            patience,
            batch_size: _,
            test: _,
        } = evaluation;
        common.insert("evaluation.every".into(), self.schedule(*every));
        common.insert("evaluation.patience".into(), text(patience));
        // Which rows it takes away is told by how many are left.
        common.insert("deduplicate".into(), deduplicate.is_on().to_string());
        if folds.is_some() {
            common.insert("folds".into(), text(folds));
        }
        if *weighting != Weighting::default() {
            common.insert("weighting".into(), text(weighting));
        }
        let window = text(&sampling.length_window);
        common.insert("sampling.length_window".into(), window);

        let jointly = *method != Method::Single && tasks.len() > 1;
        for task in tasks.iter().filter(|task| jointly || *task == target) {
            let keys = match task == target {
                true => &mut setting.common,
                false => &mut setting.own,
            };
            keys.insert(format!("data.{task}"), content(record, task));
            keys.insert(format!("training_rows.{task}"), self.rows(task));
            let noise = self
                .config
                .label_noise_of(task)
                .filter(|(_, share)| *share > 0.0);
            let noise: BTreeMap<&str, f64> = noise.collect();
            // One share, as older versions wrote it, unless single labels have theirs.
            match noise.keys().all(|name| name == task) {
                true => keys.insert(
                    format!("label_noise.{task}"),
                    text(&noise.get(task.as_str())),
                ),
                false => keys.insert(format!("label_noise.{task}"), text(&noise)),
            };
            let turned = turned.get(task).filter(|degrees| **degrees > 0.0);
            keys.insert(format!("turned.{task}"), text(&turned));
        }
        // It is nothing to a run without a task of scores.
        let scores = text(&training.scores);
        let learns_scores = |task: &str| self.learns_scores(task).unwrap_or(true);
        if learns_scores(target) {
            setting.common.insert("training.scores".into(), scores);
        } else if jointly && tasks.iter().any(|task| learns_scores(task)) {
            setting.own.insert("training.scores".into(), scores);
        }
        if jointly {
            add_sampling(sampling, &mut setting.own);
        }
        if *method == Method::Aligned {
            add_alignment(alignment, &mut setting.own);
        }
        if let Some(start) = start {
            self.add_start(start, &mut setting.own);
        }
        setting
    }

    fn add_arithmetic(&self, record: Option<&MadeOf>, keys: &mut Keys) {
        let results = self.results.as_ref();
        let mut put = |key: &str, known: Option<&str>| {
            // `cuda:1` is as good as `cuda:0`, and `auto` is not known.
            let known = known.filter(|known| *known != "auto");
            let known = known.map_or(UNKNOWN, |known| known.split(':').next().unwrap_or(known));
            keys.insert(key.into(), known.to_owned());
        };
        let computed = record.map(|record| &record.arithmetic);
        let precision = text(&self.config.training.precision);
        let precision = computed
            .map(|c| &c.precision)
            .or(results.map(|r| &r.precision))
            .unwrap_or(&precision);
        put("training.precision", Some(precision));
        let device = computed
            .map(|c| &c.device)
            .or(results.map(|r| &r.device))
            .unwrap_or(&self.config.training.device);
        put("training.device", Some(device));
        let engine = text(&self.config.engine);
        put("engine", Some(computed.map_or(&engine, |c| &c.engine)));

        let encoder = record.map(|record| &record.content.encoder);
        let weights = encoder
            .map(|encoder| &encoder.weights)
            .or(results.map(|r| &r.encoder.sha256));
        put("encoder", weights.map(String::as_str));
        let read_as = encoder.map(|encoder| digest(&json!([encoder.config, encoder.tokenizer])));
        put("encoder.read_as", read_as.as_deref());
    }

    fn add_training(&self, training: &Training, keys: &mut Keys) {
        let Training {
            epochs,
            max_steps,
            steps_with,
            batch_size,
            batch_tokens,
            accumulate,
            learning_rate,
            head_learning_rate,
            layer_decay,
            reinit_layers,
            freeze,
            warmup,
            schedule,
            label_smoothing,
            class_weights,
            weight_decay,
            adam_beta1,
            adam_beta2,
            adam_eps,
            clip_norm,
            max_length,
            dropout,
            head_dropout,
            // Told by what they came to.
            max_train_rows: _,
            scores: _,
            precision: _,
            device: _,
            // They change what rounding changes, as threads do.
            products: _,
            // The same numbers by another way.
            gradient_checkpointing: _,
            cuda_graphs: _,
            deterministic: _,
            threads: _,
            seed: _,
        } = training;
        if !steps_with.is_empty() {
            keys.insert("training.steps_with".into(), text(steps_with));
        }
        // Keys that runs made before there were any lack.
        if *freeze != Freeze::default() {
            let embeddings = text(&freeze.embeddings);
            keys.insert("training.freeze.embeddings".into(), embeddings);
            keys.insert("training.freeze.layers".into(), text(&freeze.layers));
        }
        if *schedule != RateSchedule::default() {
            keys.insert("training.schedule".into(), text(schedule));
        }
        if *label_smoothing != 0.0 {
            keys.insert("training.label_smoothing".into(), text(label_smoothing));
        }
        if let Some(class_weights) = class_weights {
            keys.insert("training.class_weights".into(), text(class_weights));
        }
        let batch_size = batch_tokens.map_or(Some(batch_size), |_| None);
        for (name, value) in [
            ("epochs", text(epochs)),
            ("max_steps", text(max_steps)),
            ("batch_size", text(&batch_size)),
            ("batch_tokens", text(batch_tokens)),
            ("accumulate", text(accumulate)),
            ("learning_rate", text(learning_rate)),
            ("head_learning_rate", text(head_learning_rate)),
            ("layer_decay", text(layer_decay)),
            ("reinit_layers", text(reinit_layers)),
            ("warmup", text(warmup)),
            ("weight_decay", text(weight_decay)),
            ("adam_beta1", text(adam_beta1)),
            ("adam_beta2", text(adam_beta2)),
            ("adam_eps", text(adam_eps)),
            ("clip_norm", text(clip_norm)),
            ("max_length", text(max_length)),
            ("dropout", text(dropout)),
            ("head_dropout", text(head_dropout)),
        ] {
            keys.insert(format!("training.{name}"), value);
        }
    }

    /// How often the run was evaluated. Intervals of steps, and of epochs where the steps are
    /// limited, give a long run more evaluations to be best at than a short one: with them their
    /// number counts.
    fn schedule(&self, every: Interval) -> String {
        let training = &self.config.training;
        if matches!(every, Interval::Epochs(_)) && training.max_steps.is_none() {
            return every.to_string();
        }
        let ended = self.results.as_ref();
        let Some(results) = ended.filter(|results| results.epochs > 0.0) else {
            return UNKNOWN.into();
        };
        let per_epoch = results.steps as f64 / results.epochs;
        let total = (training.epochs * per_epoch).round() as u64;
        let total = training.max_steps.map_or(total, |most| most.min(total));
        let evaluations = total.div_ceil(every.steps(per_epoch));
        format!("{every} ({evaluations} in all)")
    }

    /// How many rows of a task it trained on, as far as is known.
    fn rows(&self, task: &str) -> String {
        let limit = self.config.training.max_train_rows.as_ref();
        let limit = limit.and_then(|limit| limit.of(task));
        match (&self.results, limit) {
            (Some(results), limit) => match (results.training_rows.get(task), limit) {
                (Some(rows), _) => rows.to_string(),
                (None, Some(limit)) => limit.to_string(),
                (None, None) => "all".into(),
            },
            (None, Some(limit)) => limit.to_string(),
            (None, None) => UNKNOWN.into(),
        }
    }

    /// Whether a task's labels are numbers; `None` where the run has not kept its file.
    fn learns_scores(&self, task: &str) -> Option<bool> {
        let file = RunFolder::new(&self.folder).task(task);
        let task = Task::load(&file.to_string_lossy()).ok()?;
        Some(task.is_regression())
    }

    /// What the source was trained with, beside what this run has in common with it.
    fn add_start(&self, start: &StartFrom, keys: &mut Keys) {
        let StartFrom { run: _, heads } = start;
        keys.insert("start.heads".into(), text(heads));
        let Some(source) = &self.source else {
            keys.insert("start.run".into(), UNKNOWN.into());
            return;
        };
        keys.insert("start.method".into(), source.config.method.name().into());
        for target in &source.config.tasks {
            for (key, value) in source.setting(target).keys() {
                let of_task = ["data.", "training_rows.", "label_noise.", "turned."];
                let of_task = of_task.iter().any(|opening| key.starts_with(opening));
                let key = match of_task {
                    true => key,
                    false => format!("start.{key}"),
                };
                keys.insert(key, value);
            }
        }
    }

    /// What the run noted before its first step; `None` of an older version.
    fn made_of(&self) -> Option<MadeOf> {
        let noted = RunFolder::new(&self.folder).begun().ok().flatten();
        noted.or_else(|| self.results.as_ref()?.made_of.clone())
    }
}

/// How tasks take turns.
fn add_sampling(sampling: &Sampling, keys: &mut Keys) {
    let Sampling {
        strategy,
        batches,
        temperature,
        // What single runs came to: another number for every seed.
        reference: _,
        // Told for every run.
        length_window: _,
    } = sampling;
    keys.insert("sampling.strategy".into(), text(strategy));
    keys.insert("sampling.batches".into(), text::<BatchKind>(batches));
    let temperature = (*strategy == Strategy::Temperature).then_some(temperature);
    keys.insert("sampling.temperature".into(), text(&temperature));
}

fn add_alignment(alignment: &Alignment, keys: &mut Keys) {
    let Alignment {
        form,
        rank,
        init,
        learning_rate,
        decay_to_identity,
        schedule,
        alternate_every,
        encoder_share,
        warmup_steps,
    } = alignment;
    let general = matches!(form, AlignmentForm::General | AlignmentForm::Shared);
    let rank = general.then_some(rank);
    let every = (*schedule == Schedule::Alternating).then_some(alternate_every);
    let share = (*schedule == Schedule::FixedEncoder).then_some(encoder_share);
    for (name, value) in [
        ("form", text(form)),
        ("rank", text(&rank)),
        ("init", text(init)),
        ("learning_rate", text(learning_rate)),
        ("decay_to_identity", text(decay_to_identity)),
        ("schedule", text(schedule)),
        ("alternate_every", text(&every)),
        ("encoder_share", text(&share)),
        ("warmup_steps", text(warmup_steps)),
    ] {
        keys.insert(format!("alignment.{name}"), value);
    }
}

/// Reads the run that another started from. A config names it as it was seen from where the run was
/// trained, which is a folder above the run's, and not where covalign is called now.
fn source_run(folder: &Path, start: &Path, tasks: Option<&[String]>) -> Option<RunFacts> {
    let own = folder.canonicalize().ok()?;
    let above = own.ancestors().skip(1);
    let beside = own.parent().map(|parent| parent.join(name_of(start)));
    let places = above.map(|above| above.join(start)).chain(beside);
    places.into_iter().find_map(|place| {
        let other = place.canonicalize().is_ok_and(|place| place != own);
        if !other {
            return None;
        }
        let source = RunFacts::read(&place, RunFolder::new(&place).finished()).ok()?;
        let same = tasks.is_none_or(|tasks| tasks == source.config.tasks);
        same.then_some(source)
    })
}

/// The checksum of a task's definition and of the files that it was trained and scored on.
fn content(record: Option<&MadeOf>, task: &str) -> String {
    let Some(task) = record.and_then(|record| record.content.tasks.get(task)) else {
        return UNKNOWN.into();
    };
    let files = |split: &str| -> Value {
        let files = task.files.get(split).into_iter().flatten();
        let each = files.map(|file| json!([file.sha256, file.read_as, file.ids_sha256]));
        each.collect()
    };
    let mut definition = task.definition.clone();
    if let Some(fold) = definition
        .pointer_mut("/cut/fold")
        .and_then(Value::as_object_mut)
    {
        // The seed's.
        fold.remove("number");
    }
    let rows = [definition, files("train"), files("dev")];
    match task.images.is_empty() {
        true => digest(&json!(rows)),
        false => digest(&json!([rows, task.images])),
    }
}

fn digest(value: &Value) -> String {
    format!("{:x}", Sha256::digest(value.to_string()))
}

/// A value as a config writes it; `none` for none.
fn text<T: Serialize>(value: &T) -> String {
    match serde_yaml::to_value(value) {
        Ok(serde_yaml::Value::Null) | Err(_) => "none".into(),
        Ok(serde_yaml::Value::String(text)) => text,
        Ok(other) => serde_yaml::to_string(&other)
            .unwrap_or_default()
            .trim()
            .to_owned(),
    }
}

/// A value for people: of a checksum the first digits.
pub fn short(value: &str) -> &str {
    let checksum = value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit());
    if checksum {
        &value[..8]
    } else {
        value
    }
}

fn name_of(path: &Path) -> String {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| path.display().to_string())
}
