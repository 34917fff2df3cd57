//! Scores of single classes, against scikit-learn's and against the answers themselves; and what classes
//! weigh in training.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use covalign::task::confusion::{ClassScore, Confusion};
use serde_json::json;

use common::{fails, json, run, text};

/// sklearn.metrics.classification_report(gold, predicted, zero_division=0, output_dict=True) and
/// confusion_matrix(gold, predicted) of scikit-learn 1.9.
#[test]
fn scores_of_classes_are_scikit_learns() {
    let gold = [0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 0, 1];
    let predicted = [0, 1, 1, 1, 0, 2, 2, 0, 1, 2, 0, 1];
    let expected = [
        (0.5, 0.6666666666666666, 0.5714285714285714, 3),
        (0.6, 0.75, 0.6666666666666666, 4),
        (0.6666666666666666, 0.5, 0.5714285714285714, 4),
        (0.0, 0.0, 0.0, 1),
    ];
    for (score, expected) in ClassScore::of_classes(4, &predicted, &gold)
        .iter()
        .zip(expected)
    {
        let (precision, recall, f1, support) = expected;
        for (found, expected) in [
            (score.precision, precision),
            (score.recall, recall),
            (score.f1, f1),
        ] {
            assert!((found - expected).abs() < 1e-12, "{score:?}");
        }
        assert_eq!(score.support, support);
    }
    let names = ["a", "b", "c", "d"].map(String::from);
    let confusion = Confusion::new(&names, &predicted, &gold).unwrap();
    let counts = [[2, 1, 0, 0], [1, 3, 0, 0], [1, 1, 2, 0], [0, 0, 1, 0]];
    assert_eq!(confusion.counts, counts.map(|row| row.to_vec()));
}

const CONFIG: &str = "
encoder: {kind: mlp, width: 8, embeddings: all-MiniLM-L6-v2}
data: .
tasks: [T.yaml]
method: single
training: {epochs: 20, max_steps: 40, batch_size: 8, max_length: 32, threads: 1, device: cpu, learning_rate: 1e-3}
evaluation: {every: 2 steps}
";

const TASK: &str = "labels: [dull, fine, odd]\nmetrics: [accuracy]\n\
    layout: {format: csv, text: text, label: label}\nfiles: {train: a.csv, dev: b.csv}\n";

/// Three classes, of which one has 24 of 30 rows, and as many of each to be judged by.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let words = [
        ("dull", "a dull affair"),
        ("fine", "a fine film"),
        ("odd", "what was that"),
    ];
    let row =
        |(class, i): (usize, usize)| format!("{} number {i},{}\n", words[class].1, words[class].0);
    let rare = (0..30).map(|i| ([1, 2, 0, 0, 0, 0, 0, 0, 0, 0][i % 10], i));
    let even = (0..30).map(|i| (i % 3, i));
    write(
        "a.csv",
        &format!("text,label\n{}", rare.map(row).collect::<String>()),
    );
    write(
        "b.csv",
        &format!("text,label\n{}", even.map(row).collect::<String>()),
    );
    write("T.yaml", TASK);
    write("c.yaml", CONFIG);
    folder
}

/// Trains with changes and returns what it printed.
fn train(folder: &Path, out: &str, sets: &[&str]) -> String {
    common::train(folder, out, sets)
}

#[test]
fn results_say_which_classes_are_taken_for_which() {
    let folder = workplace();
    let folder = folder.path();
    let printed = train(folder, "r", &[]);
    assert!(printed.contains("T, by class"), "{printed}");
    let dev = &json(&folder.join("r/results.json"))["tasks"]["T"]["dev"];
    assert_eq!(dev["confusion"]["labels"], json!(["dull", "fine", "odd"]));

    // Counted again from the answers.
    let output = run(folder, &["predict", "r", "--task", "T", "b.csv"]);
    let answers = text(&output.stdout);
    let answers = answers
        .lines()
        .skip(1)
        .map(|line| line.split('\t').next_back().unwrap());
    let mut counts: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    let names = ["dull", "fine", "odd"];
    for (row, answer) in answers.enumerate() {
        let taken = names.iter().position(|name| *name == answer).unwrap();
        *counts.entry((row % 3, taken)).or_default() += 1;
    }
    assert_eq!(counts.values().sum::<u64>(), 30);
    for (class, name) in names.iter().enumerate() {
        for taken in 0..3 {
            let count = counts.get(&(class, taken)).copied().unwrap_or(0);
            assert_eq!(dev["confusion"]["counts"][class][taken], count, "{dev}");
        }
        let recall = counts.get(&(class, class)).copied().unwrap_or(0) as f64 / 10.0;
        assert_eq!(dev["classes"][name]["recall"], recall, "{dev}");
        assert_eq!(dev["classes"][name]["support"], 10, "{dev}");
    }
    let shown = text(&run(folder, &["evaluate", "r", "--per-class"]).stdout);
    assert!(shown.contains("is taken for"), "{shown}");
    assert!(shown.contains("mean of classes"), "{shown}");
    // One line an evaluation stays short.
    let lines = std::fs::read_to_string(folder.join("r/metrics.jsonl")).unwrap();
    assert!(!lines.contains("confusion"), "{lines}");
}

#[test]
fn a_score_not_above_the_constant_answer_and_an_early_end_are_said() {
    let folder = workplace();
    let folder = folder.path();
    let sets = ["training.learning_rate=1e-9", "evaluation.patience=2"];
    let printed = train(folder, "r", &sets);
    assert!(
        printed.contains("† T: not above the constant answer"),
        "{printed}"
    );
    let why = "ended at step 6 of 40: the mean dev score has not risen in the last 2 evaluations";
    assert!(printed.contains(why), "{printed}");
    let log = std::fs::read_to_string(folder.join("r/log.txt")).unwrap();
    assert!(log.contains(why), "{log}");
    let shown = text(&run(folder, &["evaluate", "r"]).stdout);
    assert!(
        shown.contains("† T: not above the constant answer"),
        "{shown}"
    );

    // Of a whole run that has learned something, neither.
    let printed = train(folder, "good", &["training.class_weights=balanced"]);
    assert!(
        !printed.contains('†') && !printed.contains("ended at"),
        "{printed}"
    );
}

#[test]
fn f1_names_its_class() {
    let folder = workplace();
    let folder = folder.path();
    let two = TASK
        .replace("[dull, fine, odd]", "[dull, fine]")
        .replace("[accuracy]", "[f1, accuracy]")
        .replace("label: label}", "label: label, skip_labels: [odd]}");
    std::fs::write(folder.join("T.yaml"), two).unwrap();
    let printed = train(folder, "r", &[]);
    assert!(
        printed.contains("f1 of fine 0.") || printed.contains("f1 of fine 1."),
        "{printed}"
    );
    assert!(
        printed.contains("accuracy 0.") || printed.contains("accuracy 1."),
        "{printed}"
    );
}

#[test]
fn class_weights_reach_rare_classes_and_name_those_of_the_run() {
    let folder = workplace();
    let folder = folder.path();
    let score = |out: &str, sets: &[&str]| {
        train(folder, out, sets);
        let result = json(&folder.join(out).join("results.json"))["tasks"]["T"].clone();
        (
            result["last"]["classes"]["odd"]["recall"].as_f64().unwrap(),
            result["last"].clone(),
        )
    };
    let few = ["training.max_steps=20", "training.learning_rate=3e-2"];
    let with = |set| [&few[..], &[set]].concat();
    let (plain, _) = score("plain", &few);
    let (balanced, as_balanced) = score("balanced", &with("training.class_weights=balanced"));
    assert!(balanced > plain, "{balanced} {plain}");
    // 30 / (3 · 24), 30 / (3 · 3): compute_class_weight("balanced") of scikit-learn.
    let same = "training.class_weights={T/dull: 0.4166666666666667, T/fine: 3.3333333333333335, \
                T/odd: 3.3333333333333335}";
    assert_eq!(score("named", &with(same)).1, as_balanced);
    for (set, said) in [
        ("{T/strange: 2}", "no task of the run is called `T/strange`"),
        ("{T: 2}", "is `balanced`, or has `balanced` for a TASK"),
        ("{T/odd: 0}", "numbers above 0 for TASK/LABEL"),
        ("even", "`balanced`, or"),
    ] {
        let set = format!("training.class_weights={set}");
        let line = fails(folder, &["train", "c.yaml", "--out", "x", "--set", &set], 2);
        assert!(line.contains(said), "{line}");
    }
}
