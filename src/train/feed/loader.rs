//! Batches put together ahead of the step that takes them, on a thread of their own, in memory
//! from which a device copies without waiting.

use std::collections::VecDeque;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;

use anyhow::{anyhow, bail, Result};
use tch::{Device, Tensor};

use super::batches::Batches;
use crate::data::batch::Shape;
use crate::data::planned::{Parts, PlannedBatch};
use crate::data::Batch;
use crate::libtorch;
use crate::model::named_seed;
use crate::task::{Label, Labels};
use crate::train::ranks::Ranks;
use crate::train::tasks::TaskData;

/// Passes that are put together ahead, at least, where they are known.
const AHEAD: usize = 3;

/// What goes through the model at once: this process's rows of a batch in the host's memory, page-locked
/// where a device copies from it.
pub struct Loaded {
    /// The tasks', each one's rows after the other's.
    pub parts: Vec<Part>,
    pub batch: Batch,
}

/// Rows of one task with their labels.
pub struct Part {
    /// What all processes have of it.
    pub planned: PlannedBatch,
    /// Tokens of that.
    pub tokens: usize,
    /// This process's share of its rows, or of what they weigh by their class.
    pub share: f64,
    /// This process's rows and tokens in the batch.
    pub own_rows: i64,
    pub own_tokens: i64,
    /// Class indices `[batch]` in int64, numbers `[batch]` in float32, or of labels of which any may
    /// hold 1 where it does `[batch, labels]` in float32.
    pub labels: Tensor,
}

impl Loaded {
    /// Batch and the parts' labels on `device`; nobody waits for the copy.
    pub fn to(&self, device: Device) -> Result<(Batch, Vec<Tensor>)> {
        let to = |part: &Part| {
            let labels = &part.labels;
            labels.f_to_device_(device, labels.kind(), true, false)
        };
        let labels: Result<_, _> = self.parts.iter().map(to).collect();
        Ok((self.batch.to(device)?, labels?))
    }
}

/// Gives the batches of a run's steps in their order.
pub struct Loader {
    /// Dropped to end the thread.
    orders: Sender<(u64, Parts)>,
    loaded: Receiver<Result<Loaded>>,
    /// The steps that are on their way, with the numbers of their passes.
    steps: VecDeque<(u64, Vec<u64>)>,
    /// Whether a batch of several tasks is one pass.
    joins: bool,
}

impl Loader {
    /// A loader of the parts that `ranks` has of rows of `data`, in the engine's shape, for `device` to
    /// copy. What is drawn for a pass follows from the run's seed and the pass's number.
    pub fn start(
        data: Arc<Vec<TaskData>>,
        shape: Shape,
        device: Device,
        seed: u64,
        ranks: Arc<Ranks>,
    ) -> Loader {
        let (orders, queue) = channel::<(u64, Parts)>();
        let (done, loaded) = channel();
        std::thread::spawn(move || {
            for (pass, parts) in queue {
                let drawn = named_seed(seed, &format!("images of pass {pass}")) as u64;
                let shape = shape.drawn(drawn);
                // The one who asked has gone: the run has ended.
                let loaded = load(&data, parts, shape, device, &ranks);
                if done.send(loaded).is_err() {
                    return;
                }
            }
        });
        Loader {
            orders,
            loaded,
            steps: VecDeque::new(),
            joins: shape.joins(),
        }
    }

    /// The batches of an optimiser step, with the numbers of its passes; has the steps after it begun
    /// too. Steps come one after the other.
    pub fn passes(&mut self, batches: &mut Batches, step: u64) -> Result<Vec<(u64, Loaded)>> {
        let passes = self.begin(batches, step)?;
        let each = passes.into_iter();
        each.map(|index| Ok((index, self.loaded.recv().map_err(|_| gone())??)))
            .collect()
    }

    fn begin(&mut self, batches: &mut Batches, step: u64) -> Result<Vec<u64>> {
        let mut next = self.steps.back().map_or(step, |(last, _)| last + 1);
        let total = batches.length.total;
        let waiting = |steps: &VecDeque<(u64, Vec<u64>)>| -> usize {
            steps.iter().map(|(_, passes)| passes.len()).sum()
        };
        while next == step || (waiting(&self.steps) <= AHEAD && next < total && batches.knows(next))
        {
            let mut passes = Vec::new();
            for (first, parts) in batches.step(next) {
                let each: Vec<(u64, Parts)> = match self.joins {
                    true => vec![(first, parts)],
                    false => (first..)
                        .zip(parts.into_iter().map(|part| vec![part]))
                        .collect(),
                };
                for (index, parts) in each {
                    self.orders.send((index, parts)).map_err(|_| gone())?;
                    passes.push(index);
                }
            }
            self.steps.push_back((next, passes));
            next += 1;
        }
        match self.steps.pop_front() {
            Some((first, passes)) if first == step => Ok(passes),
            _ => bail!("step {step} was not the next"),
        }
    }
}

fn gone() -> anyhow::Error {
    anyhow!("the thread that puts batches together has ended")
}

fn load(
    data: &[TaskData],
    parts: Parts,
    shape: Shape,
    device: Device,
    ranks: &Ranks,
) -> Result<Loaded> {
    let (mut loaded, mut own_rows) = (Vec::new(), Vec::new());
    for planned in parts {
        let task = &data[planned.task];
        let length = |&row: &u32| task.train.length(row as usize);
        let mut own = ranks.part(&planned.rows, length);
        let weight = |rows: &[u32]| -> f64 { rows.iter().map(|&row| task.weight(row)).sum() };
        let share = weight(&own) / weight(&planned.rows);
        if own.is_empty() {
            // All take part in every pass; this one's counts for nothing.
            own.push(planned.rows[0]);
        }
        loaded.push(Part {
            tokens: planned.rows.iter().map(length).sum(),
            share,
            own_rows: own.len() as i64,
            own_tokens: own.iter().map(length).sum::<usize>() as i64,
            labels: libtorch::staged(&labels(task, &own)?, device)?,
            planned,
        });
        own_rows.push(own);
    }
    let train = |part: &Part| &data[part.planned.task].train;
    let own: Vec<_> = loaded
        .iter()
        .map(train)
        .zip(own_rows.iter().map(Vec::as_slice))
        .collect();
    let whole = |part| (train(part), &part.planned.rows[..]);
    let others: Vec<_> = match ranks.size {
        1 => Vec::new(),
        _ => loaded.iter().map(whole).collect(),
    };
    let batch = Batch::joined(&own, &others, shape, Device::Cpu)?;
    Ok(Loaded {
        batch: batch.staged(device)?,
        parts: loaded,
    })
}

/// As [`Part::labels`].
fn labels(data: &TaskData, rows: &[u32]) -> Result<Tensor> {
    let of_row = |&row: &u32| data.train.label(row as usize);
    let outputs = data.task.outputs() as usize;
    let numbers = || rows.iter().map(|row| of_row(row).and_then(Label::number));
    Ok(match &data.task.labels {
        Labels::Classes(_) => {
            let classes: Vec<i64> = numbers().map(|n| n.map_or(-1, |n| n as i64)).collect();
            Tensor::f_from_slice(&classes)?
        }
        Labels::Range { .. } => {
            let values: Vec<f32> = numbers().map(|n| n.unwrap_or(f32::NAN)).collect();
            Tensor::f_from_slice(&values)?
        }
        Labels::AnyOf(_) => {
            let mut holds = Vec::with_capacity(rows.len() * outputs);
            for row in rows {
                let label = of_row(row);
                let mark = |index| label.map_or(f32::NAN, |l| f32::from(u8::from(l.holds(index))));
                holds.extend((0..outputs).map(mark));
            }
            Tensor::f_from_slice(&holds)?.f_view([rows.len() as i64, outputs as i64])?
        }
    })
}
