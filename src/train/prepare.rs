//! What a config describes, brought into memory.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;

use super::say::stages::Stages;
use super::step::learner::Learner;
use super::step::optimizer::Optimizer;
use super::step::precision::Arithmetic;
use super::tasks;
use crate::config::{Config, Method};
use crate::data::tokenizer::Tokenizer;
use crate::hub::encoder_dir;
use crate::model::encoder::Encoder;
use crate::model::weights::LoadReport;
use crate::model::{fit, MultiTaskModel};
use crate::task::Task;

/// Everything that a run starts from.
pub struct Prepared {
    pub learner: Learner,
    pub tokenizer: Tokenizer,
    /// What the encoder's weights lacked and had too much.
    pub report: LoadReport,
    pub encoder_folder: PathBuf,
}

/// Loads the encoder and the tasks' rows, and makes what is fresh in a run.
///
/// # Errors
/// Input errors for what the config or the data get wrong.
pub fn prepare(config: &Config, tasks: Vec<Task>) -> Result<Prepared> {
    let encoder_folder = encoder_dir::resolve(&config.encoder)?;
    let arithmetic = Arithmetic::new(&config.training)?;
    let tokenizer = Tokenizer::from_folder(&encoder_folder)?;
    let (encoder, report) = Encoder::load(
        &encoder_folder,
        config.training.dropout,
        arithmetic.engine(config.engine),
        arithmetic.device(),
        config.training.seed,
    )?;
    if let Some(layers) = config.training.reinit_layers {
        encoder.reinitialize(layers, config.training.seed)?;
    }
    let max_length = config.training.max_length;
    fit::check(&encoder.config, &tokenizer, max_length, &encoder_folder)?;
    let data = tasks::load_data(tasks, config, &tokenizer, &encoder_dir::home())?;
    for data in &data {
        for split in [&data.train, &data.dev] {
            fit::check_rows(&encoder.config, split, &data.task.name)?;
        }
    }
    let mut model = model(config, encoder, data.iter().map(|d| &d.task))?;
    model.encoder.set_products(arithmetic.products())?;
    let learner = Learner {
        optimizer: Optimizer::new(&model, config, arithmetic)?,
        config: arithmetic.settle(config.clone()),
        data: Arc::new(data),
        model,
        arithmetic,
        pad: i64::from(tokenizer.pad_id()),
        stages: Stages::unmeasured(),
    };
    Ok(Prepared {
        learner,
        tokenizer,
        report,
        encoder_folder,
    })
}

/// The encoder with a fresh head, and alignment where the method has one, for each task.
pub fn model<'a>(
    config: &Config,
    encoder: Encoder,
    tasks: impl Iterator<Item = &'a Task>,
) -> Result<MultiTaskModel> {
    let alignment = (config.method == Method::Aligned)
        .then(|| (config.alignment.model_form(), config.alignment.init));
    let dropout = config.training.head_dropout;
    let dropout = dropout.unwrap_or(encoder.config.hidden_dropout_prob);
    let scores = config.training.scores;
    let shapes: Vec<_> = tasks.map(|task| tasks::shape(task, scores)).collect();
    MultiTaskModel::new(encoder, &shapes, alignment, dropout, config.training.seed)
}
