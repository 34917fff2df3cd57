//! Finds out what a run is made of: reads and hashes what its config names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use anyhow::{anyhow, Context, Result};
use rayon::prelude::*;
use serde_json::{json, Value};
use sha2::{Digest, Sha256};

use super::checkpoint;
use super::made_of::{
    Computed, Content, EncoderContent, FileContent, Machine, MadeOf, StartContent, TaskContent,
};
use super::run_folder::RunFolder;
use crate::config::Config;
use crate::data::sources::{sources, Source};
use crate::data::{read_split, Intake};
use crate::error::one_line;
use crate::hub::encoder_dir::TOKENIZER_FILES;
use crate::libtorch;
use crate::model::exported::Exported;
use crate::model::shape::EncoderShape;
use crate::model::source::Source as EncoderSource;
use crate::model::{save, weights};
use crate::task::layout::{Format, Ids, Layout};
use crate::task::{Classes, Labels, Split, Task};
use crate::train::step::learner::Learner;
use crate::train::step::precision::{device_kind, Arithmetic};
use crate::train::tasks;

/// Content that is being read beside other work: a large encoder's weights take seconds, a hundred
/// thousand images minutes.
pub struct Reading(JoinHandle<Result<Content>>);

impl Reading {
    /// Starts to read what `config` names.
    pub fn start(config: &Config, tasks: &[Task]) -> Reading {
        let (config, tasks) = (config.clone(), tasks.to_vec());
        // A tokenizer takes as long as all the rest of a small run's: who waits has it.
        let read = move || Content::with_tokenizer(&config, &tasks, String::new());
        Reading(std::thread::spawn(read))
    }

    /// Waits for its end; `intake` is what the run reads texts by.
    ///
    /// # Errors
    /// Input errors for files that are not there.
    pub fn finish(self, intake: &Intake) -> Result<Content> {
        let read = self.0.join();
        let read = read.map_err(|_| anyhow!("the thread that reads checksums has panicked"))?;
        let mut content = read?;
        content.encoder.tokenizer = intake.fingerprint().to_owned();
        Ok(content)
    }
}

impl MadeOf {
    /// Of `content`, as `learner` computes.
    pub fn new(content: Content, learner: &Learner) -> MadeOf {
        let (arithmetic, encoder) = (learner.arithmetic, &learner.model.encoder);
        MadeOf {
            content,
            arithmetic: Computed::new(arithmetic, encoder.engine_name()),
            machine: Machine::here(learner.ranks.size),
        }
    }
}

impl Computed {
    pub fn new(arithmetic: Arithmetic, engine: &str) -> Computed {
        Computed {
            precision: arithmetic.name().into(),
            engine: engine.into(),
            products: arithmetic.library().into(),
            device: device_kind(arithmetic.device()).into(),
        }
    }
}

impl Machine {
    /// This machine, where so many processes train.
    pub fn here(ranks: usize) -> Machine {
        Machine {
            threads: tch::get_num_threads(),
            ranks,
            cpu_capability: libtorch::cpu_capability(),
            libtorch: libtorch::version(),
            covalign: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

/// sha256 of the program that runs; none where it cannot be read.
pub fn program() -> Option<String> {
    // Also where another has been put in its place since.
    let own = Path::new("/proc/self/exe");
    let path = match own.exists() {
        true => own.to_owned(),
        false => std::env::current_exe().ok()?,
    };
    save::sha256(&path).ok()
}

impl Content {
    /// Reads what `config` names, `tasks` being its tasks.
    ///
    /// # Errors
    /// Input errors for files that are not there.
    pub fn read(config: &Config, tasks: &[Task]) -> Result<Content> {
        let intake = EncoderSource::of(&config.encoder)?.intake()?;
        Content::with_tokenizer(config, tasks, intake.fingerprint().to_owned())
    }

    fn with_tokenizer(config: &Config, tasks: &[Task], tokenizer: String) -> Result<Content> {
        let data = &config.data;
        let own = tasks
            .iter()
            .map(|task| Ok((task.name.clone(), TaskContent::trained(task, config)?)));
        let is_own = |name: &str| tasks.iter().any(|task| task.name == name);
        let others = tasks::deduplicated_with(config, is_own)?;
        let others = others.iter().map(|task| {
            let content = TaskContent::read(task, data, &[Split::Dev, Split::Test])?;
            Ok((task.name.clone(), content))
        });
        let start = config.start.as_ref();
        Ok(Content {
            tasks: own.collect::<Result<_>>()?,
            deduplicated_with: others.collect::<Result<_>>()?,
            encoder: EncoderContent::read(&EncoderSource::of(&config.encoder)?, tokenizer)?,
            start: start.and_then(|start| StartContent::read(&start.run).ok()),
        })
    }

    /// As [`Content::read`] of a run that `was` made of this. What cannot be read is taken to be as it
    /// was, and told of in a line each.
    pub fn read_again(was: &Content, config: &Config, tasks: &[Task]) -> (Content, Vec<String>) {
        let (mut content, mut missing) = (was.clone(), Vec::new());
        for task in tasks {
            match TaskContent::trained(task, config) {
                Ok(is) => drop(content.tasks.insert(task.name.clone(), is)),
                Err(e) => missing.push(format!("task {}: {}", task.name, one_line(&e))),
            }
        }
        let source = EncoderSource::of(&config.encoder);
        let read = |source: EncoderSource| {
            let tokenizer = source.intake()?.fingerprint().to_owned();
            EncoderContent::read(&source, tokenizer)
        };
        match source.and_then(read) {
            Ok(is) => content.encoder = is,
            Err(e) => missing.push(one_line(&e)),
        }
        if let Some(start) = &config.start {
            match StartContent::read(&start.run) {
                Ok(is) => content.start = Some(is),
                Err(e) => missing.push(one_line(&e)),
            }
        }
        (content, missing)
    }
}

impl TaskContent {
    /// What a run reads of a task of its own.
    fn trained(task: &Task, config: &Config) -> Result<TaskContent> {
        let mut splits = vec![Split::Train, Split::Dev];
        if config.deduplicate.is_on() {
            splits.push(Split::Test);
        }
        let mut content = TaskContent::read(task, &config.data, &splits)?;
        if task.has_images() {
            content.images = images(task, &config.data)?;
        }
        Ok(content)
    }

    fn read(task: &Task, data: &Path, splits: &[Split]) -> Result<TaskContent> {
        let labels = match &task.labels {
            Labels::Classes(Classes { names, said: None }) => json!(names),
            Labels::Classes(classes) => json!(classes),
            Labels::Range { min, max } => json!({"min": min, "max": max}),
            Labels::AnyOf(any) => json!(any),
        };
        let mut files = BTreeMap::new();
        for &split in splits.iter().filter(|&&split| task.has_split(split)) {
            let found = match sources(task, data, split) {
                // Nobody misses test files that are not there.
                Err(_) if split == Split::Test => continue,
                found => found?,
            };
            let read = found.iter().map(|source| FileContent::read(task, source));
            files.insert(split.name().to_owned(), read.collect::<Result<_>>()?);
        }
        Ok(TaskContent {
            definition: said(json!({
                "labels": labels,
                "metrics": task.metrics,
                "loss": task.loss,
                "inputs": task.inputs(),
                "cut": task.cut(),
            })),
            files,
            images: BTreeMap::new(),
        })
    }
}

/// What the images are that a run is trained on and chosen by.
fn images(task: &Task, data: &Path) -> Result<BTreeMap<String, String>> {
    let of_split = |split: Split| {
        let rows = read_split(task, data, split)?.examples;
        let each = rows.par_iter().map(|row| save::sha256(row.text_a.as_ref()));
        let each: Vec<String> = each.collect::<Result<_>>()?;
        let all = Sha256::digest(each.concat());
        Ok((split.name().to_owned(), format!("{all:x}")))
    };
    [Split::Train, Split::Dev]
        .map(of_split)
        .into_iter()
        .collect()
}

impl FileContent {
    fn read(task: &Task, source: &Source) -> Result<FileContent> {
        let file = source.file;
        let layout = task.layout_of(file);
        let format = layout.format.unwrap_or_default();
        let layout = Layout {
            format: Some(format),
            header: Some(layout.header.unwrap_or(format != Format::LabelText)),
            short_rows: Some(layout.short_rows.unwrap_or_default()),
            // A row's name moves nothing, nor does where its image lies.
            index: None,
            images: None,
            ..layout
        };
        let columns = |ids: &Option<Ids>| ids.as_ref().map(|ids| ids.columns.clone());
        let name = source.path.file_name().unwrap_or_default();
        let ids = source.ids.as_deref();
        Ok(FileContent {
            file: name.to_string_lossy().into_owned(),
            sha256: save::sha256(&source.path)?,
            read_as: said(json!({
                "layout": layout,
                "part": file.part,
                "labelled": file.labelled,
                "keep_ids": columns(&file.keep_ids),
                "drop_ids": columns(&file.drop_ids),
            })),
            ids_sha256: ids.map(save::sha256).transpose()?,
        })
    }
}

/// A tree without its nulls: a key that nobody has given says what a missing one does.
fn said(mut tree: Value) -> Value {
    if let Value::Object(keys) = &mut tree {
        keys.retain(|_, value| !value.is_null());
        keys.values_mut()
            .for_each(|value| *value = said(value.take()));
    }
    tree
}

impl EncoderContent {
    fn read(source: &EncoderSource, tokenizer: String) -> Result<EncoderContent> {
        let folder = &source.folder;
        let mut config = said(source.shape.to_value()?);
        if let Some(config) = config.as_object_mut() {
            // What other programs call a head's outputs, and ask to be given, moves no weight.
            config.retain(|key, _| !key.contains("label") && !key.starts_with("output_"));
        }
        let there = TOKENIZER_FILES.iter().map(|name| (name, folder.join(name)));
        let there = there.filter(|(_, path)| path.is_file());
        let file = |(name, path): (&&str, PathBuf)| Ok((name.to_string(), save::sha256(&path)?));
        Ok(EncoderContent {
            weights: match source.weights()? {
                Some(file) => save::sha256(&file)?,
                None => "none".into(),
            },
            config,
            tokenizer,
            tokenizer_files: match source.shape {
                EncoderShape::Images(_) => BTreeMap::new(),
                _ => there.map(file).collect::<Result<_>>()?,
            },
        })
    }
}

impl StartContent {
    /// As the run's last save of its best weights says; they are checked where they are loaded. Of an
    /// exported folder its one file's.
    fn read(run: &Path) -> Result<StartContent> {
        if Exported::read(run)?.is_some() {
            let sum = save::sha256(&weights::find(run)?)?;
            return Ok(StartContent {
                encoder: sum.clone(),
                heads: sum,
            });
        }
        let mut sums = checkpoint::checksums(&RunFolder::new(run).best())?;
        let mut of = |name: &str| sums.remove(name).context("an older checkpoint");
        Ok(StartContent {
            encoder: of("encoder.safetensors")?,
            heads: of("heads.safetensors")?,
        })
    }
}
