//! AdamW over the word table, stepped only where a batch reads it.
//!
//! A batch reads a few hundred of its 30,000 rows, but AdamW moves every row at every step: moments
//! fade and weights decay. A row that is not read puts these steps off and takes them, one after
//! the other in the same arithmetic, before it is read again; the weights are AdamW's, bit for bit.

use anyhow::Result;
use tch::{Kind, Tensor};

use crate::data::batch::{Batch, Layout};
use crate::libtorch::optimizer::{self as steps, AdamW, Moments, Step};

/// Steps after which all rows catch up, so that the list of what they missed stays short.
const LONGEST_DELAY: usize = 1000;

/// The word table `[vocabulary, width]` with AdamW's state.
pub struct WordRows {
    table: Tensor,
    /// None where the table stands still.
    state: Option<Moments>,
    /// Of `missed`, how many each row has taken: int64 `[vocabulary]`.
    taken: Tensor,
    /// The steps since all rows were up to date.
    missed: Vec<Step>,
    /// Rows that were read in this step, and their leaves.
    read: Vec<(Tensor, Tensor)>,
    /// Whether gradients are to reach the table.
    pub moving: bool,
}

impl WordRows {
    /// A table that learns, or stands still.
    pub fn new(table: Tensor, learns: bool) -> Result<WordRows> {
        let rows = table.size()[0];
        let device = table.device();
        let state = || Moments::fresh(table.shallow_clone(), table.shallow_clone());
        Ok(WordRows {
            taken: Tensor::f_zeros([rows], (Kind::Int64, device))?,
            state: learns.then(state).transpose()?,
            table,
            missed: Vec::new(),
            read: Vec::new(),
            moving: learns,
        })
    }

    pub fn state(&self) -> Option<&Moments> {
        self.state.as_ref()
    }

    /// The rows `[vocabulary of the batch, width]`, up to date.
    pub fn read(&mut self, batch: &Batch) -> Result<Option<Tensor>> {
        let Layout::Packed(packed) = &batch.layout else {
            return Ok(None);
        };
        let Some(words) = &packed.words else {
            return Ok(None);
        };
        let rows = &words.vocabulary;
        if let Some(state) = &self.state {
            steps::adamw_idle(state, &self.taken, Some(rows), &self.missed)?;
        }
        let leaf = tch::no_grad(|| self.table.f_index_select(0, rows))?;
        if self.moving {
            let _ = leaf.f_set_requires_grad(true)?;
            self.read.push((rows.shallow_clone(), leaf.shallow_clone()));
        }
        Ok(Some(leaf))
    }

    /// The gradients of the rows that were read in this step, a tensor for each pass.
    pub fn gradients(&self) -> impl Iterator<Item = Tensor> + '_ {
        self.read.iter().map(|(_, leaf)| leaf.grad())
    }

    /// Different rows and the sums of their gradients since the last step, if any.
    pub fn gradient(&mut self) -> Result<Option<(Tensor, Tensor)>> {
        let read = std::mem::take(&mut self.read);
        let mut parts: Vec<(Tensor, Tensor)> = read
            .into_iter()
            .map(|(rows, leaf)| (rows, leaf.grad()))
            .filter(|(_, gradient)| gradient.defined())
            .collect();
        if parts.len() < 2 {
            return Ok(parts.pop());
        }
        let (rows, gradients): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let all = Tensor::f_cat(&rows, 0)?;
        let (rows, places, _) = all.f_unique_dim(0, true, true, false)?;
        let gradients = Tensor::f_cat(&gradients, 0)?;
        let sum = Tensor::f_zeros(
            [rows.size()[0], gradients.size()[1]],
            (Kind::Float, gradients.device()),
        )?;
        Ok(Some((rows, sum.f_index_add(0, &places, &gradients)?)))
    }

    /// One step, in which `rows` have a gradient times `scale` and the others have none.
    pub fn step(
        &mut self,
        constants: AdamW,
        scale: f64,
        rows: &Tensor,
        gradient: &Tensor,
    ) -> Result<()> {
        let Some(state) = &mut self.state else {
            return Ok(());
        };
        let t = f64::try_from(&state.step)? + 1.0;
        let _ = state.step.f_fill_(t)?;
        // Rows of an earlier batch of this step may have waited since.
        steps::adamw_idle(state, &self.taken, Some(rows), &self.missed)?;
        let step = constants.step(t, scale);
        steps::adamw_rows(state, rows, gradient, step)?;
        self.missed.push(step);
        let _ = self
            .taken
            .f_index_fill_(0, rows, self.missed.len() as i64)?;
        if self.missed.len() == LONGEST_DELAY {
            self.settle()?;
        }
        Ok(())
    }

    /// Brings every row up to date.
    pub fn settle(&mut self) -> Result<()> {
        if let Some(state) = &self.state {
            steps::adamw_idle(state, &self.taken, None, &self.missed)?;
        }
        self.loaded()
    }

    /// The state is what a checkpoint held: no row has missed anything.
    pub fn loaded(&mut self) -> Result<()> {
        self.missed.clear();
        let _ = self.taken.f_fill_(0)?;
        Ok(())
    }
}
