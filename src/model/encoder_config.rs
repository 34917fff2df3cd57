//! An encoder's `config.json`.

use std::path::Path;

use anyhow::Result;
use rust_bert::bert::BertConfig;
use serde::Deserialize;

use crate::error::io_error;
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

/// Reads and checks `config.json` in an encoder's folder.
pub fn read(folder: &Path) -> Result<BertConfig> {
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(|e| io_error(&path, e))?;
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
    if config.num_attention_heads < 1 || config.hidden_size % config.num_attention_heads != 0 {
        bail_input!(
            "{shown}: hidden_size {} is no multiple of num_attention_heads {}",
            config.hidden_size,
            config.num_attention_heads
        );
    }
    Ok(config)
}
