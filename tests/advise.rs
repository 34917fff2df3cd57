//! `covalign advise` on made-up results whose answer is known.

mod common;

use std::path::Path;

use common::{fails, run, text};
use covalign::analysis::evidence::Difference;
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
    let mut results = json!({
        "method": method, "tasks": scores.iter().map(task).collect::<serde_json::Map<_, _>>(),
        "seed": seed, "encoder": {"name": "all-MiniLM-L6-v2", "sha256": "x"},
    });
    if !after.is_empty() {
        results["start"] = json!({"run": "elsewhere", "tasks": after});
    }
    std::fs::write(place.join("results.json"), results.to_string()).unwrap();
    let config =
        format!("training: {{epochs: 3, seed: {seed}}}\nevaluation: {{every: 1 epochs}}\n");
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
            (&one["advice"], &one["certainty"]),
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
    // scipy.stats.t.cdf(t, 3) with t = mean / (std(ddof=1) / 2) of 3.3, 2.8, 3.1, 3.0.
    let certainty = with_p["certainty"].as_f64().unwrap();
    assert!((certainty - 0.9999563618191065).abs() < 1e-9, "{certainty}");
    let evidence = with_p["evidence"].to_string();
    assert!(
        evidence.contains("aligned MTL +3.05 points against alone in 4 pairs of runs"),
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
    assert!(other["certainty"].as_f64().unwrap() > 0.95);
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

#[test]
fn a_difference_is_as_sure_as_students_t_says() {
    // scipy.stats.ttest_1samp(d, 0): 1 - p / 2.
    let found = Difference::of(&[1.2, 0.4, -0.3, 0.9, 1.1]).unwrap();
    assert!((found.mean - 0.66).abs() < 1e-12);
    assert!(
        (found.certainty.unwrap() - 0.9621980996029555).abs() < 1e-9,
        "{found:?}"
    );
    assert!(found.decided());
    // One pair, or pairs that differ alike, have no spread to be sure by.
    for few in [&[1.0][..], &[1.0, 1.0]] {
        let found = Difference::of(few).unwrap();
        assert_eq!((found.certainty, found.decided()), (None, false));
    }
    assert_eq!(Difference::of(&[]), None);
}
