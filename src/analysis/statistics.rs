//! Means over seeds, and whether two of them differ.
//!
//! The t-tests are scipy's `ttest_rel` and `ttest_ind(equal_var=False)`, two-sided.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A difference with a smaller p counts as decided (Weller, Seppi and Gardner, ACL 2022).
pub const DECIDED: f64 = 0.1;
/// Fewer seeds decide nothing: with two, the one number that stands for their spread is chance.
pub const FEWEST: usize = 3;

/// Whether a p, as it is printed with three decimals, decides.
pub fn decides(p: f64) -> bool {
    (1000.0 * p).round() / 1000.0 < DECIDED
}

/// A two-sided t-test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TTest {
    pub t: f64,
    pub degrees_of_freedom: f64,
    pub p: f64,
}

/// Bounds of a confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// By how much the standard error of a mean over `n` folds of a cross-validation in `folds` parts is above
/// that over independent samples; 1 where there are none. Any two folds train on mostly the same rows,
/// which is why their scores vary less than those of new data would (Nadeau and Bengio, Machine Learning
/// 2003: 1/n becomes 1/n + test rows / training rows).
pub fn widening(n: usize, folds: Option<u64>) -> f64 {
    // Of the parts one is test, one dev.
    let shared = folds.map_or(0.0, |folds| 1.0 / (folds as f64 - 2.0));
    (1.0 + n as f64 * shared).sqrt()
}

impl TTest {
    /// The same difference where its standard error is so many times larger.
    pub fn widened(self, by: f64) -> Option<TTest> {
        t_test(self.t / by, 1.0, self.degrees_of_freedom)
    }
}

impl Interval {
    /// The same middle where the standard error is so many times larger.
    pub fn widened(self, by: f64) -> Interval {
        let (middle, half) = ((self.low + self.high) / 2.0, (self.high - self.low) / 2.0);
        Interval {
            low: middle - by * half,
            high: middle + by * half,
        }
    }
}

/// `None` without values.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The sample's standard deviation (n − 1 in the denominator); `None` for fewer than two values.
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// Whether the mean of paired differences is 0. `None` for fewer than two, and where they do not
/// vary at all: two seeds that agree by chance would give p = 0.
pub fn paired_t_test(differences: &[f64]) -> Option<TTest> {
    let mean = mean(differences)?;
    let error = standard_deviation(differences)? / (differences.len() as f64).sqrt();
    t_test(mean, error, (differences.len() - 1) as f64)
}

/// Welch's test: whether two means over different seeds are the same. `None` for fewer than two
/// values on a side, and where neither side varies.
pub fn welch_t_test(a: &[f64], b: &[f64]) -> Option<TTest> {
    let (error, degrees_of_freedom) = welch_error(a, b)?;
    t_test(mean(a)? - mean(b)?, error, degrees_of_freedom)
}

/// The standard error of the difference of two means, and its degrees of freedom (Welch's).
fn welch_error(a: &[f64], b: &[f64]) -> Option<(f64, f64)> {
    let of_mean = |values: &[f64]| {
        let deviation = standard_deviation(values)?;
        Some(deviation * deviation / values.len() as f64)
    };
    let (va, vb) = (of_mean(a)?, of_mean(b)?);
    let spread = va * va / (a.len() - 1) as f64 + vb * vb / (b.len() - 1) as f64;
    Some(((va + vb).sqrt(), (va + vb) * (va + vb) / spread))
}

fn t_test(difference: f64, error: f64, degrees_of_freedom: f64) -> Option<TTest> {
    // Equal differences of decimal numbers differ in their last bits.
    if error <= 1e-9 * difference.abs().max(1e-9) {
        return None;
    }
    let t = difference / error;
    let distribution = StudentsT::new(0.0, 1.0, degrees_of_freedom).ok()?;
    let p = 2.0 * distribution.sf(t.abs());
    Some(TTest {
        t,
        degrees_of_freedom,
        p,
    })
}

/// Holm's correction (1979) of p-values that are read side by side: with it, the probability that any
/// of those below a level is there by chance is at most that level, however they depend on each
/// other. In the order given.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut corrected = vec![0.0; p.len()];
    let mut least = 0.0f64;
    for (rank, &index) in order.iter().enumerate() {
        least = least.max(p[index] * (p.len() - rank) as f64).min(1.0);
        corrected[index] = least;
    }
    corrected
}

/// Student's 95 % interval of the mean; `None` for fewer than two values.
pub fn t_interval(values: &[f64]) -> Option<Interval> {
    let error = standard_deviation(values)? / (values.len() as f64).sqrt();
    interval(mean(values)?, error, (values.len() - 1) as f64)
}

/// Welch's 95 % interval of the difference of two means; `None` for fewer than two values on a side,
/// and where neither side varies.
pub fn welch_interval(a: &[f64], b: &[f64]) -> Option<Interval> {
    let (error, degrees_of_freedom) = welch_error(a, b)?;
    interval(mean(a)? - mean(b)?, error, degrees_of_freedom)
}

fn interval(middle: f64, error: f64, degrees_of_freedom: f64) -> Option<Interval> {
    let distribution = StudentsT::new(0.0, 1.0, degrees_of_freedom).ok()?;
    let half = distribution.inverse_cdf(0.975) * error;
    Some(Interval {
        low: middle - half,
        high: middle + half,
    })
}
