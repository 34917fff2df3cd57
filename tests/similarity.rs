//! Covariance similarity: against numpy, by its properties, and `covalign similarity` on the
//! demonstration set.

mod common;

use common::{fails, run, text};
use covalign::analysis::similarity::{Comparison, Covariance, Factor, Similarities};
use tch::{Device, Kind, Tensor};

/// sin(a (i + 1) (j + b)) 0.8ʲ, `[rows, 12]`.
fn features(rows: i64, a: f64, b: f64) -> Tensor {
    let value =
        |i: i64, j: i64| (a * (i as f64 + 1.0) * (j as f64 + b)).sin() * 0.8f64.powi(j as i32);
    let all: Vec<f64> = (0..rows * 12).map(|n| value(n / 12, n % 12)).collect();
    Tensor::from_slice(&all).view([rows, 12])
}

/// Of features that come in batches of seven rows.
fn factor(x: &Tensor) -> Factor {
    let mut covariance = Covariance::new(12, Device::Cpu).unwrap();
    for batch in x.split(7, 0) {
        covariance.add(&batch).unwrap();
    }
    assert_eq!(covariance.rows(), x.size()[0]);
    covariance.factor().unwrap()
}

/// The features above, by numpy's SVD:
///
///     i, j = np.indices((rows, 12)); x = np.sin(a * (i + 1.0) * (j + b)) * 0.8 ** j
///     u, d, _ = np.linalg.svd(x.T @ x)
///     r = int(np.searchsorted(np.cumsum(d), 0.99 * d.sum())) + 1
///     f = u[:, :r] * np.sqrt(d[:r])
///     norm(f1.T @ f2) / (norm(f1) * norm(f2))
const INPUTS: [(i64, f64, f64); 3] = [(40, 0.7, 0.31), (25, 1.3, 0.11), (60, 0.2, 0.9)];
const RANKS: [usize; 3] = [9, 10, 10];
const SIMILARITY: [[f64; 3]; 3] = [
    [0.4828740611072078, 0.46812446396433993, 0.4746707405374468],
    [0.46812446396433993, 0.4646337886115525, 0.46719992116463605],
    [0.4746707405374469, 0.46719992116463605, 0.4745560755036898],
];

#[test]
fn similarity_equals_numpys() {
    let factors = INPUTS.map(|(rows, a, b)| factor(&features(rows, a, b)));
    let found = Comparison::new("pretrained", "embeddings", &factors).unwrap();
    assert_eq!(found.ranks, RANKS);
    for (ours, numpys) in found.similarity.iter().zip(SIMILARITY) {
        for (ours, numpys) in ours.iter().zip(numpys) {
            assert!((ours - numpys).abs() < 1e-8, "{ours} {numpys}");
        }
    }
}

fn rotation(width: i64) -> Tensor {
    let random = Tensor::randn([width, width], (Kind::Double, Device::Cpu));
    Tensor::linalg_qr(&random, "reduced").0
}

#[test]
fn similarity_does_not_change_when_rows_are_rotated() {
    let (x, y) = (features(40, 0.7, 0.31), features(25, 1.3, 0.11));
    tch::manual_seed(1);
    let turned = rotation(40).matmul(&x);
    let of = |x: &Tensor| factor(x).similarity(&factor(&y)).unwrap();
    assert!((of(&x) - of(&turned)).abs() < 1e-12);
    // Turned in the features' own space, it is another task's.
    assert!((of(&x) - of(&x.matmul(&rotation(12)))).abs() > 1e-3);
}

#[test]
fn a_task_is_like_itself_and_unlike_what_lies_in_other_directions() {
    let x = features(40, 0.7, 0.31);
    let found = Comparison::new(
        "pretrained",
        "embeddings",
        &[factor(&x), factor(&(&x * 3.0))],
    );
    let found = found.unwrap();
    for value in found.relative.iter().flatten() {
        assert!((value - 1.0).abs() < 1e-12, "{value}");
    }
    // All rows on one line: the plain similarity too.
    let line = features(1, 0.7, 0.31);
    let same = factor(&line).similarity(&factor(&(&line * 2.0))).unwrap();
    assert!((same - 1.0).abs() < 1e-12, "{same}");
    let (left, right) = (x.copy(), x.copy());
    let _ = left.narrow(1, 0, 6).zero_();
    let _ = right.narrow(1, 6, 6).zero_();
    assert!(factor(&left).similarity(&factor(&right)).unwrap() < 1e-12);
    let nothing = Covariance::new(12, Device::Cpu).unwrap();
    assert!(nothing.factor().is_err());
}

#[test]
fn similarity_is_measured_before_and_after_training_and_at_every_layer() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    common::write_demo(&folder.join("demo"));
    let config = "
encoder: all-MiniLM-L6-v2
data: demo
tasks: [DemoSentiment, DemoParaphrase, DemoSimilarity]
alignment: {learning_rate: 0.05}
training: {max_steps: 3, batch_size: 8, max_length: 32, max_train_rows: 40, threads: 1}
evaluation: {every: 3 steps}
";
    std::fs::write(folder.join("c.yaml"), config).unwrap();
    let output = run(folder, &["train", "c.yaml", "--out", "run"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let command = [
        "similarity",
        "c.yaml",
        "--run",
        "run",
        "--layers",
        "--out",
        "s",
    ];
    let output = run(folder, &command);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(
        shown.lines().all(|line| line.chars().count() <= 100),
        "{shown}"
    );

    let json = std::fs::read_to_string(folder.join("s/similarity.json")).unwrap();
    let found: Similarities = serde_json::from_str(&json).unwrap();
    assert_eq!(found.rows, [40, 40, 40]);
    let at = |weights: &str, place: &str| {
        let of = |c: &&Comparison| c.weights == weights && c.at == place;
        found.comparisons.iter().find(of).expect(place)
    };
    // Pretrained: embeddings and six layers; trained: the same and behind R.
    assert_eq!(found.comparisons.len(), 7 + 8);
    for comparison in &found.comparisons {
        let matrix = &comparison.similarity;
        for (i, row) in matrix.iter().enumerate() {
            for (j, &value) in row.iter().enumerate() {
                assert!(value > 0.0 && value <= 1.0 + 1e-12, "{value}");
                assert!((value - matrix[j][i]).abs() < 1e-12);
            }
        }
    }
    // R is far from the identity at this learning rate, the embeddings hardly moved.
    let apart = |a: &Comparison, b: &Comparison| {
        let pairs = a.pairs().into_iter().zip(b.pairs());
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let (before, after) = (at("pretrained", "embeddings"), at("trained", "embeddings"));
    assert!(apart(before, after) < 1e-3);
    assert!(apart(after, at("trained", "aligned")) > 1e-3);
    assert!(apart(at("pretrained", "layer 1"), at("pretrained", "layer 6")) > 1e-3);

    let svg = std::fs::read_to_string(folder.join("s/similarity.svg")).unwrap();
    for words in [
        "currentColor",
        "Covariance similarity of tasks",
        "pretrained, embeddings",
        "trained, aligned",
        "The diagonal is a task with itself",
        "1: one and the same direction",
    ] {
        assert!(svg.contains(words), "{words}");
    }
    // Before and after training stand beside each other, and nothing outside the picture.
    let places = |attribute: &str| -> Vec<f64> {
        let attribute = format!(" {attribute}=\"");
        let parts = svg.split(&attribute).skip(1);
        let numbers = parts.filter_map(|part| part.split('"').next()?.parse().ok());
        numbers.collect()
    };
    let [width, height] = ["width", "height"].map(|side| places(side)[0]);
    assert!(places("x").iter().all(|x| (0.0..=width).contains(x)));
    assert!(places("y").iter().all(|y| (0.0..=height).contains(y)));
    assert!(
        shown.contains("embeddings, pretrained → trained"),
        "{shown}"
    );

    // All tokens are other features than their means.
    let all = [
        "similarity",
        "c.yaml",
        "--tokens",
        "all",
        "--out",
        "t",
        "--json",
    ];
    let printed = run(folder, &all);
    assert!(printed.status.success());
    let json = std::fs::read_to_string(folder.join("t/similarity.json")).unwrap();
    let value = |json: &[u8]| serde_json::from_slice::<serde_json::Value>(json).unwrap();
    assert_eq!(value(&printed.stdout), value(json.as_bytes()));
    let tokens: Similarities = serde_json::from_str(&json).unwrap();
    assert!(apart(before, &tokens.comparisons[0]) > 1e-3);

    let line = fails(
        folder,
        &["similarity", "c.yaml", "--set", "tasks=[DemoSentiment]"],
        2,
    );
    assert!(line.contains("at least two"), "{line}");
    let other = [
        "similarity",
        "c.yaml",
        "--run",
        "run",
        "--set",
        "tasks=[DemoSentiment, CoLA]",
    ];
    assert!(fails(folder, &other, 2).contains("the run has no task `CoLA`"));
}
