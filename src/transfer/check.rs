//! All that is wrong with a config, as far as can be told without training.

use anyhow::{Error, Result};

use super::{check_names, runs_of};
use crate::config::Config;
use crate::data::{read_split, Intake, Split};
use crate::hub::encoder_dir;
use crate::model::fit;
use crate::model::source::Source;
use crate::task::Task;
use crate::train::prepare::prepare;
use crate::train::run::batches;
use crate::train::start;
use crate::train::tasks;

/// What training would stop at before its first step: first each part by itself, so that all are
/// found, and where none is wrong everything that training prepares.
pub fn faults(config: &Config) -> Vec<Error> {
    let mut faults: Vec<Error> = Vec::new();
    let mut named: Vec<Task> = Vec::new();
    for task in &config.tasks {
        match Task::load_all(task) {
            Ok(task) => named.push(task),
            Err(errors) => faults.extend(errors),
        }
    }
    let intake = keep(&mut faults, encoder(config));
    for task in &named {
        keep(&mut faults, rows(config, task, intake.as_ref()));
    }
    keep(&mut faults, start::Source::open(config));
    if named.len() == config.tasks.len() {
        keep(&mut faults, check_names(config));
    }
    if faults.is_empty() {
        keep(&mut faults, whole(config));
    }
    faults
}

/// Notes an error, once.
fn keep<T>(faults: &mut Vec<Error>, result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let same = |known: &Error| known.to_string() == error.to_string();
            if !faults.iter().any(same) {
                faults.push(error);
            }
            None
        }
    }
}

/// The encoder's files; what takes its rows, where it fits.
fn encoder(config: &Config) -> Result<Intake> {
    let source = Source::of(&config.encoder)?;
    source.weights()?;
    let intake = source.intake()?;
    let max_length = config.training.max_length;
    fit::check(source.shape.limits(), &intake, max_length, &source.folder)?;
    Ok(intake)
}

/// A task's rows: as training reads them, or without an encoder as far as that goes.
fn rows(config: &Config, task: &Task, intake: Option<&Intake>) -> Result<()> {
    if let Some(intake) = intake {
        let home = encoder_dir::home();
        return tasks::load_data(vec![task.clone()], config, intake, &home).map(drop);
    }
    for split in [Split::Train, Split::Dev] {
        read_split(task, &config.data, split)?;
    }
    Ok(())
}

/// Everything that a run starts from.
fn whole(config: &Config) -> Result<()> {
    for run in runs_of(config)? {
        let prepared = prepare(&run, tasks::load_tasks(&run)?)?;
        batches(&run, &prepared.learner.data, &prepared.intake)?;
    }
    Ok(())
}
