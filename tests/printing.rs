//! Whoever reads what covalign prints may have enough of it, and a disk may be full.

mod common;

use std::fs::File;
use std::path::Path;
use std::process::{Output, Stdio};

use common::{covalign, root, text, workplace};

/// Commands that print, in an order in which each finds what it needs, and their exit code.
const COMMANDS: &[(&[&str], i32)] = &[
    (&["--help"], 0),
    (&["--version"], 0),
    (&["help", "train"], 0),
    (&["train", "c.yaml", "--out", "runs/NEW"], 0),
    (&["train", "c.yaml", "--out", "runs/r", "--resume"], 0),
    (
        &["train", "c.yaml", "--out", "runs/NEW", "--json", "--quiet"],
        0,
    ),
    (&["evaluate", "runs/r"], 0),
    (&["evaluate", "runs/r", "--json"], 0),
    (&["evaluate", "runs/r", "--per-class"], 0),
    (
        &[
            "predict",
            "runs/r",
            "--task",
            "DemoSentiment",
            "demo/DemoSentiment/dev.tsv",
        ],
        0,
    ),
    (&["verify", "runs/r"], 0),
    (&["verify", "runs/r", "--json"], 0),
    (&["export", "runs/r", "--out", "NEW"], 0),
    (&["export", "runs/r", "--out", "NEW", "--json"], 0),
    (&["bench", "c.yaml", "--steps", "1"], 0),
    (&["bench", "c.yaml", "--steps", "1", "--json"], 0),
    (&["reweight", "c.yaml", "--set", "tasks=[DemoSentiment]"], 0),
    (
        &["similarity", "c.yaml", "--layers", "--out", "similarity"],
        0,
    ),
    (&["advise", "c.yaml"], 0),
    (&["advise", "c.yaml", "--json"], 0),
    (&["report", "runs"], 0),
    (&["simulate", "sim.yaml", "--out", "NEW"], 0),
    (&["suite", "s.yaml", "--dry-run"], 0),
    (&["suite", "s.yaml", "--out", "NEW"], 0),
    (&["data", "check", "demo", "--overlaps"], 0),
    (&["data", "check", "demo", "--overlaps", "--json"], 0),
    (&["data", "stats", "demo"], 0),
    (&["data", "stats", "demo", "--json"], 0),
    (&["encoder", "list"], 0),
    (&["encoder", "inspect", "all-MiniLM-L6-v2"], 0),
    (&["encoder", "fetch", "all-MiniLM-L6-v2"], 0),
    (&["encoder", "init", "NEW", "--config", "config.json"], 0),
    (&["doctor"], 0),
    (&["doctor", "--json"], 0),
    (&["train", "c.yaml", "--dry-run"], 0),
    (&["config", "check", "c.yaml"], 0),
    (&["config", "schema"], 0),
    (&["config", "reference"], 0),
    (&["completions", "zsh"], 0),
    (&["runs"], 0),
    (&["runs", "--json"], 0),
];

/// The demonstration set with a run of a tiny encoder in `runs/r`.
fn with_run() -> tempfile::TempDir {
    let folder = workplace();
    let tiny = root().join("tests/fixtures/legacy-bert");
    let config = folder.path().join("c.yaml");
    let small = std::fs::read_to_string(&config)
        .unwrap()
        .replace("all-MiniLM-L6-v2", tiny.to_str().unwrap())
        .replace("max_length: 32", "max_length: 16");
    std::fs::write(&config, &small).unwrap();
    let base = small.trim_end().replace('\n', "\n  ");
    let suite = format!("base:{base}\nexperiments: [{{name: alone, strategy: single}}]\n");
    std::fs::write(folder.path().join("s.yaml"), suite).unwrap();
    let simulation = "d: 4\nseeds: 2\ntraining: {steps: 2}\n";
    std::fs::write(folder.path().join("sim.yaml"), simulation).unwrap();
    let shape = r#"{"hidden_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1,
        "intermediate_size": 8, "hidden_act": "gelu", "vocab_size": 30522, "type_vocab_size": 2,
        "max_position_embeddings": 32, "initializer_range": 0.02, "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1}"#;
    std::fs::write(folder.path().join("config.json"), shape).unwrap();
    common::train(folder.path(), "runs/r", &[]);
    folder
}

/// Runs a command with a standard output; `NEW` in its arguments is a name of the call's own.
fn printing(folder: &Path, args: &[&str], new: usize, stdout: Stdio) -> Output {
    let args: Vec<String> = args
        .iter()
        .map(|arg| arg.replace("NEW", &format!("new-{new}")))
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let child = covalign(folder, &args)
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn();
    child.unwrap().wait_with_output().unwrap()
}

fn full() -> Stdio {
    File::create("/dev/full").unwrap().into()
}

#[test]
fn a_reader_that_has_enough_changes_no_exit_code_and_a_full_disk_is_one_line() {
    let folder = with_run();
    for (number, (args, code)) in COMMANDS.iter().enumerate() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = printing(folder.path(), args, 2 * number, writer.into());
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {errors}");
        assert!(!errors.contains("covalign:"), "{args:?}: {errors}");

        let output = printing(folder.path(), args, 2 * number + 1, full());
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {errors}");
        let lines = errors.lines().filter(|line| line.starts_with("covalign:"));
        let lines: Vec<&str> = lines.collect();
        assert!(
            matches!(lines[..], [line] if line.contains("standard output: No space")),
            "{args:?}: {errors}"
        );
        assert!(!errors.contains("panicked"), "{args:?}: {errors}");
    }
    // All of them but one that wants GLUE's own files, and prints as the others do.
    let help = text(
        &covalign(folder.path(), &["--help"])
            .output()
            .unwrap()
            .stdout,
    );
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    // A line that goes on with an explanation stands further to the right.
    for line in listed.filter(|line| !line.starts_with("    ")) {
        let name = line.split_whitespace().next().unwrap();
        let tried = COMMANDS.iter().any(|(args, _)| args[0] == name);
        assert!(tried || name == "submit", "{name}");
    }
    // What was wrong besides is what counts.
    std::fs::write(folder.path().join("demo/DemoSentiment/dev.tsv"), "x\n").unwrap();
    let args = ["data", "check", "demo"];
    let output = printing(folder.path(), &args, 0, full());
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

#[test]
fn a_standard_error_that_is_full_stops_nothing() {
    let folder = with_run();
    let cases: [(&[&str], i32); 3] = [
        (&["train", "c.yaml", "--out", "b"], 0),
        (&["train", "none.yaml"], 2),
        (&["train"], 2),
    ];
    for (args, code) in cases {
        let status = covalign(folder.path(), args)
            .stdout(Stdio::null())
            .stderr(full())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
}
