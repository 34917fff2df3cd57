//! The shared encoder with every task's head and alignment.

use anyhow::Result;
use tch::nn::VarStore;
use tch::{Kind, Tensor};

use super::alignment::Alignment;
use super::encoder::Encoder;
use super::head::Head;
use super::{named_seed, Mode};
use crate::config::alignment::{Form, Start};
use crate::data::Batch;

/// What a task brings to the model.
#[derive(Debug, Clone)]
pub struct TaskShape {
    pub name: String,
    /// Classes, or 1 for regression.
    pub outputs: i64,
    /// The lowest and the highest score, where the head learns them scaled to 0 and 1.
    pub range: Option<(f64, f64)>,
}

struct TaskModule {
    head: Head,
    range: Option<(f64, f64)>,
    alignment: Option<Alignment>,
}

/// The shared encoder with every task's head and alignment.
pub struct MultiTaskModel {
    pub encoder: Box<dyn Encoder>,
    /// `<task>.weight`, `<task>.bias`.
    pub heads: VarStore,
    /// `<task>.matrix` and the like; empty without alignment.
    pub alignments: VarStore,
    tasks: Vec<TaskModule>,
}

impl MultiTaskModel {
    /// Adds a fresh head for each task and, given a form, an alignment. What `seed` gives a task
    /// depends on its name alone, not on the tasks beside it.
    pub fn new(
        encoder: Box<dyn Encoder>,
        tasks: &[TaskShape],
        alignment: Option<(Form, Start)>,
        head_dropout: f64,
        seed: u64,
    ) -> Result<MultiTaskModel> {
        let device = encoder.variables().device();
        let (heads, alignments) = (VarStore::new(device), VarStore::new(device));
        let (width, output) = (encoder.embedding_width(), encoder.output_width());
        let tasks = tasks
            .iter()
            .map(|task| -> Result<TaskModule> {
                tch::manual_seed(named_seed(seed, &format!("head {}", task.name)));
                let head = Head::new(
                    &(heads.root() / &task.name),
                    output,
                    task.outputs,
                    head_dropout,
                )?;
                tch::manual_seed(named_seed(seed, &format!("alignment {}", task.name)));
                let alignment = alignment
                    .map(|(form, start)| {
                        Alignment::new(&(alignments.root() / &task.name), form, start, width)
                    })
                    .transpose()?;
                Ok(TaskModule {
                    head,
                    range: task.range,
                    alignment,
                })
            })
            .collect::<Result<_>>()?;
        Ok(MultiTaskModel {
            encoder,
            heads,
            alignments,
            tasks,
        })
    }

    /// Logits `[batch, outputs]` of the task at index `task`, in float32 whatever the precision.
    pub fn forward(&self, task: usize, batch: &Batch, mode: Mode) -> Result<Tensor> {
        let aligned = self.embed(task, batch, None, mode)?;
        let pooled = self.encoder.pooled(&aligned, batch, mode)?;
        self.logits(task, &pooled, mode)
    }

    /// The task's aligned embeddings E(x) R_i; `words` as [`Encoder::embed`] takes them.
    pub fn embed(
        &self,
        task: usize,
        batch: &Batch,
        words: Option<&Tensor>,
        mode: Mode,
    ) -> Result<Tensor> {
        let embedded = self.encoder.embed(batch, words, mode)?;
        match &self.tasks[task].alignment {
            Some(alignment) => alignment.apply(&embedded),
            None => Ok(embedded),
        }
    }

    /// The task's logits `[batch, outputs]` from the pooler's output; of regression the scores.
    pub fn logits(&self, task: usize, pooled: &Tensor, mode: Mode) -> Result<Tensor> {
        let TaskModule { head, range, .. } = &self.tasks[task];
        let logits = head.apply(pooled, mode.trains())?.f_to_kind(Kind::Float)?;
        Ok(match range {
            Some((min, max)) => logits.f_mul_scalar(max - min)?.f_add_scalar(*min)?,
            None => logits,
        })
    }

    /// What makes the squared error of the task's scores that of scores from 0 to 1; 1 where the
    /// head learns them as they are.
    pub fn loss_factor(&self, task: usize) -> f64 {
        let range = self.tasks[task].range;
        range.map_or(1.0, |(min, max)| (max - min).powi(-2))
    }

    /// The alignment of the task at index `task`, when trained aligned.
    pub fn alignment(&self, task: usize) -> Option<&Alignment> {
        self.tasks[task].alignment.as_ref()
    }
}
