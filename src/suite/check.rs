//! What a study's runs need: encoders and the files of their tasks.

use std::collections::BTreeSet;

use anyhow::{Error, Result};

use super::plan::Plan;
use crate::config::{yaml, Config};
use crate::data::sources::sources;
use crate::input_error;
use crate::model::source;
use crate::task::{Split, Task};

/// What is missing, each once.
///
/// # Errors
/// A run's config that cannot be read.
pub fn missing(plan: &Plan) -> Result<Vec<Error>> {
    let (mut encoders, mut tasks) = (Vec::new(), BTreeSet::new());
    for run in &plan.runs {
        let config: Config = yaml::from_str(&run.config, &run.name)?;
        if !encoders.contains(&config.encoder) {
            encoders.push(config.encoder);
        }
        let names = config.tasks.into_iter();
        tasks.extend(names.map(|name| (config.data.clone(), name)));
    }
    let encoders = encoders
        .iter()
        .map(|encoder| source::folder(encoder).map(drop));
    let mut missing: Vec<Error> = encoders.filter_map(Result::err).collect();
    for (data, name) in tasks {
        let task = Task::load(&name)?;
        for split in [Split::Train, Split::Dev] {
            if !task.has_split(split) {
                let what = "it can be predicted, not trained";
                missing.push(input_error!("task `{name}` has no {split} rows; {what}"));
            } else if let Err(error) = sources(&task, &data, split) {
                missing.push(error);
            }
        }
    }
    Ok(missing)
}
