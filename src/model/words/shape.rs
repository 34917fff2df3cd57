//! A module over words with the sizes of its table: the `config.json` of such an encoder's folder.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::config::words::{ModuleKind, WordModule};
use crate::error::read_text;
use crate::input_error;
use crate::model::encoder::Limits;

/// `model_type` in a `config.json`.
pub const MODEL_TYPE: &str = "covalign-words";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WordShape {
    pub model_type: String,
    /// Rows of the word table.
    pub vocab_size: i64,
    /// Width of the embeddings.
    pub hidden_size: i64,
    pub module: WordModule,
}

impl WordShape {
    pub fn new(module: WordModule, vocab_size: i64, hidden_size: i64) -> WordShape {
        WordShape {
            model_type: MODEL_TYPE.into(),
            vocab_size,
            hidden_size,
            module,
        }
    }

    /// Reads an encoder's folder.
    pub fn read(folder: &Path) -> Result<WordShape> {
        let path = folder.join("config.json");
        let text = read_text(&path)?;
        serde_json::from_str(&text).map_err(|e| input_error!("{}: {e}", path.display()))
    }

    /// Width of a row's vector.
    pub fn output_width(&self) -> i64 {
        let WordModule {
            width,
            bidirectional,
            windows,
            ..
        } = &self.module;
        match self.module.kind {
            ModuleKind::Lstm => width * (1 + i64::from(*bidirectional)),
            ModuleKind::Cnn => width * windows.len() as i64,
            ModuleKind::Mlp => *width,
        }
    }

    pub fn limits(&self) -> Limits {
        Limits {
            words: self.vocab_size,
            positions: None,
            segments: None,
        }
    }

    /// Of training on one row of so many tokens: 2 operations per weight and token forward, 4 back.
    pub fn training_flops(&self, tokens: f64) -> f64 {
        let (module, input) = (&self.module, self.hidden_size as f64);
        let (width, layers) = (module.width as f64, module.layers as f64);
        6.0 * match module.kind {
            ModuleKind::Lstm => {
                let ways = 1.0 + f64::from(u8::from(module.bidirectional));
                let above = (layers - 1.0) * (ways * width + width);
                tokens * ways * 4.0 * width * (input + width + above)
            }
            ModuleKind::Cnn => tokens * width * input * module.windows.iter().sum::<i64>() as f64,
            ModuleKind::Mlp => width * (input + (layers - 1.0) * width),
        }
    }
}
