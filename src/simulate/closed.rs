//! Optima that need no training, of linear models and squared loss.

use nalgebra::{DMatrix, DVector};

use super::data::Data;

/// The single-task optimum: least squares, of the smallest length where there are several.
pub fn least_squares(data: &Data) -> DVector<f64> {
    solve(&data.x, &data.y)
}

fn solve(x: &DMatrix<f64>, y: &DVector<f64>) -> DVector<f64> {
    let svd = x.clone().svd(true, true);
    let tiny = svd.singular_values.max() * 1e-12;
    // Both sides are there, and tiny is not negative: nothing can fail.
    svd.solve(y, tiny)
        .unwrap_or_else(|_| DVector::zeros(x.ncols()))
}

/// h(B) = Σ_i ⟨X_i B / ‖X_i B‖, y_i⟩²: what a shared module of width 1 explains of the labels.
pub fn explained(tasks: &[&Data], b: &DVector<f64>) -> f64 {
    let of = |task: &&Data| {
        let along = &task.x * b;
        let length = along.norm_squared();
        match length > 0.0 {
            true => along.dot(&task.y).powi(2) / length,
            false => 0.0,
        }
    };
    tasks.iter().map(of).sum()
}

/// The maximiser of [`explained`] for two tasks. With output modules cos φ and ± sin φ the best B is
/// a least-squares solution; what is left is a search over one angle, by a grid and then by golden
/// section around its best point.
pub fn best_shared(tasks: [&Data; 2]) -> DVector<f64> {
    const GRID: usize = 256;
    let [one, two] = tasks.map(Data::reduced);
    let at = |angle: f64| {
        let (second, first) = angle.sin_cos();
        let (m, n) = (one.rows(), two.rows());
        let mut x = DMatrix::zeros(m + n, one.x.ncols());
        x.rows_mut(0, m).copy_from(&(&one.x * first));
        x.rows_mut(m, n).copy_from(&(&two.x * second));
        let mut y = DVector::zeros(m + n);
        y.rows_mut(0, m).copy_from(&one.y);
        y.rows_mut(m, n).copy_from(&two.y);
        let b = solve(&x, &y);
        (explained(&[&one, &two], &b), b)
    };
    let width = std::f64::consts::PI / GRID as f64;
    // From −π/2 to π/2: both signs of the second module; the first's may be positive.
    let angle = |i: usize| -std::f64::consts::FRAC_PI_2 + (i as f64 + 0.5) * width;
    let best = (0..GRID).max_by(|&i, &j| at(angle(i)).0.total_cmp(&at(angle(j)).0));
    let middle = angle(best.unwrap_or(0));
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (middle - width, middle + width);
    for _ in 0..60 {
        let (left, right) = (high - golden * (high - low), low + golden * (high - low));
        match at(left).0 > at(right).0 {
            true => high = right,
            false => low = left,
        }
    }
    at((low + high) / 2.0).1
}

/// B A_i of every task, as columns `[d, k]`, at the optimum of Σ_i α_i ‖X B A_i − y_i‖² for tasks with
/// the same X `[m, d]` of rank d and labels `[m, k]` (Proposition 3): with the thin X = QU and the best
/// approximation M of rank r to QᵀY diag(√α), B A_i = U⁻¹ M_i / √α_i.
pub fn weighted_optimum(
    x: &DMatrix<f64>,
    labels: &DMatrix<f64>,
    weights: &[f64],
    r: usize,
) -> DMatrix<f64> {
    let qr = x.clone().qr();
    let mut projected = qr.q().tr_mul(labels);
    for (mut column, weight) in projected.column_iter_mut().zip(weights) {
        column *= weight.sqrt();
    }
    let mut low = low_rank(projected, r);
    for (mut column, weight) in low.column_iter_mut().zip(weights) {
        column /= weight.sqrt();
    }
    let (d, k) = (x.ncols(), labels.ncols());
    qr.r()
        .solve_upper_triangular(&low)
        .unwrap_or_else(|| DMatrix::zeros(d, k))
}

/// The best approximation of rank `r` in the Frobenius norm.
fn low_rank(matrix: DMatrix<f64>, r: usize) -> DMatrix<f64> {
    let zeros = DMatrix::zeros(matrix.nrows(), matrix.ncols());
    let mut svd = matrix.svd(true, true);
    let mut order: Vec<usize> = (0..svd.singular_values.len()).collect();
    order.sort_by(|&a, &b| svd.singular_values[b].total_cmp(&svd.singular_values[a]));
    for &small in order.iter().skip(r) {
        svd.singular_values[small] = 0.0;
    }
    svd.recompose().unwrap_or(zeros)
}

/// How far the single-task optima are from the span of `b`'s columns, relative to their lengths: the
/// largest over the tasks. 0 where a shared module leaves every task its own solution (Proposition 1).
pub fn outside_span(b: &DMatrix<f64>, optima: &[DVector<f64>]) -> f64 {
    let q = b.clone().qr().q();
    let outside = |theta: &DVector<f64>| (theta - &q * q.tr_mul(theta)).norm() / theta.norm();
    optima.iter().map(outside).fold(0.0, f64::max)
}
