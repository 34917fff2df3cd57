//! Batches of about the same number of tokens.

/// Cuts rows of these `lengths` in tokens, in their order, into `count` ranges of about the same
/// number of tokens: off by half a row at either end. There are at least `count` rows, and no range
/// is empty.
pub fn cut(lengths: &[u32], count: usize) -> Vec<std::ops::Range<usize>> {
    let total: u64 = lengths.iter().copied().map(u64::from).sum();
    let mut ends = vec![0; count];
    let mut before = 0;
    for (row, &length) in lengths.iter().enumerate() {
        // Where the row's middle lies; all of it doubled, to stay with whole numbers.
        let middle = 2 * before + u64::from(length);
        let range = (middle * count as u64 / (2 * total).max(1)) as usize;
        ends[range.min(count - 1)] = row + 1;
        before += u64::from(length);
    }
    let mut start = 0;
    let mut ranges = Vec::with_capacity(count);
    for (i, end) in ends.into_iter().enumerate() {
        // A row that is longer than a share would leave a neighbour without any.
        let end = end.max(start + 1).min(lengths.len() - (count - 1 - i));
        ranges.push(start..end);
        start = end;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn runs_hold_every_row_once_and_about_the_same_number_of_tokens() {
        let lengths: Vec<u32> = (0..500).map(|i| 5 + i * 7919 % 60).collect();
        let total: u32 = lengths.iter().sum();
        for count in [1, 2, 7, 40] {
            let runs = cut(&lengths, count);
            assert_eq!(runs.len(), count);
            assert_eq!(runs[0].start, 0);
            assert_eq!(runs[count - 1].end, 500);
            assert!(runs.iter().all(|run| !run.is_empty()));
            assert!(runs.windows(2).all(|pair| pair[0].end == pair[1].start));
            let share = f64::from(total) / count as f64;
            for run in runs {
                let tokens: u32 = lengths[run].iter().sum();
                assert!(
                    (f64::from(tokens) - share).abs() <= 64.0,
                    "{tokens} {share}"
                );
            }
        }
    }

    #[test]
    fn one_very_long_row_leaves_its_neighbours_theirs() {
        assert_eq!(cut(&[1, 1, 100, 1], 4), [0..1, 1..2, 2..3, 3..4]);
    }
}
