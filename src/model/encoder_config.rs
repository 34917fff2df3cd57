//! An encoder's `config.json`.

use std::path::Path;

use anyhow::Result;
use rust_bert::bert::BertConfig;
use serde::Deserialize;

use crate::error::read_text;
use crate::{bail_input, input_error};

/// What rust-bert's [`BertConfig`] leaves out and matters here.
#[derive(Debug, Clone, Deserialize)]
struct Extras {
    model_type: Option<String>,
    position_embedding_type: Option<String>,
    layer_norm_eps: Option<f64>,
}

/// LayerNorm's eps in every BERT, and the only one that rust-bert has.
pub const LAYER_NORM_EPS: f64 = 1e-12;

/// Above the sizes of all encoders.
const MOST: i64 = 1 << 24;
/// 40 GB in float32.
const MOST_PARAMETERS: f64 = 1e10;

/// Reads and checks `config.json` in an encoder's folder.
pub fn read(folder: &Path) -> Result<BertConfig> {
    let path = folder.join("config.json");
    let text = read_text(&path)?;
    let shown = path.display();
    let wrong = |e: serde_json::Error| input_error!("{shown}:{}: {e}", e.line());
    let extras: Extras = serde_json::from_str(&text).map_err(wrong)?;
    if let Some(kind) = extras.model_type.filter(|kind| kind != "bert") {
        bail_input!("{shown}: model_type is `{kind}`; covalign fine-tunes `bert`");
    }
    if let Some(kind) = extras
        .position_embedding_type
        .filter(|kind| kind != "absolute")
    {
        bail_input!("{shown}: position_embedding_type is `{kind}`; only `absolute` is known");
    }
    if let Some(eps) = extras.layer_norm_eps.filter(|eps| *eps != LAYER_NORM_EPS) {
        bail_input!("{shown}: layer_norm_eps is {eps}; rust-bert computes with {LAYER_NORM_EPS}");
    }
    let config: BertConfig = serde_json::from_str(&text).map_err(wrong)?;
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
        if !(1..=MOST).contains(&size) {
            bail_input!("{shown}: {key} is {size}; it must lie from 1 to {MOST}");
        }
    }
    let width = config.hidden_size;
    let tables = config.vocab_size + config.max_position_embeddings + config.type_vocab_size;
    let layer = 4 * width + 2 * config.intermediate_size;
    let parameters =
        width as f64 * (tables as f64 + layer as f64 * config.num_hidden_layers as f64);
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
