//! What is damaged, edited, diverged or cut off ends in one line, not in a number.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{covalign, fails, refused, root, run, text, train, workplace};
use sha2::{Digest, Sha256};
use tch::Tensor;

fn change(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_run_folder_that_was_edited_reads_no_embedding_that_there_is_not() {
    let folder = workplace();
    let folder = folder.path();
    train(folder, "r", &[]);
    let demo = ["--task", "DemoSentiment"];
    let dev = "demo/DemoSentiment/dev.tsv";
    let refused_everywhere = |expected: &str| {
        let commands: [&[&str]; 3] = [
            &["evaluate", "r"],
            &["predict", "r", demo[0], demo[1], dev],
            &["similarity", "c.yaml", "--run", "r", "--out", "x"],
        ];
        for args in commands {
            let line = fails(folder, args, 2);
            assert!(line.contains(expected), "{args:?}: {line}");
        }
    };
    let config = folder.join("r/config.yaml");
    change(&config, "max_length: 32", "max_length: 31");
    refused_everywhere("r/config.yaml: was another, by its checksum,");
    change(&config, "max_length: 31", "max_length: 32");
    for length in ["513", "9223372036854775807"] {
        change(&config, "max_length: 32", &format!("max_length: {length}"));
        refused_everywhere("`training.max_length`");
        change(&config, &format!("max_length: {length}"), "max_length: 32");
    }
    // A vocabulary by itself; beside tokenizer.json it would not count.
    std::fs::remove_file(folder.join("r/encoder/tokenizer.json")).unwrap();
    let words = folder.join("r/encoder/vocab.txt");
    let before = std::fs::read(&words).unwrap();
    std::fs::write(&words, [&before[..], b"onewordtoomany\n"].concat()).unwrap();
    for args in [
        &["evaluate", "r"][..],
        &["predict", "r", demo[0], demo[1], dev],
    ] {
        let line = fails(folder, args, 2);
        assert!(line.contains("30523 entries"), "{line}");
    }
}

#[test]
fn a_length_that_wraps_is_refused_with_its_key() {
    let folder = workplace();
    let tiny = common::root().join("tests/fixtures/legacy-bert");
    let tiny = format!("encoder={}", tiny.display());
    // One too many for its 16 positions; twice 2^63 is 0, and 2^64 - 1 is -1.
    let batch = "training.batch_tokens=1000";
    for length in ["17", "9223372036854775808", "18446744073709551615"] {
        let length = format!("training.max_length={length}");
        for sets in [&[&tiny, &*length][..], &[&tiny, &length, batch]] {
            let line = refused(folder.path(), sets);
            assert!(line.contains("`training.max_length`"), "{line}");
        }
    }
    for key in [
        "training.threads",
        "training.accumulate",
        "sampling.length_window",
    ] {
        let line = refused(folder.path(), &[&format!("{key}=4294967297")]);
        assert!(line.contains(&format!("key `{key}`")), "{line}");
    }
}

#[test]
fn token_ids_that_the_encoder_does_not_have_are_refused_with_their_line() {
    let folder = workplace();
    let folder = folder.path();
    let encoder = format!("encoder={}", common::minilm().display());
    let with = |command: &[&str]| {
        let mut command = covalign(folder, command);
        let output = command.env("COVALIGN_HOME", folder.join("home")).output();
        output.unwrap()
    };
    let train = ["train", "c.yaml", "--set", &encoder, "--out"];
    let first = with(&[&train[..], &["a"]].concat());
    assert!(first.status.success(), "{}", text(&first.stderr));
    // The last id of the last row, in a cache file whose checksum is right.
    let tokens = std::fs::read_dir(folder.join("home/tokens")).unwrap();
    let of_train = |path: &PathBuf| path.to_string_lossy().contains("DemoSentiment-train");
    let path = tokens.map(|e| e.unwrap().path()).find(of_train).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&40000i32.to_le_bytes());
    let sum = Sha256::digest(&bytes[48..]);
    bytes[16..48].copy_from_slice(&sum);
    std::fs::write(&path, bytes).unwrap();
    for engine in ["fast", "padded", "reference"] {
        let engine = format!("engine={engine}");
        let output = with(&[&train[..], &["b", "--set", &engine]].concat());
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        let expected = "task DemoSentiment, line ";
        assert!(
            errors.contains(expected) && errors.contains("id 40000"),
            "{errors}"
        );
    }
}

#[test]
fn sizes_that_no_encoder_has_are_refused_with_their_key() {
    let folder = workplace();
    let folder = folder.path();
    let shape = std::fs::read_to_string(common::minilm().join("config.json")).unwrap();
    let shape: serde_json::Value = serde_json::from_str(&shape).unwrap();
    for (key, value) in [
        ("num_hidden_layers", 0.into()),
        ("vocab_size", (-1).into()),
        ("hidden_size", 1_000_000_000_000i64.into()),
        ("intermediate_size", 16_000_000.into()),
        ("hidden_dropout_prob", 1.0.into()),
        ("initializer_range", (-0.02).into()),
    ] {
        let mut shape = shape.clone();
        shape[key] = value;
        std::fs::write(folder.join("config.json"), shape.to_string()).unwrap();
        let line = fails(
            folder,
            &["encoder", "init", "x", "--config", "config.json"],
            2,
        );
        assert!(line.contains(key) || line.contains("parameters"), "{line}");
        assert!(!folder.join("x").exists());
    }
}

/// An encoder whose embedding layer gives the same states whatever it reads, so that its loss is
/// finite, and whose gradients there are too large for a float.
fn explosive(folder: &Path) {
    let shape = r#"{"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1,
        "intermediate_size": 16, "hidden_act": "gelu", "vocab_size": 30522, "type_vocab_size": 2,
        "max_position_embeddings": 64, "initializer_range": 0.5, "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1}"#;
    std::fs::write(folder.join("shape.json"), shape).unwrap();
    let made = run(
        folder,
        &["encoder", "init", "explosive", "--config", "shape.json"],
    );
    assert!(made.status.success(), "{}", text(&made.stderr));
    let file = folder.join("explosive/model.safetensors");
    let tensors: BTreeMap<String, Tensor> = Tensor::read_safetensors(&file)
        .unwrap()
        .into_iter()
        .collect();
    let changed: Vec<(String, Tensor)> = tensors
        .into_iter()
        .map(|(name, tensor)| {
            let tensor = match name.as_str() {
                "embeddings.LayerNorm.weight" => tensor.full_like(3e38),
                "embeddings.LayerNorm.bias" => tensor.randn_like(),
                n if n.starts_with("embeddings") => tensor.zeros_like(),
                _ => tensor,
            };
            (name, tensor)
        })
        .collect();
    let pairs: Vec<(&str, &Tensor)> = changed.iter().map(|(n, t)| (&n[..], t)).collect();
    Tensor::write_safetensors(&pairs, &file).unwrap();
}

#[test]
fn a_gradient_that_is_not_finite_stops_the_run_as_a_loss_does() {
    let folder = workplace();
    let folder = folder.path();
    explosive(folder);
    for engine in ["fast", "padded"] {
        let out = format!("x-{engine}");
        let engine = format!("engine={engine}");
        let mut args = vec!["train", "c.yaml", "--out", &out];
        for set in ["encoder=explosive", "training.precision=fp32", &engine] {
            args.extend(["--set", set]);
        }
        let line = fails(folder, &args, 1);
        for word in [
            "norm of the gradients",
            "at step 1,",
            "Demo",
            "lines",
            "learning_rate",
        ] {
            assert!(line.contains(word), "{line}");
        }
        assert!(!folder.join(out).join("results.json").exists());
    }
}

#[test]
fn weights_that_the_last_step_spoiled_end_in_no_score() {
    let folder = workplace();
    let folder = folder.path();
    let sets = [
        "training.max_steps=1",
        "training.learning_rate=1e38",
        "training.warmup=0",
        "training.precision=fp32",
    ];
    let mut args = vec!["train", "c.yaml", "--out", "x"];
    sets.iter().for_each(|set| args.extend(["--set", set]));
    let line = fails(folder, &args, 1);
    assert!(
        line.contains("at step 1") && line.contains("the model puts out"),
        "{line}"
    );
    let log = std::fs::read_to_string(folder.join("x/log.txt")).unwrap();
    assert!(!log.contains("best so far"), "{log}");
    assert!(!folder.join("x/results.json").exists() && !folder.join("x/best").exists());
}

#[test]
fn a_file_that_is_not_utf_8_or_no_file_is_wrong_input() {
    let folder = workplace();
    let folder = folder.path();
    let bytes = [common::CONFIG.as_bytes(), b"# caf\xe9\n"].concat();
    std::fs::write(folder.join("bytes.yaml"), &bytes).unwrap();
    let at = format!(
        "bytes.yaml:{}: not UTF-8",
        common::CONFIG.lines().count() + 1
    );
    let cases: [&[&str]; 6] = [
        &["train", "bytes.yaml", "--out", "x"],
        &["bench", "bytes.yaml"],
        &["similarity", "bytes.yaml"],
        &["advise", "bytes.yaml"],
        &["suite", "bytes.yaml"],
        &[
            "train",
            "c.yaml",
            "--out",
            "x",
            "--set",
            "tasks=[bytes.yaml]",
        ],
    ];
    for args in cases {
        let line = fails(folder, args, 2);
        assert!(line.contains(&at), "{args:?}: {line}");
    }
    assert!(fails(folder, &["train", "demo"], 2).contains("demo: a folder"));
    let line = fails(folder, &["train", "c.yaml/x.yaml"], 2);
    assert!(line.contains("a part of this path is a file"), "{line}");
    let long = "x".repeat(300);
    assert!(fails(folder, &["train", &long], 2).contains("too long"));
}

/// One system call in strace's record.
#[derive(Debug)]
struct Call {
    name: String,
    arguments: String,
}

/// The calls that a training run made, in their order; none where strace is not there.
fn traced(folder: &Path, args: &[&str]) -> Option<Vec<Call>> {
    let record = folder.join("calls.txt");
    let traced = Command::new("strace")
        .args([
            "-f",
            "-y",
            "-e",
            "trace=fsync,rename,renameat2,unlink,unlinkat,rmdir",
            "-o",
        ])
        .args([record.as_os_str(), env!("CARGO_BIN_EXE_covalign").as_ref()])
        .env("CUDA_VISIBLE_DEVICES", "")
        .args(args)
        .current_dir(folder)
        .output();
    match traced {
        Ok(output) if output.status.success() => {}
        _ => {
            eprintln!("skipped: no strace here");
            return None;
        }
    }
    let text = std::fs::read_to_string(record).unwrap();
    let call = |line: &str| {
        let (_, call) = line.split_once(' ')?;
        let (name, arguments) = call.trim().split_once('(')?;
        Some(Call {
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        })
    };
    Some(text.lines().filter_map(call).collect())
}

#[test]
fn a_checkpoint_is_on_the_disk_before_the_older_one_goes() {
    let folder = workplace();
    let folder = folder.path();
    let sets = [
        "--set",
        "checkpoints.keep=1",
        "--set",
        "checkpoints.after=all",
    ];
    let args = [&["train", "c.yaml", "--out", "r"], &sets[..]].concat();
    let Some(calls) = traced(folder, &args) else {
        return;
    };
    let first = |from: usize, name: &str, ends: &str| -> usize {
        let found = calls[from..].iter().position(|call| {
            let place = call.arguments.contains(ends);
            call.name.starts_with(name) && place
        });
        from + found.unwrap_or_else(|| panic!("no {name} of {ends} after {from}: {calls:#?}"))
    };
    // Every file and the folder before it has its name, then the folder above, then the older goes.
    let renamed = first(0, "rename", "step-6.new\"");
    for file in ["encoder", "heads", "alignment", "optimizer"] {
        assert!(first(0, "fsync", &format!("step-6.new/{file}.safetensors>")) < renamed);
    }
    assert!(first(0, "fsync", "step-6.new/state.json>") < renamed);
    assert!(first(0, "fsync", "step-6.new>") < renamed);
    let above = first(renamed, "fsync", "r/checkpoints>");
    let older = first(0, "unlink", "step-3");
    assert!(above < older, "{calls:#?}");
    assert!(!folder.join("r/checkpoints/step-3").exists());
    assert!(folder.join("r/checkpoints/step-6/state.json").exists());
}

/// `command` of the binary where processes may have no more than `kilobytes` of addresses.
fn limited(kilobytes: u64, folder: &Path, args: &[&str]) -> std::process::Output {
    let binary = covalign(folder, args);
    Command::new("sh")
        .args(["-c", "ulimit -v $0 && exec \"$@\"", &kilobytes.to_string()])
        .arg(binary.get_program())
        .args(args)
        .current_dir(folder)
        .env("CUDA_VISIBLE_DEVICES", "")
        .output()
        .unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_model_that_does_not_fit_into_memory_is_one_line_that_names_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let tiny = root().join("tests/fixtures/legacy-bert");
    let text = std::fs::read_to_string(tiny.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    // A matrix of 8 GiB, which rust-bert makes.
    config["hidden_size"] = 128.into();
    config["intermediate_size"] = (1 << 24).into();
    config["num_hidden_layers"] = 1.into();
    std::fs::write(folder.join("large.json"), config.to_string()).unwrap();
    let args = [
        "encoder",
        "init",
        "x",
        "--config",
        "large.json",
        "--vocabulary",
    ];
    let args = [&args[..], &[tiny.to_str().unwrap()]].concat();
    let output = limited(6 << 20, folder, &args);
    let errors = common::text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.starts_with("covalign: out of memory (8.00 GiB more are needed); lower ")
            && errors.contains("training.batch_size")
            && errors.lines().count() == 1,
        "{errors}"
    );
}

/// Two-layer encoder and rows that fit it, with a checkpoint every three of six steps.
fn tiny_run(folder: &Path, out: &str) -> Vec<String> {
    let tiny = root().join("tests/fixtures/legacy-bert");
    let encoder = format!("encoder={}", tiny.display());
    let sets = [&encoder, "training.max_length=16"];
    train(folder, out, &sets);
    let mut args: Vec<String> = ["train", "c.yaml", "--resume", "--out", out]
        .map(str::to_owned)
        .into();
    sets.iter()
        .for_each(|set| args.extend(["--set".to_owned(), (*set).to_owned()]));
    args
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_newest_checkpoint_falls_back_to_the_one_before() {
    let folder = workplace();
    let folder = folder.path();
    let resume = tiny_run(folder, "r");
    let resume: Vec<&str> = resume.iter().map(String::as_str).collect();
    let results = folder.join("r/results.json");
    let whole = common::json(&results);
    std::fs::remove_file(&results).unwrap();
    flip(&folder.join("r/checkpoints/step-6/optimizer.safetensors"));
    let again = run(folder, &resume);
    let said = text(&again.stderr);
    assert!(again.status.success(), "{said}");
    assert!(
        said.contains("step-6/optimizer.safetensors: the file is damaged")
            && said.contains("the run goes on from step 3"),
        "{said}"
    );
    assert_eq!(common::json(&results)["tasks"], whole["tasks"]);
    // None is left to go on from.
    std::fs::remove_file(&results).unwrap();
    for step in ["step-3", "step-6"] {
        flip(
            &folder
                .join("r/checkpoints")
                .join(step)
                .join("heads.safetensors"),
        );
    }
    let line = fails(folder, &resume, 2);
    assert!(
        line.contains("no checkpoint of this run is whole"),
        "{line}"
    );
}

#[test]
fn results_that_were_edited_and_curves_that_were_cut_are_told() {
    let folder = workplace();
    let folder = folder.path();
    let resume = tiny_run(folder, "r");
    let resume: Vec<&str> = resume.iter().map(String::as_str).collect();
    let results = folder.join("r/results.json");
    let whole = std::fs::read_to_string(&results).unwrap();
    let edited = whole.replacen("\"steps\": 6", "\"steps\": 7", 1);
    assert_ne!(whole, edited);
    std::fs::write(&results, edited).unwrap();
    let line = fails(folder, &resume, 2);
    assert!(line.contains("results.json: damaged, or edited"), "{line}");
    // Nor where the seal itself is what was damaged.
    std::fs::write(&results, whole.replacen("\"sealed\"", "\"sealee\"", 1)).unwrap();
    let line = fails(folder, &resume, 2);
    assert!(line.contains("nobody knows its key `sealee`"), "{line}");
    // Nor is such a run listed as one that was stopped, by its curves.
    std::fs::write(&results, "").unwrap();
    let listed = run(folder, &["runs", ".", "--json"]);
    assert_eq!(text(&listed.stdout), "[]\n");
    let said = text(&listed.stderr);
    assert!(
        said.contains("left out") && said.contains("results.json"),
        "{said}"
    );
    std::fs::remove_file(&results).unwrap();
    std::fs::write(folder.join("r/metrics.jsonl"), "").unwrap();
    let again = run(folder, &resume);
    let said = text(&again.stderr);
    assert!(again.status.success(), "{said}");
    assert!(said.contains("has 0 of the 2 evaluations"), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_may_grow_no_further_ends_in_one_line_and_the_run_goes_on() {
    let folder = workplace();
    let folder = folder.path();
    let resume = tiny_run(folder, "whole");
    let args: Vec<&str> = resume.iter().map(String::as_str).collect();
    let args: Vec<&str> = args
        .into_iter()
        .filter(|arg| *arg != "--resume")
        .map(|arg| if arg == "whole" { "cut" } else { arg })
        .collect();
    let limited = Command::new("sh")
        .args(["-c", "ulimit -f 64 && exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_covalign"))
        .args(&args)
        .current_dir(folder)
        .env("CUDA_VISIBLE_DEVICES", "")
        .output()
        .unwrap();
    let errors = text(&limited.stderr);
    assert_eq!(limited.status.code(), Some(1), "{errors}");
    assert!(errors.contains("`ulimit -f`"), "{errors}");
    let resume = [&args[..], &["--resume"]].concat();
    let again = run(folder, &resume);
    assert!(again.status.success(), "{}", text(&again.stderr));
    let tasks = |out: &str| common::json(&folder.join(out).join("results.json"))["tasks"].clone();
    assert_eq!(tasks("cut"), tasks("whole"));
}

#[test]
fn weights_that_are_not_finite_are_blamed_on_their_file() {
    let folder = workplace();
    let folder = folder.path();
    explosive(folder);
    let file = folder.join("explosive/model.safetensors");
    let tensors = Tensor::read_safetensors(&file).unwrap();
    let spoiled: Vec<(&str, Tensor)> = tensors
        .iter()
        .map(|(name, tensor)| match name.contains("query") {
            true => (name.as_str(), tensor.full_like(f64::NAN)),
            false => (name.as_str(), tensor.shallow_clone()),
        })
        .collect();
    Tensor::write_safetensors(&spoiled, &file).unwrap();
    let line = refused(folder, &["encoder=explosive"]);
    assert!(
        line.contains("model.safetensors: tensor") && line.contains("not finite"),
        "{line}"
    );
}
