//! `covalign advise` on made-up results whose answer is known.

mod common;

use std::path::Path;

use common::{fails, run, text};
use covalign::analysis::evidence::Differences;
use covalign::analysis::tried::Difference;
use serde_json::{json, Value};

/// A folder with the demonstration tasks and a config that trains on 100 rows of each.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    common::write_demo(&folder.path().join("demo"));
    let config = "
encoder: all-MiniLM-L6-v2
data: demo
tasks: [DemoSentiment, DemoParaphrase, DemoSimilarity]
";
    std::fs::write(folder.path().join("c.yaml"), config).unwrap();
    folder
}

/// A finished run as its folder tells of it: scores by task, and the tasks that it came after.
fn finished(folder: &Path, name: &str, method: &str, seed: u64, scores: Value, after: &[&str]) {
    finished_with(folder, name, method, seed, scores, after, "");
}

/// The same with more lines in its config.
fn finished_with(
    folder: &Path,
    name: &str,
    method: &str,
    seed: u64,
    scores: Value,
    after: &[&str],
    config: &str,
) {
    let place = folder.join("runs").join(name);
    std::fs::create_dir_all(&place).unwrap();
    let scores = scores.as_object().unwrap();
    let task = |(name, score): (&String, &Value)| {
        let scores = json!({"accuracy": score, "score": score});
        (
            name.clone(),
            json!({"dev": scores, "step": 1, "last": scores}),
        )
    };
    let tasks: Vec<&String> = scores.keys().collect();
    let level = |name: &&String| ((*name).clone(), json!(0.5));
    let mut results = json!({
        "method": method, "tasks": scores.iter().map(task).collect::<serde_json::Map<_, _>>(),
        "constant_answer": tasks.iter().map(level).collect::<serde_json::Map<_, _>>(),
        "seed": seed, "encoder": {"name": "all-MiniLM-L6-v2", "sha256": "x"},
        "glue_score": 0.0, "best": {"step": 1, "glue_score": 0.0}, "steps": 30, "epochs": 3.0,
        "seconds": 1.0, "tokens_per_second": 1.0, "libtorch": "2.11.0", "device": "cpu",
        "precision": "fp32", "threads": 1, "version": "0.1.0",
    });
    let mut start = "";
    if !after.is_empty() {
        results["start"] = json!({"run": "elsewhere", "method": "single", "tasks": after, "step": 1,
            "sha256": "", "heads": {}});
        start = "start: {run: elsewhere}\n";
    }
    std::fs::write(place.join("results.json"), results.to_string()).unwrap();
    let config = format!("method: {method}\ntasks: {tasks:?}\n{start}{config}");
    let config = match config.contains("training:") {
        true => config.replace("SEED", &seed.to_string()),
        false => format!("{config}training: {{epochs: 3, seed: {seed}}}\n"),
    };
    std::fs::write(place.join("config.yaml"), config).unwrap();
}

fn advise(folder: &Path, more: &[&str]) -> Vec<Value> {
    let args = [&["advise", "c.yaml", "--json"][..], more].concat();
    let output = run(folder, &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn on<'a>(advice: &'a [Value], target: &str, supports: &[&str]) -> &'a Value {
    let of = |a: &&Value| a["target"] == target && a["supports"] == json!(supports);
    advice.iter().find(of).expect(target)
}

#[test]
fn without_runs_only_the_size_rule_speaks_and_not_of_equal_sizes() {
    let folder = workplace();
    let folder = folder.path();
    let advice = advise(folder, &["DemoSentiment"]);
    assert_eq!(advice.len(), 2);
    for one in &advice {
        assert_eq!(
            (&one["advice"], &one["p"]),
            (&json!("unknown"), &Value::Null)
        );
        assert!(!one["evidence"].to_string().contains("size rule"));
    }
    // A target of 100 rows beside tasks of 500.
    let train = folder.join("demo/DemoSentiment/train.tsv");
    let rows = std::fs::read_to_string(&train).unwrap();
    let few: Vec<&str> = rows.lines().take(101).collect();
    std::fs::write(&train, few.join("\n")).unwrap();
    let advice = advise(folder, &[]);
    let small = on(&advice, "DemoSentiment", &["DemoParaphrase"]);
    assert_eq!(
        (&small["advice"], &small["way"]),
        (&json!("rather"), &json!("multitask"))
    );
    assert!(small["evidence"][0]
        .as_str()
        .unwrap()
        .contains("100 < 500 training rows"));
    assert!(small["evidence"][1]
        .as_str()
        .unwrap()
        .contains("2 classes in both"));
    let large = on(&advice, "DemoParaphrase", &["DemoSentiment"]);
    assert_eq!(
        (&large["advice"], &large["way"]),
        (&json!("rather"), &json!("stilts"))
    );
    // Equal again where the config takes as many rows of each.
    let capped = advise(folder, &["--set", "training.max_train_rows=50"]);
    let one = on(&capped, "DemoSentiment", &["DemoParaphrase"]);
    assert_eq!(one["advice"], "unknown");
}

#[test]
fn measured_runs_decide() {
    let folder = workplace();
    let folder = folder.path();
    let (s, p, q) = ("DemoSentiment", "DemoParaphrase", "DemoSimilarity");
    // Differences from `alone`, by seed, in points.
    let noise = [0.3, -0.2, 0.1, 0.0];
    for (i, noise) in noise.into_iter().enumerate() {
        let (seed, base) = (i as u64, 0.80 + i as f64 / 100.0);
        let points = |points: f64| base + (points + noise) / 100.0;
        let folder_of = |name: &str| format!("{name}-{seed}");
        finished(
            folder,
            &folder_of("alone"),
            "single",
            seed,
            json!({s: base}),
            &[],
        );
        // With p: MTL helps by 2, alignment by 3, STILTs by 1; with q all of it harms.
        let pair = json!({s: points(2.0), p: 0.7});
        finished(folder, &folder_of("mtl"), "multitask", seed, pair, &[]);
        let pair = json!({s: points(3.0), p: 0.7});
        finished(folder, &folder_of("aligned"), "aligned", seed, pair, &[]);
        finished(
            folder,
            &folder_of("stilts"),
            "single",
            seed,
            json!({s: points(1.0)}),
            &[p],
        );
        let pair = json!({s: points(-2.0), q: 0.7});
        finished(folder, &folder_of("worse"), "multitask", seed, pair, &[]);
        // All three, with a difference whose sign is anyone's guess.
        let all = json!({s: points(noise * if i == 0 { -9.0 } else { 3.0 }), p: 0.7, q: 0.7});
        finished(folder, &folder_of("all"), "multitask", seed, all, &[]);
        // q with s: MTL harms, alignment is anyone's guess.
        finished(
            folder,
            &folder_of("alone-q"),
            "single",
            seed,
            json!({q: 0.72 + noise / 100.0}),
            &[],
        );
        let guess = 0.72 + [0.03, -0.03, 0.02, -0.02][i];
        finished(
            folder,
            &folder_of("guess"),
            "aligned",
            seed,
            json!({s: points(-2.0), q: guess}),
            &[],
        );
        // p, MTL against STILTs, never alone.
        finished(
            folder,
            &folder_of("stilts-p"),
            "single",
            seed,
            json!({p: 0.69 - noise / 100.0}),
            &[s],
        );
        // A table of single runs, and an aligned single run, are no ways of the list.
        finished(
            folder,
            &folder_of("table"),
            "single",
            seed,
            json!({s: 0.1, p: 0.1}),
            &[],
        );
        finished(
            folder,
            &folder_of("odd"),
            "aligned",
            seed,
            json!({s: 0.1}),
            &[],
        );
    }
    let advice = advise(folder, &["--runs", "runs", "--runs", "runs/mtl-0"]);
    let with_p = on(&advice, s, &[p]);
    assert_eq!(
        (&with_p["advice"], &with_p["way"]),
        (&json!("use"), &json!("aligned"))
    );
    // scipy 1.17: ttest_1samp(d, 0).pvalue of the six ways' differences, with `noise` = [.3, -.2, .1,
    // 0] d is 2 + noise (MTL), 3 + noise (aligned), 1 + noise (STILTs), -2 + noise twice (with q) and
    // [-2.4, -.8, .4, 0] (all three); then Holm's: numpy's maximum.accumulate(sorted(p) * [6 … 1]).
    let close = |value: &Value, expected: f64| {
        let value = value.as_f64().unwrap();
        assert!((value / expected - 1.0).abs() < 1e-6, "{value}");
    };
    close(&with_p["p"], 0.0005236581707220274);
    assert_eq!(with_p["tests"], 6);
    // The best way's lead on the next, 1.00 for every seed, does not vary.
    assert_eq!(
        with_p["next"],
        json!({"way": "multitask", "surely_worse": false})
    );
    close(&on(&advice, s, &[q])["p"], 0.0014299031129732728);
    let evidence = with_p["evidence"].to_string();
    assert!(
        evidence.contains(
            "aligned MTL +3.05 points against alone over 4 seeds, p < 0.001 (< 0.001 after Holm's \
             correction over 6 tests)"
        ),
        "{evidence}"
    );
    assert!(
        evidence.contains("MTL +1.00 points against STILTs"),
        "{evidence}"
    );
    assert_eq!(on(&advice, s, &[q])["advice"], "alone");
    assert_eq!(on(&advice, s, &[p, q])["advice"], "undecided");
    let other = on(&advice, p, &[s]);
    assert_eq!(
        (&other["advice"], &other["way"]),
        (&json!("rather"), &json!("multitask"))
    );
    // MTL and aligned MTL against STILTs, the same numbers: twice 0.0020744.
    close(&other["p"], 0.004_148_802_030_591_981);
    assert_eq!(on(&advice, q, &[p])["advice"], "unknown");
    assert_eq!(on(&advice, q, &[s])["advice"], "undecided");

    let output = run(
        folder,
        &["advise", "c.yaml", "--runs", "runs", "--target", s],
    );
    let shown = text(&output.stdout);
    assert!(shown.contains("44 finished runs read"), "{shown}");
    assert!(
        shown.lines().all(|line| line.chars().count() <= 100),
        "{shown}"
    );
    // Runs of another encoder say nothing.
    let elsewhere = ["--runs", "runs", "--set", "encoder=bert-large-uncased"];
    assert_eq!(
        on(&advise(folder, &elsewhere), s, &[p])["advice"],
        "unknown"
    );
    let line = fails(folder, &["advise", "c.yaml", "DemoSentimental"], 2);
    assert!(line.contains("did you mean `DemoSentiment`"), "{line}");
    assert!(fails(folder, &["advise", "c.yaml", "--runs", "nowhere"], 2).contains("nowhere"));
}

/// The differences of the 3 or 4 seeds from `alone`, which 70 + seed scores.
fn arm(folder: &Path, name: &str, method: &str, after: &[&str], config: &str, points: &[f64]) {
    for (seed, points) in points.iter().enumerate() {
        let score = json!(0.70 + (seed as f64 + points) / 100.0);
        let scores = match (method, after) {
            ("single", _) => json!({"DemoSentiment": score}),
            _ => json!({"DemoSentiment": score, "DemoParaphrase": 0.8}),
        };
        let name = format!("{name}-{seed}");
        finished_with(folder, &name, method, seed as u64, scores, after, config);
    }
}

#[test]
fn only_runs_of_one_setting_are_compared_and_what_changes_no_score_is_none() {
    let folder = workplace();
    let folder = folder.path();
    let (s, p) = ("DemoSentiment", "DemoParaphrase");
    arm(folder, "alone", "single", &[], "", &[0.0; 4]);
    // The same setting, elsewhere and on more threads.
    let elsewhere = "data: /else/where\ncheckpoints: {keep: 3}\ndeduplicate: false\n\
                     training: {epochs: 3, seed: SEED, threads: 7, gradient_checkpointing: true}\n";
    arm(
        folder,
        "mtl",
        "multitask",
        &[],
        elsewhere,
        &[2.0, 2.3, 1.9, 2.2],
    );
    // Other settings of the target's own training, which nothing was tried alone with.
    for (name, config) in [
        ("dedup", "deduplicate: true\n"),
        ("often", "evaluation: {every: 0.1 epochs}\n"),
        ("patient", "evaluation: {patience: 2}\n"),
        (
            "fast",
            "training: {epochs: 3, seed: SEED, learning_rate: 1e-4}\n",
        ),
        (
            "few",
            "training: {epochs: 3, seed: SEED, max_train_rows: {DemoSentiment: 50}}\n",
        ),
        (
            "rounded",
            "training: {epochs: 3, seed: SEED}\nengine: reference\n",
        ),
    ] {
        arm(
            folder,
            name,
            "multitask",
            &[],
            config,
            &[9.0, 9.5, 9.1, 9.3],
        );
    }
    // A way of its own with every setting of the way's own.
    for (rate, points) in [
        ("1x", [4.0, 4.1, 3.9, 4.2]),
        ("9x", [-3.0, -3.1, -2.9, -3.2]),
    ] {
        let config = format!("alignment: {{learning_rate: {rate}}}\n");
        arm(folder, rate, "aligned", &[], &config, &points);
    }
    let config = "sampling: {strategy: uniform}\n";
    arm(
        folder,
        "uniform",
        "multitask",
        &[],
        config,
        &[0.1, -0.2, 0.4, -0.1],
    );
    let advice = advise(folder, &["--runs", "runs"]);
    let found = on(&advice, s, &[p]);
    let evidence = found["evidence"].to_string();
    for line in [
        "MTL (sampling.strategy=proportional) +2.10 points against alone over 4 seeds",
        "MTL (sampling.strategy=uniform) +0.05 points against alone over 4 seeds",
        "aligned MTL (alignment.learning_rate=1.0x) +4.05 points against alone over 4 seeds",
        "aligned MTL (alignment.learning_rate=9.0x) -3.05 points against alone over 4 seeds",
        "correction over 4 tests",
    ] {
        assert!(evidence.contains(line), "{line}: {evidence}");
    }
    assert!(!evidence.contains("+9"), "{evidence}");
    assert_eq!(
        (
            &found["way"],
            &found["setting"],
            &found["next"]["way"],
            &found["next"]["surely_worse"]
        ),
        (
            &json!("aligned"),
            &json!("alignment.learning_rate=1.0x"),
            &json!("multitask"),
            &json!(true)
        )
    );
}

#[test]
fn collapsed_runs_and_two_seeds_decide_nothing() {
    let folder = workplace();
    let folder = folder.path();
    let (s, p) = ("DemoSentiment", "DemoParaphrase");
    arm(folder, "alone", "single", &[], "", &[0.0; 4]);
    // Two of the runs learned nothing: 50 is what one answer for all gives.
    let collapsed = [2.0, -21.0, 2.1, -23.0];
    arm(folder, "mtl", "multitask", &[], "", &collapsed);
    let advice = advise(folder, &["--runs", "runs"]);
    let found = on(&advice, s, &[p]);
    assert_eq!(
        (&found["advice"], &found["p"]),
        (&json!("undecided"), &Value::Null)
    );
    let evidence = found["evidence"].to_string();
    for line in [
        "MTL +2.05 points against alone over 2 seeds, too few to decide (3 are the fewest)",
        "2 runs of MTL collapsed",
    ] {
        assert!(evidence.contains(line), "{line}: {evidence}");
    }
}

#[test]
fn the_more_was_tried_the_surer_a_way_must_be() {
    let folder = workplace();
    let folder = folder.path();
    let (s, p) = ("DemoSentiment", "DemoParaphrase");
    arm(folder, "alone", "single", &[], "", &[0.0; 4]);
    // scipy's ttest_1samp: 0.0298, which is below 0.1 alone and among three, and 0.119 among four.
    arm(folder, "mtl", "multitask", &[], "", &[2.0, 0.9, 1.2, 2.9]);
    let verdict = || on(&advise(folder, &["--runs", "runs"]), s, &[p])["advice"].clone();
    assert_eq!(verdict(), "use");
    for rate in ["1x", "2x", "3x"] {
        let config = format!("alignment: {{learning_rate: {rate}}}\n");
        arm(
            folder,
            rate,
            "aligned",
            &[],
            &config,
            &[1.0, -1.0, 0.6, -0.5],
        );
    }
    assert_eq!(verdict(), "undecided");
}

#[test]
fn a_difference_is_as_sure_as_students_t_says() {
    // scipy.stats.ttest_1samp(d, 0).pvalue
    let differences = |of_seed: &[f64], folds| Differences {
        of_seed: of_seed.to_vec(),
        folds,
    };
    let five = [1.2, 0.4, -0.3, 0.9, 1.1];
    let found = Difference::of(&differences(&five, None)).unwrap();
    assert!((found.mean - 0.66).abs() < 1e-12);
    assert!(
        (found.p.unwrap() - 0.0756038007940890).abs() < 1e-9,
        "{found:?}"
    );
    assert!(found.decided());
    // Folds share rows.
    let folded = Difference::of(&differences(&five, Some(5))).unwrap();
    assert!(folded.p > found.p && !folded.decided());
    // One pair or two, or pairs that differ alike, have no spread to be sure by.
    for few in [&[1.0][..], &[1.0, 1.1], &[1.0, 1.0, 1.0]] {
        let found = Difference::of(&differences(few, None)).unwrap();
        assert_eq!((found.p, found.decided()), (None, false));
    }
    assert_eq!(Difference::of(&differences(&[], None)), None);
}
