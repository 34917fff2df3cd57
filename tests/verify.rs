//! A run's numbers can be checked: by computing them again, and by the checksums of all that they were
//! made of.

mod common;

use std::path::Path;

use common::{fails, json, run, text, train, workplace};
use covalign::telemetry::sealed;
use serde_json::Value;

/// `verify --json`, with what else is said and the exit code that it ends with.
fn verified(folder: &Path, code: i32) -> (Value, String) {
    let output = run(folder, &["verify", "r", "--json"]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    (serde_json::from_slice(&output.stdout).unwrap(), errors)
}

/// Puts another text in a file's place while `during` looks at it.
fn with(path: &Path, from: &str, to: &str, during: impl FnOnce()) {
    let before = std::fs::read_to_string(path).unwrap();
    assert!(before.contains(from), "{from} in {before}");
    // Weights of one evaluation may be one file under two names.
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, before.replacen(from, to, 1)).unwrap();
    during();
    std::fs::write(path, before).unwrap();
}

#[test]
fn verify_finds_the_reported_scores_again_and_what_has_changed_since() {
    let folder = workplace();
    let folder = folder.path();
    train(folder, "r", &["method=multitask", "training.max_steps=12"]);
    let mut results = json(&folder.join("r/results.json"));
    sealed::unseal(&mut results, sealed::SEAL);
    for name in [
        "config.yaml",
        "made_of.json",
        "tasks/DemoSentiment.yaml",
        "encoder/vocab.txt",
    ] {
        assert_eq!(results["files"][name].as_str().unwrap().len(), 64, "{name}");
    }
    assert_eq!(results["program"].as_str().unwrap().len(), 64);
    let (report, _) = verified(folder, 0);
    assert_eq!(report["same"], true, "{report}");
    let scores = report["scores"].as_array().unwrap();
    let weights: Vec<&str> = scores
        .iter()
        .map(|s| s["weights"].as_str().unwrap())
        .collect();
    assert_eq!(
        weights,
        [
            "best_per_task/DemoSentiment",
            "best_per_task/DemoSimilarity",
            "best"
        ]
    );
    assert_eq!(report["changed"].as_array().unwrap().len(), 0);
    assert!(text(&run(folder, &["verify", "r"]).stdout).contains("what the run was begun with"));

    // A score that was never reached.
    let score = results["tasks"]["DemoSentiment"]["dev"]["accuracy"].to_string();
    let reported = format!("\"accuracy\": {score}");
    with(
        &folder.join("r/results.json"),
        &reported,
        "\"accuracy\": 0.9999",
        || {
            let (report, errors) = verified(folder, 1);
            assert_eq!(report["scores"][0]["same"], false);
            assert_eq!(report["scores"][0]["metrics"][0][0], "accuracy");
            assert_eq!(report["scores"][1]["same"], true);
            assert!(
                errors.contains("1 of 3 scores are not the reported ones"),
                "{errors}"
            );
        },
    );
    // A mean that was never reached, by somebody who knows how files are sealed.
    let mut risen = results.clone();
    risen["best"]["glue_score"] = 99.9.into();
    let path = folder.join("r/results.json");
    let whole = std::fs::read_to_string(&path).unwrap();
    with(&path, &whole, &text(&sealed::text(&risen).unwrap()), || {
        let (report, _) = verified(folder, 1);
        assert_eq!(report["changed"].as_array().unwrap().len(), 0, "{report}");
        let same = |at: usize| report["scores"][at]["same"].clone();
        assert_eq!(
            (same(0), same(1), same(2)),
            (true.into(), true.into(), false.into())
        );
    });
    // What nobody can compute again, but for its checksum.
    with(
        &folder.join("r/results.json"),
        "\"steps\": 12",
        "\"steps\": 13",
        || {
            let (report, _) = verified(folder, 1);
            assert_eq!(report["changed"][0]["what"], "results.json", "{report}");
        },
    );
    // Rows that the run was trained on.
    with(
        &folder.join("demo/DemoSimilarity/train.tsv"),
        "0.",
        "1.",
        || {
            let (report, _) = verified(folder, 1);
            assert!(report["scores"]
                .as_array()
                .unwrap()
                .iter()
                .all(|s| s["same"] == true));
            let what = report["changed"][0]["what"].as_str().unwrap();
            assert!(
                what.contains("DemoSimilarity: train rows in train.tsv (sha256)"),
                "{what}"
            );
        },
    );
    // Data that are gone are told of for each task.
    std::fs::rename(folder.join("demo"), folder.join("moved")).unwrap();
    let (report, _) = verified(folder, 1);
    assert!(
        report["scores"][0]["error"]
            .as_str()
            .unwrap()
            .contains("demo"),
        "{report}"
    );
    let output = run(folder, &["verify", "r", "--data", "moved"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    std::fs::rename(folder.join("moved"), folder.join("demo")).unwrap();
    // A run that reported nothing.
    std::fs::remove_file(folder.join("r/results.json")).unwrap();
    assert!(fails(folder, &["verify", "r"], 2).contains("has not ended"));
}

#[test]
fn weights_are_used_only_with_the_files_that_they_were_saved_with() {
    let folder = workplace();
    let folder = folder.path();
    train(folder, "r", &["method=multitask"]);
    let task = ["--task", "DemoSentiment"];
    let dev = "demo/DemoSentiment/dev.tsv";
    let commands: [&[&str]; 4] = [
        &["evaluate", "r", task[0], task[1]],
        &["predict", "r", task[0], task[1], dev],
        &["export", "r", task[0], task[1], "--out", "x"],
        &["similarity", "c.yaml", "--run", "r", "--out", "x"],
    ];
    let refused = |expected: &str| {
        for args in &commands {
            let line = fails(folder, args, 2);
            assert!(line.contains(expected), "{args:?}: {line}");
        }
    };
    let edits = [
        ("r/config.yaml", "max_length: 32", "max_length: 16"),
        ("r/tasks/DemoSentiment.yaml", "accuracy", "f1"),
        ("r/encoder/vocab.txt", "\nfilm\n", "\nfilmlike\n"),
        ("r/encoder/config.json", "\"gelu\"", "\"relu\""),
        ("r/made_of.json", "\"threads\"", "\"thread\""),
    ];
    for (name, from, to) in edits {
        let path = folder.join(name);
        with(&path, from, to, || {
            let file = path.file_name().unwrap().to_str().unwrap();
            refused(&format!(
                "{file}: was another, by its checksum, when the weights"
            ));
        });
    }
    let state = folder.join("r/best_per_task/DemoSentiment/state.json");
    with(&state, "\"step\"", "\"stop\"", || {
        let line = fails(folder, commands[0], 2);
        assert!(line.contains("state.json: the file is damaged"), "{line}");
    });
    // A checksum less, under a checksum that fits.
    let heads = |line: &&str| !line.contains("heads.safetensors") && !line.contains("\"sha256\"");
    let before = std::fs::read_to_string(&state).unwrap();
    std::fs::remove_file(&state).unwrap();
    let lines: Vec<&str> = before.lines().filter(heads).collect();
    let less = lines
        .join("\n")
        .replace(",\n}", "\n}")
        .replace(",\n  }", "\n  }");
    std::fs::write(&state, less).unwrap();
    let line = fails(folder, commands[0], 2);
    assert!(line.contains("no checksum of heads.safetensors"), "{line}");
    // Each task's weights are not silently the mean's.
    std::fs::remove_dir_all(folder.join("r/best_per_task/DemoSentiment")).unwrap();
    let line = fails(folder, commands[0], 2);
    assert!(
        line.contains("best_per_task/DemoSentiment: is missing"),
        "{line}"
    );
    let overall = run(folder, &[commands[0], &["--weights", "overall"]].concat());
    assert!(overall.status.success(), "{}", text(&overall.stderr));
}
