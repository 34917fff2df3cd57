//! Metrics against scikit-learn and scipy (cases from scripts/metric_cases.py) and by hand.

use covalign::task::metric::{score, Metric};

/// Knuth's MMIX generator, the same as in scripts/metric_cases.py.
struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n
    }

    fn unit(&mut self) -> f64 {
        self.next() as f64 / (1u64 << 31) as f64
    }
}

fn classes(seed: u64, rows: usize, count: usize, kind: &str) -> (Vec<usize>, Vec<usize>) {
    let mut rng = Lcg(seed);
    let constant = [rng.below(count), rng.below(count)];
    let row = |_| {
        let (mut g, mut p, right) = (rng.below(count), rng.below(count), rng.below(10) < 8);
        if kind == "mostly_right" && right {
            p = g;
        }
        if kind == "constant_predictions" || kind == "all_constant" {
            p = constant[0];
        }
        if kind == "constant_labels" || kind == "all_constant" {
            g = constant[1];
        }
        (p, g)
    };
    (0..rows).map(row).unzip()
}

fn values(seed: u64, rows: usize, kind: &str) -> (Vec<f64>, Vec<f64>) {
    let mut rng = Lcg(seed);
    let constant = rng.unit() * 5.0;
    let row = |_| {
        let (g, p) = (rng.unit() * 5.0, rng.unit() * 5.0);
        match kind {
            "correlated" => (g + 0.1 * p, g),
            "ties" => (p.floor(), g.floor()),
            "constant_predictions" => (constant, g),
            "constant_labels" => (p, constant),
            "opposite" => (-g, g),
            _ => (p, g),
        }
    };
    (0..rows).map(row).unzip()
}

/// Of each label its rows' scores and where it holds.
fn labels(seed: u64, rows: usize, count: usize, kind: &str) -> Vec<(Vec<f64>, Vec<bool>)> {
    let mut rng = Lcg(seed);
    let mut labels = vec![(Vec::new(), Vec::new()); count];
    for _ in 0..rows {
        for (scores, gold) in &mut labels {
            let holds = rng.below(if kind == "rare" { 20 } else { 2 }) == 0;
            let mut score = 4.0 * rng.unit() - 2.0;
            match kind {
                "ranked" => score += 2.0 * f64::from(u8::from(holds)) - 1.0,
                "ties" => score = score.floor(),
                "constant" => score = 1.0,
                _ => {}
            }
            scores.push(score);
            gold.push(holds);
        }
    }
    labels
}

fn assert_close(found: f64, expected: Option<f64>, what: &str) {
    match expected {
        None => assert!(found.is_nan(), "{what}: {found}, expected NaN"),
        Some(value) => assert!((found - value).abs() < 1e-9, "{what}: {found} != {value}"),
    }
}

#[test]
fn metrics_equal_those_of_scikit_learn_and_scipy() {
    let fixture: serde_json::Value =
        serde_json::from_str(include_str!("fixtures/metrics.json")).unwrap();
    let cases = |name: &str| fixture[name].as_array().unwrap().clone();
    let parts = |case: &serde_json::Value| {
        let number = |i: usize| case[i].as_u64().unwrap();
        let kind = case[3].as_str().unwrap().to_owned();
        (number(0), number(1) as usize, number(2) as usize, kind)
    };
    let class_metrics = [
        Metric::Accuracy,
        Metric::F1,
        Metric::MacroF1,
        Metric::Matthews,
    ];
    for case in cases("classes") {
        let (seed, rows, count, kind) = parts(&case);
        let (predicted, gold) = classes(seed, rows, count, &kind);
        for (i, metric) in class_metrics.into_iter().enumerate() {
            let found = metric.of_classes(&predicted, &gold);
            assert_close(found, case[4 + i].as_f64(), &format!("{metric:?} {case}"));
        }
    }
    let value_metrics = [Metric::Pearson, Metric::Spearman, Metric::MeanSquaredError];
    for case in cases("values") {
        let (seed, rows, _, kind) = parts(&case);
        let (predicted, gold) = values(seed, rows, &kind);
        for (i, metric) in value_metrics.into_iter().enumerate() {
            let found = metric.of_values(&predicted, &gold);
            assert_close(found, case[4 + i].as_f64(), &format!("{metric:?} {case}"));
        }
    }
    let label_metrics = [
        Metric::Auroc,
        Metric::AveragePrecision,
        Metric::MicroF1,
        Metric::MacroF1,
    ];
    for case in cases("labels") {
        let (seed, rows, count, kind) = parts(&case);
        let labels = labels(seed, rows, count, &kind);
        for (i, metric) in label_metrics.into_iter().enumerate() {
            let found = metric.of_labels(&labels);
            assert_close(found, case[4 + i].as_f64(), &format!("{metric:?} {case}"));
        }
    }
    assert!(cases("classes").len() >= 2000 && cases("values").len() >= 2000);
    assert!(cases("labels").len() >= 500);
}

#[test]
fn a_score_is_the_mean_of_the_metrics_and_counts_an_undefined_one_as_nothing() {
    assert_eq!(score(&[(Metric::F1, 0.8), (Metric::Accuracy, 0.6)]), 0.7);
    assert_eq!(
        score(&[(Metric::Pearson, 0.8), (Metric::Spearman, f64::NAN)]),
        0.4
    );
    assert!(score(&[]).is_nan());
}

#[test]
fn a_number_that_is_not_one_gives_no_correlation() {
    let (broken, gold) = ([1.0, f64::NAN, 3.0], [1.0, 2.0, 3.0]);
    assert!(Metric::Pearson.of_values(&broken, &gold).is_nan());
    assert!(Metric::Spearman.of_values(&broken, &gold).is_nan());
    assert!(Metric::MeanSquaredError.of_values(&broken, &gold).is_nan());
}

#[test]
fn tiny_and_huge_predictions_still_correlate() {
    let gold = [1.0, 2.0, 3.0];
    for scale in [1e-200, 1e200] {
        let predicted = gold.map(|g| g * scale);
        let found = Metric::Pearson.of_values(&predicted, &gold);
        assert!((found - 1.0).abs() < 1e-12, "{scale}: {found}");
    }
}

#[test]
fn names_are_those_of_task_files() {
    for metric in [
        Metric::MacroF1,
        Metric::MeanSquaredError,
        Metric::F1,
        Metric::AveragePrecision,
    ] {
        let json = serde_json::to_string(&metric).unwrap();
        assert_eq!(json, format!("\"{}\"", metric.name()));
    }
}
