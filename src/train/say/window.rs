//! The losses and gradients' norms since the last look. They stay on the device: one read brings
//! them all over.

use anyhow::Result;
use tch::{Kind, Tensor};

use crate::data::planned::PlannedBatch;
use crate::train::tasks::TaskData;

/// One batch's loss, not yet read.
struct Entry {
    step: u64,
    batch: PlannedBatch,
    loss: Tensor,
    tokens: usize,
}

/// Batches and steps since the last look.
pub struct Window {
    entries: Vec<Entry>,
    /// Steps with the norms of their gradients.
    norms: Vec<(u64, Tensor)>,
    /// How many steps one after the other may have gradients that are not finite.
    forgiven: u64,
    /// How many have had, up to the last look.
    overflowed: u64,
}

/// What a look finds.
#[derive(Debug, Clone)]
pub struct Look {
    /// Mean loss of each task's batches; none where it had none.
    pub losses: Vec<Option<f64>>,
    /// Norm of the last step's gradients before clipping.
    pub gradient_norm: Option<f64>,
    /// Mean norm of each task's steps; none where it had none of its own.
    pub gradient_norms: Vec<Option<f64>>,
    /// The share of each task in the rows.
    pub shares: Vec<f64>,
    /// The further scalars, in their order.
    pub others: Vec<f64>,
    pub tokens: u64,
    /// The first loss or norm that is not a finite number.
    pub not_finite: Option<NotFinite>,
}

/// Where a run has left what can be computed with.
#[derive(Debug, Clone, PartialEq)]
pub struct NotFinite {
    what: &'static str,
    value: f64,
    /// Counted from 0.
    step: u64,
    batches: Vec<PlannedBatch>,
}

impl NotFinite {
    /// For people: the step, the tasks, their lines, what to do.
    pub fn sentence(&self, data: &[TaskData]) -> String {
        let batches = self.batches.iter().map(|batch| {
            let (name, train) = (&data[batch.task].task.name, &data[batch.task].train);
            let line = |&row: &u32| train.line(row as usize);
            let lines: Vec<u32> = batch.rows.iter().map(line).collect();
            format!("task {name} (lines {lines:?} of its training file)")
        });
        format!(
            "the {} is {} at step {}, from {}; try a smaller training.learning_rate or precision \
             fp32, and look at these lines and at the encoder's weights",
            self.what,
            self.value,
            self.step + 1,
            batches.collect::<Vec<_>>().join(" and "),
        )
    }
}

impl Window {
    /// `forgiven` steps one after the other may have gradients that are not finite: 0 but where
    /// a loss scale is looked for.
    pub fn new(forgiven: u64) -> Window {
        Window {
            entries: Vec::new(),
            norms: Vec::new(),
            forgiven,
            overflowed: 0,
        }
    }

    /// Adds the loss of a batch, a scalar, at optimiser step `step`.
    pub fn push(&mut self, step: u64, batch: PlannedBatch, loss: &Tensor, tokens: usize) {
        self.entries.push(Entry {
            step,
            batch,
            loss: loss.detach(),
            tokens,
        });
    }

    /// Adds the norm of a step's gradients, a scalar.
    pub fn push_norm(&mut self, step: u64, norm: Option<Tensor>) {
        self.norms.extend(norm.map(|norm| (step, norm)));
    }

    /// Reads everything over, `others` too, and starts afresh.
    pub fn take(&mut self, tasks: usize, others: &[Tensor]) -> Result<Look> {
        let entries = std::mem::take(&mut self.entries);
        let steps = std::mem::take(&mut self.norms);
        let losses = entries.iter().map(|e| &e.loss);
        let scalars = losses.chain(steps.iter().map(|(_, norm)| norm));
        let scalars: Vec<&Tensor> = scalars.chain(others).collect();
        let mut losses: Vec<f64> = if scalars.is_empty() {
            Vec::new()
        } else {
            Vec::try_from(Tensor::f_stack(&scalars, 0)?.f_to_kind(Kind::Double)?)?
        };
        let mut norms = losses.split_off(entries.len());
        let others = norms.split_off(steps.len());
        let mut of_tasks = vec![Mean::default(); tasks];
        let mut rows = vec![0; tasks];
        for (entry, &loss) in entries.iter().zip(&losses) {
            of_tasks[entry.batch.task].add(loss);
            rows[entry.batch.task] += entry.batch.rows.len();
        }
        let mut norms_of_tasks = vec![Mean::default(); tasks];
        for ((step, _), &norm) in steps.iter().zip(&norms) {
            let mut of_step = entries.iter().filter(|entry| entry.step == *step);
            let task = of_step.next().map(|entry| entry.batch.task);
            let task = task.filter(|&task| of_step.all(|entry| entry.batch.task == task));
            task.into_iter()
                .for_each(|task| norms_of_tasks[task].add(norm));
        }
        let loss = entries.iter().zip(&losses).find(|(_, l)| !l.is_finite());
        let loss = loss.map(|(entry, &value)| NotFinite {
            what: "loss",
            value,
            step: entry.step,
            batches: vec![entry.batch.clone()],
        });
        let overflow = self.overflow(&steps, &norms).map(|(step, value)| {
            let batches = entries.iter().filter(|e| e.step == step);
            NotFinite {
                what: "norm of the gradients",
                value,
                step,
                batches: batches.map(|e| e.batch.clone()).collect(),
            }
        });
        Ok(Look {
            losses: of_tasks.iter().map(Mean::value).collect(),
            gradient_norm: norms.last().copied(),
            gradient_norms: norms_of_tasks.iter().map(Mean::value).collect(),
            shares: {
                let all = rows.iter().sum::<usize>().max(1) as f64;
                rows.iter().map(|&rows| rows as f64 / all).collect()
            },
            others,
            tokens: entries.iter().map(|e| e.tokens as u64).sum(),
            // Of one step, the loss: the gradients come from it.
            not_finite: loss.into_iter().chain(overflow).min_by_key(|n| n.step),
        })
    }

    /// The first step whose norm is one too many that is not finite.
    fn overflow(&mut self, steps: &[(u64, Tensor)], norms: &[f64]) -> Option<(u64, f64)> {
        for ((step, _), &norm) in steps.iter().zip(norms) {
            if norm.is_finite() {
                self.overflowed = 0;
                continue;
            }
            self.overflowed += 1;
            if self.overflowed > self.forgiven {
                return Some((*step, norm));
            }
        }
        None
    }
}

/// A mean as it grows.
#[derive(Clone, Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn value(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A look at steps from `first` with a loss of 1 each and these norms.
    fn look(window: &mut Window, first: u64, norms: &[f64]) -> Look {
        for (step, norm) in (first..).zip(norms) {
            let batch = PlannedBatch {
                task: 0,
                rows: vec![step as u32],
                weight: 1.0,
            };
            window.push(step, batch, &Tensor::from(1.0), 1);
            window.push_norm(step, Some(Tensor::from(*norm)));
        }
        window.take(1, &[]).unwrap()
    }

    #[test]
    fn a_gradient_that_is_not_finite_is_found_also_between_two_looks() {
        let mut window = Window::new(0);
        assert_eq!(look(&mut window, 0, &[1.0, 2.0]).not_finite, None);
        let found = look(&mut window, 2, &[1.0, f64::INFINITY, 3.0]);
        let not_finite = found.not_finite.unwrap();
        assert_eq!((not_finite.step, not_finite.value), (3, f64::INFINITY));
        assert_eq!(not_finite.batches[0].rows, [3]);
        assert_eq!(found.gradient_norm, Some(3.0));
    }

    #[test]
    fn a_step_of_one_task_has_its_norm() {
        let mut window = Window::new(0);
        for (step, task, rows) in [(0, 0, 3), (1, 1, 4), (2, 1, 4), (3, 0, 2), (3, 1, 3)] {
            let batch = PlannedBatch {
                task,
                rows: vec![0; rows],
                weight: 1.0,
            };
            window.push(step, batch, &Tensor::from(1.0), 1);
        }
        for (step, norm) in [(0, 5.0), (1, 2.0), (2, 4.0), (3, 9.0)] {
            window.push_norm(step, Some(Tensor::from(norm)));
        }
        let look = window.take(3, &[Tensor::from(7.0)]).unwrap();
        assert_eq!(look.gradient_norms, [Some(5.0), Some(3.0), None]);
        assert_eq!(look.shares, [5.0 / 16.0, 11.0 / 16.0, 0.0]);
        assert_eq!((look.gradient_norm, look.others), (Some(9.0), vec![7.0]));
    }

    #[test]
    fn a_loss_scale_may_be_looked_for_but_not_for_ever() {
        let nan = f64::NAN;
        let mut window = Window::new(3);
        assert_eq!(look(&mut window, 0, &[nan, nan, nan, 1.0]).not_finite, None);
        assert_eq!(look(&mut window, 4, &[nan, nan]).not_finite, None);
        let found = look(&mut window, 6, &[nan, nan]).not_finite.unwrap();
        assert_eq!(found.step, 7);
    }
}
