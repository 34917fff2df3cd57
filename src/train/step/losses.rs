//! What training minimises of a task.

use anyhow::Result;
use tch::{Reduction, Tensor};

use crate::task::{Labels, Task};

/// The losses of a batch's objectives, `[n]`: cross-entropy of classes and squared error of numbers,
/// one each, and of labels of which any may hold the binary cross-entropy of every label; means over
/// rows. `labels` as [`super::super::feed::loader::Loaded::labels`].
/// Of a class's probability, the target gives the share `smoothing` to all classes alike (Szegedy et
/// al. 2016, Rethinking the Inception Architecture).
pub fn of(task: &Task, logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    let none: Option<Tensor> = None;
    let loss = match task.labels {
        Labels::Range { .. } => logits
            .f_squeeze_dim(-1)?
            .f_mse_loss(labels, Reduction::Mean)?,
        Labels::Classes(_) => {
            logits.f_cross_entropy_loss(labels, none, Reduction::Mean, -100, smoothing)?
        }
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

    #[test]
    fn smoothing_gives_its_share_to_all_classes_alike() {
        let task = Task::load("MNLI").unwrap();
        let logits = Tensor::from_slice(&[1.0f32, 0.0, -1.0]).view([1, 3]);
        let labels = Tensor::from_slice(&[0i64]);
        let loss = |smoothing| {
            let losses = of(&task, &logits, &labels, smoothing).unwrap();
            losses.double_value(&[0])
        };
        let surprises = [1.0f64, 0.0, -1.0].map(|x| {
            let sum: f64 = [1.0f64, 0.0, -1.0].iter().map(|y| y.exp()).sum();
            sum.ln() - x
        });
        let mean = surprises.iter().sum::<f64>() / 3.0;
        assert!((loss(0.0) - surprises[0]).abs() < 1e-6);
        assert!((loss(0.3) - (0.7 * surprises[0] + 0.3 * mean)).abs() < 1e-6);
    }
}
