//! What a config describes, brought into memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::say::stages::Stages;
use super::step::learner::Learner;
use super::step::optimizer::Optimizer;
use super::step::precision::Arithmetic;
use super::tasks;
use crate::bail_input;
use crate::config::{Config, Method};
use crate::data::tokenizer::Tokenizer;
use crate::hub::encoder_dir;
use crate::model::encoder::Encoder;
use crate::model::weights::{self, LoadReport};
use crate::model::MultiTaskModel;
use crate::task::Task;

/// Everything that a run starts from.
pub struct Prepared {
    pub learner: Learner,
    /// What the encoder's weights lacked and had too much.
    pub report: LoadReport,
    pub encoder_folder: PathBuf,
    pub weight_file: PathBuf,
}

/// Loads the encoder and the tasks' rows, and makes what is fresh in a run.
///
/// # Errors
/// Input errors for what the config or the data get wrong.
pub fn prepare(config: &Config, tasks: Vec<Task>) -> Result<Prepared> {
    let encoder_folder = encoder_dir::resolve(&config.encoder)?;
    let weight_file = weights::find(&encoder_folder)?;
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
    check_fit(config, &encoder, &tokenizer, &encoder_folder)?;
    let data = tasks::load_data(tasks, config, &tokenizer, &encoder_dir::home())?;
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
        report,
        encoder_folder,
        weight_file,
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

/// Whether tokens, positions and segments have their embeddings.
pub fn check_fit(
    config: &Config,
    encoder: &Encoder,
    tokenizer: &Tokenizer,
    at: &Path,
) -> Result<()> {
    let at = at.display();
    let shape = &encoder.config;
    if tokenizer.vocab_size() as i64 > shape.vocab_size {
        bail_input!(
            "{at}: the vocabulary has {} entries, the weights have embeddings for {}; they belong \
             to different encoders",
            tokenizer.vocab_size(),
            shape.vocab_size
        );
    }
    if config.training.max_length as i64 > shape.max_position_embeddings {
        bail_input!(
            "key `training.max_length`: {} is more than the {} positions of {at}",
            config.training.max_length,
            shape.max_position_embeddings
        );
    }
    if shape.type_vocab_size < 2 {
        bail_input!("{at}: type_vocab_size is below 2, pairs of texts cannot be told apart");
    }
    Ok(())
}
