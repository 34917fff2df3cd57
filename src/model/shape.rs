//! The sizes of an encoder, whichever kind it is.

use std::path::Path;

use anyhow::Result;
use rust_bert::bert::BertConfig;
use serde_json::{json, Value};

use super::bert;
use super::encoder::Limits;
use super::images::shape::{self as images, ImageShape};
use super::words::shape::{WordShape, MODEL_TYPE};
use crate::error::read_text;

/// An encoder's kind and sizes.
#[derive(Debug, Clone)]
pub enum EncoderShape {
    Bert(BertConfig),
    Words(WordShape),
    Images(ImageShape),
}

impl EncoderShape {
    /// Reads `config.json` in an encoder's folder.
    pub fn read(folder: &Path) -> Result<EncoderShape> {
        let text = read_text(&folder.join("config.json"))?;
        // What is no JSON is told by the reader of BERT's.
        let config: Value = serde_json::from_str(&text).unwrap_or_default();
        Ok(match config["model_type"].as_str() {
            Some(MODEL_TYPE) => EncoderShape::Words(WordShape::read(folder)?),
            Some(images::MODEL_TYPE) => EncoderShape::Images(ImageShape::read(folder)?),
            _ => EncoderShape::Bert(bert::config::read(folder)?),
        })
    }

    /// What it has embeddings for; none where it takes images.
    pub fn limits(&self) -> Option<Limits> {
        match self {
            EncoderShape::Bert(config) => Some(bert::limits(config)),
            EncoderShape::Words(shape) => Some(shape.limits()),
            EncoderShape::Images(_) => None,
        }
    }

    /// Floating point operations of training on one row of so many tokens, or on so many images.
    pub fn training_flops(&self, tokens: f64) -> f64 {
        match self {
            EncoderShape::Bert(config) => bert::training_flops(config, tokens),
            EncoderShape::Words(shape) => shape.training_flops(tokens),
            EncoderShape::Images(shape) => shape.training_flops(tokens),
        }
    }

    /// All that decides, with the weights, what it puts out.
    pub fn to_value(&self) -> Result<Value> {
        Ok(match self {
            EncoderShape::Bert(config) => serde_json::to_value(config)?,
            EncoderShape::Words(shape) => {
                let mut value = serde_json::to_value(shape)?;
                // Vectors are known by their content.
                if let Some(module) = value["module"].as_object_mut() {
                    module.remove("embeddings");
                }
                value
            }
            EncoderShape::Images(shape) => {
                let mut value = serde_json::to_value(shape)?;
                // Weights are known by their content.
                if let Some(module) = value["module"].as_object_mut() {
                    module.remove("weights");
                }
                value
            }
        })
    }

    /// The sizes that weights must fit, by their names in `config.json`.
    pub fn sizes(&self) -> Vec<(&'static str, Value)> {
        match self {
            EncoderShape::Bert(config) => [
                ("hidden_size", config.hidden_size),
                ("num_hidden_layers", config.num_hidden_layers),
                ("num_attention_heads", config.num_attention_heads),
                ("intermediate_size", config.intermediate_size),
                ("max_position_embeddings", config.max_position_embeddings),
                ("type_vocab_size", config.type_vocab_size),
                ("vocab_size", config.vocab_size),
            ]
            .map(|(key, size)| (key, json!(size)))
            .to_vec(),
            EncoderShape::Words(shape) => {
                let module = &shape.module;
                vec![
                    ("kind", json!(module.kind)),
                    ("width", json!(module.width)),
                    ("layers", json!(module.layers)),
                    ("bidirectional", json!(module.bidirectional)),
                    ("pool", json!(module.pool)),
                    ("windows", json!(module.windows)),
                    ("train_embeddings", json!(module.train_embeddings)),
                    ("hidden_size", json!(shape.hidden_size)),
                    ("vocab_size", json!(shape.vocab_size)),
                ]
            }
            EncoderShape::Images(shape) => vec![("kind", json!(shape.module.kind))],
        }
    }
}
