//! What a config describes, brought into memory.

use std::sync::Arc;

use anyhow::Result;
use tch::{Kind, Tensor};

use super::ranks::Ranks;
use super::say::stages::Stages;
use super::step::learner::Learner;
use super::step::optimizer::Optimizer;
use super::step::precision::Arithmetic;
use super::step::recorded::RecordedSteps;
use super::tasks;
use crate::bail_input;
use crate::config::{Config, Method};
use crate::data::batch::Shape;
use crate::data::Intake;
use crate::hub::encoder_dir;
use crate::model::encoder::{Encoder, Setup};
use crate::model::source::Source;
use crate::model::weights::LoadReport;
use crate::model::{fit, MultiTaskModel, Sharing};
use crate::task::Task;
use crate::weighting::{self, Objectives, Weighting};

/// Everything that a run starts from.
pub struct Prepared {
    pub learner: Learner,
    pub intake: Intake,
    /// What the encoder's weights lacked and had too much.
    pub report: LoadReport,
    pub source: Source,
}

/// Loads the encoder and the tasks' rows, and makes what is fresh in a run.
///
/// # Errors
/// Input errors for what the config or the data get wrong.
pub fn prepare(config: &Config, tasks: Vec<Task>) -> Result<Prepared> {
    let source = Source::of(&config.encoder)?;
    let arithmetic = Arithmetic::new(config)?;
    let intake = source.intake()?;
    let (encoder, report) = source.load(setup(config, arithmetic))?;
    if let Some(layers) = config.training.reinit_layers {
        encoder.reinitialize(layers, config.training.seed)?;
    }
    let (frozen, layers) = (config.training.freeze.layers, encoder.layers());
    if frozen > layers {
        bail_input!("key `training.freeze.layers`: {frozen}, but the encoder has {layers} layers");
    }
    let max_length = config.training.max_length;
    fit::check(encoder.limits(), &intake, max_length, &source.folder)?;
    let data = tasks::load_data(tasks, config, &intake, &encoder_dir::home())?;
    for data in &data {
        for split in [&data.train, &data.dev] {
            fit::check_rows(encoder.limits(), split, &data.task.name)?;
        }
    }
    let tasks: Vec<&Task> = data.iter().map(|d| &d.task).collect();
    let (mut model, objectives, weighting) = model(config, encoder, &tasks)?;
    model.encoder.set_products(arithmetic.products())?;
    let training = &config.training;
    let records = training.cuda_graphs
        && training.accumulate == 1
        && !training.gradient_checkpointing
        && matches!(model.encoder.batch_shape(0), Shape::Filled { .. });
    let weights = data.iter().map(|data| {
        let weights = data.class_weights.as_ref();
        let on_device = |weights: &Vec<f64>| -> Result<Tensor> {
            let weights = Tensor::f_from_slice(weights)?.f_to_kind(Kind::Float)?;
            Ok(weights.f_to_device(arithmetic.device())?)
        };
        weights.map(on_device).transpose()
    });
    let learner = Learner {
        class_weights: weights.collect::<Result<_>>()?,
        objectives,
        weighting,
        optimizer: Optimizer::new(&model, config, arithmetic)?,
        config: arithmetic.settle(config.clone()),
        data: Arc::new(data),
        model,
        arithmetic,
        pad: intake.pad_id(),
        stages: Stages::unmeasured(),
        recorded: records.then(RecordedSteps::default),
        ranks: Arc::new(Ranks::alone()),
    };
    Ok(Prepared {
        learner,
        intake,
        report,
        source,
    })
}

/// How a config's encoder computes.
pub fn setup(config: &Config, arithmetic: Arithmetic) -> Setup {
    Setup {
        dropout: config.training.dropout,
        engine: arithmetic.engine(config.engine),
        device: arithmetic.device(),
        seed: config.training.seed,
    }
}

/// The encoder with a fresh head, and alignment where the method has one, for each task; and what
/// weighs their losses.
pub fn model(
    config: &Config,
    encoder: Box<dyn Encoder>,
    tasks: &[&Task],
) -> Result<(MultiTaskModel, Objectives, Box<dyn Weighting>)> {
    let sharing = Sharing {
        turned: config.turned.clone(),
        matrices: (config.method == Method::Aligned).then(|| config.alignment.matrices()),
        start: config.alignment.init,
    };
    let dropout = config.training.head_dropout;
    let dropout = dropout.unwrap_or(encoder.dropout());
    let scores = config.training.scores;
    let shapes = tasks.iter().map(|task| tasks::shape(task, scores));
    let shapes: Vec<_> = shapes.collect();
    let model = MultiTaskModel::new(encoder, &shapes, &sharing, dropout, config.training.seed)?;
    let objectives = Objectives::new(tasks.iter().copied());
    let weighting = weighting::build(&config.weighting, &objectives, tasks, &model.heads)?;
    Ok((model, objectives, weighting))
}
