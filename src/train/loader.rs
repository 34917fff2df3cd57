//! Batches put together ahead of the step that takes them, on a thread of their own, in memory
//! from which a device copies without waiting.

use std::collections::VecDeque;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;

use anyhow::{anyhow, Result};
use tch::{Device, Kind, Tensor};

use super::tasks::TaskData;
use crate::data::batch::Shape;
use crate::data::sampling::PlannedBatch;
use crate::data::Batch;

/// Batches that wait, at most: one in work, one ready, one to spare.
pub const AHEAD: usize = 3;

/// A batch with its labels, on the run's device.
pub struct Loaded {
    pub planned: PlannedBatch,
    pub batch: Batch,
    /// Class indices `[batch]` in int64, or numbers `[batch]` in float32.
    pub labels: Tensor,
}

/// Gives batches back in the order in which they were asked for.
pub struct Loader {
    device: Device,
    /// Dropped to end the thread.
    orders: Sender<PlannedBatch>,
    loaded: Receiver<Result<Loaded>>,
    waiting: VecDeque<u64>,
}

impl Loader {
    /// A loader of rows of `data` in the engine's shape.
    pub fn start(data: Arc<Vec<TaskData>>, shape: Shape, device: Device) -> Loader {
        let (orders, queue) = channel::<PlannedBatch>();
        let (done, loaded) = channel();
        std::thread::spawn(move || {
            for planned in queue {
                // The one who asked has gone: the run has ended.
                if done.send(load(&data, planned, shape, device)).is_err() {
                    return;
                }
            }
        });
        Loader {
            device,
            orders,
            loaded,
            waiting: VecDeque::new(),
        }
    }

    /// The batch at `index` of the run, which `plan` gives; asks for those after it, up to `end`.
    pub fn at(
        &mut self,
        index: u64,
        end: u64,
        mut plan: impl FnMut(u64) -> PlannedBatch,
    ) -> Result<Loaded> {
        let mut next = self.waiting.back().map_or(index, |last| last + 1);
        while self.waiting.len() < AHEAD && next < end.max(index + 1) {
            self.orders.send(plan(next)).map_err(|_| gone())?;
            self.waiting.push_back(next);
            next += 1;
        }
        let first = self.waiting.pop_front();
        anyhow::ensure!(first == Some(index), "batch {index} was not the next");
        let Loaded {
            planned,
            batch,
            labels,
        } = self.loaded.recv().map_err(|_| gone())??;
        Ok(Loaded {
            planned,
            batch: batch.to(self.device)?,
            labels: labels.f_to_device_(self.device, labels.kind(), true, false)?,
        })
    }
}

fn gone() -> anyhow::Error {
    anyhow!("the thread that puts batches together has ended")
}

fn load(data: &[TaskData], planned: PlannedBatch, shape: Shape, device: Device) -> Result<Loaded> {
    let task = &data[planned.task];
    let batch = Batch::collate(&task.train, &planned.rows, shape, Device::Cpu)?;
    let labels = labels(task, &planned.rows)?;
    Ok(match device {
        Device::Cpu => Loaded {
            planned,
            batch,
            labels,
        },
        _ => Loaded {
            planned,
            batch: batch.pinned(device)?,
            labels: labels.f_pin_memory(device)?,
        },
    })
}

/// Class indices or numbers, on the CPU.
fn labels(data: &TaskData, rows: &[u32]) -> Result<Tensor> {
    let values: Vec<f32> = rows
        .iter()
        .map(|&row| data.train.label(row as usize).unwrap_or(f32::NAN))
        .collect();
    let labels = Tensor::f_from_slice(&values)?;
    Ok(match data.task.is_regression() {
        true => labels,
        false => labels.f_to_kind(Kind::Int64)?,
    })
}
