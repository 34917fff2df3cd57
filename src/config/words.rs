//! `encoder: {kind: lstm, …}`, a small module over word embeddings.

use std::fmt;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bail_input;

/// What a module over word embeddings is made of (Wu, Zhang, Ré, ICLR 2020, have all three).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModuleKind {
    /// A recurrent network (Hochreiter and Schmidhuber 1997).
    Lstm,
    /// Windows of words, the largest answer of each filter over a row (Kim 2014).
    Cnn,
    /// Layers with ReLU on the mean of a row's embeddings.
    Mlp,
}

/// What an LSTM's states of a row come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// The state where the reading ends: behind the last word, of a backward reading the first.
    #[default]
    Last,
    /// The largest over the row, of each unit.
    Max,
    /// The mean over the row.
    Mean,
}

/// A small module over word embeddings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WordModule {
    /// What it is made of.
    pub kind: ModuleKind,
    /// Units of a layer and direction; filters of each window.
    #[serde(default = "hundred")]
    pub width: i64,
    /// Layers one above the other: `lstm` and `mlp`.
    #[serde(default = "one")]
    pub layers: i64,
    /// `lstm`: also from the row's end to its start.
    #[serde(default)]
    pub bidirectional: bool,
    /// `lstm`: what a row's states come to.
    #[serde(default)]
    pub pool: Pool,
    /// `cnn`: words in each window.
    #[serde(default = "kim")]
    pub windows: Vec<i64>,
    /// Share of the values that are dropped between layers, and by default before the heads.
    #[serde(default)]
    pub dropout: f64,
    /// Where words and their vectors come from: an encoder's name or folder, or a text file with a
    /// word and its vector on each line, as GloVe and word2vec have.
    pub embeddings: String,
    /// Random vectors of this width for those words, in place of what is known of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_width: Option<i64>,
    /// Whether the vectors are learned too.
    #[serde(default)]
    pub train_embeddings: bool,
}

fn hundred() -> i64 {
    100
}

fn one() -> i64 {
    1
}

fn kim() -> Vec<i64> {
    vec![3, 4, 5]
}

impl ModuleKind {
    /// The name in a config.
    pub fn name(self) -> &'static str {
        match self {
            ModuleKind::Lstm => "lstm",
            ModuleKind::Cnn => "cnn",
            ModuleKind::Mlp => "mlp",
        }
    }
}

impl WordModule {
    /// # Errors
    /// An input error that names the key.
    pub(super) fn validate(&self, place: &str) -> Result<()> {
        let size = |n: i64| (1..=1 << 16).contains(&n);
        let is = |kind| self.kind == kind;
        let rules = [
            (size(self.width), "width", "must lie from 1 to 65536"),
            (
                (1..=64).contains(&self.layers),
                "layers",
                "must lie from 1 to 64",
            ),
            (
                self.embedding_width.is_none_or(size),
                "embedding_width",
                "must lie from 1 to 65536",
            ),
            (
                (0.0..1.0).contains(&self.dropout),
                "dropout",
                "must lie in [0, 1)",
            ),
            (
                !self.windows.is_empty() && self.windows.iter().all(|w| (1..=64).contains(w)),
                "windows",
                "must name at least one window of 1 to 64 words",
            ),
            (
                is(ModuleKind::Cnn) || self.windows == kim(),
                "windows",
                "are a `cnn`'s",
            ),
            (
                !is(ModuleKind::Cnn) || self.layers == 1,
                "layers",
                "are those of `lstm` and `mlp`; a `cnn` has one",
            ),
            (
                is(ModuleKind::Lstm) || !self.bidirectional,
                "bidirectional",
                "is an `lstm`'s",
            ),
            (
                is(ModuleKind::Lstm) || self.pool == Pool::default(),
                "pool",
                "is an `lstm`'s",
            ),
        ];
        for (holds, key, demand) in rules {
            if !holds {
                bail_input!("{place}: key `encoder.{key}` {demand}");
            }
        }
        Ok(())
    }
}

/// What people and results call it; of two modules that differ, the names do.
impl fmt::Display for WordModule {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let WordModule {
            kind,
            width,
            layers,
            bidirectional,
            pool,
            windows,
            dropout,
            embeddings,
            embedding_width,
            train_embeddings,
        } = self;
        write!(f, "{} {width}", kind.name())?;
        if *layers > 1 {
            write!(f, " x {layers}")?;
        }
        match kind {
            ModuleKind::Lstm if *bidirectional => write!(f, ", both ways")?,
            ModuleKind::Cnn => write!(f, ", windows {windows:?}")?,
            _ => {}
        }
        match pool {
            Pool::Last => {}
            Pool::Max => write!(f, ", max")?,
            Pool::Mean => write!(f, ", mean")?,
        }
        if *dropout > 0.0 {
            write!(f, ", dropout {dropout}")?;
        }
        let learned = if *train_embeddings {
            "trained"
        } else {
            "frozen"
        };
        match embedding_width {
            Some(n) => write!(
                f,
                ", {learned} random vectors {n} for words of {embeddings}"
            ),
            None => write!(f, ", {learned} vectors of {embeddings}"),
        }
    }
}
