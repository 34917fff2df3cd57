//! A trained task as others read it: a folder that transformers loads, and a graph in ONNX.
//!
//! A folder holds `config.json`, `model.safetensors`, the tokenizer's files and a model card,
//! `README.md`; beside an alignment that no plain BERT can hold `modeling_covalign.py`; and
//! `model.onnx`, which needs none of these but the tokenizer.

pub mod card;
pub mod classifier;
pub mod config;
pub mod onnx;

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use self::classifier::{Aligned, Classifier};
use crate::data::Intake;
use crate::error::io_error;
use crate::hub::encoder_dir::{TOKENIZER_FILES, WEIGHT_FILES};
use crate::model::exported::Exported;
use crate::model::save;
use crate::model::source::Source;
use crate::task::Task;
use crate::telemetry::atomic;

/// The file of the graph.
pub const GRAPH: &str = "model.onnx";

/// What a folder is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    pub transformers: bool,
    pub onnx: bool,
}

/// Fills the empty `folder` with what is asked for; rows are of at most `max_length` tokens.
pub fn write(
    folder: &Path,
    classifier: &Classifier,
    task: &Task,
    (source, intake): (&Source, &Intake),
    max_length: usize,
    origin: &Exported,
    parts: Parts,
) -> Result<()> {
    let config = config::config(classifier, task, intake.pad_id(), origin)?;
    atomic::write_json(&folder.join("config.json"), &config)?;
    if let Intake::Texts(tokenizer) = intake {
        for name in TOKENIZER_FILES {
            let (from, to) = (source.folder.join(name), folder.join(name));
            if from.is_file() {
                std::fs::copy(&from, &to).map_err(|e| io_error(&from, e))?;
            }
        }
        let mut settled = tokenizer.config().clone();
        settled.insert("model_max_length".into(), Value::from(max_length));
        atomic::write_json(&folder.join("tokenizer_config.json"), &settled)?;
    }
    if parts.transformers {
        let tensors = classifier.tensors.iter();
        let tensors = tensors.map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        let path = folder.join(WEIGHT_FILES[0]);
        save::write(&path, &save::copies(tensors.collect())?)?;
        if classifier.aligned == Aligned::Apart {
            let (name, text) = config::MODULE;
            atomic::write(&folder.join(name), text.as_bytes())?;
        }
    }
    if parts.onnx {
        onnx::write(classifier, &folder.join(GRAPH), onnx::MOST_INLINE)?;
    }
    Ok(())
}
