//! Batches of rows of several tasks.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::planned::TaskRows;

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

/// Draws `count` of a task's rows and deals them to batches that take `sizes` of them each.
///
/// The rows are gone through as often as that takes; within one pass none comes twice. Within
/// `window` batches they are sorted by length, cut, and the cuts are handed to the batches in random
/// order: a batch's rows of one task are of like length, whatever the other tasks' are.
pub fn deal(
    task: &TaskRows,
    count: usize,
    sizes: &[usize],
    window: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<Vec<u32>> {
    let mut drawn: Vec<usize> = Vec::with_capacity(count);
    while drawn.len() < count {
        let mut pass: Vec<usize> = (0..task.rows.len()).collect();
        pass.shuffle(rng);
        pass.truncate(count - drawn.len());
        drawn.extend(pass);
    }
    let mut rest = drawn.as_mut_slice();
    let mut dealt = vec![Vec::new(); sizes.len()];
    for (i, sizes) in sizes.chunks(window).enumerate() {
        let (mut rows, others) = rest.split_at_mut(sizes.iter().sum());
        rest = others;
        if window > 1 {
            rows.sort_by_key(|&row| task.lengths[row]);
        }
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.shuffle(rng);
        for batch in order {
            let (own, others) = rows.split_at_mut(sizes[batch]);
            rows = others;
            dealt[i * window + batch] = own.iter().map(|&row| task.rows[row]).collect();
        }
    }
    dealt
}
