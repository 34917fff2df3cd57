//! Readers of outside bytes, given bytes that were changed at random: an error or a value, never a
//! panic. Seconds by default; `COVALIGN_FUZZ_SECONDS=600` gives each reader ten minutes.

mod common;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};

use covalign::config::Config;
use covalign::data::tokenizer::Tokenizer;
use covalign::model::weights;
use covalign::task::Task;
use covalign::train::keep::run_folder::{Results, RunFolder};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a reader is given first, and what changes are made of.
struct Corpus {
    seeds: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

impl Corpus {
    fn new(seeds: Vec<Vec<u8>>) -> Corpus {
        let words = [
            "[",
            "{",
            "]",
            "}",
            "\"",
            "-1",
            "0",
            "9223372036854775807",
            "1e999",
            ".nan",
            "null",
            "\0",
            "\n",
            "\t",
            "\r",
            "\u{feff}",
            ": ",
            "- ",
            "&a ",
            "*a",
            "!!binary ",
            "é",
            "[PAD]",
            "PK\x03\x04",
        ];
        let words = words.map(|word| word.as_bytes().to_vec()).to_vec();
        Corpus { seeds, words }
    }

    /// One of the seeds with a few changes.
    fn draw(&self, random: &mut ChaCha8Rng) -> Vec<u8> {
        let mut bytes = self.seeds.choose(random).unwrap().clone();
        for _ in 0..random.gen_range(1..6) {
            let at = random.gen_range(0..=bytes.len());
            let end = (at + random.gen_range(0..40)).min(bytes.len());
            match random.gen_range(0..6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << random.gen_range(0..8),
                1 => {
                    drop(bytes.splice(at..end, self.words.choose(random).unwrap().iter().copied()))
                }
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let part = bytes[at..end].to_vec();
                    let times = random.gen_range(1..30);
                    bytes.splice(at..at, part.repeat(times));
                }
                4 => bytes.truncate(at),
                _ => {
                    let other = self.seeds.choose(random).unwrap();
                    let from = random.gen_range(0..=other.len());
                    bytes.splice(at..end, other[from..].iter().take(64).copied());
                }
            }
        }
        bytes
    }
}

/// Reads changed bytes for a while; the bytes at which it panics are left in a file.
fn fuzz(name: &str, seeds: Vec<Vec<u8>>, read: impl Fn(&[u8])) {
    let seconds = std::env::var("COVALIGN_FUZZ_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(0.8);
    let seed = match seconds > 10.0 {
        true => rand::random(),
        false => 7,
    };
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let corpus = Corpus::new(seeds);
    corpus.seeds.iter().for_each(|seed| read(seed));
    let (begun, mut count) = (Instant::now(), 0u64);
    while begun.elapsed() < Duration::from_secs_f64(seconds) {
        let bytes = corpus.draw(&mut random);
        let one = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| read(&bytes)));
        if done.is_err() || one.elapsed() > Duration::from_secs(10) {
            let path = std::env::temp_dir().join(format!("covalign-fuzz-{name}"));
            std::fs::write(&path, &bytes).unwrap();
            panic!(
                "{name}: panics, or takes {:?}, at {}",
                one.elapsed(),
                path.display()
            );
        }
        count += 1;
    }
    eprintln!("{name}: {count} inputs");
    assert!(count > 10, "{name}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn tiny() -> std::path::PathBuf {
    common::root().join("tests/fixtures/legacy-bert")
}

/// A folder with the tiny encoder, one of whose files has other bytes.
fn encoder(folder: &Path) {
    for name in ["config.json", "vocab.txt", "tokenizer_config.json"] {
        std::fs::copy(tiny().join(name), folder.join(name)).unwrap();
    }
}

#[test]
fn configs_and_tasks_in_yaml() {
    let config = common::CONFIG.as_bytes().to_vec();
    let glue = std::fs::read(common::root().join("configs/glue-small.yaml")).unwrap();
    fuzz("config", vec![config, glue], |bytes| {
        let _ = Config::parse(&text(bytes), "c.yaml", &[]);
        let _ = Config::parse_all(&text(bytes), "c.yaml", &[]);
    });
    let folder = common::root().join("configs/tasks");
    let tasks = ["CoLA", "STS-B", "MNLI", "TREC"]
        .map(|name| std::fs::read(folder.join(name).with_extension("yaml")).unwrap());
    fuzz("task", tasks.to_vec(), |bytes| {
        drop(Task::from_yaml(&text(bytes), "t.yaml"))
    });
}

#[test]
fn encoders_configs_and_tokenizers() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let of = |name: &str, seeds: Vec<Vec<u8>>| {
        encoder(folder);
        let path = folder.join(name);
        fuzz(name, seeds, |bytes| {
            std::fs::write(&path, bytes).unwrap();
            let _ = covalign::model::shape::EncoderShape::read(folder);
            let _ = Tokenizer::from_folder(folder);
        });
        let _ = std::fs::remove_file(&path);
    };
    let whole = |name: &str| std::fs::read(tiny().join(name)).unwrap();
    of("config.json", vec![whole("config.json")]);
    of("vocab.txt", vec![whole("vocab.txt")]);
    of("tokenizer_config.json", vec![
        whole("tokenizer_config.json"),
        br#"{"pad_token": {"content": "[PAD]"}, "added_tokens_decoder": {"0": {"content": "[PAD]"}}}"#.to_vec(),
    ]);
    of(
        "tokenizer.json",
        vec![
            br###"{"added_tokens": [{"id": 0, "content": "[PAD]", "special": true}], "normalizer":
            {"type": "BertNormalizer"}, "model": {"type": "WordPiece", "unk_token": "[UNK]",
            "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5}}}"###
                .to_vec(),
        ],
    );
    of(
        "added_tokens.json",
        vec![br#"{"more": 12, "yet": 13}"#.to_vec()],
    );
}

#[test]
fn weights_in_safetensors_and_pickles() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let tensors = [
        ("a", tch::Tensor::from_slice(&[1f32, 2.0])),
        ("bert.b", tch::Tensor::from(1i64)),
    ];
    tch::Tensor::write_safetensors(&tensors, &path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let read = |path: &Path, bytes: &[u8]| {
        std::fs::write(path, bytes).unwrap();
        let _ = weights::read(path);
        let _ = weights::read_one(path, "a");
    };
    fuzz("safetensors", vec![whole], |bytes| read(&path, bytes));
    let path = folder.path().join("pytorch_model.bin");
    let whole = std::fs::read(tiny().join("pytorch_model.bin")).unwrap();
    fuzz("pickle", vec![whole], |bytes| read(&path, bytes));
    // The program by itself, without the checksums of the archive around it.
    let file = std::fs::File::open(tiny().join("pytorch_model.bin")).unwrap();
    let mut zip = zip::ZipArchive::new(file).unwrap();
    let mut program = Vec::new();
    let mut entry = zip.by_name("pytorch_model/data.pkl").unwrap();
    std::io::Read::read_to_end(&mut entry, &mut program).unwrap();
    fuzz(
        "program",
        vec![program],
        covalign::model::pickle::read_program,
    );
}

#[test]
fn rows_and_results() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let task = "labels: [0, 1]\nmetrics: [accuracy]\nlayout: {text: sentence, label: label}\n\
                files: {dev: dev.tsv}\n";
    let quoted = task
        .replace("layout: {", "layout: {format: csv, ")
        .replace("tsv", "csv");
    encoder(folder);
    let tokenizer =
        covalign::data::Intake::Texts(Box::new(Tokenizer::from_folder(folder).unwrap()));
    for (name, text) in [("dev.tsv", task), ("dev.csv", &quoted)] {
        let task = Task::from_yaml(text, "t.yaml").unwrap();
        let rows = match name {
            "dev.tsv" => "sentence\tlabel\nfine\t1\n\"quoted\tfilm\t0\n",
            _ => "sentence,label\nfine,1\n\"a, \"\"quoted\"\"\nfilm\",0\n",
        };
        fuzz(name, vec![rows.as_bytes().to_vec()], |bytes| {
            std::fs::write(folder.join(name), bytes).unwrap();
            let split = covalign::data::Split::Dev;
            let _ = tokenizer.load_split(&task, folder, split, 16, None, &|_, _| {});
        });
    }
    let results = br#"{"method": "aligned", "tasks": {"A": {"dev": {"accuracy": 0.5, "score": 0.5},
        "step": 3, "last": {"accuracy": 0.5, "score": 0.5}}}, "glue_score": 50.0, "best": {"step": 3,
        "glue_score": 50.0}, "steps": 6, "epochs": 1.0, "seconds": 1.0, "tokens_per_second": 1.0,
        "seed": 42, "encoder": {"name": "x", "sha256": "y"}, "libtorch": "2", "device": "cpu",
        "precision": "fp32", "threads": 1, "version": "0.1.0"}"#;
    let run = RunFolder::new(folder);
    std::fs::write(run.results(), results).unwrap();
    let whole: Option<Results> = run.finished();
    assert!(whole.is_some());
    fuzz("results", vec![results.to_vec()], |bytes| {
        std::fs::write(run.results(), bytes).unwrap();
        let _ = run.ended();
    });
}
