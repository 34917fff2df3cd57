//! A run folder's life: one process at a time, resumed, ended, cleared.

mod common;

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use common::{covalign, evaluations, fails, json, run, text, train, workplace};

/// A two-layer encoder: what stays in a folder matters here, not what is learnt.
fn tiny() -> [String; 2] {
    let tiny = common::root().join("tests/fixtures/legacy-bert");
    let encoder = format!("encoder={}", tiny.display());
    [encoder, "training.max_length=16".into()]
}

/// Starts a run and waits for its first evaluation.
fn begun(folder: &Path, args: &[&str], out: &str) -> Child {
    let mut child = covalign(folder, args)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let metrics = folder.join(out).join("metrics.jsonl");
    while std::fs::metadata(&metrics).map_or(0, |m| m.len()) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "ended too early");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn a_folder_has_one_run_at_a_time_and_a_killed_one_lets_go_of_it() {
    let folder = workplace();
    let folder = folder.path();
    let sets = [
        "evaluation.every=2 steps",
        "checkpoints.every=6 steps",
        "training.max_steps=12",
    ];
    let mut args = vec!["train", "c.yaml", "--out", "x"];
    sets.iter().for_each(|set| args.extend(["--set", set]));
    let resume = [&args[..], &["--resume"]].concat();

    let mut child = begun(folder, &args, "x");
    for args in [&args, &resume] {
        let line = fails(folder, args, 1);
        assert!(line.contains("x: another process"), "{line}");
    }
    assert!(child.try_wait().unwrap().is_none(), "ended too early");
    // SIGKILL: the kernel alone can let go.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(fails(folder, &args, 2).contains("--resume"));
    let resumed = run(folder, &resume);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));

    train(folder, "whole", &sets);
    assert_eq!(evaluations(folder, "x"), evaluations(folder, "whole"));
}

#[test]
fn two_processes_that_start_together_train_once() {
    let folder = workplace();
    let folder = folder.path();
    let args = ["train", "c.yaml", "--out", "x"];
    let start = || {
        let mut command = covalign(folder, &args);
        command.stderr(Stdio::piped()).stdout(Stdio::null());
        command.spawn().unwrap()
    };
    let children: Vec<Child> = (0..3).map(|_| start()).collect();
    let outputs = children.into_iter().map(|c| c.wait_with_output().unwrap());
    let mut codes: Vec<_> = outputs
        .map(|output| output.status.code().unwrap())
        .collect();
    codes.sort();
    assert_eq!(codes, [0, 1, 1]);
    assert_eq!(evaluations(folder, "x").len(), 2);
}

#[test]
fn resuming_a_run_that_has_ended_shows_its_scores_and_trains_nothing() {
    let folder = workplace();
    let folder = folder.path();
    let [encoder, length] = tiny();
    for method in ["aligned", "single"] {
        let set = format!("method={method}");
        let sets = [&*set, &encoder, &length];
        let table = train(folder, method, &sets);
        let files = ["results.json", "log.txt", "metrics.jsonl"];
        let part = match method {
            "single" => folder.join("single/DemoSentiment"),
            _ => folder.join(method),
        };
        let bytes = || files.map(|name| std::fs::read(part.join(name)).unwrap());
        let before = bytes();
        let mut args = vec!["train", "c.yaml", "--out", method, "--resume"];
        sets.iter().for_each(|set| args.extend(["--set", set]));
        let again = run(folder, &args);
        assert!(again.status.success(), "{}", text(&again.stderr));
        assert_eq!(text(&again.stdout), table);
        assert_eq!(bytes(), before);
        args.extend(["--set", "training.seed=7"]);
        assert!(fails(folder, &args, 2).contains("seed: 7"));
    }
}

#[test]
fn a_run_keeps_the_weights_that_its_config_says_and_the_same_scores() {
    let folder = workplace();
    let folder = folder.path();
    let [encoder, length] = tiny();
    let there = |out: &str| {
        ["checkpoints", "best", "best_per_task"].map(|name| folder.join(out).join(name).is_dir())
    };
    for (after, left) in [
        ("all", [true, true, true]),
        ("best", [false, true, true]),
        ("nothing", [false, false, false]),
    ] {
        let set = format!("checkpoints.after={after}");
        train(folder, after, &[&set, &encoder, &length]);
        assert_eq!(there(after), left, "{after}");
        let results = |out: &str| json(&folder.join(out).join("results.json"))["tasks"].clone();
        assert_eq!(results(after), results("all"));
    }
    let evaluated = run(folder, &["evaluate", "best"]);
    assert!(evaluated.status.success(), "{}", text(&evaluated.stderr));
    let line = fails(folder, &["evaluate", "nothing"], 2);
    assert!(line.contains("checkpoints.after: nothing"), "{line}");

    // Killed between the scores and the clearing: --resume clears.
    std::fs::create_dir_all(folder.join("best/checkpoints/step-6")).unwrap();
    let mut args = vec!["train", "c.yaml", "--out", "best", "--resume"];
    for set in ["checkpoints.after=best", &encoder, &length] {
        args.extend(["--set", set]);
    }
    assert!(run(folder, &args).status.success());
    assert_eq!(there("best"), [false, true, true]);
}
