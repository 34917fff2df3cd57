//! What the model puts out for a split.

use std::ops::RangeInclusive;
use std::sync::mpsc::sync_channel;

use anyhow::{bail, Result};
use tch::{Device, Tensor};

use super::ranks::Ranks;
use super::step::precision::Arithmetic;
use crate::data::batch::Shape;
use crate::data::{Batch, TokenizedSplit};
use crate::libtorch::threads;
use crate::model::multi_task::Predictor;
use crate::model::{fit, MultiTaskModel};
use crate::task::Labels;

/// Batches that are put together ahead of the one that is computed.
const AHEAD: usize = 2;

/// What the model puts out for rows of a task.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Row after row, `width` numbers each: logits, or the predicted number.
    pub values: Vec<f32>,
    pub width: usize,
}

impl Outputs {
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.width..(row + 1) * self.width]
    }

    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The most likely class of a row; the first of equals.
    pub fn class(&self, row: usize) -> usize {
        let logits = self.row(row);
        (1..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best })
    }

    /// The probabilities of the classes, softmax of a row's logits, or of labels of which any may
    /// hold, the sigmoid of each.
    pub fn probabilities(&self, row: usize, labels: &Labels) -> Vec<f64> {
        let logits = self.row(row);
        if matches!(labels, Labels::AnyOf(_)) {
            let sigmoid = |&x: &f32| 1.0 / (1.0 + f64::from(-x).exp());
            return logits.iter().map(sigmoid).collect();
        }
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f64> = logits
            .iter()
            .map(|&x| f64::from(x - largest).exp())
            .collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(|p| p / sum).collect()
    }

    /// Whether the label at `index` is predicted: likelier than not.
    pub fn holds(&self, row: usize, index: usize) -> bool {
        self.row(row)[index] > 0.0
    }

    /// A row's prediction as files have it: the class's name, the number with three decimals, or the
    /// labels that hold.
    pub fn text(&self, row: usize, labels: &Labels) -> String {
        match labels {
            Labels::Classes(classes) => classes.names[self.class(row)].clone(),
            Labels::Range { min, max } => format!("{:.3}", self.number(row, *min, *max)),
            Labels::AnyOf(any) => any.list(|index| self.holds(row, index)),
        }
    }

    /// The predicted number of a row, clipped to the task's range.
    pub fn number(&self, row: usize, min: f64, max: f64) -> f64 {
        f64::from(self.row(row)[0]).clamp(min, max)
    }
}

/// How outputs are computed.
pub struct Way<'a> {
    /// Rows in a batch.
    pub batch_size: usize,
    /// The id that pads a batch.
    pub pad: i64,
    pub arithmetic: Arithmetic,
    /// The processes that share the rows.
    pub ranks: &'a Ranks,
}

/// Runs the model over a whole split of a task, given by its index and its name, rows of like length
/// together. `progress` is told of the rows of each batch, and ends it all by an error.
///
/// # Errors
/// An input error where a row does not fit the encoder; an error where an output is no finite
/// number, which no score nor prediction may be made of.
pub fn compute(
    model: &MultiTaskModel,
    (task, name): (usize, &str),
    split: &TokenizedSplit,
    way: &Way,
    progress: &dyn Fn(usize) -> Result<()>,
) -> Result<Outputs> {
    fit::check_rows(model.encoder.limits(), split, name)?;
    if split.is_empty() {
        return Ok(Outputs {
            values: Vec::new(),
            width: 1,
        });
    }
    let mut order: Vec<u32> = (0..split.len() as u32).collect();
    order.sort_by_key(|&row| split.length(row as usize));
    // Every process has every so many-th row: of all lengths.
    let own = order.iter().copied().skip(way.ranks.rank);
    let own: Vec<u32> = own.step_by(way.ranks.size).collect();
    let device = model.encoder.variables().device();
    let pass = Pass {
        predictor: tch::no_grad(|| model.predictor(task))?,
        shape: model.encoder.batch_shape(way.pad),
        batches: match device {
            Device::Cpu => for_threads(&own, split, way.batch_size),
            _ => own.chunks(way.batch_size).collect(),
        },
        arithmetic: way.arithmetic,
        split,
    };
    let sorted = match device {
        Device::Cpu => pass.on_threads(progress)?,
        _ => pass.on_device(device, progress)?,
    };
    let width = model.outputs(task);
    let mut values = vec![0.0; order.len() * width];
    for (logits, &row) in sorted.chunks(width).zip(&own) {
        let to = row as usize * width;
        values[to..to + width].copy_from_slice(logits);
    }
    if way.ranks.size > 1 {
        let all = Tensor::f_from_slice(&values)?;
        way.ranks.sum([&all])?;
        values = Vec::try_from(all)?;
    }
    let found = values.iter().enumerate().find(|(_, v)| !v.is_finite());
    if let Some((at, value)) = found {
        bail!(
            "task {name}, line {}: the model puts out {value}; its weights have left what can \
             be computed with: train with a smaller training.learning_rate or precision fp32",
            split.line(at / width)
        );
    }
    Ok(Outputs { values, width })
}

/// Tokens that a thread of a CPU takes at a time, at least and at most.
const TOKENS: RangeInclusive<usize> = 128..=1024;

/// So many batches at least, where that leaves each enough tokens: threads then end together.
const BATCHES: usize = 64;

/// Rows in batches for threads that take each one alone: of few tokens, whatever the number of threads, so that
/// the outputs do not depend on it; of all images that are computed at a time no more than one batch.
fn for_threads<'a>(rows: &'a [u32], split: &TokenizedSplit, batch_size: usize) -> Vec<&'a [u32]> {
    if split.has_images() {
        let threads = tch::get_num_threads().max(1) as usize;
        return rows.chunks(batch_size.div_ceil(threads)).collect();
    }
    let all: usize = rows.iter().map(|&row| split.length(row as usize)).sum();
    let most = (all / BATCHES).clamp(*TOKENS.start(), *TOKENS.end());
    let (mut begin, mut tokens, mut batches) = (0, 0, Vec::new());
    for (place, &row) in rows.iter().enumerate() {
        tokens += split.length(row as usize);
        if place > begin && (tokens > most || place - begin == batch_size) {
            batches.push(&rows[begin..place]);
            (begin, tokens) = (place, split.length(row as usize));
        }
    }
    batches.extend(Some(&rows[begin..]).filter(|rest| !rest.is_empty()));
    batches
}

/// Batches that a task's predictor is to answer.
struct Pass<'a> {
    predictor: Predictor<'a>,
    shape: Shape,
    batches: Vec<&'a [u32]>,
    arithmetic: Arithmetic,
    split: &'a TokenizedSplit,
}

impl Pass<'_> {
    /// Each thread takes batch after batch by itself, and decodes its images.
    fn on_threads(&self, progress: &dyn Fn(usize) -> Result<()>) -> Result<Vec<f32>> {
        let Pass { shape, split, .. } = *self;
        let (batches, arithmetic) = (&self.batches, self.arithmetic);
        let mut values = vec![Vec::new(); batches.len()];
        threads::share_out(
            &self.predictor,
            batches.len(),
            |predictor, number| {
                tch::no_grad(|| {
                    let batch = Batch::collate(split, batches[number], shape, Device::Cpu)?;
                    numbers(&arithmetic.run(|| predictor.logits(&batch))?)
                })
            },
            |number, logits| {
                values[number] = logits;
                progress(batches[number].len())
            },
        )?;
        Ok(values.concat())
    }

    /// A device takes batch after batch; nothing is read back until the end.
    fn on_device(
        &self,
        device: Device,
        progress: &dyn Fn(usize) -> Result<()>,
    ) -> Result<Vec<f32>> {
        let Pass { shape, split, .. } = *self;
        let all = &self.batches;
        std::thread::scope(|scope| {
            // Images take time to decode: the next batches are put together while one is computed.
            let (done, batches) = sync_channel(AHEAD);
            scope.spawn(move || {
                for rows in all {
                    let batch = Batch::collate(split, rows, shape, Device::Cpu);
                    let batch = batch.and_then(|batch| batch.staged(device));
                    // The one who asked has gone: a batch has failed.
                    if done.send(batch).is_err() {
                        return;
                    }
                }
            });
            let computed = batches.iter().map(|batch| {
                let batch = batch?.to(device)?;
                let run = || self.arithmetic.run(|| self.predictor.logits(&batch));
                let logits = tch::no_grad(run)?;
                progress(logits.size()[0] as usize)?;
                Ok(logits)
            });
            let logits: Vec<Tensor> = computed.collect::<Result<_>>()?;
            match logits.is_empty() {
                true => Ok(Vec::new()),
                false => numbers(&Tensor::f_cat(&logits, 0)?.f_to_device(Device::Cpu)?),
            }
        })
    }
}

fn numbers(logits: &Tensor) -> Result<Vec<f32>> {
    Ok(Vec::try_from(logits.f_reshape([-1])?)?)
}
