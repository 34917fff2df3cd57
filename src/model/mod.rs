//! Encoder (rust-bert), alignment, heads, weights in and out.
//!
//! ŷ_i = A_i · pool( B( E(x) · R_i ) ): all tasks share the embedding layer E and the encoder B;
//! each has its head A_i and, when trained aligned, its matrix R_i (Wu, Zhang, Ré, ICLR 2020).

pub mod alignment;
pub mod download;
pub mod encoder;
pub mod encoder_config;
pub mod encoder_dir;
pub mod forward;
pub mod head;
pub mod hub;
pub mod save;
pub mod weights;

use anyhow::Result;
use sha2::{Digest, Sha256};
use tch::nn::VarStore;
use tch::{Kind, Tensor};

use crate::data::Batch;
use alignment::{Alignment, Form, Start};
use encoder::Encoder;
use head::Head;

/// What a task brings to the model.
#[derive(Debug, Clone)]
pub struct TaskShape {
    pub name: String,
    /// Classes, or 1 for regression.
    pub outputs: i64,
}

struct TaskModule {
    head: Head,
    alignment: Option<Alignment>,
}

/// The shared encoder with every task's head and alignment.
pub struct MultiTaskModel {
    pub encoder: Encoder,
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
        encoder: Encoder,
        tasks: &[TaskShape],
        alignment: Option<(Form, Start)>,
        head_dropout: f64,
        seed: u64,
    ) -> Result<MultiTaskModel> {
        let device = encoder.variables.device();
        let (heads, alignments) = (VarStore::new(device), VarStore::new(device));
        let width = encoder.config.hidden_size;
        let tasks = tasks
            .iter()
            .map(|task| -> Result<TaskModule> {
                tch::manual_seed(named_seed(seed, &format!("head {}", task.name)));
                let head = Head::new(
                    &(heads.root() / &task.name),
                    width,
                    task.outputs,
                    head_dropout,
                )?;
                tch::manual_seed(named_seed(seed, &format!("alignment {}", task.name)));
                let alignment = alignment
                    .map(|(form, start)| {
                        Alignment::new(&(alignments.root() / &task.name), form, start, width)
                    })
                    .transpose()?;
                Ok(TaskModule { head, alignment })
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
    pub fn forward(&self, task: usize, batch: &Batch, train: bool) -> Result<Tensor> {
        let module = &self.tasks[task];
        let embedded = self.encoder.embed(batch, train)?;
        let aligned = match &module.alignment {
            Some(alignment) => alignment.apply(&embedded)?,
            None => embedded,
        };
        let (_, pooled) = self.encoder.encode(&aligned, batch, train)?;
        Ok(module.head.apply(&pooled, train)?.f_to_kind(Kind::Float)?)
    }

    /// The alignment of the task at index `task`, when trained aligned.
    pub fn alignment(&self, task: usize) -> Option<&Alignment> {
        self.tasks[task].alignment.as_ref()
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
