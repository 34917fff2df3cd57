//! Splits that are cut out of the training file.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::layout::Column;
use super::split::Split;

/// Splits cut out of the training file where there are no official ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// The share of the rows that goes to dev.
    pub dev: f64,
    /// The share that goes to test; none unless said otherwise.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub test: f64,
    /// Chooses the rows; they depend on nothing else.
    #[serde(default)]
    pub seed: u64,
    /// The column whose values stay together, as `Patient ID`: no value's rows are in two splits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Column>,
    /// The fold of a cross-validation, which a run's config says.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub fold: Option<Fold>,
}

/// One of the equal parts that a cross-validation cuts a file into: it is test, the next one dev, and the
/// others train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fold {
    /// From 0.
    pub number: u64,
    pub of: u64,
}

impl Fold {
    /// Where part `part` goes.
    fn split_of(self, part: u64) -> Split {
        match (part + self.of - self.number) % self.of {
            0 => Split::Test,
            1 => Split::Dev,
            _ => Split::Train,
        }
    }

    /// The part that the first `before` of `rows` rows end in: as many rows in each, up to one.
    fn part(self, before: usize, rows: usize) -> u64 {
        (before as u128 * u128::from(self.of) / rows.max(1) as u128) as u64
    }
}

fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

impl Cut {
    /// Where each of `rows` rows goes: the `round(dev · rows)` rows with the smallest SplitMix64
    /// hashes of (seed, row) to dev, the next `round(test · rows)` to test; the same on every
    /// machine, and independent of the rows' content.
    pub fn splits(&self, rows: usize) -> Vec<Split> {
        self.deal(&vec![1; rows])
    }

    /// The same of rows that stay together where their `groups` are the same: whole groups go to dev,
    /// by the hashes of the order in which they first appear, until it has its rows, then to test.
    pub fn splits_of(&self, groups: &[&str]) -> Vec<Split> {
        let mut number = HashMap::new();
        let mut sizes = Vec::new();
        let of_row: Vec<usize> = groups
            .iter()
            .map(|group| {
                let next = sizes.len();
                let at = *number.entry(group).or_insert(next);
                if at == next {
                    sizes.push(0);
                }
                sizes[at] += 1;
                at
            })
            .collect();
        let splits = self.deal(&sizes);
        of_row.into_iter().map(|group| splits[group]).collect()
    }

    /// Where each of the groups of these sizes goes.
    fn deal(&self, sizes: &[usize]) -> Vec<Split> {
        let start = splitmix64(self.seed);
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.sort_by_key(|&group| (splitmix64(start.wrapping_add(group as u64)), group));
        let rows = sizes.iter().sum();
        let [dev, test] = self.counts(rows);
        let mut splits = vec![Split::Train; sizes.len()];
        let mut taken = 0;
        for group in order {
            splits[group] = match (self.fold, taken) {
                (Some(fold), n) => fold.split_of(fold.part(n, rows)),
                (None, n) if n < dev => Split::Dev,
                (None, n) if n < dev + test => Split::Test,
                _ => break,
            };
            taken += sizes[group];
        }
        splits
    }

    /// How many of `rows` rows go to dev and to test; of a fold up to one.
    pub fn counts(&self, rows: usize) -> [usize; 2] {
        let shares = match self.fold {
            Some(fold) => [1.0 / fold.of as f64; 2],
            None => [self.dev, self.test],
        };
        shares.map(|share| (share * rows as f64).round() as usize)
    }

    /// Whether it makes a split of this name.
    pub fn makes(&self, split: Split) -> bool {
        let test = self.test > 0.0 || self.fold.is_some();
        split == Split::Dev || (split == Split::Test && test)
    }
}

/// One output of SplitMix64 (Steele, Lea, Flood 2014) from state `x`.
fn splitmix64(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_gives_the_published_sequence() {
        // The reference implementation's first outputs for seed 1234567.
        let gamma = 0x9e37_79b9_7f4a_7c15_u64;
        let outputs: Vec<u64> = (0..3)
            .map(|i| splitmix64(1234567u64.wrapping_add(gamma.wrapping_mul(i))))
            .collect();
        assert_eq!(
            outputs,
            [
                6457827717110365317,
                3203168211198807973,
                9817491932198370423
            ]
        );
    }

    #[test]
    fn a_cut_takes_its_share_and_depends_on_the_seed() {
        let cut = |seed, test| {
            let dev = 0.1;
            Cut {
                dev,
                test,
                seed,
                by: None,
                fold: None,
            }
            .splits(3775)
        };
        let count = |splits: &[Split], of| splits.iter().filter(|&&split| split == of).count();
        assert_eq!(count(&cut(0, 0.0), Split::Dev), 378);
        assert_eq!(cut(0, 0.0), cut(0, 0.0));
        assert_ne!(cut(0, 0.0), cut(1, 0.0));
        // Test rows come out of the training rows: dev stays.
        let tested = cut(0, 0.2);
        assert_eq!(count(&tested, Split::Test), 755);
        let same = |(a, b): (&Split, &Split)| (*a == Split::Dev) == (*b == Split::Dev);
        assert!(tested.iter().zip(&cut(0, 0.0)).all(same));
    }

    #[test]
    fn a_cut_by_patients_keeps_each_ones_rows_together() {
        let cut = Cut {
            dev: 0.2,
            test: 0.1,
            seed: 1,
            by: Some(Column::Name("Patient ID".into())),
            fold: None,
        };
        let patients: Vec<String> = (0..1000).map(|row| (row * row % 137).to_string()).collect();
        let patients: Vec<&str> = patients.iter().map(String::as_str).collect();
        let splits = cut.splits_of(&patients);
        for split in Split::ALL {
            let own: HashMap<&str, Split> = patients.iter().copied().zip(splits.clone()).collect();
            let together = patients.iter().zip(&splits).all(|(p, s)| own[p] == *s);
            assert!(together);
            let rows = splits.iter().filter(|&&s| s == split).count();
            let share = [700, 200, 100][Split::ALL.iter().position(|&s| s == split).unwrap()];
            assert!((share - 60..share + 60).contains(&rows), "{split}: {rows}");
        }
    }

    #[test]
    fn folds_are_equal_parts_each_once_test_and_once_dev() {
        let fold = |number, by| Cut {
            dev: 0.5,
            test: 0.0,
            seed: 3,
            by,
            fold: Some(Fold { number, of: 10 }),
        };
        let cuts: Vec<Vec<Split>> = (0..10).map(|n| fold(n, None).splits(3773)).collect();
        for (row, _) in cuts[0].iter().enumerate() {
            let of = |split| {
                (0..10)
                    .filter(|&n| cuts[n][row] == split)
                    .collect::<Vec<_>>()
            };
            let (test, dev) = (of(Split::Test), of(Split::Dev));
            assert_eq!((test.len(), dev.len()), (1, 1));
            assert_eq!((dev[0] + 1) % 10, test[0]);
        }
        for cut in &cuts {
            let rows = cut.iter().filter(|&&of| of == Split::Test).count();
            assert!((377..=378).contains(&rows));
        }
        // A patient's rows are in one part.
        let patients: Vec<String> = (0..1000).map(|row| (row * row % 137).to_string()).collect();
        let patients: Vec<&str> = patients.iter().map(String::as_str).collect();
        let by = || Some(Column::Name("Patient ID".into()));
        let mut tested = 0;
        for number in 0..10 {
            let splits = fold(number, by()).splits_of(&patients);
            let own: HashMap<&str, Split> = patients.iter().copied().zip(splits.clone()).collect();
            assert!(patients.iter().zip(&splits).all(|(p, s)| own[p] == *s));
            tested += splits.iter().filter(|&&s| s == Split::Test).count();
        }
        assert_eq!(tested, 1000);
    }
}
