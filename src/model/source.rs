//! Where an encoder comes from: what a config names, or what a run has saved.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;

use super::bert::Bert;
use super::encoder::{Encoder, Setup, WORDS};
use super::images::shape::ImageShape;
use super::images::ImageEncoder;
use super::save;
use super::shape::EncoderShape;
use super::weights::{self, LoadReport};
use super::words::shape::WordShape;
use super::words::WordEncoder;
use crate::config::{EncoderChoice, Engine};
use crate::data::{Intake, Tokenizer};
use crate::error::{io_error, read_text};
use crate::hub::{encoder_dir, word_vectors};
use crate::telemetry::atomic;
use crate::{bail_input, input_error};

/// The frozen word table in the encoder's folder of a run; what is trained is in its checkpoints.
const TABLE: &str = "embeddings.safetensors";

/// An encoder whose files are there.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its tokenizer's folder; a BERT's weights are there too. Of images that of the weights.
    pub folder: PathBuf,
    pub shape: EncoderShape,
}

impl Source {
    /// What a config's `encoder:` means.
    ///
    /// # Errors
    /// Input errors where it is not there, or its sizes cannot be read.
    pub fn of(choice: &EncoderChoice) -> Result<Source> {
        let folder = folder(choice)?;
        let shape = match choice {
            EncoderChoice::Pretrained(_) => EncoderShape::read(&folder)?,
            EncoderChoice::Words(module) => {
                let (words, width) = table_size(&folder)?;
                let width = module.embedding_width.unwrap_or(width);
                EncoderShape::Words(WordShape::new(module.clone(), words, width))
            }
            EncoderChoice::Images(module) => EncoderShape::Images(ImageShape::new(module.clone())),
        };
        Ok(Source { folder, shape })
    }

    /// The file of its weights, or of its words' vectors; none where images have a random start.
    pub fn weights(&self) -> Result<Option<PathBuf>> {
        match &self.shape {
            EncoderShape::Images(shape) => Ok(shape.module.file().map(Path::to_owned)),
            _ => weights::find(&self.folder).map(Some),
        }
    }

    /// What makes rows into what it takes.
    pub fn intake(&self) -> Result<Intake> {
        Ok(match &self.shape {
            EncoderShape::Images(_) => Intake::Images,
            _ => Intake::Texts(Box::new(Tokenizer::from_folder(&self.folder)?)),
        })
    }

    /// The encoder as a run begins with it.
    pub fn load(&self, setup: Setup) -> Result<(Box<dyn Encoder>, LoadReport)> {
        let Setup {
            dropout,
            engine,
            device,
            seed,
        } = setup;
        match &self.shape {
            EncoderShape::Bert(_) => {
                let (bert, report) = Bert::load(&self.folder, dropout, engine, device, seed)?;
                Ok((Box::new(bert), report))
            }
            EncoderShape::Words(shape) => {
                let encoder = WordEncoder::new(shape.clone(), setup)?;
                if shape.module.embedding_width.is_none() {
                    let path = weights::find(&self.folder)?;
                    encoder.fill_table(&weights::read_one(&path, WORDS)?, &path)?;
                }
                Ok((Box::new(encoder), LoadReport::default()))
            }
            EncoderShape::Images(shape) => {
                let encoder = ImageEncoder::new(shape.clone(), setup)?;
                let report = match shape.module.file() {
                    Some(path) => encoder.fill(path)?,
                    None => LoadReport::default(),
                };
                Ok((Box::new(encoder), report))
            }
        }
    }

    /// An encoder of this shape with a run's frozen table where it has one; all else comes from a
    /// checkpoint. `self` is [`Source::saved`].
    pub fn blank(&self, setup: Setup) -> Result<Box<dyn Encoder>> {
        match &self.shape {
            EncoderShape::Bert(config) => {
                // It is made to predict, which draws nothing.
                let Setup { engine, device, .. } = setup;
                Ok(Box::new(Bert::unfilled(config.clone(), engine, device)?))
            }
            EncoderShape::Words(shape) => {
                let encoder = WordEncoder::new(shape.clone(), setup)?;
                if !shape.module.train_embeddings {
                    let path = self.folder.join(TABLE);
                    encoder.fill_table(&weights::read_one(&path, WORDS)?, &path)?;
                }
                Ok(Box::new(encoder))
            }
            EncoderShape::Images(shape) => Ok(Box::new(ImageEncoder::new(shape.clone(), setup)?)),
        }
    }

    /// The encoder of a run, from the folder that [`Source::save`] has filled.
    pub fn saved(folder: &Path) -> Result<Source> {
        Ok(Source {
            folder: folder.to_owned(),
            shape: EncoderShape::read(folder)?,
        })
    }

    /// Puts into `folder` what, with the tokenizer's files and a checkpoint, is the encoder: its sizes
    /// and, with `words`, the word table that checkpoints have not.
    pub fn save(&self, encoder: &dyn Encoder, folder: &Path, words: bool) -> Result<()> {
        let to = folder.join("config.json");
        match &self.shape {
            EncoderShape::Bert(_) => {
                let from = self.folder.join("config.json");
                std::fs::copy(&from, &to).map_err(|e| io_error(&to, e))?;
            }
            EncoderShape::Words(shape) => {
                atomic::write_json(&to, shape)?;
                if let Some(table) = encoder.frozen_words().filter(|_| words) {
                    let tensors = vec![(WORDS.to_owned(), table.shallow_clone())];
                    save::write(&folder.join(TABLE), &save::copies(tensors)?)?;
                }
            }
            EncoderShape::Images(shape) => atomic::write_json(&to, shape)?,
        }
        Ok(())
    }
}

/// The folder with the tokenizer of a config's encoder, of images that of its weights.
///
/// # Errors
/// Input errors where it is not there, or its words' vectors cannot be read.
pub fn folder(choice: &EncoderChoice) -> Result<PathBuf> {
    if let EncoderChoice::Images(module) = choice {
        let Some(file) = module.file() else {
            return Ok(PathBuf::new());
        };
        if !file.is_file() {
            bail_input!(
                "key `encoder.weights`: {}: no such file; name one of torchvision's DenseNet-121, or \
                 `none` for a random start",
                file.display()
            );
        }
        return Ok(file.parent().map(Path::to_owned).unwrap_or_default());
    }
    let file = Path::new(choice.source());
    match choice.words().is_some() && file.is_file() {
        true => word_vectors::folder(file, &encoder_dir::home()),
        false => encoder_dir::resolve(choice.source()),
    }
}

/// Rows and width of the word table of an encoder, as its `config.json` says.
fn table_size(folder: &Path) -> Result<(i64, i64)> {
    let path = folder.join("config.json");
    let text = read_text(&path)?;
    let config: Value =
        serde_json::from_str(&text).map_err(|e| input_error!("{}: {e}", path.display()))?;
    let size = |key: &str| {
        let size = config[key]
            .as_i64()
            .filter(|size| (1..=1 << 24).contains(size));
        size.ok_or_else(|| input_error!("{}: key `{key}` is no size", path.display()))
    };
    Ok((size("vocab_size")?, size("hidden_size")?))
}

/// Whether the engine that a config comes to takes rows without padding.
pub fn packs(choice: &EncoderChoice, engine: Engine) -> bool {
    !matches!(choice, EncoderChoice::Pretrained(_)) || engine == Engine::Fast
}
