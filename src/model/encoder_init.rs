//! Encoders with random weights, for benchmarks and baselines.

use std::path::Path;

use anyhow::Result;
use tch::Device;

use super::bert::{self, Bert};
use super::save;
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
/// Input errors where `folder` holds something, a file is missing, or the vocabulary is not the shapes'.
pub fn init(folder: &Path, config: &Path, vocabulary: &Path, seed: u64) -> Result<usize> {
    atomic::new_folder(folder, |making| {
        let copy = |from: &Path, name: &str| {
            std::fs::copy(from, making.join(name)).map_err(|e| io_error(from, e))
        };
        copy(config, "config.json")?;
        for name in TOKENIZER_FILES {
            let from = vocabulary.join(name);
            if from.is_file() {
                copy(&from, name)?;
            }
        }
        let shape = bert::config::read(making)?;
        let tokenizer = Tokenizer::from_folder(vocabulary)?;
        tokenizer.check_table(shape.vocab_size)?;
        // The folder's name and config.json say nothing of the tokenizer.
        let settled = making.join("tokenizer_config.json");
        atomic::write_json(&settled, tokenizer.config())?;
        let encoder = Bert::random(shape, Engine::Reference, Device::Cpu, seed)?;
        let tensors = save::variables(&encoder.variables);
        let count = tensors.iter().map(|(_, tensor)| tensor.numel()).sum();
        let path = making.join(WEIGHT_FILES[0]);
        save::write(&path, &save::copies(tensors)?)?;
        Ok(count)
    })
}
