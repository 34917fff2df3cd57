//! Encoders with random weights, for benchmarks and baselines.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use tch::Device;

use super::bert::{self, Bert};
use super::save;
use crate::bail_input;
use crate::config::Engine;
use crate::data::Tokenizer;
use crate::error::io_error;
use crate::hub::encoder_dir::{TOKENIZER_FILES, WEIGHT_FILES};
use crate::telemetry::atomic;

/// Makes `folder`, an encoder in the shapes of the file `config` with the tokeniser of the encoder
/// in `vocabulary`, and random weights that `seed` fixes: N(0, initializer_range²), LayerNorms at
/// one, biases at zero. Returns the number of parameters.
///
/// # Errors
/// Input errors where `folder` exists, a file is missing, or the vocabulary is not the shapes'.
pub fn init(folder: &Path, config: &Path, vocabulary: &Path, seed: u64) -> Result<usize> {
    if folder.exists() {
        bail_input!(
            "{}: is there already; name another folder",
            folder.display()
        );
    }
    let parent = match folder.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(|e| io_error(parent, e))?;
    // As any other new folder: what the umask leaves of it.
    let making = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(parent)
        .map_err(|e| io_error(parent, e))?;
    let copy = |from: &Path, name: &str| {
        std::fs::copy(from, making.path().join(name)).map_err(|e| io_error(from, e))
    };
    copy(config, "config.json")?;
    for name in TOKENIZER_FILES {
        let from = vocabulary.join(name);
        if from.is_file() {
            copy(&from, name)?;
        }
    }
    let shape = bert::config::read(making.path())?;
    let tokenizer = Tokenizer::from_folder(vocabulary)?;
    tokenizer.check_table(shape.vocab_size)?;
    // The folder's name and config.json say nothing of the tokenizer.
    let settled = making.path().join("tokenizer_config.json");
    atomic::write_json(&settled, tokenizer.config())?;
    let encoder = Bert::random(shape, Engine::Reference, Device::Cpu, seed)?;
    let tensors = save::variables(&encoder.variables);
    let count = tensors.iter().map(|(_, tensor)| tensor.numel()).sum();
    let path = making.path().join(WEIGHT_FILES[0]);
    save::write(&path, &save::copies(tensors)?)?;
    std::fs::rename(making.keep(), folder)
        .with_context(|| format!("{}: cannot be made", folder.display()))?;
    Ok(count)
}
