//! What training minimises of a task.

use anyhow::Result;
use tch::{Reduction, Tensor};

use crate::task::{Labels, Task};

/// What cross-entropy makes of a class; as torch.nn.CrossEntropyLoss has it, also of both together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Target<'a> {
    /// Of its probability, the share that all classes have alike (Szegedy et al. 2016, Rethinking the
    /// Inception Architecture).
    pub smoothing: f64,
    /// What rows weigh in the mean by their class, float32 `[classes]`; none where all weigh the same.
    pub class_weights: Option<&'a Tensor>,
}

/// The losses of a batch's objectives, `[n]`: cross-entropy of classes and squared error of numbers,
/// one each, and of labels of which any may hold the binary cross-entropy of every label; means over
/// rows. `labels` as [`super::super::feed::loader::Part::labels`].
pub fn of(task: &Task, logits: &Tensor, labels: &Tensor, target: &Target) -> Result<Tensor> {
    let none: Option<Tensor> = None;
    let loss = match task.labels {
        Labels::Range { .. } => logits
            .f_squeeze_dim(-1)?
            .f_mse_loss(labels, Reduction::Mean)?,
        Labels::Classes(_) => logits.f_cross_entropy_loss(
            labels,
            target.class_weights,
            Reduction::Mean,
            -100,
            target.smoothing,
        )?,
        Labels::AnyOf(_) => {
            let each = logits.f_binary_cross_entropy_with_logits(
                labels,
                none.as_ref(),
                none.as_ref(),
                Reduction::None,
            )?;
            return Ok(each.f_mean_dim(0, false, tch::Kind::Float)?);
        }
    };
    Ok(loss.f_unsqueeze(0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// torch.nn.functional.cross_entropy(logits, labels, weight=…, label_smoothing=…) of torch 2.11.
    #[test]
    fn smoothing_and_class_weights_are_those_of_pytorch() {
        let task = Task::load("MNLI").unwrap();
        let logits: [f32; 9] = [1.0, 0.0, -1.0, 0.5, 2.0, 0.0, -1.0, 1.0, 3.0];
        let logits = Tensor::from_slice(&logits).view([3, 3]);
        let labels = Tensor::from_slice(&[0i64, 2, 1]);
        let weights = Tensor::from_slice(&[0.5f32, 1.0, 3.0]);
        let cases = [(0.0, false), (0.3, false), (0.0, true), (0.3, true)];
        for ((smoothing, weighed), expected) in
            cases
                .into_iter()
                .zip([1.618964435, 1.635631102, 2.059067055, 1.921480713])
        {
            let target = Target {
                smoothing,
                class_weights: weighed.then_some(&weights),
            };
            let loss = of(&task, &logits, &labels, &target).unwrap();
            let loss = loss.double_value(&[0]);
            assert!((loss - expected).abs() < 1e-6, "{target:?}: {loss}");
        }
    }
}
