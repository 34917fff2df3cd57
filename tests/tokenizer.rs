//! Token ids against those of transformers' BertTokenizer, recorded by
//! scripts/tokenizer_digests.py.

mod common;

use std::path::{Path, PathBuf};

use common::real_data;
use covalign::data::{read_split, Example, Split, Tokenizer};
use covalign::error::exit_code;
use covalign::task::Task;
use serde_json::Value;
use sha2::{Digest, Sha256};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The folder of all-MiniLM-L6-v2, where `make setup` put it.
fn mini_lm() -> Option<PathBuf> {
    let home = std::env::var_os("COVALIGN_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/covalign")))?;
    let dir = home.join("encoders/all-MiniLM-L6-v2");
    let there = dir.join("vocab.txt").is_file();
    if !there {
        eprintln!("skipped: no encoder in {} (run make setup)", dir.display());
    }
    there.then_some(dir)
}

fn recorded(name: &str) -> Value {
    let text = std::fs::read_to_string(fixtures().join(name)).expect("a committed fixture");
    serde_json::from_str(&text).expect("a fixture in JSON")
}

#[test]
fn awkward_unicode_gives_transformers_ids_cased_and_uncased() {
    let mut tokenizers = vec![(
        "cased",
        Tokenizer::from_folder(&fixtures().join("cased")).expect("a vocabulary"),
    )];
    if let Some(dir) = mini_lm() {
        tokenizers.push((
            "uncased",
            Tokenizer::from_folder(&dir).expect("MiniLM's vocabulary"),
        ));
    }
    for entry in recorded("awkward.json").as_array().expect("a list") {
        let (a, b) = (entry["a"].as_str().expect("a text"), entry["b"].as_str());
        for (name, tokenizer) in &tokenizers {
            let ids: Vec<i32> = serde_json::from_value(entry[name].clone()).expect("ids");
            assert_eq!(tokenizer.encode(a, b, 40).ids, ids, "{name}: {a:?} {b:?}");
        }
    }
}

/// The examples of every recorded file of ../shared/data, in the file's order.
fn files(data: &Path) -> Vec<(String, Vec<Example>)> {
    let mut files: Vec<(String, Vec<Example>)> = Vec::new();
    for name in Task::built_in_names() {
        let task = Task::load(name).expect("a built-in task");
        let folder = if data.join("glue").join(name).is_dir() {
            "glue"
        } else {
            "sentiment"
        };
        for split in Split::ALL.into_iter().filter(|&s| task.has_split(s)) {
            let Ok(rows) = read_split(&task, &data.join(folder), split) else {
                continue;
            };
            let file = rows.files[0].strip_prefix(data).expect("a file of data");
            let file = file.to_string_lossy().into_owned();
            match files.iter_mut().find(|(name, _)| *name == file) {
                // Dev, cut out of the same file.
                Some((_, examples)) => {
                    examples.extend(rows.examples);
                    examples.sort_by_key(|e| e.line);
                }
                None => files.push((file, rows.examples)),
            }
        }
    }
    files
}

#[test]
fn every_sentence_of_the_real_data_gives_transformers_ids() {
    let (Some(data), Some(dir)) = (real_data(), mini_lm()) else {
        return;
    };
    let tokenizers = [
        (
            "uncased",
            Tokenizer::from_folder(&dir).expect("MiniLM's vocabulary"),
        ),
        (
            "cased",
            Tokenizer::from_folder(&fixtures().join("cased")).expect("a vocabulary"),
        ),
    ];
    let recorded = recorded("tokenizer_digests.json");
    let mut seen = 0;
    for (file, examples) in files(&data) {
        let Some(expected) = recorded.get(&file) else {
            panic!("{file} is not recorded")
        };
        assert_eq!(expected["rows"], examples.len(), "{file}");
        seen += 1;
        for (vocabulary, tokenizer) in &tokenizers {
            for max_length in [32, 128] {
                let split =
                    covalign::data::TokenizedSplit::from_examples(&examples, tokenizer, max_length);
                let mut sha = Sha256::new();
                for row in 0..split.len() {
                    let second = split.second_segment_at(row) as i32;
                    for id in split.ids(row).iter().chain([&-1, &second]) {
                        sha.update(id.to_le_bytes());
                    }
                }
                let digest = format!("{:x}", sha.finalize());
                let key = max_length.to_string();
                assert_eq!(
                    expected[vocabulary][&key], digest,
                    "{file} {vocabulary} {max_length}"
                );
            }
        }
    }
    assert_eq!(
        seen,
        recorded.as_object().map_or(0, |o| o.len()),
        "files read"
    );
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).expect("a file");
    }
    dir
}

const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nA\na\n\u{e9}\ne\n";

#[test]
fn casing_comes_from_the_encoders_files() {
    let ids = |files: &[(&str, &str)]| {
        let dir = folder(files);
        Tokenizer::from_folder(dir.path())
            .expect("a tokenizer")
            .encode("A \u{e9}", None, 9)
            .ids
    };
    let vocabulary = ("vocab.txt", VOCABULARY);
    assert_eq!(ids(&[vocabulary]), [2, 6, 8, 3]);
    assert_eq!(
        ids(&[
            vocabulary,
            ("tokenizer_config.json", r#"{"do_lower_case": false}"#)
        ]),
        [2, 5, 7, 3]
    );
    let keep = r#"{"do_lower_case": true, "strip_accents": false}"#;
    assert_eq!(
        ids(&[vocabulary, ("tokenizer_config.json", keep)]),
        [2, 6, 7, 3]
    );
    let full = r#"{"normalizer": {"lowercase": false, "strip_accents": null}}"#;
    assert_eq!(ids(&[vocabulary, ("tokenizer.json", full)]), [2, 5, 7, 3]);

    let parent = tempfile::tempdir().expect("a temporary folder");
    for (name, expected) in [
        ("bert-base-cased", [2, 5, 7, 3]),
        ("bert-base-uncased", [2, 6, 8, 3]),
    ] {
        let dir = parent.path().join(name);
        std::fs::create_dir(&dir).expect("a folder");
        std::fs::write(dir.join("vocab.txt"), VOCABULARY).expect("a file");
        let tokenizer = Tokenizer::from_folder(&dir).expect("a tokenizer");
        assert_eq!(
            tokenizer.encode("A \u{e9}", None, 9).ids,
            expected,
            "{name}"
        );
    }
}

#[test]
fn a_vocabulary_may_come_in_tokenizer_json() {
    let full = r###"{"normalizer": {"lowercase": true},
        "model": {"vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5, "##b": 6}}}"###;
    let dir = folder(&[("tokenizer.json", full)]);
    let tokenizer = Tokenizer::from_folder(dir.path()).expect("a tokenizer");
    assert_eq!(
        tokenizer.encode("ab", Some("a c"), 9).ids,
        [2, 5, 6, 3, 5, 1, 3]
    );
    assert_eq!(tokenizer.encode("ab", Some("a c"), 9).second_segment_at, 4);
    assert_eq!((tokenizer.vocab_size(), tokenizer.pad_id()), (7, 0));
}

#[test]
fn the_fingerprint_depends_on_vocabulary_and_casing() {
    let print = |files: &[(&str, &str)]| {
        let dir = folder(files);
        Tokenizer::from_folder(dir.path())
            .expect("a tokenizer")
            .fingerprint()
            .to_string()
    };
    let vocabulary = ("vocab.txt", VOCABULARY);
    let longer = format!("{VOCABULARY}more\n");
    let cased = ("tokenizer_config.json", r#"{"do_lower_case": false}"#);
    assert_eq!(print(&[vocabulary]), print(&[vocabulary]));
    assert_ne!(print(&[vocabulary]), print(&[("vocab.txt", &longer)]));
    assert_ne!(print(&[vocabulary]), print(&[vocabulary, cased]));
}

#[test]
fn a_folder_without_a_bert_vocabulary_is_an_input_error() {
    for (files, expected) in [
        (&[][..], "no vocab.txt (nor tokenizer.json)"),
        (&[("vocab.txt", "")], "the vocabulary has no `[PAD]`"),
        (
            &[("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n")],
            "the vocabulary has no `[MASK]`",
        ),
        (
            &[("vocab.txt", VOCABULARY), ("tokenizer_config.json", "{")],
            "not readable as JSON",
        ),
    ] {
        let dir = folder(files);
        let error = Tokenizer::from_folder(dir.path()).err().expect(expected);
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(exit_code(&error), 2);
    }
}
