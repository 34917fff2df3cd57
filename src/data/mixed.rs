//! Batches of rows of several tasks.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Rows of each task in each batch, `[batch][task]`, where all tasks' rows are shuffled together
/// and cut into batches of `batch_size`; `shares` are the rows of each task.
pub fn shuffled(shares: &[usize], batch_size: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
    let mut places: Vec<usize> = Vec::with_capacity(shares.iter().sum());
    for (task, &rows) in shares.iter().enumerate() {
        places.extend(std::iter::repeat_n(task, rows));
    }
    places.shuffle(rng);
    let count = |batch: &[usize]| {
        let mut counts = vec![0; shares.len()];
        batch.iter().for_each(|&task| counts[task] += 1);
        counts
    };
    places.chunks(batch_size).map(count).collect()
}

/// The same where every batch has `batch_size` / k rows, rounded down, of each of the k tasks; the
/// last has what is left. All `shares` are equal.
pub fn even(shares: &[usize], batch_size: usize) -> Vec<Vec<usize>> {
    let each = (batch_size / shares.len().max(1)).max(1);
    let rows = shares.first().copied().unwrap_or(0);
    (0..rows)
        .step_by(each)
        .map(|start| vec![each.min(rows - start); shares.len()])
        .collect()
}
