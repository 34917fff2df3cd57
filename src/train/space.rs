//! What a run's weights take on the disk, and whether that is there before it starts.

use std::path::Path;

use anyhow::{bail, Result};
use tch::Tensor;

use super::step::learner::Learner;
use crate::config::{After, Config};
use crate::model::save;

/// Bytes of weights on the disk while a run trains, at most, and at its end: checkpoints, and the best
/// weights of the mean and of each task, which may all be different.
pub fn needed(config: &Config, learner: &Learner) -> Result<(u64, u64)> {
    let sum = |tensors: &[(String, Tensor)]| -> u64 {
        let size = |tensor: &Tensor| tensor.numel() * tensor.kind().elt_size_in_bytes();
        tensors.iter().map(|(_, tensor)| size(tensor) as u64).sum()
    };
    let model = &learner.model;
    let stores = [model.encoder.variables(), &model.heads, &model.alignments];
    let weights: u64 = stores
        .map(|store| sum(&save::variables(store)))
        .iter()
        .sum();
    let checkpoint = weights + sum(&learner.optimizer.state()?);
    let kept = &config.checkpoints;
    let places = match kept.best_per_task {
        true => 1 + learner.data.len() as u64,
        false => 1,
    };
    let (checkpoints, best) = (kept.keep as u64 * checkpoint, places * weights);
    let end = match kept.after {
        After::All => checkpoints + best,
        After::Best => best,
        After::Nothing => 0,
    };
    // A new checkpoint is whole before the oldest goes.
    Ok((checkpoints + checkpoint + best, end))
}

/// Whether the disk that `folder` is to lie on has room for the weights.
///
/// # Errors
/// Where it has not: found before the first step, not after the last.
pub fn check(config: &Config, learner: &Learner, folder: &Path) -> Result<()> {
    let (needed, _) = needed(config, learner)?;
    let there = folder.ancestors().find(|place| place.exists());
    let there = there.filter(|place| !place.as_os_str().is_empty());
    let Ok(disk) = rustix::fs::statvfs(there.unwrap_or(Path::new("."))) else {
        return Ok(());
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if needed > free {
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        bail!(
            "{}: the run's weights take up to {:.2} GB, and its disk has {:.2} GB left; free some, \
             give another --out, or lower checkpoints.keep, set checkpoints.best_per_task: false or \
             checkpoints.after: best",
            folder.display(),
            gigabytes(needed),
            gigabytes(free)
        );
    }
    Ok(())
}
