//! Modules over words: what works with a BERT works with them, or is refused in one line.

mod common;

use std::path::Path;

use common::{evaluations, fails, json, run, text, train, workplace};
use covalign::data::Tokenizer;
use covalign::hub::word_vectors;
use covalign::model::encoder::WORDS;
use covalign::model::weights;
use tch::Tensor;

/// A module over MiniLM's words in the place of the config's encoder.
fn module(keys: &str) -> String {
    format!("encoder={{embeddings: all-MiniLM-L6-v2, {keys}}}")
}

/// Trains `c.yaml` with a module over words; the encoder's keys replace its name.
fn train_words(folder: &Path, out: &str, keys: &str, sets: &[&str]) -> String {
    let encoder = module(keys);
    let sets = [&[encoder.as_str(), "training.learning_rate=3e-3"], sets].concat();
    train(folder, out, &sets)
}

#[test]
fn each_kind_learns_is_evaluated_and_predicts_from_its_run_folder_alone() {
    let folder = workplace();
    let folder = folder.path();
    for (out, keys) in [
        (
            "lstm",
            "kind: lstm, width: 16, layers: 2, bidirectional: true, pool: max, dropout: 0.1",
        ),
        ("cnn", "kind: cnn, width: 8, train_embeddings: true"),
        (
            "mlp",
            "kind: mlp, width: 16, embedding_width: 64, train_embeddings: false",
        ),
    ] {
        let sets = [
            "tasks=[DemoSentiment]",
            "training.max_train_rows=400",
            "training.max_steps=150",
            "training.head_learning_rate=3e-3",
            "evaluation.every=50 steps",
        ];
        train_words(folder, out, keys, &sets);
        let results = json(&folder.join(out).join("results.json"));
        let score = results["tasks"]["DemoSentiment"]["dev"]["score"]
            .as_f64()
            .unwrap();
        let level = results["constant_answer"]["DemoSentiment"]
            .as_f64()
            .unwrap();
        assert!(score > level + 0.1, "{out}: {score}, {level}");
        let evaluated = run(folder, &["evaluate", out]);
        let printed = text(&evaluated.stdout);
        assert!(
            printed.contains(&format!("{:.2}", 100.0 * score)),
            "{out}: {printed}"
        );
        // A frozen table is kept once; a trained one is in each checkpoint.
        let best = weights::read(&folder.join(out).join("best/encoder.safetensors")).unwrap();
        let frozen = folder.join(out).join("encoder/embeddings.safetensors");
        assert_eq!(best.contains_key(WORDS), out == "cnn");
        assert_eq!(frozen.is_file(), out != "cnn");
    }
}

#[test]
fn a_run_that_goes_on_ends_as_one_that_never_stopped() {
    let folder = workplace();
    let folder = folder.path();
    let keys = "kind: lstm, width: 12, train_embeddings: true, dropout: 0.2, layers: 2";
    let sets = ["method=aligned", "checkpoints.keep=3"];
    train_words(folder, "whole", keys, &sets);
    train_words(folder, "cut", keys, &sets);
    // As if it had been stopped after the first of its two checkpoints.
    let cut = folder.join("cut");
    std::fs::remove_file(cut.join("results.json")).unwrap();
    std::fs::remove_dir_all(cut.join("checkpoints/step-6")).unwrap();
    std::fs::remove_dir_all(cut.join("best")).unwrap();
    let encoder = module(keys);
    let mut args = vec![
        "train", "c.yaml", "--out", "cut", "--resume", "--set", &encoder,
    ];
    let rate = "training.learning_rate=3e-3";
    for set in [&sets[..], &[rate]].concat() {
        args.extend(["--set", set]);
    }
    let resumed = run(folder, &args);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert_eq!(evaluations(folder, "cut"), evaluations(folder, "whole"));
}

#[test]
fn a_module_that_another_run_trained_goes_on_where_its_sizes_are_the_same() {
    let folder = workplace();
    let folder = folder.path();
    let source = ["tasks=[DemoSentiment]", "method=multitask"];
    train_words(folder, "source", "kind: lstm, width: 12", &source);
    let target = ["tasks=[DemoSimilarity]", "start.run=source"];
    train_words(folder, "target", "kind: lstm, width: 12", &target);
    let results = json(&folder.join("target/results.json"));
    assert_eq!(results["start"]["run"], "source");
    let other = module("kind: lstm, width: 13");
    let mut args = vec!["train", "c.yaml", "--out", "x", "--set", &other];
    target.iter().for_each(|set| args.extend(["--set", set]));
    let line = fails(folder, &args, 2);
    assert!(line.contains("with width 12, but"), "{line}");
}

#[test]
fn what_a_module_over_words_cannot_is_refused_in_one_line() {
    let folder = workplace();
    let folder = folder.path();
    for (keys, sets, expected) in [
        ("kind: gru", vec![], "unknown value `gru`"),
        ("kind: lstm, widht: 5", vec![], "did you mean `width`?"),
        (
            "kind: lstm, windows: [2]",
            vec![],
            "key `encoder.windows` are a `cnn`'s",
        ),
        (
            "kind: mlp, bidirectional: true",
            vec![],
            "key `encoder.bidirectional` is an `lstm`'s",
        ),
        (
            "kind: cnn, width: 0",
            vec![],
            "key `encoder.width` must lie from 1",
        ),
        (
            "kind: lstm",
            vec!["training.precision=bf16"],
            "key `training.precision` must be fp32",
        ),
        (
            "kind: lstm",
            vec!["training.gradient_checkpointing=true"],
            "key `training.gradient_checkpointing` is a BERT's",
        ),
        (
            "kind: lstm",
            vec!["training.reinit_layers=1"],
            "key `training.reinit_layers` is a BERT's",
        ),
        (
            "kind: lstm",
            vec!["label_noise.CoLA=0.2"],
            "key `label_noise`: no task of the run",
        ),
        (
            "kind: lstm",
            vec!["turned.DemoSentiment=200"],
            "key `turned` holds degrees",
        ),
    ] {
        let encoder = module(keys);
        let sets: Vec<&str> = [&[encoder.as_str()], &sets[..]].concat();
        let line = common::refused(folder, &sets);
        assert!(line.contains(expected), "{keys}: {line}");
    }
}

#[test]
fn a_text_file_of_vectors_is_a_table_and_a_tokenizer_of_its_words() {
    let folder = workplace();
    let folder = folder.path();
    let file = folder.join("tiny.txt");
    let lines = "the 1 0 0\ndo 0 1 0\nn't 0 0 1\nstop 1 1 0\n. . . 0 1 1\nthe 9 9 9\n";
    std::fs::write(&file, lines).unwrap();
    let made = word_vectors::folder(&file, &folder.join("home")).unwrap();
    let tokenizer = Tokenizer::from_folder(&made).unwrap();
    let table = weights::read_one(&made.join("model.safetensors"), WORDS).unwrap();
    let vectors = |text: &str| -> Vec<f32> {
        let ids = tokenizer.encode(text, None, 64).unwrap().ids;
        let ids: Vec<i64> = ids.iter().map(|&id| id.into()).collect();
        let inner = Tensor::from_slice(&ids[1..ids.len() - 1]);
        Vec::try_from(table.index_select(0, &inner).view([-1])).unwrap()
    };
    let unknown = [0.4, 0.6, 0.4];
    let expected = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], unknown, [1.0, 0.0, 0.0]].concat();
    assert_eq!(vectors("Don't xyzzy THE")[..6], expected[..6]);
    assert_eq!(vectors("do n't stop")[6..], [1.0, 1.0, 0.0]);
    assert_eq!(vectors("the"), [1.0, 0.0, 0.0]);
    for (lines, expected) in [
        (
            "the 1 0\ndo 1\n",
            "bad.txt:2: 2 fields; a word and 2 numbers",
        ),
        (
            "2 3\nthe 1 0 0\ndo 1 x 0\n",
            "bad.txt:3: `x` is no finite number",
        ),
        (
            "the 1 0\ndo 1 nan\n",
            "bad.txt:2: `nan` is no finite number",
        ),
        ("", "bad.txt: no word with a vector"),
    ] {
        std::fs::write(folder.join("bad.txt"), lines).unwrap();
        let line = common::refused(folder, &["encoder={kind: lstm, embeddings: bad.txt}"]);
        assert!(line.contains(expected), "{line}");
    }
}
