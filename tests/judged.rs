//! Dev chooses, test judges: test rows cut out of a training file, scored where dev is best, told by
//! the report.

mod common;

use std::path::Path;

use common::{fails, json, refused, run, text, train, workplace};

const WORDS: &str = "encoder={kind: mlp, width: 16, embeddings: all-MiniLM-L6-v2}";

/// The demonstration's reviews in one file, from which dev and test are cut.
fn cut(folder: &Path) -> [&'static str; 5] {
    let task = "
name: Reviews
labels: ['0', '1']
metrics: [accuracy]
layout: {text: sentence, label: label}
files: {train: {path: DemoSentiment/train.tsv}}
split: {dev: 0.2, test: 0.3, seed: 1}
";
    std::fs::write(folder.join("Reviews.yaml"), task).unwrap();
    [
        WORDS,
        "tasks=[Reviews.yaml]",
        "training={learning_rate: 1e-2, max_steps: 120, batch_size: 16, max_train_rows: 9999}",
        "evaluation={every: 30 steps, test: true}",
        "method=multitask",
    ]
}

#[test]
fn the_test_score_is_that_of_the_weights_that_dev_chose() {
    let folder = workplace();
    let folder = folder.path();
    train(folder, "x", &cut(folder));
    let results = json(&folder.join("x/results.json"));
    let told = &results["tasks"]["Reviews"]["test"]["score"];
    let evaluated = run(folder, &["evaluate", "x", "--split", "test", "--json"]);
    let evaluated: serde_json::Value = serde_json::from_slice(&evaluated.stdout).unwrap();
    assert_eq!(&evaluated["tasks"]["Reviews"]["score"], told);
    assert_ne!(told, &results["tasks"]["Reviews"]["dev"]["score"]);
    // No row is in two splits, and none is lost.
    let split = json(&folder.join("x/tasks/Reviews.split.json"));
    let file = &split["files"][0];
    let lines = |key: &str| -> Vec<u64> {
        let lines = file[key].as_array().unwrap().iter();
        lines.map(|line| line.as_u64().unwrap()).collect()
    };
    let (dev, test) = (lines("dev_lines"), lines("test_lines"));
    assert!(dev.iter().all(|line| !test.contains(line)));
    let rows = file["rows"].as_u64().unwrap();
    let all = std::fs::read_to_string(folder.join("demo/DemoSentiment/train.tsv")).unwrap();
    assert_eq!(rows, all.lines().count() as u64 - 1);
    let share = |lines: &[u64]| lines.len() as f64 / rows as f64;
    assert!((share(&dev) - 0.2).abs() < 0.01 && (share(&test) - 0.3).abs() < 0.01);
    let trained = results["training_rows"]["Reviews"].as_u64().unwrap();
    assert_eq!(trained, rows - dev.len() as u64 - test.len() as u64);
}

#[test]
fn a_report_tells_dev_scores_or_those_of_test_and_says_which() {
    let folder = workplace();
    let folder = folder.path();
    let sets = cut(folder);
    train(folder, "runs/a", &sets);
    let score = |args: &[&str]| -> (String, String) {
        let told = run(
            folder,
            &[&["report", "runs", "--out", "out"], args].concat(),
        );
        assert!(told.status.success(), "{}", text(&told.stderr));
        let csv = std::fs::read_to_string(folder.join("out/report.csv")).unwrap();
        (text(&told.stdout), csv)
    };
    let result = json(&folder.join("runs/a/results.json"))["tasks"]["Reviews"].clone();
    let of = |split: &str| result[split]["score"].as_f64().unwrap().to_string();
    assert_ne!(of("dev"), of("test"));
    let (_, csv) = score(&[]);
    assert!(
        csv.contains(&of("dev")) && !csv.contains(&of("test")),
        "{csv}"
    );
    let (told, csv) = score(&["--split", "test"]);
    assert!(
        csv.contains(&of("test")) && !csv.contains(&of("dev")),
        "{csv}"
    );
    assert!(told.contains("test scores of what dev chose"), "{told}");
    assert!(told.contains("test had no part in choosing"), "{told}");
}

#[test]
fn what_has_no_test_scores_is_not_judged_by_them() {
    let folder = workplace();
    let folder = folder.path();
    let line = refused(folder, &[WORDS, "evaluation.test=true"]);
    assert!(line.contains("DemoSentiment has no test rows"), "{line}");
    train(folder, "runs/a", &[WORDS]);
    let line = fails(folder, &["report", "runs", "--split", "test"], 2);
    assert!(line.contains("evaluation.test: true"), "{line}");
    for (split, expected) in [
        ("{dev: 0.5, test: 0.5}", "split.test"),
        ("{dev: 0.5, test: -0.1}", "split.test"),
    ] {
        let sets = cut(folder);
        let file = folder.join("Reviews.yaml");
        let task = std::fs::read_to_string(&file).unwrap();
        let task = task.replace("{dev: 0.2, test: 0.3, seed: 1}", split);
        std::fs::write(&file, task).unwrap();
        let line = refused(folder, &sets);
        assert!(line.contains(expected), "{line}");
    }
}
