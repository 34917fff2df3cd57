//! Every reader of bytes from outside, with inputs that it takes: what `tests/fuzz.rs` calls with bytes
//! changed at random, and libFuzzer with bytes that reach new code. A reader answers with a value or an
//! error; it panics where it breaks a rule that it is to keep, as that rows read in parts are those read
//! at once.

use std::io::{Cursor, Read as _, Write};
use std::path::Path;

use anyhow::Result;
use covalign::analysis::evidence::Evidence;
use covalign::config::Config;
use covalign::data::images::{check, pixels, Frame};
use covalign::data::{lines, read_split, Example, Input, InputAs, InputFormat, Rows};
use covalign::data::{Split, TokenizedSplit, Tokenizer};
use covalign::hub::{http, word_vectors};
use covalign::model::exported::Exported;
use covalign::model::shape::EncoderShape;
use covalign::model::{pickle, weights};
use covalign::report::{export, html, latex, markdown, read, sections};
use covalign::simulate::config::SimulateConfig;
use covalign::suite::build::plan;
use covalign::suite::compose::Wishes;
use covalign::suite::file::SuiteFile;
use covalign::task::submission::{check_zip, FILES};
use covalign::task::Task;
use covalign::telemetry::jsonl::JsonLines;
use covalign::telemetry::sealed;
use covalign::train::keep::checkpoint;
use covalign::train::keep::run_folder::{EvaluationLine, Results, RunFolder};
use tch::{Device, Tensor};

/// A reader, and inputs that it takes.
pub struct Reader {
    pub seeds: Vec<Vec<u8>>,
    pub read: Read,
}

type Read = Box<dyn Fn(&[u8])>;
type Make = fn(&Path) -> Reader;

impl Reader {
    fn new<S: AsRef<[u8]>>(seeds: &[S], read: impl Fn(&[u8]) + 'static) -> Reader {
        let seeds = seeds.iter().map(|seed| seed.as_ref().to_vec());
        Reader {
            seeds: seeds.collect(),
            read: Box::new(read),
        }
    }
}

/// All readers by their names. Each is made with an empty folder of its own.
pub const READERS: [(&str, Make); 24] = [
    ("config", config),
    ("task", task),
    ("suite", suite),
    ("simulate", simulate),
    ("encoder-config", |f| encoder(f, "config.json", &[CONFIG])),
    ("vocab", |f| encoder(f, "vocab.txt", &[VOCAB])),
    ("tokenizer", |f| {
        encoder(f, "tokenizer.json", &[TOKENIZER, WORD_LEVEL, PIECES])
    }),
    ("tokenizer-config", tokenizer_config),
    ("word-vectors", vectors),
    ("safetensors", safetensors),
    ("pickle", pickled),
    ("pickle-program", |_| {
        Reader::new(&[program()], pickle::read_program)
    }),
    ("tsv", |f| {
        rows(f, TSV, "a.tsv", InputFormat::Tsv, &TSV_ROWS)
    }),
    ("csv", |f| {
        rows(f, CSV, "a.csv", InputFormat::Csv, &CSV_ROWS)
    }),
    ("jsonl", |f| {
        rows(f, JSONL, "a.jsonl", InputFormat::Jsonl, &JSONL_ROWS)
    }),
    ("parquet", |f| {
        let whole = include_bytes!("../fixtures/reviews.parquet");
        rows(f, PARQUET, "a.parquet", InputFormat::Parquet, &[whole])
    }),
    ("label-text", |f| {
        rows(f, PREFIXED, "a.txt", InputFormat::LabelText, &PREFIXED_ROWS)
    }),
    ("gzip", |f| {
        let packed = packed(TSV_ROWS[0].as_bytes());
        rows(f, TSV, "a.tsv.gz", InputFormat::Tsv, &[packed])
    }),
    ("id-list", id_list),
    ("image", image),
    ("results", results),
    ("run-folder", run_folder),
    ("submission", submission),
    ("address", address),
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::write(path, bytes).expect("a file of its own");
}

/// A training config, then behind NULs what `--set` says. What was read is the same once written.
fn config(_: &Path) -> Reader {
    let seeds = [
        include_str!("../../configs/demo.yaml"),
        include_str!("../../configs/chest-xray.yaml"),
        include_str!("../../configs/words-small.yaml"),
        "tasks: [CoLA]\0training.epochs=2\0sampling={strategy: proportional}",
    ];
    Reader::new(&seeds, |bytes| {
        let text = text(bytes);
        let (yaml, sets) = text.split_once('\0').unwrap_or((&text, ""));
        let sets: Vec<String> = sets.split_terminator('\0').map(String::from).collect();
        let _ = Config::parse_all(yaml, "c.yaml", &sets);
        if let Ok(config) = Config::parse(yaml, "c.yaml", &sets) {
            let written = config.to_yaml().expect("YAML");
            let again = Config::parse(&written, "again.yaml", &[]);
            let again = again.unwrap_or_else(|e| panic!("{e:#}\n{written}"));
            assert_eq!(again.to_yaml().expect("YAML"), written);
        }
    })
}

fn task(_: &Path) -> Reader {
    let seeds = [
        include_str!("../../configs/tasks/CoLA.yaml"),
        include_str!("../../configs/tasks/STS-B.yaml"),
        include_str!("../../configs/tasks/MNLI.yaml"),
        include_str!("../../configs/tasks/TREC.yaml"),
        include_str!("../../configs/tasks/ChestX-ray14.yaml"),
        PREFIXED,
    ];
    Reader::new(&seeds, |bytes| {
        let _ = Task::from_yaml(&text(bytes), "t.yaml");
    })
}

/// A suite with few runs, in whose words all that a suite can ask for is written.
const SUITE: &str = "title: Who helps?
base: {data: data, encoder: {kind: lstm, embeddings: all-MiniLM-L6-v2, width: 8}, training: {epochs: 2}}
set: {training.batch_size: 16}
grid: {training.learning_rate: [0.01, 0.001]}
seeds: [1, 2]
experiments:
- {name: alone, strategy: single, tasks: [CR, MR], sizes: {target: [0.5]}}
- {name: pairs, strategy: pair, method: multitask, tasks: [CR, MR, MPQA]}
- {name: stilts, strategy: stilts, pairs: [[CR, MR]], source_set: {training.epochs: 1}}
- name: grown
  strategy: pair
  method: [multitask, aligned]
  sources: [SUBJ]
  targets: [CR]
  sizes: {target: [0.5, 1], support: [1]}
- {name: turned, strategy: transfer, tasks: [CR, MR], grid: {alignment.form: [general, diagonal]}, seeds: [3]}
- {name: all, strategy: all, tasks: [CR, MR, MPQA], set: {sampling.strategy: proportional}}
";
const FOLDS: &str = "base: {data: data, method: multitask, tasks: [TREC]}
folds: 3
experiments: [{name: a, strategy: single}]
";

/// A suite's file, and its plan.
fn suite(folder: &Path) -> Reader {
    let path = folder.join("s.yaml");
    // One seed, as `--seeds 1` says: a plan of many runs takes long under libFuzzer.
    let wishes = Wishes {
        seeds: Some(vec![1]),
        threads: 1,
        ..Wishes::default()
    };
    Reader::new(&[SUITE, FOLDS], move |bytes| {
        write(&path, bytes);
        let suite = SuiteFile::read(&path);
        let _ = suite.and_then(|suite| plan(&suite, &path, &wishes));
    })
}

fn simulate(folder: &Path) -> Reader {
    let path = folder.join("s.yaml");
    let seeds = [
        include_str!("../../configs/simulate/capacity.yaml"),
        include_str!("../../configs/simulate/map.yaml"),
        include_str!("../../configs/simulate/transfer.yaml"),
        include_str!("../../configs/simulate/weights.yaml"),
    ];
    Reader::new(&seeds, move |bytes| {
        write(&path, bytes);
        let _ = SimulateConfig::load(&path, &[]);
    })
}

const CONFIG: &str = include_str!("../fixtures/legacy-bert/config.json");
const VOCAB: &str = include_str!("../fixtures/legacy-bert/vocab.txt");
const SETTINGS: &str = include_str!("../fixtures/legacy-bert/tokenizer_config.json");
const TOKENIZER: &str = r###"{"added_tokens": [{"id": 0, "content": "[PAD]", "special": true}],
    "normalizer": {"type": "BertNormalizer", "lowercase": true}, "pre_tokenizer": {"type":
    "BertPreTokenizer"}, "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls":
    ["[CLS]", 2]}, "model": {"type": "WordPiece", "unk_token": "[UNK]", "max_input_chars_per_word":
    100, "continuing_subword_prefix": "##", "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3,
    "[MASK]": 4, "a": 5, "##b": 6}}}"###;
const WORD_LEVEL: &str = r#"{"added_tokens": [], "normalizer": {"type": "Lowercase"}, "pre_tokenizer":
    {"type": "Split", "pattern": {"Regex": "\\w+|[^\\w\\s]"}, "behavior": "Removed", "invert": true},
    "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[CLS]",
    "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A",
    "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {"[CLS]": {"id":
    "[CLS]", "ids": [2], "tokens": ["[CLS]"]}}}, "model": {"type": "WordLevel", "vocab": {"[PAD]": 0,
    "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5}, "unk_token": "[UNK]"}}"#;
const PIECES: &str = r#"{"added_tokens": [], "normalizer": {"type": "Sequence", "normalizers": [{"type":
    "NFKC"}, {"type": "StripAccents"}]}, "pre_tokenizer": {"type": "Metaspace", "replacement": "_",
    "prepend_scheme": "always"}, "model": {"type": "BPE", "unk_token": "[UNK]", "vocab": {"[PAD]": 0,
    "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5, "b": 6, "ab": 7}, "merges": ["a b"]}}"#;

/// Writes the tiny encoder's files.
fn tiny(folder: &Path) {
    write(&folder.join("config.json"), CONFIG);
    write(&folder.join("vocab.txt"), VOCAB);
    write(&folder.join("tokenizer_config.json"), SETTINGS);
}

/// What an encoder's folder says; a tokenizer that is read has ids for every text.
fn read_encoder(folder: &Path) {
    let _ = EncoderShape::read(folder);
    let _ = Exported::read(folder);
    if let Ok(tokenizer) = Tokenizer::from_folder(folder) {
        for text in ["", "a b", "Ab'\u{301}n't [PAD]\u{200b}漢字 😀"] {
            for second in [None, Some("ab ba")] {
                for most in [3, 16] {
                    let Ok(encoded) = tokenizer.encode(text, second, most) else {
                        continue;
                    };
                    let ids = &encoded.ids;
                    assert!(ids.len() <= most, "{} of {most} ids", ids.len());
                    let known = 0..tokenizer.vocab_size() as i32;
                    assert!(ids.iter().all(|id| known.contains(id)), "{ids:?}");
                }
            }
        }
    }
}

/// One file of an encoder's folder.
fn encoder(folder: &Path, file: &'static str, seeds: &[&str]) -> Reader {
    tiny(folder);
    let folder = folder.to_owned();
    Reader::new(seeds, move |bytes| {
        write(&folder.join(file), bytes);
        read_encoder(&folder);
    })
}

/// The small files of a tokenizer, with NULs between.
fn tokenizer_config(folder: &Path) -> Reader {
    tiny(folder);
    let folder = folder.to_owned();
    let seeds = [
        SETTINGS,
        r#"{"pad_token": {"content": "[PAD]"}, "do_lower_case": false, "tokenizer_class":
        "BertTokenizer", "added_tokens_decoder": {"0": {"content": "[PAD]", "special": true}}}"#,
        "{}\0{\"more\": 12, \"yet\": 13}\0{\"unk_token\": \"[UNK]\", \"sep_token\": {\"content\": \"[SEP]\"}}",
    ];
    Reader::new(&seeds, move |bytes| {
        let mut parts = bytes.split(|&byte| byte == 0);
        let files = [
            "tokenizer_config.json",
            "added_tokens.json",
            "special_tokens_map.json",
        ];
        for file in files {
            write(&folder.join(file), parts.next().unwrap_or(b"{}"));
        }
        read_encoder(&folder);
    })
}

/// Word vectors in a text; the folder that is made of them can be read.
fn vectors(folder: &Path) -> Reader {
    let (file, home) = (folder.join("v.txt"), folder.join("home"));
    let seeds = [
        "the 0.1 -0.2\ncat 1e-3 4\n<unk> 0 0\n",
        "2 3\nA 1 2 3\nnew york 4 5 6\n",
    ];
    Reader::new(&seeds, move |bytes| {
        write(&file, bytes);
        if let Ok(made) = word_vectors::folder(&file, &home) {
            Tokenizer::from_folder(&made).expect("its tokenizer");
            weights::read(&made.join("model.safetensors")).expect("its words");
        }
        let _ = std::fs::remove_dir_all(&home);
    })
}

fn read_weights(path: &Path, bytes: &[u8]) {
    write(path, bytes);
    let _ = weights::read(path);
    let _ = weights::read_one(path, "a");
}

fn safetensors(folder: &Path) -> Reader {
    let path = folder.join("model.safetensors");
    let tensors = [
        ("a", Tensor::from_slice(&[1f32, 2.0])),
        ("bert.b", Tensor::from(1i64)),
    ];
    Tensor::write_safetensors(&tensors, &path).expect("tensors");
    let whole = std::fs::read(&path).expect("tensors");
    Reader::new(&[whole], move |bytes| read_weights(&path, bytes))
}

const PICKLE: &[u8] = include_bytes!("../fixtures/legacy-bert/pytorch_model.bin");

fn pickled(folder: &Path) -> Reader {
    let path = folder.join("pytorch_model.bin");
    Reader::new(&[PICKLE], move |bytes| read_weights(&path, bytes))
}

/// A pickle's program by itself, without the checksums of the archive around it.
fn program() -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(Cursor::new(PICKLE)).expect("a zip");
    let mut entry = archive
        .by_name("pytorch_model/data.pkl")
        .expect("a program");
    let mut program = Vec::new();
    entry.read_to_end(&mut program).expect("a program");
    program
}

const TSV: &str = "labels: [0, 1]\nmetrics: [accuracy]\nlayout: {text: sentence, label: label}\n";
const TSV_ROWS: [&str; 2] = [
    "sentence\tlabel\nfine\t1\n\"quoted\tfilm\t0\n",
    "\u{feff}id\tlabel\tsentence\r\n1\t0\ta\r\n\r\n2\t1\tb\r\n",
];
const CSV: &str = "labels: {any_of: [good, long], separator: ;}\nmetrics: [micro_f1]\n\
    layout: {format: csv, text: [a, b], label: l}\n";
const CSV_ROWS: [&str; 2] = [
    "a,b,l\nfine,well,good\n\"a, \"\"quoted\"\"\nfilm\",,good;long\n",
    "l,a,b\r\n,one,\"two\r\nlines\"\r\n",
];
const JSONL: &str = "labels: {any_of: [good, long]}\nmetrics: [micro_f1]\n\
    layout: {format: jsonl, text: t.u, label: l}\n";
const JSONL_ROWS: [&str; 2] = [
    "{\"t\": {\"u\": \"fine\"}, \"l\": [\"good\"]}\n{\"t.u\": 12.50, \"l\": \"good, long\"}\n",
    "{\"l\": [], \"t.u\": \"\\ud83d\\ude00\"}\n\n{\"t\": {\"u\": true}, \"l\": []}",
];
const PARQUET: &str = "labels: [negative, positive]\nmetrics: [accuracy]\n\
    layout: {format: parquet, text: sentence, label: label}\n";
const PREFIXED: &str = "labels: {any_of: [good, long]}\nmetrics: [micro_f1]\n\
    layout: {format: label_text, label_prefix: __label__}\nfiles: {train: a.txt, dev: b.txt}\n";
const PREFIXED_ROWS: [&str; 2] = [
    "__label__good a film\n__label__good __label__long another\n",
    "no label\r\n  __label__long\ta\u{a0}b\n",
];

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).expect("memory");
    packer.finish().expect("memory")
}

/// The encodings that a row's second byte chooses from.
const ENCODINGS: [Option<&str>; 6] = [
    None,
    Some("windows-1252"),
    Some("utf-16le"),
    Some("gb18030"),
    Some("iso-2022-jp"),
    Some("big5"),
];

/// Rows as `predict` reads them, a block at a time.
fn predicted(task: &Task, path: &Path, given: &InputAs) -> Result<Vec<Example>> {
    let source = path.display().to_string();
    let mut input = Input::open(task, lines::open(path)?, &source, given)?;
    let mut rows = Vec::new();
    while let Some(part) = input.rows()? {
        rows.extend(part.examples);
    }
    Ok(rows)
}

/// A file of rows behind two bytes: how many bytes `predict` reads at a time, and in what encoding. Rows
/// are the same read at once and in parts, and those that are evaluated are those that are predicted on.
fn rows<S: AsRef<[u8]>>(
    folder: &Path,
    yaml: &str,
    file: &str,
    format: InputFormat,
    seeds: &[S],
) -> Reader {
    let layout = yaml.split("files:").next().unwrap_or_default();
    let yaml = format!(
        "{layout}files: {{train: {file}, dev: {file}, test: {{path: {file}, labelled: false}}}}\n"
    );
    let task = Task::from_yaml(&yaml, "t.yaml").expect(&yaml);
    tiny(folder);
    let tokenizer = Tokenizer::from_folder(folder).expect("a tokenizer");
    let (folder, path) = (folder.to_owned(), folder.join(file));
    let seeds: Vec<Vec<u8>> = seeds
        .iter()
        .flat_map(|seed| [[0, 0], [9, 0], [40, 1]].map(|head| [&head, seed.as_ref()].concat()))
        .collect();
    Reader::new(&seeds, move |bytes| {
        let [block, encoding, bytes @ ..] = bytes else {
            return;
        };
        write(&path, bytes);
        let encoding = ENCODINGS[usize::from(*encoding) % ENCODINGS.len()];
        let given = |format, block| InputAs {
            format,
            encoding: encoding.map(String::from),
            block,
            ..InputAs::default()
        };
        let whole = predicted(&task, &path, &given(Some(format), 1 << 20));
        let parts = predicted(&task, &path, &given(Some(format), 1 + usize::from(*block)));
        same(&whole, &parts, "at once", "in parts");
        // As what it looks like.
        let _ = predicted(&task, &path, &given(None, 1 + usize::from(*block)));
        if let Ok(rows) = &whole {
            let made = TokenizedSplit::from_examples(rows, &tokenizer, 8);
            assert_eq!(made.expect("ids").len(), rows.len());
        }
        if encoding.is_none() {
            let test = read_split(&task, &folder, Split::Test).map(|rows| rows.examples);
            same(&whole, &test, "predicted on", "evaluated");
            let _ = read_split(&task, &folder, Split::Train);
        }
    })
}

fn same(one: &Result<Vec<Example>>, other: &Result<Vec<Example>>, read: &str, else_read: &str) {
    match (one, other) {
        (Ok(one), Ok(other)) => assert_eq!(one, other, "{read} and {else_read}"),
        (Err(_), Err(_)) => (),
        (Ok(_), Err(e)) => panic!("{read}; but {else_read}: {e:#}"),
        (Err(e), Ok(_)) => panic!("{else_read}; but {read}: {e:#}"),
    }
}

/// A list of rows' ids.
fn id_list(folder: &Path) -> Reader {
    let yaml = "labels: [0, 1]\nmetrics: [accuracy]\nlayout: {header: false, text: 3, label: 4}\n\
        files: {train: a.tsv, dev: {path: a.tsv, keep_ids: {path: ids, columns: [1, 2]}}}\n";
    let task = Task::from_yaml(yaml, "t.yaml").expect(yaml);
    write(&folder.join("a.tsv"), "1\ta\tfine\t1\n2\ta\tbad\t0\n");
    let folder = folder.to_owned();
    Reader::new(&["1\ta\n2\ta\n", "2\ta\r\n\r\n"], move |bytes| {
        write(&folder.join("ids"), bytes);
        let _ = read_split(&task, &folder, Split::Dev);
    })
}

/// A JPEG or PNG file.
fn image(folder: &Path) -> Reader {
    let path = folder.join("a.png");
    let rows = Rows {
        examples: vec![Example {
            text_a: path.display().to_string(),
            line: 1,
            ..Example::default()
        }],
        ..Rows::default()
    };
    let split = TokenizedSplit::of_images(rows);
    let jpeg = include_bytes!("../fixtures/waves.jpeg").to_vec();
    let png = |image: image::DynamicImage| {
        let mut bytes = Cursor::new(Vec::new());
        let written = image.write_to(&mut bytes, image::ImageFormat::Png);
        written.expect("memory");
        bytes.into_inner()
    };
    let seeds = [
        turned(&jpeg),
        jpeg,
        png(image::DynamicImage::new_rgb8(5, 3)),
        png(image::DynamicImage::new_luma_a16(3, 5)),
    ];
    Reader::new(&seeds, move |bytes| {
        write(&path, bytes);
        if check(&split).is_ok() {
            for frame in [
                Frame::new(8, 1.0, false),
                Frame::new(8, 0.08, true).drawn(1),
            ] {
                drop(pixels(&split, &[0], frame, Device::Cpu).expect("pixels"));
            }
        }
    })
}

/// A JPEG that EXIF says to turn by a quarter.
fn turned(jpeg: &[u8]) -> Vec<u8> {
    let exif =
        b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    [&jpeg[..2], exif, &jpeg[2..]].concat()
}

const RESULTS: &str = r#"{"method": "aligned", "tasks": {"CoLA": {"dev": {"matthews": 0.5, "score": 0.5},
    "step": 3, "last": {"matthews": 0.5, "score": 0.5}}, "RTE": {"dev": {"accuracy": 0.5, "score":
    0.5}, "step": 3, "last": {"accuracy": 0.5, "score": 0.5}}}, "glue_score": 50.0, "best": {"step":
    3, "glue_score": 50.0}, "steps": 6, "epochs": 1.0, "seconds": 1.0, "tokens_per_second": 1.0,
    "seed": 42, "encoder": {"name": "x", "sha256": "y"}, "libtorch": "2", "device": "cpu",
    "precision": "fp32", "threads": 1, "version": "0.1.0"}"#;

/// A run's `results.json`: alone, and beside another run in a report and in advice.
fn results(folder: &Path) -> Reader {
    for (name, method) in [("one", "aligned"), ("other", "multitask")] {
        let run = RunFolder::new(folder.join(name));
        RunFolder::create(run.root()).expect("a folder");
        let config = format!("encoder: x\ntasks: [CoLA, RTE]\nmethod: {method}\n");
        write(&run.config(), config);
        write(&run.results(), RESULTS.replace("aligned", method));
    }
    let folder = folder.to_owned();
    Reader::new(&[RESULTS], move |bytes| {
        let run = RunFolder::new(folder.join("one"));
        write(&run.results(), bytes);
        if let Ok(Some(results)) = run.ended() {
            let written = text(&sealed::text(&results).expect("JSON"));
            let again = sealed::parse::<Results>(&written, Path::new("again"));
            // Not the values: what is no number equals nothing.
            let again = sealed::text(&again.expect("what was written"));
            assert_eq!(text(&again.expect("JSON")), written);
        }
        let _ = Evidence::read(std::slice::from_ref(&folder), "x");
        let study = read::study(&folder);
        if let Ok(report) = study.and_then(|study| sections::report(study, Path::new(""))) {
            html::page(&report);
            markdown::page(&report);
            latex::page(&report);
            export::json(&report);
            export::csv(&report).expect("CSV");
        }
    })
}

/// The other files that a run and a suite leave, each with the same bytes.
fn run_folder(folder: &Path) -> Reader {
    let seeds = [
        r#"{"step": 3, "total": 6, "seconds": 1.5, "training_seconds": 1.0, "tokens": 99, "best": {"A":
        {"step": 3, "scores": {"accuracy": 0.5, "score": 0.5}}}, "overall": {"step": 3, "glue_score":
        50.0}, "last": {"A": {"score": 0.5}}, "stale": 0, "plan": 1, "run": {"config.yaml": "ab"},
        "files": {"encoder.safetensors": "ab"}}"#,
        r#"{"content": {"tasks": {"A": {"definition": {}, "files": {"dev": [{"file": "a.tsv", "sha256":
        "ab", "read_as": {}}]}}}, "encoder": {"weights": "ab", "config": {}, "tokenizer": "ab",
        "tokenizer_files": {}}}, "arithmetic": {"precision": "fp32", "engine": "fast", "products":
        "mkl", "device": "cpu"}, "machine": {"threads": 1, "ranks": 1, "cpu_capability": "AVX2",
        "libtorch": "2", "covalign": "0.1.0"}}"#,
        r#"{"title": "t", "runs": [{"name": "r", "config": "tasks: [CoLA]", "tasks": ["CoLA"], "seed":
        1}], "cells": [{"run": "r", "target": "CoLA", "strategy": "single", "method": "single",
        "experiment": "e", "seed": 1}]}"#,
        r#"{"step": 3, "epoch": 0.5, "seconds": 1.0, "glue_score": 50.0, "dev": {"A": {"score": 0.5}}}"#,
    ];
    let suite = folder.join("suite");
    RunFolder::create(&suite).expect("a folder");
    let folder = folder.to_owned();
    Reader::new(&seeds, move |bytes| {
        let run = RunFolder::new(&folder);
        write(&folder.join("state.json"), bytes);
        let _ = checkpoint::checksums(&folder);
        let _ = checkpoint::total_steps(&folder);
        let _ = checkpoint::check_description(&run, &folder);
        write(&run.made_of(), bytes);
        let _ = run.begun();
        write(&run.metrics(), bytes);
        let _ = JsonLines::resume(&run.metrics(), |line: &EvaluationLine| line.step < 5);
        for file in ["plan.json", "seen.json", "metrics.jsonl"] {
            write(&suite.join(file), bytes);
        }
        let study = read::study(&suite);
        let _ = study.and_then(|study| sections::report(study, Path::new("")));
    })
}

/// A submission for the GLUE server.
fn submission(_: &Path) -> Reader {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for file in &FILES {
        let name = format!("{}.tsv", file.name);
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file(name, options).expect("memory");
        writer
            .write_all(b"index\tprediction\n0\t1\n")
            .expect("memory");
    }
    let whole = writer.finish().expect("memory").into_inner();
    Reader::new(&[whole], |bytes| drop(check_zip(bytes)))
}

/// An address, and behind a line's end where it redirects to. Whom covalign takes an address to mean is
/// whom the HTTP library asks: tokens go to nobody else.
fn address(_: &Path) -> Reader {
    let seeds = [
        "https://hub.example:8080/a/b?c#d\n/e",
        "http://name:password@hub.example/a\nb/c",
        "HTTPS://[::1]:80\n//other.example/x",
        "https://hub.example\nhttp://other.example@third.example/",
    ];
    Reader::new(&seeds, |bytes| {
        let text = text(bytes);
        let (base, location) = text.split_once('\n').unwrap_or((&text, ""));
        let next = http::redirected(base, location).unwrap_or_default();
        for url in [base, &next] {
            let (origin, shown) = (http::origin(url), http::shown(url));
            let Ok(uri) = url.parse::<ureq::http::Uri>() else {
                continue;
            };
            let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
                continue;
            };
            let asked = match authority.port() {
                Some(port) => format!("{scheme}://{}:{port}", authority.host()),
                None => format!("{scheme}://{}", authority.host()),
            };
            assert_eq!(origin, asked.to_lowercase(), "{url}");
            // The host comes next to the scheme, and no name or password before it.
            let (shown, scheme) = (shown.to_lowercase(), format!("{scheme}://").to_lowercase());
            let place = shown.strip_prefix(&scheme).unwrap_or(&shown);
            let host = authority.host().to_lowercase();
            assert!(place.starts_with(&host), "{url}: {shown}");
        }
    })
}
