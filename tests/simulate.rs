//! `covalign simulate`: the theory's synthetic tasks, through the binary, and the closed forms that
//! its training is checked against.

mod common;

use std::path::Path;

use covalign::analysis::statistics::t_interval;
use covalign::simulate::closed::{best_shared, explained, least_squares, outside_span};
use covalign::simulate::data::{self, Data, Model, Order, Source};
use covalign::simulate::train::{train, Problem, Training};
use covalign::weighting::svd::svd_weights;
use nalgebra::{DMatrix, DVector};
use serde_json::Value;

/// Figure 3 where it is clearest, in seconds.
const TRANSFER: &str = "study: [transfer]\nseeds: 24\ntransfer: {source_rows: [100, 200]}\n";

/// Runs a config's text; the folder's results.json, and what was printed.
fn simulate(folder: &Path, text: &str, sets: &[&str]) -> (Value, String) {
    std::fs::write(folder.join("s.yaml"), text).unwrap();
    let mut args = vec!["simulate", "s.yaml", "--out", "out"];
    sets.iter().for_each(|set| args.extend(["--set", set]));
    let output = common::run(folder, &args);
    let errors = common::text(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors, "", "quiet where standard error is no terminal");
    let results = common::json(&folder.join("out/results.json"));
    (results, common::text(&output.stdout))
}

/// The points of a line.
fn points<'a>(results: &'a Value, panel: &str, line: &str) -> &'a [Value] {
    let named = |list: &'a Value, key: &str, name: &str| {
        let entries = list.as_array().unwrap().iter();
        let found = entries.clone().find(|entry| entry[key] == name);
        found.unwrap_or_else(|| panic!("no {name} in {list}"))
    };
    let panel = named(&results["studies"][0]["panels"], "title", panel);
    named(&panel["lines"], "name", line)["points"]
        .as_array()
        .unwrap()
}

fn low(point: &Value) -> f64 {
    point["interval"]["low"].as_f64().unwrap()
}

fn high(point: &Value) -> f64 {
    point["interval"]["high"].as_f64().unwrap()
}

fn mean(point: &Value) -> f64 {
    point["mean"].as_f64().unwrap()
}

#[test]
fn a_source_of_the_targets_covariance_helps_others_harm_and_alignment_takes_the_harm() {
    let folder = tempfile::tempdir().unwrap();
    let (results, _) = simulate(folder.path(), TRANSFER, &[]);
    let names = [
        "task 2 (same covariance)",
        "task 3 (other coordinates)",
        "task 4 (turned)",
    ];
    for point in points(&results, "MTL minus STL", names[0]) {
        assert_eq!(point["values"].as_array().unwrap().len(), 24);
        assert!(
            high(point) < 0.0 && point["p_holm"].as_f64().unwrap() < 0.05,
            "{point}"
        );
    }
    for name in &names[1..] {
        let mtl = points(&results, "MTL minus STL", name);
        let aligned = points(&results, "Aligned, λ 0: minus STL", name);
        let change = points(&results, "Aligned, λ 0: minus MTL", name);
        for ((mtl, aligned), change) in mtl.iter().zip(aligned).zip(change) {
            assert!(low(mtl) > 0.0, "{name} harms: {mtl}");
            assert!(high(change) < 0.0, "{name}, alignment changes it: {change}");
            assert!(mean(aligned) < 0.3 * mean(mtl), "{name}: {aligned}");
            let difference = mean(aligned) - mean(mtl);
            assert!(
                (difference - mean(change)).abs() < 1e-12,
                "{name}: panels agree"
            );
        }
    }
}

#[test]
fn noisy_tasks_weigh_less_and_clean_tasks_gain() {
    let folder = tempfile::tempdir().unwrap();
    let text = "study: [weights]\nd: 50\nkappa: 2\nnoise: 0.3\nseeds: 24\n\
        weights: {tasks: 6, noisy: 3, rows: 100, r: 2, shares: [0, 40, 80]}\n";
    let (results, _) = simulate(folder.path(), text, &[]);
    let gain = points(&results, "Clean tasks: minus equal weights", "SVD");
    assert!(
        mean(&gain[0]).abs() < 0.01,
        "nothing to gain without noise: {}",
        gain[0]
    );
    for point in &gain[1..] {
        assert_eq!(point["values"].as_array().unwrap().len(), 24);
        assert!(
            high(point) < 0.0 && point["p_holm"].as_f64().unwrap() < 0.01,
            "{point}"
        );
    }
    let weights = "Weights (equal is 1)";
    for way in ["SVD", "uncertainty"] {
        let clean = points(&results, weights, &format!("{way}, clean"));
        let noisy = points(&results, weights, &format!("{way}, noisy"));
        for (clean, noisy) in clean.iter().zip(noisy).skip(1) {
            assert!(
                high(noisy) < 1.0 && low(clean) > 1.0,
                "{way}: {noisy} {clean}"
            );
            assert!(
                (mean(clean) + mean(noisy) - 2.0).abs() < 1e-9,
                "they sum to k"
            );
        }
    }
}

#[test]
fn from_as_many_units_as_tasks_on_every_task_has_its_own_solution() {
    let folder = tempfile::tempdir().unwrap();
    let text = "study: [capacity]\nd: 10\nkappa: 2\ncosine: 0.9\nnoise: 1.0\nseeds: 6\n\
        training: {steps: 4000}\ncapacity: {tasks: 3, rows: 15, r: [1, 2, 3, 4]}\n";
    let (results, _) = simulate(folder.path(), text, &[]);
    let panel = "Distance of B A_i from the least squares of task i";
    for point in points(&results, panel, "MTL") {
        let own = point["x"].as_u64().unwrap() >= 3;
        assert_eq!(mean(point) < 1e-3, own, "{point}");
        assert!(own || low(point) > 0.1, "{point}");
    }
}

#[test]
fn a_turned_source_harms_narrow_relu_modules_and_a_decayed_alignment_repairs_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = "study: [map]\nmodel: relu\nd: 10\nkappa: 1\nnoise: 0.3\nseeds: 6\n\
        training: {steps: 600}\n\
        map: {angles: [0, 90], r: [1], target_rows: [100], source_rows: 300, decays: [0.01]}\n";
    let (results, _) = simulate(folder.path(), text, &[]);
    let panel = "width 1, 100 target rows: differences";
    let mtl = points(&results, panel, "MTL − STL");
    let aligned = points(&results, panel, "R, λ 0.01 − MTL");
    assert!(
        low(&mtl[1]) > 0.2 && mean(&mtl[0]) < 0.5 * mean(&mtl[1]),
        "{mtl:?}"
    );
    assert!(high(&aligned[1]) < -0.2, "{aligned:?}");
}

#[test]
fn numbers_depend_on_the_seed_and_not_on_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let text = TRANSFER.replace("seeds: 24", "seeds: 3\ntraining: {steps: 50}");
    std::fs::write(folder.path().join("s.yaml"), text).unwrap();
    let csv = |out: &str, threads: &str, set: &str| {
        let args = ["simulate", "s.yaml", "--out", out, "--set", set];
        let mut command = common::covalign(folder.path(), &args);
        let output = command.env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert!(output.status.success(), "{}", common::text(&output.stderr));
        std::fs::read_to_string(folder.path().join(out).join("results.csv")).unwrap()
    };
    let one = csv("one", "1", "seed=1");
    assert_eq!(one, csv("five", "5", "seed=1"));
    let two = csv("two", "2", "seed=2");
    assert_ne!(one, two);
    // A seed's numbers are its own, whatever seed came first.
    let of_seed_2 = |csv: &str| -> Vec<String> {
        let lines = csv
            .lines()
            .filter(|line| line.rsplit(',').nth(1) == Some("2"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(of_seed_2(&one), of_seed_2(&two));
    assert_eq!(of_seed_2(&one).len(), 3 * 3 * 2);
}

#[test]
fn a_folder_has_every_number_a_picture_and_curves_and_the_screen_100_columns() {
    let folder = tempfile::tempdir().unwrap();
    let text = "study: [map, weights, transfer, capacity]\nd: 10\nseeds: 3\nkappa: 10\n\
        training: {steps: 20}\ncapacity: {rows: 12}\nweights: {rows: 20}\n";
    let (results, printed) = simulate(folder.path(), text, &["map.target_rows=[8]"]);
    for line in printed.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    let out = folder.path().join("out");
    let mut numbers = 0;
    for study in results["studies"].as_array().unwrap() {
        let name = study["name"].as_str().unwrap();
        let svg = std::fs::read_to_string(out.join(format!("{name}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && !svg.contains("NaN"), "{name}");
        for panel in study["panels"].as_array().unwrap() {
            let label = panel["y_label"].as_str().unwrap();
            assert!(svg.contains(label), "{name}: {label}");
            for line in panel["lines"].as_array().unwrap() {
                assert!(svg.contains(line["name"].as_str().unwrap()), "{line}");
                numbers += 3 * line["points"].as_array().unwrap().len();
            }
        }
        assert!(printed.contains(&format!("{name}.svg")), "{printed}");
    }
    let csv = std::fs::read_to_string(out.join("results.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + numbers);
    let markdown = std::fs::read_to_string(out.join("results.md")).unwrap();
    assert!(markdown.contains("](map.svg)") && markdown.contains("| source rows |"));
    let files = common::event_files(&out.join("tensorboard"));
    let mut scalars = 0;
    for event in common::events(&files[0]) {
        for value in event.get_summary().get_value() {
            scalars += 1;
            if value.get_tag() == "transfer/mtl-minus-stl/task-4-turned" {
                assert!([20, 50, 100, 200, 500, 2000].contains(&event.get_step()));
            }
        }
    }
    assert_eq!(3 * scalars, numbers);
    // What was resolved is a config that gives the same numbers.
    let again = ["simulate", "out/config.yaml", "--out", "again", "--json"];
    let printed = common::run(folder.path(), &again);
    assert!(printed.status.success());
    let json = std::fs::read(folder.path().join("again/results.json")).unwrap();
    let value = |json: &[u8]| serde_json::from_slice::<Value>(json).unwrap();
    assert_eq!(value(&printed.stdout), value(&json));
    let second = std::fs::read_to_string(folder.path().join("again/results.csv")).unwrap();
    assert_eq!(csv, second);
}

#[test]
fn a_wrong_config_is_one_line_that_names_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |text: &str, sets: &[&str]| {
        std::fs::write(folder.path().join("s.yaml"), text).unwrap();
        let mut args = vec!["simulate", "s.yaml", "--out", "x"];
        sets.iter().for_each(|set| args.extend(["--set", set]));
        let line = common::fails(folder.path(), &args, 2);
        assert!(!folder.path().join("x").exists(), "{line}");
        line
    };
    let line = refused("study: [transfer]\ntransfer: {targt_rows: 3}\n", &[]);
    assert!(
        line.contains("s.yaml:2") && line.contains("did you mean `target_rows`?"),
        "{line}"
    );
    let line = refused("study: [transfers]\n", &[]);
    assert!(line.contains("did you mean `transfer`?"), "{line}");
    for (set, key) in [
        ("kapa=3", "`kappa`"),
        ("kappa=0.5", "`kappa`"),
        ("kappa=.nan", "`kappa`"),
        ("cosine=1.1", "`cosine`"),
        ("cosine=-0.5", "`cosine`"),
        ("seeds=0", "`seeds`"),
        ("study=[]", "`study`"),
        ("study=[map,map]", "`study`"),
        ("d=100000", "`d`"),
        ("transfer.source_rows=[50,20]", "`transfer.source_rows`"),
        ("transfer.decays=[-1]", "`transfer.decays`"),
        ("study=[weights]", "`weights.rows`"),
        ("study=[capacity]", "`capacity.rows`"),
        ("weights.shares=[120]", "`weights.shares`"),
        ("weights.noisy=6", "`weights.noisy`"),
        ("training.steps=0", "`training.steps`"),
    ] {
        let line = refused("d: 200\n", &[set]);
        assert!(line.contains(key), "{set}: {line}");
    }
    let line = refused("study: [weights]\nd: 50\nmodel: relu\n", &[]);
    assert!(line.contains("`model`"), "{line}");
    // A folder with something in it stays as it is.
    std::fs::create_dir(folder.path().join("full")).unwrap();
    std::fs::write(folder.path().join("full/mine"), "x").unwrap();
    let line = common::fails(
        folder.path(),
        &[
            "simulate",
            "s.yaml",
            "--out",
            "full",
            "--set",
            "model=linear",
        ],
        2,
    );
    assert!(line.contains("full: the folder is not empty"), "{line}");
}

/// Two linear tasks of different covariance with more rows than coordinates.
fn two_tasks() -> (Data, Data) {
    let mut random = data::random(5, 0);
    let [one, two] = data::spectra(12, 3.0, &mut random);
    let theta = data::direction(12, &mut random);
    let other = data::at_cosine(&theta, 0.7, &mut random);
    let mut draw = |spectrum: &DVector<f64>, theta: &DVector<f64>, rows| {
        let q = data::orthonormal(12, &mut random);
        let x = Source::new(spectrum, &q, Order::Turned).inputs(rows, &mut random);
        Data::new(x, theta, Model::Linear, 0.5, &mut random)
    };
    (draw(&one, &theta, 40), draw(&two, &other, 25))
}

/// Trained until nothing moves.
fn to_the_end(tasks: &[&Data]) -> Vec<DVector<f64>> {
    let problem = Problem {
        tasks,
        weights: &[1.0, 1.0],
        model: Model::Linear,
        r: 1,
        decay: None,
    };
    let training = Training {
        steps: 20_000,
        ..Training::default()
    };
    let trained = train(&problem, &training, 3);
    (0..tasks.len()).map(|i| trained.theta(i)).collect()
}

#[test]
fn training_alone_ends_at_least_squares() {
    let (one, _) = two_tasks();
    let (x, y) = (&one.x, &one.y);
    // The normal equations, which least_squares does not use.
    let exact = x.tr_mul(x).lu().solve(&x.tr_mul(y)).unwrap();
    assert!((least_squares(&one) - &exact).norm() < 1e-10);
    let trained = &to_the_end(&[&one])[0];
    assert!((trained - &exact).norm() < 1e-4 * exact.norm());
}

#[test]
fn training_jointly_ends_at_the_maximiser_of_h() {
    let (one, two) = two_tasks();
    let best = best_shared([&one, &two]);
    let h = explained(&[&one, &two], &best);
    for theta in to_the_end(&[&one, &two]) {
        let cosine = theta.dot(&best) / (theta.norm() * best.norm());
        assert!(cosine.abs() > 1.0 - 1e-6, "{cosine}");
        assert!((explained(&[&one, &two], &theta) - h).abs() < 1e-6 * h);
    }
    // No direction explains more: neither a task's own nor one drawn.
    let mut random = data::random(6, 0);
    let drawn = (0..2000).map(|_| data::direction(12, &mut random));
    let near = (0..2000).map(|i| {
        let step = 10f64.powi(-(i % 5));
        best.normalize() + data::direction(12, &mut data::random(7, i as u64)) * step
    });
    for other in drawn
        .chain(near)
        .chain([least_squares(&one), least_squares(&two)])
    {
        assert!(explained(&[&one, &two], &other) <= h * (1.0 + 1e-12));
    }
}

#[test]
fn solutions_lie_in_the_span_of_a_wide_module_only() {
    let (one, two) = two_tasks();
    let optima = [least_squares(&one), least_squares(&two)];
    let fit = |r| {
        let problem = Problem {
            tasks: &[&one, &two],
            weights: &[1.0, 1.0],
            model: Model::Linear,
            r,
            decay: None,
        };
        let training = Training {
            steps: 20_000,
            ..Training::default()
        };
        let trained = train(&problem, &training, 4);
        let b = trained.shared(0).clone();
        (
            outside_span(&b, &optima),
            (trained.theta(0) - &optima[0]).norm(),
        )
    };
    let (outside, distance) = fit(2);
    assert!(outside < 1e-4 && distance < 1e-4, "{outside} {distance}");
    let (outside, distance) = fit(1);
    assert!(outside > 0.05 && distance > 0.05, "{outside} {distance}");
}

#[test]
fn a_turn_after_the_scaling_moves_the_covariance_and_one_before_it_does_not() {
    let mut random = data::random(8, 0);
    let [spectrum, _] = data::spectra(20, 10.0, &mut random);
    let [q1, q2] = [(); 2].map(|()| data::orthonormal(20, &mut random));
    let v = data::direction(20, &mut random);
    let variance = |q, order| Source::new(&spectrum, q, order).variance(&v);
    let printed = [&q1, &q2].map(|q| variance(q, Order::AsPrinted));
    assert!((printed[0] - printed[1]).abs() < 1e-12, "{printed:?}");
    let turned = [&q1, &q2].map(|q| variance(q, Order::Turned));
    assert!((turned[0] - turned[1]).abs() > 0.01, "{turned:?}");
}

/// numpy:
///
/// ```python
/// T = np.array([[np.sin(.37 * (1 + 4*i + j)**2) * (1 + j) for j in range(4)] for i in range(7)])
/// U = np.linalg.svd(T, full_matrices=False)[0]
/// a = np.linalg.norm(T.T @ U[:, :r], axis=1)
/// print(a * 4 / a.sum())
/// ```
#[test]
fn svd_weights_are_numpys() {
    let theta = DMatrix::from_fn(7, 4, |i, j| {
        let n = (1 + 4 * i + j) as f64;
        (0.37 * n * n).sin() * (1 + j) as f64
    });
    let numpy = [
        (
            1,
            [
                0.3545245337120778,
                1.0591673674475288,
                0.5157996308565364,
                2.0705084679838572,
            ],
        ),
        (
            2,
            [
                0.2595540157945009,
                0.7665751621311627,
                1.4468361946800539,
                1.5270346273942825,
            ],
        ),
        (
            4,
            [
                0.3451239388847859,
                0.8175000288912613,
                1.3731970503081896,
                1.4641789819157631,
            ],
        ),
    ];
    for (r, expected) in numpy {
        let weights = svd_weights(&theta, r);
        for (weight, expected) in weights.iter().zip(expected) {
            assert!((weight - expected).abs() < 1e-8, "r = {r}: {weights:?}");
        }
    }
    // More directions than there are change nothing, nor does the scale; nothing to weigh is equal.
    assert_eq!(svd_weights(&theta, 9), svd_weights(&theta, 4));
    let scaled = svd_weights(&(&theta * 1e6), 2);
    let same = scaled.iter().zip(svd_weights(&theta, 2));
    assert!(same.into_iter().all(|(a, b)| (a - b).abs() < 1e-12));
    assert_eq!(svd_weights(&DMatrix::zeros(7, 4), 2), [1.0; 4]);
}

/// scipy: `st.t.interval(0.95, 4, np.mean(v), st.sem(v))`.
#[test]
fn t_intervals_are_scipys() {
    let interval = t_interval(&[0.5, -0.25, 1.0, 0.125, 2.0]).unwrap();
    assert!(
        (interval.low - -0.4092364741521841).abs() < 1e-9,
        "{interval:?}"
    );
    assert!(
        (interval.high - 1.7592364741521842).abs() < 1e-9,
        "{interval:?}"
    );
    assert_eq!(t_interval(&[1.0]), None);
}
