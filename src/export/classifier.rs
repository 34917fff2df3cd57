//! A task's model as transformers' `BertForSequenceClassification` has it: its tensors by their
//! names, and what becomes of the alignment.
//!
//! R stands behind the embedding layer's LayerNorm, and the residual of the first layer takes
//! X R as it is. A diagonal R is folded into the LayerNorm's gain and bias: (n ∘ γ + β) ∘ r is
//! n ∘ (γ ∘ r) + β ∘ r, and dropout behind it draws the same. No other R can be folded exactly: the
//! LayerNorm stands between it and the tables before, the residual between it and the layers behind.

use std::collections::BTreeMap;

use anyhow::Result;
use rust_bert::bert::BertConfig;
use tch::{Device, Kind, Tensor};

use crate::config::Config;
use crate::input_error;
use crate::model::shape::EncoderShape;
use crate::model::source::Source;
use crate::model::{save, MultiTaskModel};

/// The alignment's name among a folder's tensors: R, `[hidden, hidden]`, the embeddings' right factor.
pub const ALIGNMENT: &str = "bert.embeddings.alignment";

/// What became of a task's alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aligned {
    /// There is none, or it is the identity.
    No,
    /// It is diagonal, and in the LayerNorm's gain and bias now.
    Folded,
    /// It is a tensor of its own, which a module of its own multiplies with.
    Apart,
}

/// One task's encoder, alignment and head.
pub struct Classifier {
    /// The encoder's sizes, with the dropout that the run trained with.
    pub config: BertConfig,
    /// Of the head.
    pub head_dropout: f64,
    pub aligned: Aligned,
    /// On the CPU, in float32, by transformers' names; linear layers' weights are `[out, in]`.
    pub tensors: BTreeMap<String, Tensor>,
}

impl Classifier {
    /// What the model at hand computes for the task at index `task`.
    ///
    /// # Errors
    /// An input error where the encoder is not a BERT.
    pub fn new(
        model: &MultiTaskModel,
        task: usize,
        source: &Source,
        run: &Config,
    ) -> Result<Classifier> {
        let EncoderShape::Bert(config) = &source.shape else {
            return Err(input_error!(
                "key `encoder`: {} is no BERT, and transformers has no such module; only runs of a \
                 BERT can be exported",
                run.encoder
            ));
        };
        let mut config = config.clone();
        if let Some(p) = run.training.dropout {
            config.hidden_dropout_prob = p;
            config.attention_probs_dropout_prob = p;
        }
        let own = |tensor: &Tensor| -> Result<Tensor> {
            let values = tensor.f_detach()?.f_to_device(Device::Cpu)?;
            Ok(values.f_to_kind(Kind::Float)?.f_contiguous()?)
        };
        let mut tensors = BTreeMap::new();
        for (name, tensor) in save::variables(model.encoder.variables()) {
            tensors.insert(format!("bert.{name}"), own(&tensor)?);
        }
        let (weight, bias) = model.head(task)?;
        tensors.insert("classifier.weight".into(), own(&weight)?);
        tensors.insert("classifier.bias".into(), own(&bias)?);
        let matrix = model.matrix(task)?.map(|matrix| own(&matrix)).transpose()?;
        let aligned = align(&mut tensors, matrix)?;
        Ok(Classifier {
            head_dropout: run
                .training
                .head_dropout
                .unwrap_or(config.hidden_dropout_prob),
            config,
            aligned,
            tensors,
        })
    }

    /// The head's outputs.
    pub fn outputs(&self) -> i64 {
        self.tensors["classifier.bias"].numel() as i64
    }
}

/// Puts R where it is exact.
fn align(tensors: &mut BTreeMap<String, Tensor>, matrix: Option<Tensor>) -> Result<Aligned> {
    let Some(matrix) = matrix else {
        return Ok(Aligned::No);
    };
    let diagonal = matrix.f_diagonal(0, 0, 1)?.f_contiguous()?;
    if !matrix.f_equal(&diagonal.f_diag(0)?)? {
        tensors.insert(ALIGNMENT.into(), matrix);
        return Ok(Aligned::Apart);
    }
    if diagonal.f_equal(&diagonal.f_ones_like()?)? {
        return Ok(Aligned::No);
    }
    for part in ["weight", "bias"] {
        let name = format!("bert.embeddings.LayerNorm.{part}");
        if let Some(tensor) = tensors.get_mut(&name) {
            *tensor = tensor.f_mul(&diagonal)?;
        }
    }
    Ok(Aligned::Folded)
}
