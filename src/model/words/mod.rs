//! Small modules over word embeddings as the module that all tasks share: what Wu, Zhang and Ré (ICLR
//! 2020) showed with LSTM, CNN and MLP.
//!
//! Rows lie packed on every device. On a CPU the recurrence and the convolution are covalign's own
//! ([`crate::libtorch::recurrent`], [`crate::libtorch::convolution`]); elsewhere, and with `engine:
//! reference`, libtorch's (`rows`). Parameters have the names that torch.nn gives them. Everything is in float32.

mod cnn;
mod lstm;
mod mlp;
pub mod reference;
mod rows;
pub mod shape;

use std::path::Path;

use anyhow::{bail, Result};
use tch::nn::{Init, VarStore};
use tch::{Kind, Tensor};

use self::cnn::Cnn;
use self::lstm::Lstm;
use self::mlp::Mlp;
use self::rows::Rows;
use self::shape::WordShape;
use super::encoder::{Encoder, Limits, Setup, WORDS};
use super::{named_seed, Mode, Parameter};
use crate::bail_input;
use crate::config::words::ModuleKind;
use crate::config::Engine;
use crate::data::batch::{Batch, Layout, Packed, Shape};

/// A module over words with its table of vectors.
pub struct WordEncoder {
    shape: WordShape,
    variables: VarStore,
    /// `[words, width]`: one of `variables` where it is trained.
    table: Tensor,
    body: Body,
    dropout: f64,
    /// Whether covalign's own recurrence and convolution compute.
    fast: bool,
}

enum Body {
    Lstm(Lstm),
    Cnn(Cnn),
    Mlp(Mlp),
}

impl WordEncoder {
    /// A module whose parameters start at random, as torch.nn's do, and whose vectors are N(0, 1)
    /// as torch.nn.Embedding's; `setup.seed` fixes both.
    pub fn new(shape: WordShape, setup: Setup) -> Result<WordEncoder> {
        let variables = VarStore::new(setup.device);
        tch::manual_seed(named_seed(setup.seed, "encoder"));
        let root = variables.root();
        let (module, width) = (&shape.module, shape.hidden_size);
        let body = match module.kind {
            ModuleKind::Lstm => Body::Lstm(Lstm::new(&(&root / "lstm"), module, width)?),
            ModuleKind::Cnn => Body::Cnn(Cnn::new(&(&root / "conv"), module, width)?),
            ModuleKind::Mlp => Body::Mlp(Mlp::new(&(&root / "mlp"), module, width)?),
        };
        tch::manual_seed(named_seed(setup.seed, "word vectors"));
        let size = [shape.vocab_size, width];
        let options = (Kind::Float, setup.device);
        let table = match module.train_embeddings {
            true => {
                let (path, name) = WORDS.rsplit_once('.').unwrap_or(("", WORDS));
                let place = path.split('.').fold(root, |place, part| place / part);
                let normal = Init::Randn {
                    mean: 0.0,
                    stdev: 1.0,
                };
                place.f_var(name, &size, normal)?
            }
            // To be filled; drawing so many numbers takes longer than reading them.
            false if module.embedding_width.is_none() => Tensor::f_zeros(size, options)?,
            false => Tensor::f_randn(size, options)?,
        };
        Ok(WordEncoder {
            dropout: setup.dropout.unwrap_or(module.dropout),
            fast: setup.engine == Engine::Fast && !setup.device.is_cuda(),
            shape,
            variables,
            table,
            body,
        })
    }

    /// Takes the words' vectors from a table of the file at `path`.
    ///
    /// # Errors
    /// An input error where it is of another size, or holds what is no number.
    pub fn fill_table(&self, vectors: &Tensor, path: &Path) -> Result<()> {
        let at = path.display();
        if vectors.size() != self.table.size() {
            bail_input!(
                "{at}: the word table is {:?}, but config.json asks for {:?}",
                vectors.size(),
                self.table.size()
            );
        }
        tch::no_grad(|| self.table.shallow_clone().f_copy_(vectors))?;
        let sum = f64::try_from(self.table.f_detach()?.f_sum(Kind::Float)?)?;
        if !sum.is_finite() {
            bail_input!("{at}: the word table holds values that are not finite");
        }
        Ok(())
    }
}

impl Encoder for WordEncoder {
    fn embedding_width(&self) -> i64 {
        self.shape.hidden_size
    }

    fn output_width(&self) -> i64 {
        self.shape.output_width()
    }

    fn limits(&self) -> Option<Limits> {
        Some(self.shape.limits())
    }

    fn dropout(&self) -> f64 {
        self.dropout
    }

    fn variables(&self) -> &VarStore {
        &self.variables
    }

    fn parameters(&self) -> Vec<Parameter> {
        Parameter::of(&self.variables)
    }

    fn reads_rows(&self) -> bool {
        self.shape.module.train_embeddings && !self.variables.device().is_cuda()
    }

    fn frozen_words(&self) -> Option<&Tensor> {
        (!self.shape.module.train_embeddings).then_some(&self.table)
    }

    fn layers_above(&self, parameter: &str) -> i64 {
        let layers = self.shape.module.layers;
        let layer = match &self.body {
            Body::Lstm(_) => parameter.split("_l").nth(1),
            Body::Mlp(_) => parameter.strip_prefix("mlp."),
            Body::Cnn(_) => None,
        };
        let digits = layer.map(|rest| rest.split(['.', '_']).next().unwrap_or(rest));
        match digits.and_then(|digits| digits.parse::<i64>().ok()) {
            Some(layer) => layers - 1 - layer,
            None if parameter == WORDS => layers,
            None => 0,
        }
    }

    fn batch_shape(&self, _: i64) -> Shape {
        Shape::Packed
    }

    fn engine_name(&self) -> &'static str {
        match self.fast {
            true => "packed",
            false => "reference",
        }
    }

    fn set_products(&mut self, kind: Kind) -> Result<()> {
        match kind {
            Kind::Float => Ok(()),
            other => bail!("a module over words computes in float32, not {other:?}"),
        }
    }

    fn reinitialize(&self, _: usize, _: u64) -> Result<()> {
        bail!("a module over words starts at random as it is")
    }

    fn embed(&self, batch: &Batch, words: Option<&Tensor>, _: Mode) -> Result<Tensor> {
        Ok(match (words, &packed(batch)?.words) {
            (Some(table), Some(words)) => table.f_index_select(0, &words.places)?,
            _ => self.table.f_index_select(0, &batch.ids)?,
        })
    }

    fn segments(&self) -> usize {
        1
    }

    fn segment(&self, _: usize, x: &Tensor, batch: &Batch, mode: Mode) -> Result<Tensor> {
        let rows = Rows::new(packed(batch)?, self.fast);
        let dropped = |x: Tensor| match mode.trains() && self.dropout > 0.0 {
            true => Ok(x.f_dropout(self.dropout, true)?),
            false => Ok(x),
        };
        match &self.body {
            Body::Lstm(lstm) => lstm.forward(x, &rows, &dropped),
            Body::Cnn(cnn) => cnn.forward(x, &rows),
            Body::Mlp(mlp) => mlp.forward(x, &rows, &dropped),
        }
    }

    fn training_flops(&self, tokens: f64) -> f64 {
        self.shape.training_flops(tokens)
    }
}

fn packed(batch: &Batch) -> Result<&Packed> {
    match &batch.layout {
        Layout::Packed(rows) => Ok(rows),
        _ => bail!("a module over words takes packed rows"),
    }
}
