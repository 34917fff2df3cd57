//! The shared encoder with every task's head and alignment.

use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::Result;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use super::alignment::{Alignment, Change};
use super::encoder::Encoder;
use super::head::Head;
use super::{named_seed, rotation, Mode};
use crate::config::alignment::{Matrices, Start};
use crate::data::Batch;
use crate::libtorch::threads::Readable;

/// What a task brings to the model.
#[derive(Debug, Clone)]
pub struct TaskShape {
    pub name: String,
    /// Classes, or 1 for regression.
    pub outputs: i64,
    /// The lowest and the highest score, where the head learns them scaled to 0 and 1.
    pub range: Option<(f64, f64)>,
}

/// How tasks' embeddings reach what they share.
#[derive(Debug, Clone)]
pub struct Sharing {
    /// Degrees by which tasks' embeddings are turned first, by the tasks' names.
    pub turned: BTreeMap<String, f64>,
    /// None without alignment.
    pub matrices: Option<Matrices>,
    pub start: Start,
}

struct TaskModule {
    head: Head,
    range: Option<(f64, f64)>,
    /// A rotation before the alignment that nothing learns.
    turn: Option<Tensor>,
    alignment: Option<Rc<Alignment>>,
}

/// The shared encoder with every task's head and alignment.
pub struct MultiTaskModel {
    pub encoder: Box<dyn Encoder>,
    /// `<task>.weight`, `<task>.bias`.
    pub heads: VarStore,
    /// `<task>.matrix` and the like, `shared.matrix` where there is one for all; empty without.
    pub alignments: VarStore,
    tasks: Vec<TaskModule>,
}

impl MultiTaskModel {
    /// Adds a fresh head for each task and, where there are, alignments. What `seed` gives a task
    /// depends on its name alone, not on the tasks beside it.
    pub fn new(
        encoder: Box<dyn Encoder>,
        tasks: &[TaskShape],
        sharing: &Sharing,
        head_dropout: f64,
        seed: u64,
    ) -> Result<MultiTaskModel> {
        let device = encoder.variables().device();
        // Drawn by the CPU's generator: the same start on every device.
        let (mut heads, mut alignments) = (VarStore::new(Device::Cpu), VarStore::new(Device::Cpu));
        let (width, output) = (encoder.embedding_width(), encoder.output_width());
        let learned = |name: &str, form| -> Result<Rc<Alignment>> {
            tch::manual_seed(named_seed(seed, &format!("alignment {name}")));
            let path = alignments.root() / name;
            Ok(Rc::new(Alignment::new(
                &path,
                form,
                sharing.start,
                width,
                device,
            )?))
        };
        let shared = match sharing.matrices {
            Some(Matrices::Shared(form)) => Some(learned("shared", form)?),
            _ => None,
        };
        let tasks = tasks
            .iter()
            .enumerate()
            .map(|(index, task)| -> Result<TaskModule> {
                tch::manual_seed(named_seed(seed, &format!("head {}", task.name)));
                let head = Head::new(
                    &(heads.root() / &task.name),
                    output,
                    task.outputs,
                    head_dropout,
                )?;
                let alignment = match sharing.matrices {
                    Some(Matrices::Each(form)) => Some(learned(&task.name, form)?),
                    _ => shared.clone(),
                };
                let degrees = sharing.turned.get(&task.name).copied();
                let degrees = degrees.filter(|&degrees| degrees != 0.0);
                let mut turn = degrees
                    .map(|degrees| rotation::by(degrees, width, seed, &task.name, device))
                    .transpose()?;
                if sharing.matrices == Some(Matrices::Rotations) && index > 0 {
                    let drawn = rotation::random(width, seed, &task.name, device)?;
                    turn = Some(turn.map_or(Ok(drawn.shallow_clone()), |t| t.f_matmul(&drawn))?);
                }
                Ok(TaskModule {
                    head,
                    range: task.range,
                    turn,
                    alignment,
                })
            })
            .collect::<Result<_>>()?;
        heads.set_device(device);
        alignments.set_device(device);
        Ok(MultiTaskModel {
            encoder,
            heads,
            alignments,
            tasks,
        })
    }

    /// What predicts the task at index `task` while no parameter changes.
    pub fn predictor(&self, task: usize) -> Result<Predictor<'_>> {
        let alignment = self.alignment(task);
        Ok(Predictor {
            model: self,
            task,
            change: alignment.map(Alignment::change).transpose()?,
        })
    }

    /// The task's aligned embeddings E(x) R_i; `words` as [`Encoder::embed`] takes them.
    pub fn embed(
        &self,
        task: usize,
        batch: &Batch,
        words: Option<&Tensor>,
        mode: Mode,
    ) -> Result<Tensor> {
        self.embed_parts(&[(task, batch.ids.size()[0])], batch, words, mode)
    }

    /// The same of packed rows of several tasks: `parts` are the tasks and the numbers of their tokens.
    /// What comes after them in the batch is not aligned.
    pub fn embed_parts(
        &self,
        parts: &[(usize, i64)],
        batch: &Batch,
        words: Option<&Tensor>,
        mode: Mode,
    ) -> Result<Tensor> {
        let embedded = self.encoder.embed(batch, words, mode)?;
        let changes = |&(task, _): &(usize, i64)| {
            self.tasks[task].turn.is_some() || self.tasks[task].alignment.is_some()
        };
        match parts {
            [(task, _)] => self.align(*task, &embedded),
            parts if parts.iter().any(changes) => {
                let (mut aligned, mut start) = (Vec::with_capacity(parts.len() + 1), 0);
                for &(task, tokens) in parts {
                    aligned.push(self.align(task, &embedded.f_narrow(0, start, tokens)?)?);
                    start += tokens;
                }
                let filling = embedded.size()[0] - start;
                aligned.push(embedded.f_narrow(0, start, filling)?);
                Ok(Tensor::f_cat(&aligned, 0)?)
            }
            _ => Ok(embedded),
        }
    }

    fn align(&self, task: usize, embedded: &Tensor) -> Result<Tensor> {
        let turned = self.turned(task, embedded)?;
        match &self.tasks[task].alignment {
            Some(alignment) => alignment.apply(&turned),
            None => Ok(turned),
        }
    }

    /// The embeddings before the task's alignment.
    fn turned(&self, task: usize, embedded: &Tensor) -> Result<Tensor> {
        Ok(match &self.tasks[task].turn {
            Some(turn) => embedded.f_matmul(&turn.f_to_kind(embedded.kind())?)?,
            None => embedded.shallow_clone(),
        })
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

    /// The weight `[outputs, width]` and bias `[outputs]` of the task's [`MultiTaskModel::logits`].
    pub fn head(&self, task: usize) -> Result<(Tensor, Tensor)> {
        let TaskModule { head, range, .. } = &self.tasks[task];
        let (weight, bias) = head.parameters();
        Ok(match range {
            Some((min, max)) => (
                weight.f_mul_scalar(max - min)?,
                bias.f_mul_scalar(max - min)?.f_add_scalar(*min)?,
            ),
            None => (weight.shallow_clone(), bias.shallow_clone()),
        })
    }

    /// What the task's embeddings are multiplied with from the right, `[width, width]`: its turn and
    /// its alignment. None where it has neither.
    pub fn matrix(&self, task: usize) -> Result<Option<Tensor>> {
        let TaskModule {
            turn, alignment, ..
        } = &self.tasks[task];
        let learned = alignment.as_ref().map(|r| r.matrix()).transpose()?;
        Ok(match (turn, learned) {
            (Some(turn), Some(learned)) => Some(turn.f_matmul(&learned)?),
            (Some(turn), None) => Some(turn.shallow_clone()),
            (None, learned) => learned,
        })
    }

    /// Numbers that a task's head puts out for a row.
    pub fn outputs(&self, task: usize) -> usize {
        self.tasks[task].head.outputs()
    }

    /// What makes the squared error of the task's scores that of scores from 0 to 1; 1 where the
    /// head learns them as they are.
    pub fn loss_factor(&self, task: usize) -> f64 {
        let range = self.tasks[task].range;
        range.map_or(1.0, |(min, max)| (max - min).powi(-2))
    }

    /// The alignment of the task at index `task`, when trained aligned.
    pub fn alignment(&self, task: usize) -> Option<&Alignment> {
        self.tasks[task].alignment.as_deref()
    }
}

/// A task's forward pass in evaluation.
pub struct Predictor<'a> {
    model: &'a MultiTaskModel,
    task: usize,
    change: Option<Change>,
}

// SAFETY: a pass of evaluation reads tensors and plain numbers, changes none, and copies no `Rc`.
unsafe impl Readable for Predictor<'_> {}

impl Predictor<'_> {
    /// Logits `[batch, outputs]`, in float32 whatever the precision.
    pub fn logits(&self, batch: &Batch) -> Result<Tensor> {
        let (model, mode) = (self.model, Mode::Evaluate);
        let embedded = model.encoder.embed(batch, None, mode)?;
        let embedded = model.turned(self.task, &embedded)?;
        let aligned = match &self.change {
            Some(change) => change.apply(&embedded)?,
            None => embedded,
        };
        let pooled = model.encoder.pooled(&aligned, batch, mode)?;
        model.logits(self.task, &pooled, mode)
    }
}
