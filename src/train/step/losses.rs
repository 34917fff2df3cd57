//! What training minimises of a task.

use anyhow::Result;
use tch::{Reduction, Tensor};

use crate::task::{Labels, Task};

/// The losses of a batch's objectives, `[n]`: cross-entropy of classes and squared error of numbers,
/// one each, and of labels of which any may hold the binary cross-entropy of every label; means over
/// rows. `labels` as [`super::super::feed::loader::Loaded::labels`].
pub fn of(task: &Task, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let none: Option<Tensor> = None;
    let loss = match task.labels {
        Labels::Range { .. } => logits
            .f_squeeze_dim(-1)?
            .f_mse_loss(labels, Reduction::Mean)?,
        Labels::Classes(_) => {
            logits.f_cross_entropy_loss(labels, none, Reduction::Mean, -100, 0.0)?
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
