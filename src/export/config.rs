//! `config.json` as transformers reads it.

use anyhow::Result;
use serde_json::{json, Map, Value};

use super::classifier::{Aligned, Classifier};
use crate::model::bert::config::{ALIGNED_TYPE, LAYER_NORM_EPS, SHAPE};
use crate::model::exported::{Exported, ORIGIN};
use crate::task::{Labels, Task};

/// The module that an alignment of its own needs; see [`Aligned::Apart`].
pub const MODULE: (&str, &str) = ("modeling_covalign.py", include_str!("modeling_covalign.py"));

/// The config of a task's model, that `origin` has trained; rows are filled up with the token `pad`.
pub fn config(classifier: &Classifier, task: &Task, pad: i64, origin: &Exported) -> Result<Value> {
    let sizes = serde_json::to_value(&classifier.config)?;
    let mut config = Map::new();
    match classifier.aligned {
        Aligned::Apart => {
            let class = "CovalignBertForSequenceClassification";
            config.insert("architectures".into(), json!([class]));
            config.insert("model_type".into(), ALIGNED_TYPE.into());
            let map = json!({
                "AutoConfig": "modeling_covalign.CovalignBertConfig",
                "AutoModelForSequenceClassification": format!("modeling_covalign.{class}"),
            });
            config.insert("auto_map".into(), map);
        }
        Aligned::No | Aligned::Folded => {
            let class = "BertForSequenceClassification";
            config.insert("architectures".into(), json!([class]));
            config.insert("model_type".into(), "bert".into());
        }
    }
    for key in SHAPE {
        config.insert(key.into(), sizes[key].clone());
    }
    // As it was written, not as a number of 32 bits becomes one of 64.
    let deviation = classifier.config.initializer_range.to_string();
    let deviation: f64 = deviation.parse()?;
    config.insert("initializer_range".into(), deviation.into());
    if sizes["hidden_act"] == "identity" {
        config.insert("hidden_act".into(), "linear".into());
    }
    let names = labels(task);
    let numbered = names.iter().enumerate();
    let id2label: Map<String, Value> = numbered
        .clone()
        .map(|(id, name)| (id.to_string(), json!(name)))
        .collect();
    let label2id: Map<String, Value> = numbered
        .map(|(id, name)| (name.clone(), json!(id)))
        .collect();
    let more = json!({
        "layer_norm_eps": LAYER_NORM_EPS,
        "position_embedding_type": "absolute",
        "pad_token_id": pad,
        "classifier_dropout": classifier.head_dropout,
        "problem_type": problem(task),
        "id2label": id2label,
        "label2id": label2id,
        "dtype": "float32",
        ORIGIN: origin,
    });
    config.extend(more.as_object().cloned().unwrap_or_default());
    Ok(Value::Object(config))
}

/// Which loss transformers trains such a head with.
pub fn problem(task: &Task) -> &'static str {
    match task.labels {
        Labels::Classes(_) => "single_label_classification",
        Labels::Range { .. } => "regression",
        Labels::AnyOf(_) => "multi_label_classification",
    }
}

/// What the outputs are called.
pub fn labels(task: &Task) -> Vec<String> {
    match task.labels.names() {
        [] => vec!["score".into()],
        names => names.to_vec(),
    }
}
