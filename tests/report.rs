//! `covalign report`: tests against scipy's, and the report of a study of known numbers.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use common::{fails, run, text};
use covalign::analysis::statistics::{
    decides, holm, paired_t_test, standard_deviation, t_interval, welch_interval, welch_t_test,
    widening,
};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use serde_json::{json, Value};

const A: [f64; 5] = [61.2, 60.1, 62.4, 59.8, 61.9];
const B: [f64; 5] = [60.4, 60.3, 61.0, 58.9, 60.2];

fn close(value: f64, expected: f64) {
    let error = (value - expected).abs() / expected.abs();
    assert!(error < 1e-10, "{value} is not {expected}");
}

// scipy 1.x: ttest_rel(A, B); ttest_rel(A[:2], B[:2]); ttest_ind(A, B[:3], equal_var=False);
// ttest_1samp([10.0, 10.1, 9.9, 10.05, 9.95, 10.02], 0); numpy: std(A, ddof=1).
#[test]
fn t_tests_are_scipys() {
    let differences: Vec<f64> = A.iter().zip(B).map(|(a, b)| a - b).collect();
    let paired = paired_t_test(&differences).unwrap();
    close(paired.t, 2.8337890767150213);
    close(paired.p, 0.04716349175881549);
    let two = paired_t_test(&differences[..2]).unwrap();
    close(two.p, 0.6559582607547347);
    let welch = welch_t_test(&A, &B[..3]).unwrap();
    close(welch.t, 0.9385011305174206);
    close(welch.degrees_of_freedom, 5.283210107043806);
    close(welch.p, 0.3888809003261235);
    let far = paired_t_test(&[10.0, 10.1, 9.9, 10.05, 9.95, 10.02]).unwrap();
    close(far.p, 3.92616546831161e-12);
    close(standard_deviation(&A).unwrap(), 1.1211601134539169);
}

// scipy 1.17: p = ttest_rel(A, x).pvalue of x = B, [60.9, 60.0, 61.5, 59.1, 61.0] and [61.3, 60.0, 62.5,
// 59.7, 62.0]; numpy: minimum(1, maximum.accumulate(sort(p) * [3, 2, 1])), in the order of p.
#[test]
fn p_is_corrected_as_holm_says() {
    let others = [
        B,
        [60.9, 60.0, 61.5, 59.1, 61.0],
        [61.3, 60.0, 62.5, 59.7, 62.0],
    ];
    let p = others.map(|other| {
        let differences: Vec<f64> = A.iter().zip(other).map(|(a, b)| a - b).collect();
        paired_t_test(&differences).unwrap().p
    });
    let expected = [0.09432698351763098, 0.07014899523692034, 0.7039999999999919];
    for (found, expected) in holm(&p).into_iter().zip(expected) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }
    // The second is no smaller than the first, and none is above 1.
    let found = holm(&[0.01, 0.04, 0.03, 0.005]);
    let expected = [0.03, 0.06, 0.06, 0.02];
    assert!(found
        .iter()
        .zip(expected)
        .all(|(a, b)| (a - b).abs() < 1e-12));
    assert_eq!(holm(&[0.7, 0.6]), [1.0, 1.0]);
    assert!(holm(&[]).is_empty());
}

#[test]
fn seeds_that_do_not_vary_decide_nothing() {
    // 1.1 − 0.9 and 1.2 − 1.0 differ in their last bit.
    assert_eq!(paired_t_test(&[1.1 - 0.9, 1.2 - 1.0]), None);
    assert_eq!(paired_t_test(&[0.5]), None);
    assert_eq!(welch_t_test(&[1.0, 1.0], &[2.0, 2.0]), None);
}

// scipy 1.17: ttest_ind(A, B[:3], equal_var=False).confidence_interval(.95); t.interval(.95, 4, mean(d),
// sem(d)) of d = A − B.
#[test]
fn intervals_are_scipys() {
    let welch = welch_interval(&A, &B[..3]).unwrap();
    close(welch.low, -0.8703311576977395);
    close(welch.high, 1.8969978243644103);
    let differences: Vec<f64> = A.iter().zip(B).map(|(a, b)| a - b).collect();
    let paired = t_interval(&differences).unwrap();
    close(paired.low, 0.018616930324611758);
    close(paired.high, 1.8213830696753888);
}

// d = A − B, se = std(d, ddof=1) · sqrt(1/5 + 1/8): five of ten folds, of which eight train and one
// tests; scipy 1.17: t = mean(d) / se, 2 * t.sf(t, 4), t.interval(.95, 4, mean(d), se).
#[test]
fn folds_are_corrected_for_the_rows_that_they_share() {
    let differences: Vec<f64> = A.iter().zip(B).map(|(a, b)| a - b).collect();
    let by = widening(differences.len(), Some(10));
    let test = paired_t_test(&differences).unwrap().widened(by).unwrap();
    close(test.t, 2.2230070460886115);
    close(test.p, 0.09030983504483713);
    let interval = t_interval(&differences).unwrap().widened(by);
    close(interval.low, -0.22904246537424233);
    close(interval.high, 2.0690424653742427);
    assert_eq!(widening(5, None), 1.0);
}

/// A 95 % interval has the truth in it 95 times of 100, of however few seeds; one made of their
/// resamples, which these replace, only 76 times at three.
#[test]
fn an_interval_covers_the_truth_as_often_as_it_says() {
    const STUDIES: usize = 20_000;
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    for seeds in [3, 6, 10] {
        let mut sample = |sd: f64, n: usize| -> Vec<f64> {
            let draws = (0..n).map(|_| StandardNormal.sample(&mut random));
            draws.map(|z: f64| 0.4 + sd * z).collect()
        };
        let mut covered = [0; 2];
        for _ in 0..STUDIES {
            let paired = t_interval(&sample(1.5, seeds)).unwrap();
            covered[0] += usize::from(paired.low <= 0.4 && 0.4 <= paired.high);
            let unequal = welch_interval(&sample(1.5, seeds), &sample(1.0, seeds + 1)).unwrap();
            covered[1] += usize::from(unequal.low <= 0.0 && 0.0 <= unequal.high);
        }
        let [paired, unequal] = covered.map(|n| n as f64 / STUDIES as f64);
        // Three standard errors of a share of 20,000.
        assert!((paired - 0.95).abs() < 0.005, "{seeds}: {paired}");
        // Welch's is an approximation.
        assert!((unequal - 0.95).abs() < 0.015, "{seeds}: {unequal}");
    }
}

#[test]
fn what_is_printed_as_the_level_decides_nothing() {
    assert!(decides(0.0994) && !decides(0.0996) && !decides(0.1));
}

/// A suite's folder, written run by run.
struct Suite {
    folder: tempfile::TempDir,
    runs: Vec<Value>,
    cells: Vec<Value>,
    /// Training rows of the runs that are added next, and the grid's values of their cells.
    rows: Value,
    variant: Value,
}

impl Suite {
    fn new() -> Suite {
        Suite {
            folder: tempfile::tempdir().unwrap(),
            runs: Vec::new(),
            cells: Vec::new(),
            rows: json!({"Few": 1000, "Many": 5000, "Most": 8000}),
            variant: json!({}),
        }
    }

    /// Runs of seeds 1, 2, …, with a score per task for each seed (`None`: missing).
    fn add(
        &mut self,
        strategy: &str,
        method: &str,
        tasks: &[&str],
        source: Option<&str>,
        scores: &[Option<&[f64]>],
    ) {
        for (index, scores) in scores.iter().enumerate() {
            let seed = index + 1;
            let from = source.map_or(String::new(), |source| format!("{source}-then-"));
            let setting: String = self
                .variant
                .as_object()
                .unwrap()
                .values()
                .map(|v| format!("-{}", v.as_str().unwrap()))
                .collect();
            let name = format!(
                "{strategy}-{method}-{from}{}{setting}-seed{seed}",
                tasks.join("+")
            );
            let source_run = source.map(|source| format!("single-single-{source}-seed{seed}"));
            let mut run = json!({"name": &name, "method": method, "tasks": tasks, "seed": seed, "config": ""});
            if let Some(source) = source_run {
                run["source"] = source.into();
            }
            self.runs.push(run);
            for target in tasks {
                let mut supports: Vec<&str> =
                    tasks.iter().filter(|t| *t != target).copied().collect();
                supports.extend(source);
                self.cells.push(json!({
                    "experiment": strategy, "strategy": strategy, "method": method, "target": target,
                    "supports": supports, "seed": seed, "run": &name, "variant": self.variant,
                }));
            }
            if let Some(scores) = scores {
                self.write_run(&name, method, tasks, seed, scores);
            }
        }
    }

    /// MTL runs of a pair, with both tasks' scores for seeds 1 and 2.
    fn add_pair(&mut self, tasks: [&str; 2], [first, second]: [[f64; 2]; 2]) {
        let scores: [Option<&[f64]>; 2] = [Some(&first), Some(&second)];
        self.add("pair", "multitask", &tasks, None, &scores);
    }

    fn write_run(&self, name: &str, method: &str, tasks: &[&str], seed: usize, scores: &[f64]) {
        let place = self.folder.path().join("runs").join(name);
        std::fs::create_dir_all(&place).unwrap();
        let score = |value: f64| json!({"accuracy": value / 100.0, "score": value / 100.0});
        let each = || tasks.iter().zip(scores);
        let results: serde_json::Map<String, Value> = each()
            .map(|(task, s)| {
                let result = json!({"dev": score(*s), "step": 20, "last": score(*s)});
                (task.to_string(), result)
            })
            .collect();
        let of_tasks = |value: &dyn Fn(&str) -> Value| -> Value {
            tasks
                .iter()
                .map(|task| (task.to_string(), value(task)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let rows = |task: &str| self.rows[task].clone();
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let results = json!({
            "method": method, "tasks": results, "training_rows": of_tasks(&rows),
            "constant_answer": of_tasks(&|_| 0.5.into()), "glue_score": mean,
            "best": {"step": 20, "glue_score": mean}, "steps": 20, "epochs": 1.0, "seconds": 10.0 * seed as f64,
            "tokens_per_second": 3000.0, "seed": seed, "encoder": {"name": "tiny", "sha256": ""},
            "libtorch": "2.11.0", "device": "cpu", "precision": "fp32", "threads": 1, "version": "0.1.0",
        });
        std::fs::write(place.join("results.json"), results.to_string()).unwrap();
        let lines = [(10, 0.9), (20, 1.0)].map(|(step, share)| {
            let dev: serde_json::Map<String, Value> = each()
                .map(|(task, s)| (task.to_string(), score(share * s)))
                .collect();
            json!({"step": step, "epoch": 0.5, "seconds": 1.0, "glue_score": mean, "dev": dev})
                .to_string()
        });
        std::fs::write(place.join("metrics.jsonl"), lines.join("\n")).unwrap();
    }

    fn write_plan(&self) {
        let plan = json!({"title": "Few & <many>", "runs": &self.runs, "cells": &self.cells});
        std::fs::write(self.folder.path().join("plan.json"), plan.to_string()).unwrap();
    }
}

/// MTL helps `Few` by 3.1 ± 0.1 points and beats STILTs; for `Most` the heuristic is wrong; an
/// aligned run is missing and another learned nothing on `Many`.
fn study() -> Suite {
    let mut suite = Suite::new();
    let mut single = |task: &str, scores: [f64; 3]| {
        let scores = scores.map(|score| vec![score]);
        let scores: Vec<Option<&[f64]>> = scores.iter().map(|s| Some(s.as_slice())).collect();
        suite.add("single", "single", &[task], None, &scores);
    };
    single("Few", [60.0, 61.0, 62.0]);
    single("Many", [80.0, 81.0, 82.0]);
    single("Most", [90.0, 90.5, 91.0]);
    let three =
        |a: &'static [f64], b: &'static [f64], c: &'static [f64]| [Some(a), Some(b), Some(c)];
    let joint = three(&[63.0, 80.1], &[64.1, 81.0], &[65.2, 82.2]);
    suite.add("pair", "multitask", &["Few", "Many"], None, &joint);
    let aligned: [Option<&[f64]>; 3] = [Some(&[63.5, 80.3]), Some(&[64.5, 50.0]), None];
    suite.add("pair", "aligned", &["Few", "Many"], None, &aligned);
    let joint = three(&[61.0, 92.0], &[60.0, 92.6], &[62.5, 93.1]);
    suite.add("pair", "multitask", &["Few", "Most"], None, &joint);
    let after = three(&[60.5], &[61.4], &[62.6]);
    suite.add("stilts", "single", &["Few"], Some("Many"), &after);
    let after = three(&[80.2], &[80.9], &[82.1]);
    suite.add("stilts", "single", &["Many"], Some("Few"), &after);
    let after = three(&[90.0], &[90.5], &[91.2]);
    suite.add("stilts", "single", &["Most"], Some("Few"), &after);
    suite.write_plan();
    suite
}

fn report(folder: &Path, args: &[&str]) -> String {
    let output = run(folder, &[&["report"], args].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The cells of a Markdown table's rows under a heading.
fn table(page: &str, title: &str) -> Vec<Vec<String>> {
    let (_, rest) = page.split_once(&format!("## {title}\n")).expect(title);
    let section = rest.split("\n## ").next().unwrap();
    let rows = section
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| --"));
    rows.map(|row| {
        row.trim_matches('|')
            .split(" | ")
            .map(|cell| shown(cell.trim()))
            .collect()
    })
    .collect()
}

/// A `report.json` with one picture more.
fn with_figure(report: &str, id: &str) -> String {
    let mut report: Value = serde_json::from_str(report).unwrap();
    report["figures"]
        .as_array_mut()
        .unwrap()
        .push(json!({"id": id}));
    report.to_string()
}

/// A cell without its anchor and its link.
fn shown(cell: &str) -> String {
    let cell = cell.split_once("</a>").map_or(cell, |(_, cell)| cell);
    let linked = cell.strip_prefix('[').and_then(|c| c.split_once("](<"));
    linked.map_or(cell, |(cell, _)| cell).to_owned()
}

#[test]
fn the_tables_hold_the_runs_numbers_and_name_what_is_missing() {
    let suite = study();
    let folder = suite.folder.path();
    let shown = report(folder, &["."]);
    assert!(shown
        .lines()
        .all(|line| !line.starts_with(' ') || line.chars().count() <= 100));
    let page = read(&folder.join("report.md"));
    assert!(page.contains("26 of 27 planned runs are done"), "{page}");
    assert!(
        page.contains("1 not begun: pair-aligned-Few+Many-seed3"),
        "{page}"
    );
    assert!(
        page.contains("1 collapsed run") && page.contains("pair-aligned-Few+Many-seed2 (Many)"),
        "{page}"
    );

    let pairs = table(&page, "Pairs: STL, MTL, aligned");
    let columns = &pairs[0];
    let few = pairs
        .iter()
        .find(|row| row[0] == "Few" && row[1] == "Many")
        .unwrap();
    let entry = |name: &str| &few[columns.iter().position(|column| column == name).unwrap()];
    assert_eq!(entry("STL"), "61.00 ± 1.00 (3)");
    assert_eq!(entry("MTL"), "64.10 ± 1.10 (3)");
    assert_eq!(entry("aligned"), "64.00 ± 0.71 (2 of 3)");
    assert_eq!(entry("MTL − STL"), "**+3.10 \\[+2.85, +3.35\\]**");
    // Two seeds of three: no test, and the difference of the means that are shown.
    assert_eq!(entry("aligned − MTL"), "−0.10");
    assert_eq!(entry("Best of"), "2");
    // p = 0.00035, and the column has three more.
    let place = columns.iter().position(|column| column == "MTL − STL");
    assert_eq!(few[place.unwrap() + 1], "**\\< 0.001 (0.001)**");
    let many = pairs.iter().find(|row| row[0] == "Many").unwrap();
    assert!(
        many.iter().any(|cell| cell == "65.15 ± 21.43 (2 of 3) †"),
        "{many:?}"
    );

    // A pair's figure is the mean over its tasks.
    let whole = table(&page, "Joint runs as a whole");
    let row = whole.iter().find(|row| row[0] == "Few+Many").unwrap();
    assert_eq!(
        row[1..5],
        [
            "2",
            "71.00 ± 1.00 (3)",
            "72.60 ± 1.08 (3)",
            "64.58 ± 10.36 (2 of 3) †"
        ]
    );

    let lines = read(&folder.join("report.csv"));
    // 45 cells and seeds, two lines for each with results (accuracy, score), one for each without.
    let cells = suite.cells.len();
    assert_eq!(lines.lines().count(), 1 + 2 * (cells - 2) + 2);
    assert!(
        lines.contains("pair-aligned-Few+Many-seed3,missing,score,,"),
        "{lines}"
    );
}

/// Five cells of the report of `study`, recomputed: with numpy and scipy 1.17, of each question the
/// scores of the seeds that both sides have, averaged over the sets of tasks;
/// `d = a − b; t.interval(.95, len(d) − 1, mean(d), sem(d)); ttest_1samp(d, 0).pvalue`; then numpy's
/// `minimum(1, maximum.accumulate(sort(p) * [3, 2, 1]))`.
#[test]
fn the_first_screen_answers_with_scipys_numbers() {
    let suite = study();
    let folder = suite.folder.path();
    let shown = report(folder, &[".", "--latex"]);
    let page = read(&folder.join("report.md"));
    let sentences = [
        "aligned − MTL: −7.47 points, Few+Many, 2 seeds: undecided, fewer than 3 seeds decide nothing.",
        "MTL − STL: +1.36 points [+0.69, +2.02], 2 pairs, 3 seeds: better (p = 0.013, 0.025 after \
         Holm's correction over 3 tests).",
        "MTL − STILTs: +1.54 points [+1.34, +1.75], 3 ordered pairs, 3 seeds: better (p < 0.001, 0.003 \
         after Holm's correction over 3 tests) on these ordered pairs; whether on other ordered pairs \
         too is undecided (p over ordered pairs = 0.185).",
        "STILTs − STL: +0.21 points [−0.04, +0.46], 3 ordered pairs, 3 seeds: better (p = 0.070, 0.070",
    ];
    let html = read(&folder.join("report.html"));
    let plain = page.replace('\\', "").replace("&lt;", "<");
    for sentence in sentences {
        assert!(shown.contains(sentence), "{sentence}: {shown}");
        assert!(plain.contains(sentence), "{sentence}: {page}");
        let sentence = sentence.replace('<', "&lt;");
        assert!(html.contains(&sentence), "{sentence}");
    }
    // What is not read first stands behind it.
    assert!(html.find("id=\"forest\"").unwrap() < html.find("<nav").unwrap());
    let summary = table(&page, "Summary");
    let row = |name: &str| summary.iter().find(|row| row[0] == name).unwrap();
    assert_eq!(
        row("MTL − STILTs"),
        &[
            "MTL − STILTs",
            "**+1.54 \\[+1.34, +1.75\\]**",
            "**\\< 0.001 (0.003)**",
            "3",
            "3",
            "77.71 → 79.26",
            "3 of 3",
            "0.185 (0.369)",
            "20",
            "2"
        ]
    );
    // An arm with a collapsed run is bold nowhere.
    let aligned = row("aligned − STL");
    assert_eq!(aligned[5], "70.50 → 64.58 †");
    assert!(
        aligned.iter().all(|cell| !cell.contains("**")),
        "{aligned:?}"
    );
    assert!(page.contains("tests here, "), "{page}");
    let tex = read(&folder.join("report.tex"));
    let line = "MTL $-$ STILTs & \\textbf{+1.54 [+1.34, +1.75]}";
    assert!(tex.contains(line) && tex.contains("\\toprule"), "{tex}");
    for begun in ["table", "tabular"] {
        let count = |what: &str| tex.matches(&format!("\\{what}{{{begun}}}")).count();
        assert_eq!(count("begin"), count("end"));
    }
}

/// scipy 1.17: ttest_ind([63, 64.1, 65.2], [60, 61, 62, 60.5], equal_var=False) and its
/// confidence_interval(.95).
#[test]
fn unequal_seeds_are_compared_by_the_means_that_are_shown() {
    let mut suite = Suite::new();
    let alone = [60.0, 61.0, 62.0, 60.5].map(|score| vec![score]);
    let alone: Vec<Option<&[f64]>> = alone.iter().map(|s| Some(s.as_slice())).collect();
    suite.add("single", "single", &["Few"], None, &alone);
    let jointly = [[63.0, 80.1], [64.1, 81.0], [65.2, 82.2]];
    let jointly: Vec<Option<&[f64]>> = jointly.iter().map(|s| Some(s.as_slice())).collect();
    suite.add("pair", "multitask", &["Few", "Many"], None, &jointly);
    suite.write_plan();
    let folder = suite.folder.path();
    let shown = report(folder, &["."]);
    let pairs = table(&read(&folder.join("report.md")), "Pairs: STL, MTL, aligned");
    let few = pairs.iter().find(|row| row[0] == "Few").unwrap();
    let place = |name: &str| pairs[0].iter().position(|column| column == name).unwrap();
    assert_eq!(few[place("STL")], "60.88 ± 0.85 (4)");
    assert_eq!(few[place("MTL")], "64.10 ± 1.10 (3)");
    assert_eq!(few[place("MTL − STL")], "**+3.23 \\[+1.03, +5.42\\]**");
    assert_eq!(few[place("p (Holm)")], "**0.016**");
    // The first screen pairs the three seeds that both have.
    assert!(
        shown.contains("MTL − STL: +3.10 points [+2.85, +3.35], Few+Many, 3 seeds"),
        "{shown}"
    );
}

/// scipy 1.17's `t.interval` and `ttest_rel` of the three pairs' means, [72.075, 76.275, 85.05] against
/// [70.625, 75.375, 85.5].
#[test]
fn the_summary_tests_a_difference_over_seeds_and_over_pairs() {
    let mut suite = Suite::new();
    let singles = [
        ("Few", [60.0, 61.0]),
        ("Many", [80.0, 81.5]),
        ("Most", [90.0, 90.5]),
    ];
    for (task, [first, second]) in &singles {
        let scores: [Option<&[f64]>; 2] = [Some(&[*first]), Some(&[*second])];
        suite.add("single", "single", &[task], None, &scores);
    }
    let joint = [
        (["Few", "Many"], [[63.0, 80.1], [64.2, 81.0]]),
        (["Few", "Most"], [[61.0, 91.5], [60.0, 92.6]]),
        (["Many", "Most"], [[79.0, 90.2], [81.0, 90.0]]),
    ];
    for (tasks, scores) in joint {
        suite.add_pair(tasks, scores);
    }
    suite.write_plan();
    report(suite.folder.path(), &["."]);
    let page = read(&suite.folder.path().join("report.md"));
    let summary = table(&page, "Summary");
    assert_eq!(
        summary[1],
        [
            "MTL − STL",
            "+0.63 \\[−1.80, +3.06\\] over tasks",
            "–",
            "3",
            "2",
            "77.17 → 77.80",
            "2 of 3",
            "0.378",
            "20",
            "2"
        ]
    );
}

#[test]
fn an_arm_is_set_against_each_way_to_train_alone_that_the_suite_names() {
    let mut suite = Suite::new();
    let once: [Option<&[f64]>; 3] = [Some(&[60.0]), Some(&[61.0]), Some(&[62.0])];
    suite.add("single", "single", &["Few"], None, &once);
    suite.variant = json!({"training.epochs": "2"});
    let twice: [Option<&[f64]>; 3] = [Some(&[63.0]), Some(&[63.5]), Some(&[65.0])];
    suite.add("single", "single", &["Few"], None, &twice);
    suite.variant = json!({});
    for cell in &mut suite.cells[3..] {
        cell["variant"] = json!({});
        cell["experiment"] = "alone-twice".into();
    }
    let jointly: [Option<&[f64]>; 3] = [
        Some(&[64.0, 80.0]),
        Some(&[65.1, 80.0]),
        Some(&[65.9, 80.0]),
    ];
    suite.add("pair", "multitask", &["Few", "Many"], None, &jointly);
    suite.write_plan();
    let shown = report(suite.folder.path(), &["."]);
    // scipy: ttest_rel([64, 65.1, 65.9], [60, 61, 62]).pvalue = 0.000208, of [63, 63.5, 65] 0.0334.
    let summary = table(&read(&suite.folder.path().join("report.md")), "Summary");
    let against: Vec<[&str; 2]> = summary[1..]
        .iter()
        .map(|row| [&*row[1], &*row[3]])
        .collect();
    assert_eq!(
        against,
        [
            ["against single", "**\\< 0.001 (\\< 0.001)**"],
            ["against alone-twice", "**0.033 (0.033)**"]
        ]
    );
    assert!(
        shown.contains("better in 2 (most: against single: +4.00 points"),
        "{shown}"
    );
}

#[test]
fn beside_a_collapsed_run_nothing_is_bold() {
    let mut suite = Suite::new();
    // 50 is what the constant answer gives.
    let alone: [Option<&[f64]>; 3] = [Some(&[50.0]), Some(&[50.1]), Some(&[50.2])];
    suite.add("single", "single", &["Few"], None, &alone);
    let jointly: [Option<&[f64]>; 3] = [
        Some(&[60.0, 80.0]),
        Some(&[60.2, 80.0]),
        Some(&[60.3, 80.0]),
    ];
    suite.add("pair", "multitask", &["Few", "Many"], None, &jointly);
    suite.write_plan();
    let shown = report(suite.folder.path(), &["."]);
    // Without the seed that collapsed there are two, which decide nothing either.
    let sentence =
        "+10.07 points [+9.92, +10.21], Few+Many, 3 seeds: undecided (p < 0.001); a run collapsed";
    assert!(shown.contains(sentence), "{shown}");
    let page = read(&suite.folder.path().join("report.md"));
    assert!(
        page.contains("50.10 † → 60.17") && !page.contains("**"),
        "{page}"
    );
}

#[test]
fn of_equal_sizes_the_heuristic_says_nothing() {
    let mut suite = Suite::new();
    suite.rows = json!({"Few": 1000, "Many": 1000});
    let many: [Option<&[f64]>; 3] = [Some(&[80.0]), Some(&[81.0]), Some(&[82.0])];
    suite.add("single", "single", &["Many"], None, &many);
    let after: [Option<&[f64]>; 3] = [Some(&[60.0]), Some(&[61.0]), Some(&[62.0])];
    suite.add("stilts", "single", &["Few"], Some("Many"), &after);
    let jointly: [Option<&[f64]>; 3] = [
        Some(&[62.0, 80.0]),
        Some(&[63.1, 80.0]),
        Some(&[63.9, 80.0]),
    ];
    suite.add("pair", "multitask", &["Few", "Many"], None, &jointly);
    suite.write_plan();
    let shown = report(suite.folder.path(), &["."]);
    assert!(
        shown.contains("these runs say nothing about the heuristic. Of 1 with equal sizes"),
        "{shown}"
    );
    let page = read(&suite.folder.path().join("report.md"));
    let pairs = table(&page, "STILTs against pairwise MTL");
    let last = &pairs[1][pairs[1].len() - 3..];
    assert_eq!(last, ["MTL", "–", "–"]);
}

#[test]
fn however_much_is_in_a_setting_a_pictures_name_is_short() {
    let mut suite = Suite::new();
    for rate in ["a", "b"] {
        let long = rate.repeat(180);
        suite.variant = json!({"alignment.learning_rate": long});
        suite.add_pair(["Few", "Many"], [[60.0, 80.0], [61.0, 81.0]]);
    }
    suite.write_plan();
    report(suite.folder.path(), &["."]);
    let pictures = std::fs::read_dir(suite.folder.path().join("figures")).unwrap();
    let names: BTreeSet<String> = pictures
        .map(|picture| picture.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|name| name.len() <= 64), "{names:?}");
    let curves = names.iter().filter(|name| name.starts_with("curve-"));
    assert_eq!(curves.count(), 4, "{names:?}");
}

#[test]
fn the_heuristic_is_counted_over_decided_pairs() {
    let suite = study();
    let folder = suite.folder.path();
    let shown = report(folder, &[".", "--out", "elsewhere"]);
    let verdict = "is right on 1 of 2 decided pairs, 50.0 %; 2 of 3 ordered pairs are decided";
    assert!(shown.contains(verdict), "{shown}");
    let json: Value = serde_json::from_str(&read(&folder.join("elsewhere/report.json"))).unwrap();
    let heuristic = &json["heuristic"][0];
    let few = &heuristic["pairs"][0];
    assert_eq!(
        (&few["target_rows"], &few["support_rows"]),
        (&json!(1000), &json!(5000))
    );
    // The rows of a STILTs run's support are its source's.
    let cells = json["cells"].as_array().unwrap();
    let stilts = cells
        .iter()
        .find(|cell| cell["way"] == "STILTs" && cell["target"] == "Few");
    assert_eq!(stilts.unwrap()["support_rows"], 5000);
    // Differences 2.5, 2.7, 2.6. With two degrees of freedom p = 1 − t / √(t² + 2).
    let t = 2.6 / (0.1 / 3f64.sqrt());
    let test = &few["comparison"]["test"];
    assert!((test["t"].as_f64().unwrap() - t).abs() < 1e-6);
    assert!((test["p"].as_f64().unwrap() - (1.0 - t / (t * t + 2.0).sqrt())).abs() < 1e-6);
    // Ratios 0.2 and 8 are both decided for MTL: STILTs always, below √1.6, MTL always.
    let right: Vec<u64> = heuristic["sweep_after_the_fact"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["right"].as_u64().unwrap())
        .collect();
    assert_eq!(right, [0, 1, 2]);
    let page = read(&folder.join("elsewhere/report.md"));
    let thresholds = table(&page, "The heuristic's threshold");
    assert!(thresholds
        .iter()
        .any(|row| row[0] == "∞" && row[4].contains("after the fact")));
    assert!(thresholds
        .iter()
        .any(|row| row[0] == "1.000" && row[4] == "the heuristic"));
}

#[test]
fn the_heuristic_is_counted_for_each_setting_of_mtl() {
    let mut suite = Suite::new();
    suite.add(
        "single",
        "single",
        &["Many"],
        None,
        &[Some(&[80.0]), Some(&[81.0]), Some(&[82.0])],
    );
    let after = [Some(&[60.0][..]), Some(&[61.0]), Some(&[62.0])];
    suite.add("stilts", "single", &["Few"], Some("Many"), &after);
    for (rate, scores) in [("1e-4", [62.0, 63.1, 64.0]), ("5e-4", [55.0, 56.1, 57.0])] {
        suite.variant = json!({"training.learning_rate": rate});
        let scores = scores.map(|score| [score, 80.0]);
        let scores: Vec<Option<&[f64]>> = scores.iter().map(|s| Some(s.as_slice())).collect();
        suite.add("pair", "multitask", &["Few", "Many"], None, &scores);
    }
    suite.write_plan();
    let folder = suite.folder.path();
    let shown = report(folder, &["."]);
    for (rate, right) in [("1e-4", 1), ("5e-4", 0)] {
        let line = format!("learning_rate={rate}: The heuristic");
        let line = shown.lines().find(|l| l.contains(&line)).unwrap();
        assert!(
            line.contains(&format!("is right on {right} of 1 decided pairs")),
            "{line}"
        );
    }
    let sweep = table(
        &read(&folder.join("report.md")),
        "The heuristic's threshold",
    );
    let at_one = sweep.iter().filter(|row| row[1] == "1.000");
    let agreement: Vec<&str> = at_one.map(|row| row[4].as_str()).collect();
    assert_eq!(agreement, ["**100.0 %**", "**0.0 %**"]);
}

#[test]
fn a_size_study_is_a_line_over_the_supports_rows() {
    let mut suite = Suite::new();
    suite.add(
        "single",
        "single",
        &["Few"],
        None,
        &[Some(&[60.0]), Some(&[61.0])],
    );
    for (rows, scores) in [(5000, [64.0, 64.6]), (500, [60.5, 61.7])] {
        suite.variant = json!({"training.max_train_rows.Many": rows.to_string()});
        suite.rows = json!({"Few": 1000, "Many": rows});
        suite.add_pair(["Few", "Many"], scores.map(|score| [score, 80.0]));
    }
    suite.write_plan();
    let folder = suite.folder.path();
    report(folder, &["."]);
    let sizes = table(&read(&folder.join("report.md")), "Size study");
    let few: Vec<&[String]> = sizes
        .iter()
        .filter(|row| row[0] == "Few")
        .map(|row| &row[2..8])
        .collect();
    assert_eq!(
        few[0],
        [
            "1000",
            "500",
            "0.50",
            "2",
            "60.50 ± 0.71 (2)",
            "61.10 ± 0.85 (2)"
        ]
    );
    assert_eq!(
        few[1],
        [
            "1000",
            "5000",
            "5.00",
            "2",
            "60.50 ± 0.71 (2)",
            "64.30 ± 0.42 (2)"
        ]
    );
    let pictures = std::fs::read_dir(folder.join("figures")).unwrap();
    let sizes = pictures
        .flatten()
        .filter(|p| p.file_name().to_string_lossy().starts_with("size-"));
    assert_eq!(sizes.count(), 1);
}

#[test]
fn the_page_needs_nothing_else_and_every_link_leads_somewhere() {
    let suite = study();
    let folder = suite.folder.path();
    report(folder, &["."]);
    let page = read(&folder.join("report.html"));
    let outside = page.replace("http://www.w3.org/2000/svg", "");
    for word in ["http:", "https:", "<script", "<link", "@import", "src="] {
        assert!(!outside.contains(word), "{word}");
    }
    let values = |attribute: &str| -> BTreeSet<&str> {
        let parts = page.split(attribute).skip(1);
        parts.filter_map(|part| part.split('"').next()).collect()
    };
    let ids = values(" id=\"");
    let links = values(" href=\"#");
    assert!(links.len() > 30);
    let lost: Vec<_> = links.difference(&ids).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let places = values(" href=\"runs/");
    assert_eq!(places.len(), suite.runs.len());
    let text_page = read(&folder.join("report.md"));
    let linked = text_page.split("](<#").skip(1);
    let linked: BTreeSet<&str> = linked.filter_map(|part| part.split('>').next()).collect();
    let lost = |id: &&&str| !text_page.contains(&format!("<a id=\"{id}\"></a>"));
    assert!(linked.len() > 30, "{linked:?}");
    assert_eq!(linked.iter().find(lost), None);
    assert!(page.contains("Few &amp; &lt;many&gt;") && page.contains("prefers-color-scheme"));
    // The map's cells say what they show and where it comes from.
    assert!(page.contains("<title>Few, helped by Many: +3.10 points"));

    // A picture of the last report that is none of this one's goes; somebody else's stays.
    let earlier = with_figure(&read(&folder.join("report.json")), "map-gone");
    std::fs::write(folder.join("report.json"), earlier).unwrap();
    for name in ["map-gone", "own"] {
        std::fs::write(folder.join(format!("figures/{name}.svg")), "<svg/>").unwrap();
    }
    report(folder, &["."]);
    assert!(!folder.join("figures/map-gone.svg").exists());
    std::fs::remove_file(folder.join("figures/own.svg")).unwrap();

    let figures: Vec<_> = std::fs::read_dir(folder.join("figures"))
        .unwrap()
        .flatten()
        .collect();
    let names: BTreeSet<String> = figures
        .iter()
        .map(|f| f.file_name().into_string().unwrap())
        .collect();
    for name in ["map-mtl-vs-stl.svg", "map-stilts-vs-stl.svg", "cost.svg"] {
        assert!(names.contains(name), "{names:?}");
    }
    // Scores of 54 to 65 points.
    let curve = read(&folder.join("figures/curve-few-with-many-stl-mtl-aligned-stilts.svg"));
    let ticks: Vec<&str> = curve
        .lines()
        .filter(|line| ["55", "60", "65"].contains(line))
        .collect();
    assert!(ticks.contains(&"60"), "{curve}");
    let check = "import sys, xml.dom.minidom as x\nfor f in sys.argv[1:]: x.parse(f)";
    let parsed = Command::new("python3")
        .args(["-c", check])
        .args(figures.iter().map(|figure| figure.path()))
        .output()
        .unwrap();
    assert!(parsed.status.success(), "{}", text(&parsed.stderr));
    for figure in &figures {
        let svg = read(&figure.path());
        assert!(
            svg.contains("viewBox") && svg.contains("currentColor"),
            "{figure:?}"
        );
    }
}

#[test]
fn a_folder_that_is_no_study_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert!(fails(folder, &["report", "none"], 2).contains("no such folder"));
    std::fs::create_dir_all(folder.join("empty")).unwrap();
    assert!(fails(folder, &["report", "empty"], 2).contains("neither a suite's folder"));
    std::fs::create_dir_all(folder.join("run")).unwrap();
    std::fs::write(folder.join("run/config.yaml"), "tasks: [CoLA]\n").unwrap();
    assert!(fails(folder, &["report", "run"], 2).contains("this is one run"));
    let plan = json!({"title": "", "cells": [], "runs": [{"name": 3}]});
    std::fs::write(folder.join("empty/plan.json"), plan.to_string()).unwrap();
    assert!(fails(folder, &["report", "empty"], 2).contains("plan.json"));
    let mut suite = study();
    suite.runs.remove(0);
    suite.write_plan();
    let line = fails(suite.folder.path(), &["report", "."], 2);
    assert!(line.contains("single-single-Few-seed1"), "{line}");
}

/// What a run of these tasks notes before its first step, each task's data being `data`.
fn made_of(tasks: &[&str], data: &str, precision: &str) -> Value {
    let file = json!({"file": "x.tsv", "sha256": data, "read_as": {}});
    let content = json!({"definition": {"labels": ["0", "1"]},
        "files": {"train": [&file], "dev": [&file]}});
    let tasks: serde_json::Map<_, _> = tasks
        .iter()
        .map(|task| (task.to_string(), content.clone()))
        .collect();
    json!({
        "content": {"tasks": tasks, "encoder": {"weights": "w", "config": {}, "tokenizer": "t",
            "tokenizer_files": {}}},
        "arithmetic": {"precision": precision, "engine": "packed", "products": "MKL",
            "device": "cpu"},
        "machine": {"threads": 1, "cpu_capability": "AVX2", "libtorch": "2.11.0",
            "covalign": "0.1.0"},
    })
}

impl Suite {
    /// A run folder in `runs` with a config of its own; with scores where it has ended.
    fn plain(
        &self,
        name: &str,
        method: &str,
        tasks: &[&str],
        seed: usize,
        scores: Option<&[f64]>,
        config: &str,
    ) -> std::path::PathBuf {
        let place = self.folder.path().join("runs").join(name);
        std::fs::create_dir_all(&place).unwrap();
        if let Some(scores) = scores {
            self.write_run(name, method, tasks, seed, scores);
        }
        let seed = match config.contains("SEED") {
            true => String::new(),
            false => format!("training: {{seed: {seed}}}\n"),
        } + &config.replace("SEED", &seed.to_string());
        let config = format!("method: {method}\ntasks: {tasks:?}\n{seed}\n");
        std::fs::write(place.join("config.yaml"), config).unwrap();
        place
    }

    /// Way, target and supports of each cell of a report, with its setting and number of scores.
    fn cells(&self) -> Vec<([String; 3], String, usize)> {
        let report = read(&self.folder.path().join("runs/report.json"));
        let report: Value = serde_json::from_str(&report).unwrap();
        let cells = report["cells"].as_array().unwrap().iter();
        let words = |value: &Value| value.as_str().unwrap().to_owned();
        let all = cells.map(|cell| {
            let supports = cell["supports"].as_array().unwrap().iter();
            let supports: Vec<String> = supports.map(words).collect();
            let variant = cell["variant"].as_object().unwrap().iter();
            let variant: Vec<String> = variant.map(|(k, v)| format!("{k}={}", words(v))).collect();
            let points = cell["sample"]["points"].as_object().unwrap().values();
            (
                [
                    words(&cell["way"]),
                    words(&cell["target"]),
                    supports.join("+"),
                ],
                variant.join(", "),
                points.filter(|point| !point["score"].is_null()).count(),
            )
        });
        all.collect()
    }
}

#[test]
fn runs_without_a_plan_are_what_their_configs_say_wherever_one_stands() {
    let suite = Suite::new();
    let both: &[&str] = &["Few", "Many"];
    let runs: [(&str, &str, &[&str], &str); 7] = [
        ("alone", "single", &["Few"], ""),
        ("source", "single", &["Many"], ""),
        ("after", "single", &["Few"], "start: {run: runs/source}"),
        ("with-r", "aligned", &["Few"], "start: {run: runs/source}"),
        ("r-alone", "aligned", &["Few"], ""),
        ("jointly", "multitask", &["Few", "Many", "Most"], ""),
        ("after-all", "multitask", both, "start: {run: runs/source}"),
    ];
    for (name, method, tasks, start) in runs {
        let scores = &[60.0, 80.0, 90.0][..tasks.len()];
        suite.plain(name, method, tasks, 1, Some(scores), start);
    }
    let expected = [
        ["STL", "Few", ""],
        ["STL", "Many", ""],
        ["STILTs", "Few", "Many"],
        ["aligned transfer", "Few", "Many"],
        ["aligned STL", "Few", ""],
        ["MTL-ALL", "Few", "Many+Most"],
        ["MTL-ALL", "Many", "Few+Most"],
        ["MTL-ALL", "Most", "Few+Many"],
    ];
    let expected: BTreeSet<_> = expected.map(|cell| cell.map(str::to_owned)).into();
    let runs = suite.folder.path().join("runs");
    for (folder, name) in [
        (suite.folder.path(), "runs"),
        (&runs, "."),
        (Path::new("/"), ""),
    ] {
        let whole = match name {
            "" => runs.to_str().unwrap(),
            name => name,
        };
        let shown = report(folder, &[whole]);
        let cells: Vec<_> = suite.cells().into_iter().map(|(cell, ..)| cell).collect();
        assert_eq!(cells.len(), expected.len(), "{folder:?} {cells:?}");
        assert_eq!(cells.into_iter().collect::<BTreeSet<_>>(), expected);
        assert!(
            shown.contains("no table has (jointly, after another run): after-all"),
            "{shown}"
        );
    }
}

#[test]
fn runs_side_by_side_are_averaged_and_compared_in_one_setting_only() {
    let suite = Suite::new();
    let common = "training: {seed: SEED, max_train_rows: 100}\nevaluation: {every: 1 epochs}\n";
    let elsewhere = "training: {seed: SEED, max_train_rows: 100, threads: 9}\ndata: /else/where\n\
                     checkpoints: {keep: 7}\nalignment: {learning_rate: 9x}\n";
    for seed in 1..=3 {
        let name = |name: &str| format!("{name}-{seed}");
        let noise = [0.1, -0.1, 0.2][seed - 1];
        let (few, both): (&[&str], &[&str]) = (&["Few"], &["Few", "Many"]);
        let alone = |name: &str, config, data, precision| {
            let place = suite.plain(name, "single", few, seed, Some(&[60.0 + noise]), config);
            let made_of = made_of(few, data, precision).to_string();
            std::fs::write(place.join("made_of.json"), made_of).unwrap();
        };
        alone(&name("alone"), common, "a", "fp32");
        alone(&name("other-rows"), common, "b", "fp32");
        alone(&name("rounded"), common, "a", "bf16");
        let joint = |name: &str, config| {
            let scores = [63.0 - noise, 80.0];
            let place = suite.plain(name, "multitask", both, seed, Some(&scores), config);
            let made_of = made_of(both, "a", "fp32").to_string();
            std::fs::write(place.join("made_of.json"), made_of).unwrap();
        };
        joint(&name("jointly"), elsewhere);
        let often = common.replace("1 epochs", "0.1 epochs");
        joint(&name("often"), &often);
    }
    let shown = report(suite.folder.path(), &["runs"]);
    assert!(
        shown.contains("differ in data.Few, evaluation.every, training.precision: only runs"),
        "{shown}"
    );
    let few: Vec<_> = suite
        .cells()
        .into_iter()
        .filter(|(cell, ..)| cell[1] == "Few")
        .map(|(cell, _, seeds)| (cell[0].clone(), seeds))
        .collect();
    let sizes = ["STL", "MTL", "MTL", "STL", "STL"].map(|way| (way.to_owned(), 3));
    let sorted = |mut all: Vec<(String, usize)>| {
        all.sort();
        all
    };
    assert_eq!(sorted(few), sorted(sizes.to_vec()));
    let page = read(&suite.folder.path().join("runs/report.md"));
    let pairs = table(&page, "Pairs: STL, MTL, aligned");
    let place = |name: &str| pairs[0].iter().position(|column| column == name).unwrap();
    let row = |every: &str| {
        let row = pairs
            .iter()
            .find(|row| row[0] == "Few" && row[2].contains(every));
        row.unwrap()
    };
    let compared = &row("every=1 epochs")[place("MTL − STL")];
    assert!(compared.contains("+2.87"), "{compared}");
    assert_eq!(row("every=0.1 epochs")[place("MTL − STL")], "");
}

#[test]
fn an_unfinished_run_hides_no_finished_one() {
    let suite = Suite::new();
    suite.plain("a-begun", "single", &["Few"], 1, None, "");
    suite.plain("b-done", "single", &["Few"], 1, Some(&[60.0]), "");
    suite.plain("c-again", "single", &["Few"], 1, Some(&[61.0]), "");
    // `single` over two tasks, stopped in the second.
    suite.plain("both", "single", &["Many", "Most"], 1, None, "");
    suite.plain("both/Many", "single", &["Many"], 1, Some(&[80.0]), "");
    suite.plain("both/Most", "single", &["Most"], 1, None, "");
    let broken = suite.plain("broken", "single", &["Few"], 1, Some(&[60.0]), "");
    std::fs::write(broken.join("config.yaml"), "training: {epochs: no}\n").unwrap();
    let shown = report(suite.folder.path(), &["runs"]);
    for line in [
        "2 begun, without results: a-begun, both/Most.",
        "1 with a config.yaml or results.json that cannot be read: broken.",
        "2 of the same setting and seed as another run, which counts: a-begun, c-again.",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let page = read(&suite.folder.path().join("runs/report.md"));
    let cells = table(&page, "Where each figure comes from");
    let column = |name: &str| cells[0].iter().position(|column| column == name).unwrap();
    let scores: Vec<[&str; 3]> = cells[1..]
        .iter()
        .map(|row| ["Target", "Score", "Run"].map(|name| row[column(name)].as_str()))
        .collect();
    assert_eq!(
        scores,
        [
            ["Few", "60.00", "b-done"],
            ["Many", "80.00", "both/Many"],
            ["Most", "–", "both/Most"]
        ]
    );
    let runs = table(&page, "All runs");
    assert_eq!(runs.len(), 1 + 6, "{runs:?}");
}

/// Two short tasks of different shape.
const CONFIG: &str = "
encoder: all-MiniLM-L6-v2
data: demo
tasks: [DemoSentiment, DemoSimilarity]
training:
  {max_steps: 2, batch_size: 8, max_length: 32, max_train_rows: 48, threads: 1}
evaluation: {every: 2 steps}
";

#[test]
fn trained_runs_side_by_side_make_a_report_without_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    common::write_demo(&folder.join("demo"));
    std::fs::write(folder.join("c.yaml"), CONFIG).unwrap();
    for (out, method, rate) in [
        ("stl", "single", "1x"),
        ("mtl", "multitask", "1x"),
        ("r1", "aligned", "1x"),
        ("r9", "aligned", "9x"),
    ] {
        let sets = [
            format!("method={method}"),
            format!("alignment.learning_rate={rate}"),
        ];
        let out = format!("runs/{out}");
        let args = [
            "train", "c.yaml", "--out", &out, "--set", &sets[0], "--set", &sets[1],
        ];
        let output = run(folder, &args);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let results: Value =
        serde_json::from_str(&read(&folder.join("runs/stl/results.json"))).unwrap();
    assert_eq!(
        results["training_rows"],
        json!({"DemoSentiment": 48, "DemoSimilarity": 48})
    );
    // The share of the most frequent label; a correlation with a constant counts as 0.
    let rows = read(&folder.join("demo/DemoSentiment/dev.tsv"));
    let labels = rows
        .lines()
        .skip(1)
        .map(|row| row.rsplit('\t').next().unwrap());
    let positive =
        labels.clone().filter(|label| *label == "1").count() as f64 / labels.count() as f64;
    let level = &results["constant_answer"];
    close(
        level["DemoSentiment"].as_f64().unwrap(),
        positive.max(1.0 - positive),
    );
    assert_eq!(level["DemoSimilarity"], json!(0.0));

    report(folder, &["runs"]);
    let page = read(&folder.join("runs/report.md"));
    let pairs = table(&page, "Pairs: STL, MTL, aligned");
    let settings: Vec<&str> = pairs[1..].iter().map(|row| row[2].as_str()).collect();
    let key = "alignment.learning\\_rate=";
    assert_eq!(
        settings,
        ["1.0x", "9.0x", "1.0x", "9.0x"].map(|rate| format!("{key}{rate}"))
    );
    let single = 100.0
        * results["tasks"]["DemoSentiment"]["dev"]["score"]
            .as_f64()
            .unwrap();
    let row = pairs.iter().find(|row| row[0] == "DemoSentiment").unwrap();
    // Two steps teach nothing, so the figure may have its mark.
    assert_eq!(row[3], "1");
    let figure = row[4].trim_end_matches(" †");
    assert_eq!(figure, format!("{single:.2} (1)"));
    let runs = table(&page, "All runs");
    assert_eq!(runs.len(), 1 + 4);
    let place = |name: &str| runs[0].iter().position(|column| column == name).unwrap();
    let moved = |run: &str| -> &str {
        let row = runs.iter().find(|row| row[place("Run")] == run).unwrap();
        &row[place("‖R − I‖")]
    };
    assert_eq!((moved("stl"), moved("mtl")), ("", ""));
    // Two steps of Adam at 2e-5 and at nine times as much: no element of R moves further.
    let far = |run: &str| -> f64 { moved(run).split(", ").next().unwrap().parse().unwrap() };
    assert!(far("r1") > 0.0 && far("r9") > 4.0 * far("r1") && far("r9") < 0.15);
}
