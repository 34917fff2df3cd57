//! θ_i = X_iᵀy_i of objectives: what their labels have in common with the features of their rows, as
//! Algorithm 2 of Wu, Zhang and Ré (ICLR 2020) takes it.
//!
//! X_i are what the shared module puts out for rows, before any step. Labels are taken less their
//! mean, so that a common label has no longer θ for being common, of 0 and 1 (two classes, labels of
//! which any may hold) or scaled to that (numbers in a range). θ_i is the mean over its rows: of
//! labels of the same rows the algorithm's own but for a factor that weights have not, and of tasks
//! with rows of their own, which it does not treat, comparable.

use anyhow::Result;
use nalgebra::DMatrix;
use tch::{Kind, Tensor};

use crate::bail_input;
use crate::data::{Batch, TokenizedSplit};
use crate::libtorch;
use crate::model::{fit, Mode, MultiTaskModel};
use crate::task::{Labels, Task};

/// A task's rows, and how they go through its model.
pub struct Rows<'a> {
    pub task: &'a Task,
    /// The task's index in the model.
    pub index: usize,
    pub split: &'a TokenizedSplit,
    /// Rows of `split`.
    pub rows: &'a [u32],
}

/// θ of the objectives of `tasks`, `[width, objectives]`, streamed: never the whole X. `progress` is
/// told of the rows of each batch.
///
/// # Errors
/// An input error for a task whose labels are no numbers: more than two classes.
pub fn theta(
    model: &MultiTaskModel,
    tasks: &[Rows],
    batch_size: usize,
    pad: i64,
    progress: &dyn Fn(usize),
) -> Result<DMatrix<f64>> {
    let width = model.encoder.output_width();
    let mut columns = Vec::new();
    for task in tasks {
        let sum = of_task(model, task, batch_size, pad, progress)?;
        columns.extend(Vec::<f64>::try_from(sum.f_reshape([-1])?)?);
    }
    Ok(DMatrix::from_vec(
        width as usize,
        columns.len() / width as usize,
        columns,
    ))
}

/// `[objectives, width]` of one task, float64 on the CPU.
fn of_task(
    model: &MultiTaskModel,
    rows: &Rows,
    batch_size: usize,
    pad: i64,
    progress: &dyn Fn(usize),
) -> Result<Tensor> {
    let encoder = model.encoder.as_ref();
    fit::check_rows(encoder.limits(), rows.split, &rows.task.name)?;
    let device = encoder.variables().device();
    let objectives = rows.task.objectives().len();
    let values = values(rows.task, rows.split, rows.rows)?;
    let mut means = vec![0.0; objectives];
    for row in values.chunks(objectives) {
        for (mean, value) in means.iter_mut().zip(row) {
            *mean += value / rows.rows.len() as f64;
        }
    }
    let size = [objectives as i64, encoder.output_width()];
    let mut sum = Tensor::f_zeros(size, (Kind::Double, device))?;
    // Rows of like length together; the sum does not depend on their order.
    let mut order: Vec<usize> = (0..rows.rows.len()).collect();
    order.sort_by_key(|&at| rows.split.length(rows.rows[at] as usize));
    for at in order.chunks(batch_size) {
        let chosen: Vec<u32> = at.iter().map(|&at| rows.rows[at]).collect();
        let shape = encoder.batch_shape(pad);
        let batch = Batch::collate(rows.split, &chosen, shape, device)?;
        let features = tch::no_grad(|| -> Result<Tensor> {
            let embedded = model.embed(rows.index, &batch, None, Mode::Evaluate)?;
            encoder.pooled(&embedded, &batch, Mode::Evaluate)
        })?;
        let centred: Vec<f64> = at
            .iter()
            .flat_map(|&at| &values[at * objectives..(at + 1) * objectives])
            .zip(means.iter().cycle())
            .map(|(value, mean)| (value - mean) / rows.rows.len() as f64)
            .collect();
        let y = Tensor::f_from_slice(&centred)?.f_view([at.len() as i64, objectives as i64])?;
        let y = libtorch::sent(&y, device)?.f_transpose(0, 1)?;
        sum = sum.f_addmm(&y, &features.f_to_kind(Kind::Double)?)?;
        progress(at.len());
    }
    Ok(sum.f_to_device(tch::Device::Cpu)?)
}

/// The labels of rows as numbers from 0 to 1, row after row.
fn values(task: &Task, split: &TokenizedSplit, rows: &[u32]) -> Result<Vec<f64>> {
    let number = |row: u32| {
        let label = split.label(row as usize).and_then(|label| label.number());
        f64::from(label.unwrap_or(f32::NAN))
    };
    Ok(match &task.labels {
        Labels::Classes(classes) if classes.names.len() > 2 => bail_input!(
            "weighting `svd` needs labels of two values or numbers; {} has {} classes",
            task.name,
            classes.names.len()
        ),
        Labels::Classes(_) => rows.iter().map(|&row| number(row)).collect(),
        Labels::Range { min, max } => rows
            .iter()
            .map(|&row| (number(row) - min) / (max - min))
            .collect(),
        Labels::AnyOf(any) => {
            let labels = 0..any.names.len();
            let of_row = |&row: &u32| {
                let label = split.label(row as usize);
                let holds = move |index| label.is_some_and(|label| label.holds(index));
                labels
                    .clone()
                    .map(move |index| f64::from(u8::from(holds(index))))
            };
            rows.iter().flat_map(of_row).collect()
        }
    })
}
