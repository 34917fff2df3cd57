//! An encoder's `config.json`.

use std::path::Path;

use anyhow::Result;
use rust_bert::bert::BertConfig;
use serde_json::{Map, Value};

use crate::config::yaml::in_words;
use crate::error::{io_error, read_text};
use crate::{bail_input, input_error};

/// The keys that settle an encoder's shape; rust-bert's [`BertConfig`] would read more of them, and
/// what others write into those is of no use here.
pub const SHAPE: [&str; 11] = [
    "hidden_act",
    "attention_probs_dropout_prob",
    "hidden_dropout_prob",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "type_vocab_size",
    "vocab_size",
];

/// LayerNorm's eps in every BERT, and the only one that rust-bert has.
pub const LAYER_NORM_EPS: f64 = 1e-12;

/// The `model_type` of a BERT that `covalign export` wrote with an alignment beside it, of which an
/// encoder is made without.
pub const ALIGNED_TYPE: &str = "covalign_bert";

/// Above the sizes of all encoders.
const MOST: i64 = 1 << 24;
/// 40 GB in float32.
const MOST_PARAMETERS: f64 = 1e10;
/// Far above the layers of all BERTs; rust-bert makes each with a dozen tensors.
const MOST_LAYERS: i64 = 1000;

/// Reads and checks `config.json` in an encoder's folder.
pub fn read(folder: &Path) -> Result<BertConfig> {
    let path = folder.join("config.json");
    let text = read_text(&path)?;
    let shown = path.display();
    let whole: Map<String, Value> = serde_json::from_str(&text).map_err(|e| {
        input_error!(
            "{shown}:{}: not readable as JSON ({e}); fetch the encoder again",
            e.line()
        )
    })?;
    check_kind(&whole, &shown.to_string())?;
    let known = whole
        .into_iter()
        .filter(|(key, _)| SHAPE.contains(&key.as_str()));
    let shape: Map<String, Value> = known.collect();
    let config: BertConfig =
        serde_path_to_error::deserialize(Value::Object(shape)).map_err(|e| {
            input_error!(
                "{shown}: key `{}`: {}",
                e.path(),
                in_words(&e.inner().to_string())
            )
        })?;
    check_sizes(&config, &path)?;
    if config.num_attention_heads < 1 || config.hidden_size % config.num_attention_heads != 0 {
        bail_input!(
            "{shown}: hidden_size {} is no multiple of num_attention_heads {}",
            config.hidden_size,
            config.num_attention_heads
        );
    }
    Ok(config)
}

/// Whether a BERT of these sizes can be made: libtorch aborts where one is negative or far too large.
fn check_sizes(config: &BertConfig, path: &Path) -> Result<()> {
    let shown = path.display();
    let sizes = [
        ("hidden_size", config.hidden_size),
        ("num_hidden_layers", config.num_hidden_layers),
        ("num_attention_heads", config.num_attention_heads),
        ("intermediate_size", config.intermediate_size),
        ("vocab_size", config.vocab_size),
        ("max_position_embeddings", config.max_position_embeddings),
        ("type_vocab_size", config.type_vocab_size),
    ];
    for (key, size) in sizes {
        let most = match key {
            "num_hidden_layers" => MOST_LAYERS,
            _ => MOST,
        };
        if !(1..=most).contains(&size) {
            bail_input!("{shown}: {key} is {size}; it must lie from 1 to {most}");
        }
    }
    let parameters = parameters(config);
    if parameters > MOST_PARAMETERS {
        bail_input!(
            "{shown}: its sizes come to {parameters:.1e} parameters, more than any BERT has"
        );
    }
    let shares = [
        ("hidden_dropout_prob", config.hidden_dropout_prob),
        (
            "attention_probs_dropout_prob",
            config.attention_probs_dropout_prob,
        ),
    ];
    for (key, share) in shares {
        if !(0.0..1.0).contains(&share) {
            bail_input!("{shown}: {key} is {share}; it must lie in [0, 1)");
        }
    }
    let deviation = config.initializer_range;
    if !(deviation >= 0.0 && deviation.is_finite()) {
        bail_input!("{shown}: initializer_range is {deviation}; it must not be negative");
    }
    Ok(())
}

/// The parameters of tables and layers, biases left out.
fn parameters(config: &BertConfig) -> f64 {
    let width = config.hidden_size;
    let tables = config.vocab_size + config.max_position_embeddings + config.type_vocab_size;
    let layer = 4 * width + 2 * config.intermediate_size;
    width as f64 * (tables as f64 + layer as f64 * config.num_hidden_layers as f64)
}

/// Whether a file of weights can hold this encoder, before there is memory for it: a parameter has
/// two bytes at least.
///
/// # Errors
/// An input error that names both files.
pub fn check_weights(config: &BertConfig, folder: &Path, weights: &Path) -> Result<()> {
    let bytes = std::fs::metadata(weights)
        .map_err(|e| io_error(weights, e))?
        .len();
    let parameters = parameters(config);
    // Of a file without bytes its reader tells.
    if bytes > 0 && 2.0 * parameters > bytes as f64 {
        bail_input!(
            "{}: its sizes come to {parameters:.0} parameters, too many for the {bytes} bytes of {}; \
             they belong to different encoders, or the weights are cut off",
            folder.join("config.json").display(),
            weights.display()
        );
    }
    Ok(())
}

/// Whether it is the kind of encoder that covalign computes.
fn check_kind(config: &Map<String, Value>, shown: &str) -> Result<()> {
    let said = |key: &str| config.get(key).filter(|value| !value.is_null());
    let known = |kind: &&Value| **kind == "bert" || **kind == ALIGNED_TYPE;
    if let Some(kind) = said("model_type").filter(|kind| !known(kind)) {
        bail_input!("{shown}: model_type is {kind}; covalign fine-tunes `bert`");
    }
    if let Some(kind) = said("position_embedding_type").filter(|kind| *kind != "absolute") {
        bail_input!("{shown}: position_embedding_type is {kind}; only `absolute` is known");
    }
    if let Some(eps) = said("layer_norm_eps").filter(|eps| eps.as_f64() != Some(LAYER_NORM_EPS)) {
        bail_input!("{shown}: layer_norm_eps is {eps}; rust-bert computes with {LAYER_NORM_EPS}");
    }
    if said("is_decoder").is_some_and(|value| *value == true) {
        bail_input!("{shown}: is_decoder is true; covalign's encoder reads in both directions");
    }
    Ok(())
}
