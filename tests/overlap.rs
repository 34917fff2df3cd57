//! Texts that are trained on in one task and scored in another: found, reported, left out.

mod common;

use std::path::Path;

use common::{fails, real_data, run, text};
use covalign::data::overlap;
use covalign::task::Task;
use covalign::train::keep::run_folder::CutSplit;

/// Counted with Python alone: unicodedata.normalize('NFKC', t).lower() without punctuation and
/// spaces (one space between two digits), dev of MR, CR, SUBJ, MPQA and TREC cut by SplitMix64.
/// Task, split, its rows that are among the training rows of a task, and how many of those.
const SENTIMENT: [(&str, &str, usize, &str, usize); 16] = [
    ("MR", "dev", 370, "SUBJ", 370),
    ("MR", "dev", 542, "SST", 542),
    ("SUBJ", "dev", 354, "MR", 354),
    ("SUBJ", "dev", 1, "SUBJ", 1),
    ("SUBJ", "dev", 189, "SST", 189),
    ("MPQA", "dev", 334, "MPQA", 1139),
    ("TREC", "dev", 14, "TREC", 15),
    ("TREC", "test", 9, "TREC", 9),
    ("SST", "dev", 617, "MR", 617),
    ("SST", "dev", 222, "SUBJ", 222),
    ("SST", "dev", 1, "MPQA", 3),
    ("SST", "dev", 1, "SST", 1),
    ("SST", "test", 1281, "MR", 1281),
    ("SST", "test", 519, "SUBJ", 519),
    ("SST", "test", 3, "MPQA", 4),
    ("SST", "test", 2, "SST", 3),
];

#[test]
fn the_sentiment_sets_overlap_as_counted_by_hand() {
    let Some(data) = real_data() else { return };
    let names = ["SST", "MR", "CR", "SUBJ", "MPQA", "TREC"];
    let tasks: Vec<Task> = names.iter().map(|name| Task::load(name).unwrap()).collect();
    let found = overlap::of_files(&tasks, &data.join("sentiment")).unwrap();
    let mut counts: Vec<_> = found
        .iter()
        .map(|o| {
            let (task, split) = (o.task.as_str(), o.split.name());
            (
                task,
                split,
                o.rows,
                o.training.as_str(),
                o.training_rows.len(),
            )
        })
        .collect();
    let mut expected: Vec<_> = SENTIMENT.to_vec();
    counts.sort();
    expected.sort();
    assert_eq!(counts, expected);
    assert!(found.is_sorted_by_key(|o| std::cmp::Reverse(o.rows)));
}

/// A folder with two tasks: three of B's training rows hold texts that A is scored on, and one of
/// A's own does.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rows = |name: &str, lines: &[String]| {
        std::fs::write(folder.path().join(name), lines.join("\n")).unwrap();
    };
    let many = |word: &str| -> Vec<String> {
        (0..20)
            .map(|i| format!("{} a {word} number {i}", i % 2))
            .collect()
    };
    let mut a = many("film");
    a.push("1 An old Joke".into());
    rows("a.train", &a);
    let dev = [
        "1 an old joke .",
        "0 It 's n't here",
        "1 Second-hand",
        "0 nowhere else",
    ];
    rows("a.dev", &dev.map(String::from));
    rows("a.test", &["1 Only in the test".into()]);
    let mut b = many("book");
    b.extend(
        [
            "0 IT'S N'T HERE!",
            "1 second hand",
            "1 second hand?",
            "0 only in the test",
        ]
        .map(String::from),
    );
    rows("b.train", &b);
    rows("b.dev", &many("play"));
    for (name, test) in [("A", "test: a.test"), ("B", "")] {
        let lower = name.to_lowercase();
        let yaml = format!(
            "labels: ['0', '1']\nmetrics: [accuracy]\nlayout: {{format: label_text}}\n\
             files:\n  train: {lower}.train\n  dev: {lower}.dev\n  {test}\n"
        );
        std::fs::write(folder.path().join(format!("{name}.yaml")), yaml).unwrap();
    }
    let config = "
encoder: all-MiniLM-L6-v2
data: .
tasks: [A.yaml, B.yaml]
method: multitask
training: {max_steps: 1, batch_size: 4, max_length: 16, threads: 1}
checkpoints: {best_per_task: false}
";
    std::fs::write(folder.path().join("c.yaml"), config).unwrap();
    folder
}

fn introduction(folder: &Path, out: &str, sets: &[&str]) -> String {
    let mut args = vec!["train", "c.yaml", "--out", out];
    sets.iter().for_each(|set| args.extend(["--set", set]));
    let output = run(folder, &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    std::fs::read_to_string(folder.join(out).join("log.txt")).unwrap()
}

#[test]
fn a_run_says_what_it_is_scored_on_and_trains_on() {
    let folder = workplace();
    let folder = folder.path();
    let own = "A dev: 1 of 4 rows have the text of its own training rows (a.dev:1, a.train:21)";
    // Twice, the second time from the token cache.
    for out in ["first", "second"] {
        let log = introduction(folder, out, &[]);
        assert!(log.contains("A 21, B 24"), "{log}");
        let others = "A dev: 2 of 4 rows have the text of B's training rows (a.dev:2, b.train:21)";
        assert!(log.contains(others), "{log}");
        assert!(log.contains("A test: 1 of 1 rows"), "{log}");
        assert!(
            log.contains(own) && log.contains("`deduplicate: true`"),
            "{log}"
        );
    }
    // Only what is trained on counts: alone, A shows nobody else's rows.
    let log = introduction(folder, "alone", &["tasks=[A.yaml]"]);
    assert!(log.contains(own) && !log.contains("B's"), "{log}");
    assert!(!log.contains("`deduplicate: true`"), "{log}");
}

#[test]
fn deduplicate_leaves_out_the_training_rows_of_other_tasks() {
    let folder = workplace();
    let folder = folder.path();
    let log = introduction(folder, "clean", &["deduplicate=true"]);
    assert!(log.contains("A 21, B 20"), "{log}");
    assert!(log.contains("4 of B's 24 training rows left out"), "{log}");
    assert!(!log.contains("of B's training rows ("), "{log}");
    let config = std::fs::read_to_string(folder.join("clean/config.yaml")).unwrap();
    assert!(config.contains("deduplicate: true"), "{config}");
    // Before the sample is drawn: it is as large as was asked for.
    let log = introduction(
        folder,
        "few",
        &["deduplicate=true", "training.max_train_rows=20"],
    );
    assert!(log.contains("A 20, B 20"), "{log}");
    // A task of which nothing is left.
    std::fs::write(folder.join("b.train"), "1 second hand\n0 it's n't here").unwrap();
    let args = [
        "train",
        "c.yaml",
        "--out",
        "none",
        "--set",
        "deduplicate=true",
    ];
    let line = fails(folder, &args, 2);
    assert!(line.contains("no training row of B is left"), "{line}");
}

#[test]
fn deduplicate_spares_tasks_of_other_runs() {
    let folder = workplace();
    let folder = folder.path();
    // B alone, to be a source for A.
    let sets = ["tasks=[B.yaml]", "deduplicate=[A.yaml]"];
    let log = introduction(folder, "source", &sets);
    assert!(log.contains("B 20"), "{log}");
    assert!(log.contains("4 of B's 24 training rows left out"), "{log}");
    let args = ["train", "c.yaml", "--set", "deduplicate=maybe"];
    let line = fails(folder, &args, 2);
    assert!(line.contains("`true`, `false`, or a list"), "{line}");
}

#[test]
fn a_suite_says_what_it_shows_and_spares_it_in_every_run() {
    let folder = workplace();
    let folder = folder.path();
    let suite = "
base: c.yaml
seeds: [1]
experiments:
  - {name: alone, strategy: single, tasks: [A.yaml, B.yaml]}
  - {name: after, strategy: stilts, sources: [B.yaml], targets: [A.yaml]}
";
    std::fs::write(folder.join("s.yaml"), suite).unwrap();
    for (out, sets, left_out) in [
        ("as-it-is", &[][..], "no"),
        ("clean", &["--set", "deduplicate=true"], "yes"),
    ] {
        let output = run(folder, &[&["suite", "s.yaml", "--out", out], sets].concat());
        let shown = text(&output.stdout);
        assert!(output.status.success(), "{shown}{}", text(&output.stderr));
        let line = "overlap: A dev: 2 of 4 rows are among B's training rows";
        assert!(shown.contains(line), "{shown}");
        assert_eq!(shown.contains("`--set deduplicate=true`"), left_out == "no");
        // The source is the run of B alone.
        let runs = std::fs::read_dir(folder.join(out).join("runs")).unwrap();
        assert_eq!(runs.count(), 3);
        let log = folder.join(out).join("runs/single-B-seed1/log.txt");
        let rows = if left_out == "no" { "B 24" } else { "B 20" };
        let log = std::fs::read_to_string(log).unwrap();
        assert!(log.contains(rows), "{log}");

        let output = run(folder, &["report", out]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let page = std::fs::read_to_string(folder.join(out).join("report.md")).unwrap();
        let row = format!("| A | dev | 2 | 4 | 50.0 | B | {left_out} |");
        assert!(page.contains(&row), "{page}");
    }
}

#[test]
fn data_check_lists_overlaps() {
    let folder = workplace();
    let args = [
        "data",
        "check",
        ".",
        "--task",
        "A.yaml",
        "--task",
        "B.yaml",
        "--overlaps",
    ];
    let output = run(folder.path(), &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.contains("A dev: 2 of 4 rows"), "{shown}");
    assert!(
        shown.lines().all(|line| line.chars().count() <= 100),
        "{shown}"
    );
}

#[test]
fn a_run_keeps_the_rows_of_a_split_that_it_cut() {
    let folder = workplace();
    let folder = folder.path();
    let yaml = "labels: ['0', '1']\nmetrics: [accuracy]\nlayout: {format: label_text}\n\
                files: {train: b.train}\nsplit: {dev: 0.25, seed: 3}\n";
    std::fs::write(folder.join("C.yaml"), yaml).unwrap();
    introduction(folder, "cut", &["tasks=[A.yaml, C.yaml]"]);
    let json = std::fs::read_to_string(folder.join("cut/tasks/C.split.json")).unwrap();
    let split: CutSplit = serde_json::from_str(&json).unwrap();
    assert_eq!((split.dev, split.seed, split.files.len()), (0.25, 3, 1));
    assert_eq!(split.files[0].rows, 24);
    // The six of the lines 1 to 24 with the smallest hashes, by a few lines of Python:
    //   sorted(range(24), key=lambda row: sm((sm(3) + row) % 2**64))[:6], sm being SplitMix64
    assert_eq!(split.files[0].dev_lines, [3, 4, 7, 13, 15, 21]);
    let sum = std::process::Command::new("sha256sum")
        .arg(folder.join("b.train"))
        .output();
    assert!(text(&sum.unwrap().stdout).starts_with(&split.files[0].sha256));
    // A task with an official split has none to keep.
    assert!(!folder.join("cut/tasks/A.split.json").exists());
}
