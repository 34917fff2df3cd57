//! Which of a task's rows come together.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::planned::TaskRows;
use crate::config::values::LengthWindow;

/// `count` of a task's rows in random order, as places in [`TaskRows::rows`]. They are gone through
/// as often as that takes; within one pass none comes twice.
pub fn draw(task: &TaskRows, count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut drawn = Vec::with_capacity(count);
    while drawn.len() < count {
        let mut pass: Vec<usize> = (0..task.rows.len()).collect();
        pass.shuffle(rng);
        pass.truncate(count - drawn.len());
        drawn.extend(pass);
    }
    drawn
}

/// Deals the rows that were drawn to batches that take `sizes` of them each.
///
/// Within a window of batches they are sorted by length, cut, and the cuts are handed to the batches
/// in random order: rows of like length come together, and no length goes to a batch of its own kind,
/// be it the short one of an epoch.
pub fn deal(
    task: &TaskRows,
    mut drawn: Vec<usize>,
    sizes: &[usize],
    window: LengthWindow,
    rng: &mut ChaCha8Rng,
) -> Vec<Vec<u32>> {
    let in_window = even_window(sizes.len(), window);
    let mut rest = drawn.as_mut_slice();
    let mut dealt = vec![Vec::new(); sizes.len()];
    for (i, sizes) in sizes.chunks(in_window).enumerate() {
        let (mut rows, others) = rest.split_at_mut(sizes.iter().sum());
        rest = others;
        if in_window > 1 {
            rows.sort_by_key(|&row| task.lengths[row]);
        }
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.shuffle(rng);
        for batch in order {
            let (own, others) = rows.split_at_mut(sizes[batch]);
            rows = others;
            dealt[i * in_window + batch] = own.iter().map(|&row| task.rows[row]).collect();
        }
    }
    dealt
}

/// Batches in a window, where `batches` of them are cut into windows of like size: few rows left over
/// would find no others of their length.
pub fn even_window(batches: usize, window: LengthWindow) -> usize {
    let windows = (batches as f64 / window.of(batches) as f64).round() as usize;
    batches.div_ceil(windows.max(1)).max(1)
}
