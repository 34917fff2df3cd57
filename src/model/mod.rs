//! What tasks share ([`encoder`] is its interface, [`bert`], [`words`] and [`images`] are behind it),
//! alignment, heads, weights in and out.
//!
//! ŷ_i = A_i · pool( B( E(x) · R_i ) ): all tasks share the embedding layer E and the encoder B;
//! each has its head A_i and, when trained aligned, its matrix R_i (Wu, Zhang, Ré, ICLR 2020).

pub mod alignment;
pub mod bert;
pub mod encoder;
pub mod encoder_init;
pub mod exported;
pub mod fit;
pub mod head;
pub mod images;
pub mod multi_task;
pub mod pickle;
pub mod rotation;
pub mod save;
pub mod shape;
pub mod source;
pub mod weights;
pub mod words;

use sha2::{Digest, Sha256};
use tch::nn::VarStore;
use tch::Tensor;

pub use multi_task::{MultiTaskModel, Sharing, TaskShape};

/// Whether a pass is one of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is dropped.
    Evaluate,
    /// Dropout follows from `seed`, or from libtorch's generator where the engine is libtorch's.
    Train { seed: u64 },
}

impl Mode {
    pub fn trains(self) -> bool {
        self != Mode::Evaluate
    }
}

/// What an optimiser steps.
#[derive(Debug)]
pub struct Parameter {
    pub name: String,
    /// The value, in float32.
    pub value: Tensor,
    /// The tensor whose gradient the backward pass writes: the value itself, or the copy of it in
    /// half precision that the products use.
    pub leaf: Tensor,
}

impl Parameter {
    /// A parameter that is its own leaf.
    pub fn new(name: &str, value: &Tensor) -> Parameter {
        Parameter {
            name: name.to_owned(),
            value: value.shallow_clone(),
            leaf: value.shallow_clone(),
        }
    }

    /// All of a store's, by name.
    pub fn of(store: &VarStore) -> Vec<Parameter> {
        let variables = store.variables();
        let mut all: Vec<_> = variables
            .iter()
            .map(|(name, value)| Parameter::new(name, value))
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

/// A seed of its own for each named use of a run's one seed.
pub fn named_seed(seed: u64, name: &str) -> i64 {
    let digest = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(name)
        .finalize();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    (i64::from_le_bytes(bytes)) & i64::MAX
}
