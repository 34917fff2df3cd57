//! `covalign suite` on the demonstration set: each run once, whatever happens meanwhile.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{covalign, fails, json, root, run, text};
use covalign::config::{After, Config};
use covalign::suite::plan::{Plan, Strategy};

/// A study of two tasks and every strategy with a two-layer encoder: eight trainings a seed.
const SUITE: &str = "
title: Two tasks, every way
base:
  encoder: ENCODER
  data: demo
  tasks: [DemoSentiment, DemoParaphrase]
  alignment: {learning_rate: 20x}
  training:
    {max_steps: STEPS, batch_size: 4, learning_rate: 1e-3, max_length: 16, threads: 1}
  evaluation: {every: 0.5 epochs}
  checkpoints: {every: 4 steps, best_per_task: false}
set: {training.max_train_rows: 60}
seeds: [1]
experiments:
  - {name: alone, strategy: single}
  - {name: pair, strategy: pair}
  - name: all
    strategy: all
    method: multitask
    set: {sampling.strategy: dynamic}
  - {name: stilts, strategy: stilts, sources: [DemoParaphrase], targets: [DemoSentiment]}
  - name: transfer
    strategy: transfer
    pairs: [[DemoParaphrase, DemoSentiment]]
    grid: {alignment.learning_rate: [1x, 20x]}
";

fn workplace(steps: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    common::write_demo(&folder.path().join("demo"));
    let encoder = root().join("tests/fixtures/legacy-bert");
    let suite = SUITE.replace("ENCODER", encoder.to_str().unwrap());
    let suite = suite.replace("STEPS", &steps.to_string());
    std::fs::write(folder.path().join("two.yaml"), suite).unwrap();
    folder
}

/// Every run's scores.
fn scores(folder: &Path, suite: &str) -> BTreeMap<String, serde_json::Value> {
    let suite = folder.join(suite);
    let runs = Plan::read(&suite).unwrap().runs.into_iter();
    runs.map(|run| {
        let results = json(&Plan::run_folder(&suite, &run.name).join("results.json"));
        (run.name, results["tasks"].clone())
    })
    .collect()
}

/// The names of the runs that a process said to begin or go on with, and their processes.
fn started(lines: &str) -> Vec<(String, String)> {
    let words = lines.lines().filter_map(|line| {
        let (name, process) = line.split_once(", process ")?;
        Some((name.split(' ').next()?.to_owned(), process.to_owned()))
    });
    words.collect()
}

#[test]
fn cells_share_runs_and_the_folder_knows_its_suite() {
    let folder = workplace(8);
    let folder = folder.path();
    let dry = run(folder, &["suite", "two.yaml", "--dry-run", "--out", "o"]);
    assert!(dry.status.success(), "{}", text(&dry.stderr));
    let shown = text(&dry.stdout);
    assert!(shown.contains("8 runs for 13 cells, 0 done"), "{shown}");
    assert!(
        shown.lines().all(|line| line.chars().count() <= 100),
        "{shown}"
    );
    assert!(!folder.join("o").exists());

    let output = run(folder, &["suite", "two.yaml", "--out", "o"]);
    let errors = text(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let plan = Plan::read(&folder.join("o")).unwrap();
    let names: Vec<&str> = plan.runs.iter().map(|run| run.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "single-DemoSentiment-seed1",
            "single-DemoParaphrase-seed1",
            "multitask-DemoSentiment+DemoParaphrase-seed1",
            "aligned-DemoSentiment+DemoParaphrase-seed1",
            "multitask-DemoSentiment+DemoParaphrase-all-seed1",
            "single-DemoSentiment-after-DemoParaphrase-seed1",
            "aligned-DemoSentiment-after-DemoParaphrase-alignment.learning_rate=1x-seed1",
            "aligned-DemoSentiment-after-DemoParaphrase-alignment.learning_rate=20x-seed1",
        ]
    );
    let begun: Vec<String> = started(&errors).into_iter().map(|(name, _)| name).collect();
    assert_eq!(begun, names);
    // STILTs' run is also the transfer's without alignment, for both values of the grid.
    let of = |strategy, method: &str| -> Vec<&str> {
        let cells = plan.cells.iter();
        let own = cells.filter(|cell| cell.strategy == strategy && cell.method == method);
        own.map(|cell| cell.run.as_str()).collect()
    };
    assert_eq!(of(Strategy::Stilts, "single"), [names[5]]);
    assert_eq!(of(Strategy::Transfer, "single"), [names[5]; 2]);
    assert_eq!(of(Strategy::Transfer, "aligned"), names[6..]);
    // Weights stay where another run starts from them.
    for (name, kept) in [(names[1], After::Best), (names[5], After::Nothing)] {
        let place = Plan::run_folder(&folder.join("o"), name);
        let config = Config::load(&place.join("config.yaml"), &[]).unwrap();
        assert_eq!(config.checkpoints.after, kept);
        assert_eq!(place.join("best").exists(), kept == After::Best);
    }
    // Dynamic sampling follows what each task reached alone.
    let dynamic = Plan::run_folder(&folder.join("o"), names[4]).join("config.yaml");
    let reference = Config::load(&dynamic, &[]).unwrap().sampling.reference;
    let alone = scores(folder, "o");
    for (task, run) in [("DemoSentiment", names[0]), ("DemoParaphrase", names[1])] {
        let score = alone[run][task]["dev"]["score"].as_f64();
        assert_eq!(reference.get(task).copied(), score);
    }
    let shown = text(&output.stdout);
    assert!(shown.contains("covalign report o"), "{shown}");
    assert!(
        shown.lines().all(|line| line.chars().count() <= 100),
        "{shown}"
    );

    assert!(fails(folder, &["suite", "two.yaml", "--out", "o"], 2).contains("--resume"));
    let again = run(folder, &["suite", "two.yaml", "--out", "o", "--resume"]);
    assert!(again.status.success());
    assert_eq!(started(&text(&again.stderr)), []);
    assert!(text(&again.stderr).contains("8 of 8 runs are done already"));
    let other = [
        "suite",
        "two.yaml",
        "--out",
        "o",
        "--resume",
        "--set",
        "training.epochs=9",
    ];
    let line = fails(folder, &other, 2);
    assert!(
        line.contains("another suite") && line.contains("epochs"),
        "{line}"
    );
    let foreign = ["suite", "two.yaml", "--out", "demo", "--resume"];
    assert!(fails(folder, &foreign, 2).contains("not empty"));
}

fn spawn(folder: &Path, log: &str, args: &[&str]) -> Child {
    let log = std::fs::File::create(folder.join(log)).unwrap();
    let mut command = covalign(folder, args);
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// Waits until what `log` holds satisfies `enough`.
fn wait(folder: &Path, log: &str, enough: impl Fn(&str) -> bool) -> String {
    let begun = Instant::now();
    loop {
        let lines = std::fs::read_to_string(folder.join(log)).unwrap();
        if enough(&lines) {
            return lines;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{lines}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn kill(process: &str) {
    // It may have ended by itself.
    Command::new("kill").args(["-9", process]).output().unwrap();
}

#[test]
fn a_suite_killed_again_and_again_ends_as_an_undisturbed_one() {
    let folder = workplace(24);
    let folder = folder.path();
    let whole = run(folder, &["suite", "two.yaml", "--out", "whole"]);
    assert!(whole.status.success(), "{}", text(&whole.stderr));

    let args = ["suite", "two.yaml", "--out", "cut", "--resume"];
    let mut finished: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for turn in 0..6 {
        let mut suite = spawn(folder, "log", &args);
        // On from the run that an orphan of the last turn may be at.
        wait(folder, "log", |lines| !started(lines).is_empty());
        std::thread::sleep(Duration::from_millis(60 * turn));
        if turn % 2 == 1 {
            let lines = std::fs::read_to_string(folder.join("log")).unwrap();
            kill(&started(&lines).last().unwrap().1);
            std::thread::sleep(Duration::from_millis(150));
        }
        suite.kill().unwrap();
        suite.wait().unwrap();
        for (name, was) in &finished {
            let place = Plan::run_folder(&folder.join("cut"), name);
            assert_eq!(&std::fs::read(place.join("results.json")).unwrap(), was);
        }
        for run in Plan::read(&folder.join("cut")).unwrap().runs {
            let place = Plan::run_folder(&folder.join("cut"), &run.name);
            if let Ok(results) = std::fs::read(place.join("results.json")) {
                finished.insert(run.name, results);
            }
        }
    }
    let last = run(folder, &args);
    assert!(last.status.success(), "{}", text(&last.stderr));
    assert_eq!(scores(folder, "whole"), scores(folder, "cut"));
    for (name, was) in &finished {
        let place = Plan::run_folder(&folder.join("cut"), name);
        assert_eq!(&std::fs::read(place.join("results.json")).unwrap(), was);
    }
}

#[test]
fn two_shards_at_once_do_every_run_once() {
    let folder = workplace(8);
    let folder = folder.path();
    let shard = |part: &str| {
        spawn(
            folder,
            &part.replace('/', "of"),
            &[
                "suite", "two.yaml", "--out", "o", "--seeds", "1,2", "--shard", part,
            ],
        )
    };
    let mut both = [shard("1/2"), shard("2/2")];
    for suite in &mut both {
        assert!(suite.wait().unwrap().success());
    }
    let said = |log: &str| std::fs::read_to_string(folder.join(log)).unwrap();
    let (first, second) = (started(&said("1of2")), started(&said("2of2")));
    assert!(!first.is_empty() && !second.is_empty());
    let plan = Plan::read(&folder.join("o")).unwrap();
    let mut names: Vec<String> = first
        .into_iter()
        .chain(second)
        .map(|(name, _)| name)
        .collect();
    names.sort();
    let mut all: Vec<String> = plan.runs.iter().map(|run| run.name.clone()).collect();
    all.sort();
    assert_eq!(names, all);
    assert_eq!(scores(folder, "o").len(), 16);
    // The training processes' own word for it: the first line of each log.
    for run in &plan.runs {
        let log = Plan::run_folder(&folder.join("o"), &run.name).join("log.txt");
        let log = std::fs::read_to_string(log).unwrap();
        let starts = log.lines().filter(|line| line.contains("training rows:"));
        assert_eq!(starts.count(), 1, "{log}");
    }
}

#[test]
fn ctrl_c_passes_on_and_the_same_command_goes_on() {
    let folder = workplace(24);
    let folder = folder.path();
    let args = ["suite", "two.yaml", "--out", "o", "--resume"];
    let mut suite = spawn(folder, "log", &args);
    let lines = wait(folder, "log", |lines| !started(lines).is_empty());
    let process = started(&lines)[0].1.clone();
    let id = suite.id().to_string();
    Command::new("kill").args(["-INT", &id]).output().unwrap();
    assert_eq!(suite.wait().unwrap().code(), Some(130));
    let said = std::fs::read_to_string(folder.join("log")).unwrap();
    let last = said.trim_end();
    assert!(last.ends_with(" suite two.yaml --out o --resume"), "{said}");
    // Its run has ended too.
    let alive = Command::new("kill")
        .args(["-0", &process])
        .output()
        .unwrap();
    assert!(!alive.status.success());
    let output = run(folder, &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(scores(folder, "o").len(), 8);
}

#[test]
fn a_run_that_fails_is_reported_and_harms_only_what_needs_it() {
    let folder = workplace(8);
    let folder = folder.path();
    let suite = std::fs::read_to_string(folder.join("two.yaml")).unwrap();
    let broken = suite.split("experiments:").next().unwrap().to_owned()
        + "experiments:
  - name: stilts
    strategy: stilts
    sources: [DemoParaphrase]
    targets: [DemoSentiment]
    source_set: {training.learning_rate: 1e30, training.clip_norm: 0}
  - {name: alone, strategy: single}
";
    std::fs::write(folder.join("broken.yaml"), broken).unwrap();
    let output = run(
        folder,
        &["suite", "broken.yaml", "--out", "o", "--jobs", "2"],
    );
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let bad = "single-DemoParaphrase-seed1";
    for part in [
        &format!("{bad} failed (exit code 1); once more"),
        &format!("{bad} failed; its last lines:"),
        "    covalign: the loss is NaN at step 3, from task DemoParaphrase",
        &format!("single-DemoSentiment-after-DemoParaphrase-seed1 is not run: it needs {bad}"),
        "covalign: 1 of 4 runs failed, 1 that need them were not run",
    ] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    let done = |name: &str| Plan::run_folder(&folder.join("o"), name).join("results.json");
    assert!(done("single-DemoSentiment-seed1").is_file());
    assert!(done("single-DemoParaphrase-alone-seed1").is_file());
    let shown = text(&output.stdout);
    assert!(
        shown.contains("0 of 1") && shown.contains("2 of 2"),
        "{shown}"
    );
}

#[test]
fn a_mistake_in_a_suite_is_one_line_that_names_it() {
    let folder = workplace(8);
    let folder = folder.path();
    let good = std::fs::read_to_string(folder.join("two.yaml")).unwrap();
    for (right, wrong, says) in [
        (
            "title:",
            "titel:",
            "bad.yaml:2: key `titel`: unknown key `titel`; did you mean `title`?",
        ),
        (
            "learning_rate: 1e-3",
            "lerning_rate: 1e-3",
            "key `base.training.lerning_rate`",
        ),
        (
            "strategy: all",
            "strategy: every",
            "key `experiments[2].strategy`: unknown value",
        ),
        ("sources: [", "source: [", "did you mean `sources`?"),
        (
            "{training.max_train_rows: 60}",
            "{training.max_rows: 60}",
            "training.max_rows",
        ),
        (
            "grid: {alignment.learning_rate",
            "grid: {alignment.learning_rat",
            "experiment `transfer`: grid: key `alignment.learning_rat`: unknown key",
        ),
        (
            "seeds: [1]",
            "seeds: [1, 1]",
            "`seeds` lists at least one seed, and each once",
        ),
        (
            "method: multitask",
            "method: single",
            "does not go with this strategy",
        ),
        (
            "[DemoParaphrase]",
            "[DemoParaphrse]",
            "did you mean `DemoParaphrase`?",
        ),
        (
            "data: demo",
            "data: demos",
            "demos: no such folder; the key `data`",
        ),
        (
            "{training.max_train_rows: 60}",
            "{training.seed: 2}",
            "`seeds` says this",
        ),
    ] {
        assert!(good.contains(right), "{right}");
        std::fs::write(folder.join("bad.yaml"), good.replacen(right, wrong, 1)).unwrap();
        let line = fails(folder, &["suite", "bad.yaml", "--out", "o"], 2);
        assert!(line.contains(says), "{says}: {line}");
        assert!(!folder.join("o").exists(), "{line}");
    }
    let wrong = run(folder, &["suite", "two.yaml", "--shard", "3/2"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn every_shipped_suite_resolves_to_the_runs_that_its_comment_names() {
    let folder = root().join("configs/suites");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let output = run(root(), &["suite", path.to_str().unwrap(), "--dry-run"]);
        let shown = text(&output.stdout);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(
            shown.lines().all(|line| line.chars().count() <= 100),
            "{shown}"
        );
        // The first number before the word.
        let runs = |text: &str| -> usize {
            let words: Vec<&str> = text.split_whitespace().collect();
            let numbered = words.windows(2).filter(|two| two[1].starts_with("runs"));
            numbered
                .filter_map(|two| two[0].parse().ok())
                .next()
                .unwrap()
        };
        let planned = shown
            .lines()
            .find(|line| line.contains(" runs for "))
            .unwrap();
        let comment = std::fs::read_to_string(&path).unwrap();
        assert_eq!(runs(planned), runs(&comment), "{}", path.display());
        count += 1;
    }
    assert_eq!(count, 23);
}

/// Cross-validation: each row is test in one run, and the report's test knows that folds share rows.
#[test]
fn folds_test_every_row_once_and_are_compared_as_folds() {
    let folder = workplace(8);
    let folder = folder.path();
    for (task, word) in [("Own", "film"), ("Other", "book")] {
        let rows: String = (0..60)
            .map(|row| match row % 2 {
                0 => format!("a fine {word} {row},good\n"),
                _ => format!("a dull {word} {row},bad\n"),
            })
            .collect();
        let file = folder.join(format!("demo/{task}.csv"));
        std::fs::write(file, format!("text,label\n{rows}")).unwrap();
        let yaml = format!(
            "labels: [bad, good]\nmetrics: [accuracy]\nsplit: {{dev: 0.1}}\n\
             files: {{train: {{path: {task}.csv}}}}\n\
             layout: {{format: csv, text: text, label: label}}\n"
        );
        std::fs::write(folder.join(format!("{task}.yaml")), yaml).unwrap();
    }
    let whole = std::fs::read_to_string(folder.join("two.yaml")).unwrap();
    let (base, _) = whole.split_once("set:").unwrap();
    let suite = format!(
        "{base}set: {{evaluation: {{every: 1 epoch, test: true}}, training.max_steps: null, training.epochs: 2}}\nfolds: 3\nexperiments:\n  \
         - {{name: alone, strategy: single, tasks: [Own.yaml, Other.yaml]}}\n  \
         - {{name: pair, strategy: pair, method: multitask, tasks: [Own.yaml, Other.yaml]}}\n"
    );
    std::fs::write(folder.join("folds.yaml"), suite).unwrap();
    let output = run(folder, &["suite", "folds.yaml", "--out", "o", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let plan = Plan::read(&folder.join("o")).unwrap();
    assert_eq!(plan.runs.len(), 9);
    for (run, tasks) in scores(folder, "o") {
        assert_eq!(printed[&run], tasks);
    }
    let (mut tested, mut chosen) = (Vec::new(), Vec::new());
    for seed in 1..=3 {
        let place = Plan::run_folder(&folder.join("o"), &format!("single-Own-seed{seed}"));
        let split = json(&place.join("tasks/Own.split.json"));
        assert_eq!(
            split["fold"],
            serde_json::json!({"number": seed % 3, "of": 3})
        );
        let lines = |key: &str| -> Vec<u64> {
            let lines = split["files"][0][key].as_array().unwrap().iter();
            lines.map(|line| line.as_u64().unwrap()).collect()
        };
        tested.extend(lines("test_lines"));
        chosen.extend(lines("dev_lines"));
        // A run's folder reads its rows as the run did.
        let verified = run(folder, &["verify", place.to_str().unwrap()]);
        assert!(
            !text(&verified.stdout).contains("changed"),
            "{}",
            text(&verified.stdout)
        );
    }
    for mut lines in [tested, chosen] {
        lines.sort_unstable();
        assert_eq!(lines, Vec::from_iter(2..=61));
    }

    let printed = run(folder, &["report", "o", "--split", "test", "--json"]);
    let printed: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(printed, json(&folder.join("o/report.json")));
    let shown = run(folder, &["report", "o", "--split", "test"]);
    assert!(
        text(&shown.stdout).contains("3 of 3 folds"),
        "{}",
        text(&shown.stdout)
    );
    let report = json(&folder.join("o/report.json"));
    let contrast = &report["summary"][0];
    assert_eq!(contrast["over_seeds"]["folds"], 3);
    let differences: Vec<f64> = serde_json::from_value(contrast["by_seed"].clone()).unwrap();
    let mean = differences.iter().sum::<f64>() / 3.0;
    let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
    let t = mean / ((squares / 2.0).sqrt() * (1.0f64 / 3.0 + 1.0).sqrt());
    let found = contrast["over_seeds"]["test"]["t"].as_f64();
    assert!(
        found.is_none_or(|found| (found - t).abs() < 1e-9),
        "{found:?} is not {t}"
    );

    let both = format!(
        "seeds: [1]\n{}",
        std::fs::read_to_string(folder.join("folds.yaml")).unwrap()
    );
    std::fs::write(folder.join("folds.yaml"), both).unwrap();
    assert!(fails(folder, &["suite", "folds.yaml", "--dry-run"], 2).contains("`folds`"));
    let none = ["train", "c.yaml", "--set", "folds=5"];
    let config = "encoder: all-MiniLM-L6-v2\ndata: demo\ntasks: [DemoParaphrase]\n";
    std::fs::write(folder.join("c.yaml"), config).unwrap();
    assert!(fails(folder, &none, 2).contains("`split:`"));
}
