//! How much of an epoch each task gets.

use std::cmp::Ordering;

/// Parts of `total` in proportion to `weights`, in whole units and at least one each, by largest
/// remainders; of equals the first gets the unit that is left.
///
/// `total` is at least the number of weights, whose sum is above 0.
pub fn apportion(weights: &[f64], total: usize) -> Vec<usize> {
    let sum: f64 = weights.iter().sum();
    let exact: Vec<f64> = weights.iter().map(|w| w / sum * total as f64).collect();
    let mut parts: Vec<usize> = exact.iter().map(|&x| (x as usize).max(1)).collect();
    loop {
        let lacks = |i: usize| exact[i] - parts[i] as f64;
        let by_lack = |a: &usize, b: &usize| lacks(*a).total_cmp(&lacks(*b));
        let all = 0..parts.len();
        // Too much is given only where a task's one unit is more than its part.
        let (chosen, change) = match parts.iter().sum::<usize>().cmp(&total) {
            Ordering::Equal => return parts,
            Ordering::Less => (all.rev().max_by(by_lack), 1),
            Ordering::Greater => (all.filter(|&i| parts[i] > 1).min_by(by_lack), -1),
        };
        let Some(chosen) = chosen else { return parts };
        parts[chosen] = parts[chosen].saturating_add_signed(change);
    }
}

/// rows^τ of each task.
pub fn powers(rows: &[usize], temperature: f64) -> Vec<f64> {
    rows.iter().map(|&n| (n as f64).powf(temperature)).collect()
}

/// The τ of `epoch`, counted from 0, of `epochs`: 1 − 0.8 (e − 1) / (E − 1) for epoch e of E
/// (Stickland and Murray 2019, BERT and PALs, section 4.1).
pub fn annealed(epoch: u64, epochs: u64) -> f64 {
    match epochs {
        0 | 1 => 1.0,
        epochs => 1.0 - 0.8 * epoch.min(epochs - 1) as f64 / (epochs - 1) as f64,
    }
}

/// The softmax over how far each task lies below its single-task score (Weller et al. 2022, in
/// fractions as their code has it). A score that is not a number counts as 0.
pub fn dynamic(references: &[f64], scores: &[f64]) -> Vec<f64> {
    let gap = |(reference, score): (&f64, &f64)| match score.is_finite() {
        true => reference - score,
        false => *reference,
    };
    let gaps: Vec<f64> = references.iter().zip(scores).map(gap).collect();
    let largest = gaps.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = gaps.iter().map(|gap| (gap - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12)
    }

    #[test]
    fn parts_add_up_and_none_is_empty() {
        // Exact parts 5.714…, 2.857…, 1.428…: remainders .714, .857, .428.
        assert_eq!(apportion(&[4.0, 2.0, 1.0], 10), [6, 3, 1]);
        assert_eq!(apportion(&[1.0, 1.0, 1.0], 10), [4, 3, 3]);
        // Two tasks of next to no weight have one each; the others pay.
        assert_eq!(apportion(&[1e-9, 3.0, 1e-9, 1.0], 8), [1, 5, 1, 1]);
        assert_eq!(apportion(&[1e-9, 1.0], 2), [1, 1]);
    }

    #[test]
    fn dynamic_shares_equal_scipys_softmax_of_the_gaps() {
        // scipy.special.softmax(numpy.array([0.61, 0.93, 0.70]) - [0.5, 0.9, 0.72])
        let expected = [0.35698836057347, 0.32954179111514, 0.31346984831139];
        let shares = dynamic(&[0.61, 0.93, 0.70], &[0.5, 0.9, 0.72]);
        let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
        assert!(shares.iter().zip(&expected).all(near), "{shares:?}");
        // A constant prediction has no correlation: all of the way is still to go.
        let lost = dynamic(&[0.5, 0.5], &[f64::NAN, 0.5]);
        assert!(close(
            &lost,
            &[
                0.5f64.exp() / (0.5f64.exp() + 1.0),
                1.0 / (0.5f64.exp() + 1.0)
            ]
        ));
    }

    #[test]
    fn annealing_goes_from_the_sizes_to_their_fifth_root() {
        let of = |epoch| annealed(epoch, 5);
        assert!(close(
            &[of(0), of(1), of(2), of(3), of(4)],
            &[1.0, 0.8, 0.6, 0.4, 0.2]
        ));
        assert_eq!(annealed(0, 1), 1.0);
        // 32^0.2 = 2.
        assert!(close(&powers(&[32, 1], annealed(4, 5)), &[2.0, 1.0]));
    }
}
