//! Token ids against those of transformers, recorded by scripts/tokenizer_digests.py (plain BERT)
//! and scripts/tokenizer_cases.py (other tokenizers), and what is refused.

mod common;

use std::path::{Path, PathBuf};

use common::real_data;
use covalign::data::{read_split, Example, Split, TokenizedSplit, Tokenizer};
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
    let mut folders = vec![("cased", fixtures().join("cased"))];
    folders.extend(mini_lm().map(|dir| ("uncased", dir)));
    let mut tokenizers = Vec::new();
    for (name, dir) in folders {
        let plain = Tokenizer::from_folder(&dir).expect("a vocabulary");
        // An added token that is in no text makes it a tokenizer of the other kind.
        let files = folder(&[]);
        for file in ["vocab.txt", "tokenizer_config.json"] {
            std::fs::copy(dir.join(file), files.path().join(file)).expect("a copy");
        }
        let added = format!(r#"{{"<no such token>": {}}}"#, plain.vocab_size());
        std::fs::write(files.path().join("added_tokens.json"), added).expect("a file");
        let full = Tokenizer::from_folder(files.path()).expect("a tokenizer");
        assert!(plain.description().starts_with("BERT's WordPiece"));
        assert!(full.description().starts_with("WordPiece by `tokenizers`"));
        tokenizers.extend([(name, plain), (name, full)]);
    }
    for entry in recorded("awkward.json").as_array().expect("a list") {
        let (a, b) = (entry["a"].as_str().expect("a text"), entry["b"].as_str());
        for (name, tokenizer) in &tokenizers {
            let ids: Vec<i32> = serde_json::from_value(entry[name].clone()).expect("ids");
            let encoded = tokenizer.encode(a, b, 40).expect("ids");
            assert_eq!(encoded.ids, ids, "{name}: {a:?} {b:?}");
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
                    TokenizedSplit::from_examples(&examples, tokenizer, max_length).expect("ids");
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
            .expect("ids")
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

    // Both files: the first counts, as in transformers, and it is said.
    let full = ("tokenizer.json", full);
    let lower = ("tokenizer_config.json", r#"{"do_lower_case": true}"#);
    assert_eq!(ids(&[vocabulary, full, lower]), [2, 6, 8, 3]);
    let dir = folder(&[vocabulary, full, lower]);
    let notes = Tokenizer::from_folder(dir.path()).expect("a tokenizer");
    let notes = notes.notes().join("; ");
    assert!(notes.contains("says do_lower_case true"), "{notes}");
}

#[test]
fn a_folders_name_is_evidence_only_where_no_file_speaks_and_then_it_is_said() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let read = |name: &str, config: Option<&str>| {
        let dir = parent.path().join(name);
        std::fs::create_dir_all(&dir).expect("a folder");
        std::fs::write(dir.join("vocab.txt"), VOCABULARY).expect("a file");
        if let Some(config) = config {
            std::fs::write(dir.join("tokenizer_config.json"), config).expect("a file");
        }
        let tokenizer = Tokenizer::from_folder(&dir).expect("a tokenizer");
        let ids = tokenizer.encode("A \u{e9}", None, 9).expect("ids").ids;
        (ids, tokenizer.notes().join("; "), tokenizer)
    };
    let (cased, lower) = (vec![2, 5, 7, 3], vec![2, 6, 8, 3]);
    for (name, expected, said) in [
        ("mini-cased", &cased, "taken as cased by the folder's name"),
        (
            "mini-uncased",
            &lower,
            "taken as lower-cased by the folder's name",
        ),
        (
            "encoder",
            &lower,
            "taken as lower-cased, as in transformers",
        ),
    ] {
        let (ids, notes, tokenizer) = read(name, None);
        assert_eq!(&ids, expected, "{name}");
        assert!(notes.contains(said), "{name}: {notes}");
        // What it hands on leaves nothing open, whatever the next folder is called.
        let config = serde_json::to_string(tokenizer.config()).expect("JSON");
        for other in ["x-cased", "x-uncased", "x"] {
            let (again, notes, next) = read(&format!("{name}/{other}"), Some(&config));
            assert_eq!((&again, notes.as_str()), (expected, ""), "{name} {other}");
            assert_eq!(next.fingerprint(), tokenizer.fingerprint());
        }
    }
    let (ids, notes, _) = read("said-cased", Some(r#"{"do_lower_case": true}"#));
    assert_eq!((ids, notes.as_str()), (lower, ""));
}

#[test]
fn tokenizers_that_are_not_plain_bert_give_transformers_ids_segments_and_truncation() {
    let cases: Vec<Value> =
        serde_json::from_value(recorded("tokenizer_cases.json")).expect("a list");
    for case in cases {
        let name = case["name"].as_str().expect("a name");
        let dir = folder(&[]);
        let put = |file: &str, text: &[u8]| {
            std::fs::write(dir.path().join(file), text).expect("a file");
        };
        for file in case["encoder"].as_array().into_iter().flatten() {
            let Some(encoder) = mini_lm() else { return };
            let file = file.as_str().expect("a file's name");
            let text = std::fs::read(encoder.join(file)).expect("a file of the encoder");
            put(file, &text);
            if let Some(more) = case["append"].as_array() {
                let mut full: Value = serde_json::from_slice(&text).expect("JSON");
                let added = full["added_tokens"].as_array_mut().expect("a list");
                added.extend(more.iter().cloned());
                put(file, full.to_string().as_bytes());
            }
        }
        for (file, value) in case["files"].as_object().expect("files") {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            put(file, text.as_bytes());
        }
        let tokenizer = Tokenizer::from_folder(dir.path()).expect(name);
        assert_eq!(case["pad"], tokenizer.pad_id(), "{name}");
        for row in case["rows"].as_array().expect("rows") {
            let (a, b) = (row["a"].as_str().expect("a text"), row["b"].as_str());
            let most = row["max_length"].as_u64().expect("a number") as usize;
            let encoded = tokenizer.encode(a, b, most).expect("ids");
            let ids: Vec<i32> = serde_json::from_value(row["ids"].clone()).expect("ids");
            assert_eq!(encoded.ids, ids, "{name}: {a:?} {b:?}");
            assert_eq!(
                row["second_segment_at"], encoded.second_segment_at,
                "{name}: {a:?} {b:?}"
            );
            let whole = tokenizer.encode(a, b, 1000).expect("ids").ids.len();
            assert_eq!(encoded.full_length, whole, "{name}: {a:?} {b:?}");
        }
        // A run's copy, with the config that the tokenizer settles, is the same tokenizer.
        put(
            "tokenizer_config.json",
            serde_json::to_string(tokenizer.config())
                .expect("JSON")
                .as_bytes(),
        );
        let again = Tokenizer::from_folder(dir.path()).expect(name);
        assert_eq!(again.fingerprint(), tokenizer.fingerprint(), "{name}");
    }
}

#[test]
fn plain_bert_in_a_file_of_any_class_is_read_by_the_fast_tokenizer() {
    let cases: Vec<Value> =
        serde_json::from_value(recorded("tokenizer_cases.json")).expect("a list");
    let case = cases
        .iter()
        .find(|case| case["name"] == "plain BERT as a file");
    let files = &case.expect("recorded")["files"];
    let (full, config) = (
        files["tokenizer.json"].to_string(),
        files["tokenizer_config.json"].to_string(),
    );
    let dir = folder(&[
        ("tokenizer.json", &full),
        ("tokenizer_config.json", &config),
    ]);
    let tokenizer = Tokenizer::from_folder(dir.path()).expect("a tokenizer");
    assert_eq!(
        tokenizer.description(),
        "BERT's WordPiece, cased; no added tokens"
    );
}

#[test]
fn a_byte_order_mark_and_blank_lines_at_the_end_of_a_vocabulary_are_nothing() {
    let print = |text: &str| {
        let dir = folder(&[("vocab.txt", text)]);
        let tokenizer = Tokenizer::from_folder(dir.path()).expect("a tokenizer");
        (tokenizer.vocab_size(), tokenizer.fingerprint().to_owned())
    };
    let expected = print(VOCABULARY);
    assert_eq!(expected.0, 9);
    let whole = VOCABULARY.trim_end();
    for text in [
        format!("\u{feff}{VOCABULARY}"),
        format!("{VOCABULARY}\n\n"),
        format!("{VOCABULARY}\r\n"),
        whole.to_owned(),
        VOCABULARY.replace('\n', "\r\n"),
    ] {
        assert_eq!(print(&text), expected, "{text:?}");
    }
}

#[test]
fn where_vocab_txt_and_tokenizer_json_disagree_the_second_counts_and_it_is_said() {
    let full = r###"{"model": {"vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "e": 5, "a": 6}}}"###;
    let dir = folder(&[("vocab.txt", VOCABULARY), ("tokenizer.json", full)]);
    let tokenizer = Tokenizer::from_folder(dir.path()).expect("a tokenizer");
    // transformers 5.24's ids.
    assert_eq!(
        tokenizer.encode("A \u{e9}", None, 9).expect("ids").ids,
        [2, 6, 5, 3]
    );
    let notes = tokenizer.notes().join("; ");
    let said =
        "vocab.txt (9 tokens) and tokenizer.json (7 tokens) disagree, the first difference at \
                id 5, `e`";
    assert!(notes.contains(said), "{notes}");
}

#[test]
fn a_vocabulary_may_come_in_tokenizer_json() {
    let full = r###"{"normalizer": {"lowercase": true},
        "model": {"vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5, "##b": 6}}}"###;
    let dir = folder(&[("tokenizer.json", full)]);
    let tokenizer = Tokenizer::from_folder(dir.path()).expect("a tokenizer");
    let encoded = tokenizer.encode("ab", Some("a c"), 9).expect("ids");
    assert_eq!(encoded.ids, [2, 5, 6, 3, 5, 1, 3]);
    assert_eq!(encoded.second_segment_at, 4);
    assert_eq!((tokenizer.vocab_size(), tokenizer.pad_id()), (7, 0));
}

#[test]
fn the_fingerprint_depends_on_all_that_settles_ids() {
    let print = |files: &[(&str, &str)]| {
        let dir = folder(files);
        let tokenizer = Tokenizer::from_folder(dir.path()).expect("a tokenizer");
        tokenizer.fingerprint().to_string()
    };
    let vocabulary = ("vocab.txt", VOCABULARY);
    let longer = format!("{VOCABULARY}more\n");
    let mut prints = vec![print(&[vocabulary]), print(&[("vocab.txt", &longer)])];
    for config in [
        r#"{"do_lower_case": false}"#,
        r#"{"strip_accents": false}"#,
        r#"{"tokenize_chinese_chars": false}"#,
        r#"{"truncation_side": "left"}"#,
        r#"{"model_input_names": ["input_ids"]}"#,
        r#"{"split_special_tokens": true}"#,
        r#"{"pad_token": "[MASK]"}"#,
        r#"{"extra_special_tokens": ["<x>"]}"#,
        r#"{"added_tokens_decoder": {"9": {"content": "<x>", "special": false, "normalized": true}}}"#,
    ] {
        prints.push(print(&[vocabulary, ("tokenizer_config.json", config)]));
    }
    let number = prints.len();
    prints.sort();
    prints.dedup();
    assert_eq!(prints.len(), number);
    // What says the same in other words is the same tokenizer.
    let same =
        r#"{"do_lower_case": true, "strip_accents": null, "tokenizer_class": "BertTokenizerFast"}"#;
    let same = [vocabulary, ("tokenizer_config.json", same)];
    assert_eq!(print(&[vocabulary]), print(&same));
}

/// The line with which a folder is refused.
fn refusal(files: &[(&str, &str)]) -> String {
    let dir = folder(files);
    let error = Tokenizer::from_folder(dir.path()).err();
    let error = error.unwrap_or_else(|| panic!("{files:?} was read"));
    assert_eq!(exit_code(&error), 2);
    let line = error.to_string();
    assert!(
        line.contains(&dir.path().display().to_string()) && !line.contains('\n'),
        "{line}"
    );
    line
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
        let line = refusal(files);
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_by_its_name() {
    for (config, expected) in [
        (
            r#"{"tokenizer_class": "BertJapaneseTokenizer"}"#,
            "BertJapaneseTokenizer cannot be read",
        ),
        (
            r#"{"word_tokenizer_type": "mecab"}"#,
            "key `word_tokenizer_type`",
        ),
        (
            r#"{"tokenizer_class": "RobertaTokenizerFast"}"#,
            "RobertaTokenizerFast cannot be read",
        ),
        (
            r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#,
            "tokenizer.json: no such file",
        ),
        (
            r#"{"auto_map": {"AutoTokenizer": ["x.T", null]}}"#,
            "key `auto_map`",
        ),
        (r#"{"cls_token": "<s>"}"#, "the vocabulary has no `<s>`"),
        (
            r#"{"added_tokens_decoder": {"12": {"content": "<x>"}}}"#,
            "`<x>` is said to have id 12, but among 10 tokens it has 9",
        ),
    ] {
        let line = refusal(&[("vocab.txt", VOCABULARY), ("tokenizer_config.json", config)]);
        assert!(line.contains(expected), "{line}");
    }
    let line = refusal(&[
        ("vocab.txt", VOCABULARY),
        (
            "config.json",
            r#"{"tokenizer_class": "BertJapaneseTokenizer"}"#,
        ),
    ]);
    assert!(
        line.contains("config.json: key `tokenizer_class`"),
        "{line}"
    );
}

#[test]
fn a_tokenizer_json_that_its_class_would_ignore_or_that_has_no_ids_is_refused() {
    let cases: Vec<Value> =
        serde_json::from_value(recorded("tokenizer_cases.json")).expect("a list");
    let full = |name: &str| {
        let case = cases.iter().find(|case| case["name"] == name);
        case.expect("recorded")["files"]["tokenizer.json"].clone()
    };
    // BertTokenizer would read all of them as its own WordPiece.
    for (name, expected) in [
        ("BPE", "key `model.type`: \"BPE\" is not BERT's"),
        ("WordLevel", "key `model.type`: \"WordLevel\" is not BERT's"),
        (
            "WordPiece over white space",
            "key `normalizer`: null is not BERT's",
        ),
    ] {
        let line = refusal(&[("tokenizer.json", &full(name).to_string())]);
        assert!(line.contains(expected), "{name}: {line}");
    }
    // The list of a Unigram is no vocabulary of words either.
    let unigram = full("Unigram with a normalizer").to_string();
    assert!(refusal(&[("tokenizer.json", &unigram)]).contains("\"Unigram\""));

    let changed = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut full = full(name);
        change(&mut full);
        let config = r#"{"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "cls_token": "[CLS]"}"#;
        refusal(&[
            ("tokenizer.json", &full.to_string()),
            ("tokenizer_config.json", config),
        ])
    };
    let line = changed("BPE", &|full| full["model"]["dropout"] = 0.1.into());
    assert!(line.contains("key `model.dropout`"), "{line}");
    let line = changed("WordLevel", &|full| {
        full["model"]["unk_token"] = "<unk>".into()
    });
    assert!(line.contains("key `model.unk_token`"), "{line}");
    let line = changed("Unigram with a normalizer", &|full| {
        full["model"]["unk_id"] = Value::Null
    });
    assert!(line.contains("key `model.unk_id`"), "{line}");
    let line = changed("BPE", &|full| full["post_processor"] = Value::Null);
    assert!(line.contains("key `post_processor`"), "{line}");
    let line = changed("BPE", &|full| full["model"]["type"] = "Syllables".into());
    assert!(line.contains("tokenizer.json: cannot be read"), "{line}");
}

#[test]
fn a_vocabulary_with_holes_or_of_another_encoder_is_refused_with_its_sizes() {
    let table = |rows: u32| format!(r#"{{"model_type": "bert", "vocab_size": {rows}}}"#);
    let fits = |text: &str, rows: u32| {
        let dir = folder(&[("vocab.txt", text), ("config.json", &table(rows))]);
        Tokenizer::from_folder(dir.path()).map(|tokenizer| tokenizer.notes().join("; "))
    };
    assert!(!fits(VOCABULARY, 9).unwrap().contains("entries"));
    // Tables are made larger for their shape's sake.
    let note = fits(VOCABULARY, 64).unwrap();
    assert!(
        note.contains("9 entries, the weights have embeddings for 64"),
        "{note}"
    );
    let wrong =
        |text: &str, rows: u32| refusal(&[("vocab.txt", text), ("config.json", &table(rows))]);
    let line = wrong(VOCABULARY, 8);
    assert!(
        line.contains("vocab.txt: the vocabulary has 9 entries"),
        "{line}"
    );
    assert!(line.contains("embeddings for 8"), "{line}");
    let line = wrong(VOCABULARY, 30522);
    assert!(
        line.contains("9 entries") && line.contains("cut short"),
        "{line}"
    );

    let line = refusal(&[("vocab.txt", &VOCABULARY.replace("A\n", "\n"))]);
    assert!(line.contains("vocab.txt:6: a blank line among 9"), "{line}");
    let line = refusal(&[("vocab.txt", &VOCABULARY.replace("A\n", "a\n"))]);
    assert!(
        line.contains("vocab.txt:7: `a` is on line 6 too, of 9 lines"),
        "{line}"
    );
    // White space as a token, as multilingual vocabularies have it, is no blank line.
    let space = VOCABULARY.replace("A\n", "\u{2028}\n");
    let dir = folder(&[("vocab.txt", &space)]);
    assert_eq!(Tokenizer::from_folder(dir.path()).unwrap().vocab_size(), 9);

    let full = |last: &str| {
        format!(
            r#"{{"model": {{"vocab": {{"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": {last}}}}}}}"#
        )
    };
    let line = refusal(&[("tokenizer.json", &full("7"))]);
    assert!(
        line.contains("6 tokens have ids up to 7, and none has 5"),
        "{line}"
    );
    let line = refusal(&[("tokenizer.json", &full("4"))]);
    assert!(line.contains("both have id 4"), "{line}");
    let line = refusal(&[("tokenizer.json", &full("4.5"))]);
    assert!(line.contains("`a` has 4.5, no whole number"), "{line}");
}
