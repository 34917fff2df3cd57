//! What a run folder begins with.

use anyhow::Result;

use super::made_of::MadeOf;
use super::run_folder::{CutSplit, RunFolder};
use crate::bail_input;
use crate::config::{After, Config};
use crate::data::Intake;
use crate::error::io_error;
use crate::hub::encoder_dir::TOKENIZER_FILES;
use crate::model::encoder::Encoder;
use crate::model::source::Source;
use crate::telemetry::atomic;
use crate::train::tasks::TaskData;

/// A resumed run goes on with the tokens that it was begun with.
pub fn check_intake(folder: &RunFolder, intake: &Intake) -> Result<()> {
    let begun = Source::saved(&folder.encoder())?.intake()?;
    if begun.fingerprint() != intake.fingerprint() {
        bail_input!(
            "{}: the run was begun with another tokenizer ({}) than its encoder has now ({}); start \
             a new run with another --out",
            folder.encoder().display(),
            begun.description(),
            intake.description()
        );
    }
    Ok(())
}

/// Begins a run folder: all that a run needs to be understood and used later.
pub fn lay_out(
    folder: &RunFolder,
    config: &Config,
    data: &[TaskData],
    (source, encoder): (&Source, &dyn Encoder),
    made_of: &MadeOf,
    intake: &Intake,
) -> Result<()> {
    RunFolder::create(folder.root())?;
    RunFolder::create(&folder.checkpoints())?;
    RunFolder::create(&folder.encoder())?;
    // With them a run folder predicts on its own.
    // Where no weights will stay there is nothing that could predict.
    let keeps = config.checkpoints.after != After::Nothing;
    source.save(encoder, &folder.encoder(), keeps)?;
    if let Intake::Texts(tokenizer) = intake {
        for name in TOKENIZER_FILES {
            let from = source.folder.join(name);
            if from.is_file() {
                let to = folder.encoder().join(name);
                std::fs::copy(&from, &to).map_err(|e| io_error(&to, e))?;
            }
        }
        // The copies have another name and place: nothing of the tokenizer may be left to those.
        let settled = folder.encoder().join("tokenizer_config.json");
        atomic::write_json(&settled, tokenizer.config())?;
    }
    check_intake(folder, intake)?;
    atomic::sync_folder(&folder.encoder())?;
    for data in data {
        let path = folder.task(&data.task.name);
        if let Some(parent) = path.parent() {
            RunFolder::create(parent)?;
        }
        atomic::write(&path, data.task.source().as_bytes())?;
        if let Some(cut) = data.task.cut() {
            let split = CutSplit::new(cut, &data.train, &data.dev, data.test.as_ref())?;
            atomic::write_json(&folder.split(&data.task.name), &split)?;
        }
    }
    atomic::write_json(&folder.made_of(), made_of)?;
    // With it the run has begun.
    atomic::write(&folder.config(), config.to_yaml()?.as_bytes())
}
