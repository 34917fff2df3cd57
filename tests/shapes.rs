//! Data in the shapes that people have: a task file of a few lines trains, evaluates and predicts.

mod common;

use std::io::Write;
use std::path::Path;

use common::{covalign, fails, run, text};
use flate2::write::GzEncoder;
use flate2::Compression;

/// A module of words: a run takes a second.
const CONFIG: &str = "
encoder: {kind: mlp, width: 8, embeddings: all-MiniLM-L6-v2}
data: .
tasks: [T.yaml]
method: single
training: {max_steps: 4, batch_size: 8, max_length: 32, threads: 1, device: cpu}
evaluation: {every: 2 steps}
";

/// Rows of both kinds, twenty of them.
fn rows(row: impl Fn(usize, &str, &str) -> String) -> String {
    let words = [("good", "a fine film"), ("bad", "a dull affair")];
    (0..20)
        .map(|i| row(i, words[i % 2].0, &format!("{} number {i}", words[i % 2].1)))
        .collect()
}

/// Trains task `yaml` on `data` in the file `name`, evaluates it and predicts the same file; the run's
/// log and what was predicted.
fn goes(yaml: &str, name: &str, data: &[u8]) -> (String, String) {
    assert!(yaml.trim().lines().count() <= 8, "{yaml}");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("T.yaml"), yaml).unwrap();
    std::fs::write(folder.join("c.yaml"), CONFIG).unwrap();
    std::fs::write(folder.join(name), data).unwrap();
    for args in [
        &["train", "c.yaml", "--out", "r"][..],
        &["evaluate", "r", "--split", "dev"],
        &["data", "check", ".", "--task", "T.yaml"],
    ] {
        let output = run(folder, args);
        assert!(
            output.status.success(),
            "{args:?}: {}",
            text(&output.stderr)
        );
    }
    let predicted = covalign(folder, &["predict", "r", "--task", "T", name])
        .output()
        .unwrap();
    assert!(predicted.status.success(), "{}", text(&predicted.stderr));
    let log = std::fs::read_to_string(folder.join("r/log.txt")).unwrap();
    (log, text(&predicted.stdout))
}

fn refused(yaml: &str, name: &str, data: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let folder: &Path = folder.path();
    std::fs::write(folder.join("T.yaml"), yaml).unwrap();
    std::fs::write(folder.join("c.yaml"), CONFIG).unwrap();
    std::fs::write(folder.join(name), data).unwrap();
    fails(folder, &["train", "c.yaml", "--out", "r"], 2)
}

#[test]
fn labels_that_are_none_are_left_out_and_counted() {
    let yaml = "labels: [good, bad]\nmetrics: [accuracy]\n\
                layout: {format: jsonl, text: review.text, label: gold, skip_labels: ['-']}\n\
                files: {train: a.jsonl}\nsplit: {dev: 0.3}\n";
    let data = rows(|i, label, words| {
        let label = if i == 6 || i == 7 { "-" } else { label };
        format!(
            "{{\"gold\": \"{label}\", \"review\": {{\"text\": \"{words}\", \"stars\": {i}}}}}\n"
        )
    });
    let (log, predicted) = goes(yaml, "a.jsonl", data.as_bytes());
    assert!(
        log.contains("skipped, label `-`: 2 rows, lines 7, 8"),
        "{log}"
    );
    // To be predicted, they are rows as any.
    assert_eq!(predicted.lines().count(), 21, "{predicted}");
}

#[test]
fn labels_get_names_and_may_be_written_in_several_ways() {
    let yaml = "labels: {0: negative, 1: positive}\nmetrics: [accuracy]\n\
                layout: {format: csv, delimiter: \";\", text: text, label: label, \
                normalize_labels: true}\nfiles: {train: a.csv}\nsplit: {dev: 0.3}\n";
    let body = rows(|i, label, words| {
        let label = if label == "good" { " 1" } else { "0 " };
        format!("\"{words}; no {i}\";{label}\n")
    });
    let (_, predicted) = goes(yaml, "a.csv", format!("text;label\n{body}").as_bytes());
    let answers: Vec<&str> = predicted.lines().skip(1).collect();
    assert_eq!(answers.len(), 20, "{predicted}");
    assert!(
        answers
            .iter()
            .all(|a| a.ends_with("negative") || a.ends_with("positive")),
        "{predicted}"
    );
    let line = refused(yaml, "a.csv", "text;label\na film;2\n");
    assert!(
        line.contains("a.csv:2: unknown label `2`; T's files have"),
        "{line}"
    );
    let twice = yaml.replace("{0: negative, 1: positive}", "[Good, good]");
    let line = refused(&twice, "a.csv", "text;label\na film;good\n");
    assert!(line.contains("normalize_labels`"), "{line}");
}

#[test]
fn packed_files_and_fasttext_lines_are_read() {
    let yaml = "labels: [good, bad]\nmetrics: [accuracy]\n\
                layout: {format: label_text, label_prefix: __label__}\n\
                files: {train: a.txt.gz}\nsplit: {dev: 0.3}\n";
    let lines = rows(|_, label, words| format!("__label__{label} {words}\n"));
    let packed = |lines: &str| {
        let mut file = GzEncoder::new(Vec::new(), Compression::fast());
        file.write_all(lines.as_bytes()).unwrap();
        file.finish().unwrap()
    };
    let whole = packed(&lines);
    goes(yaml, "a.txt.gz", &whole);
    let plain = yaml.replace(".gz", "");
    let line = refused(&plain, "a.txt", "__label__good __label__bad a film\n");
    assert!(
        line.contains("a.txt:1: several labels") && line.contains("any_of"),
        "{line}"
    );
    let several = plain
        .replace("[good, bad]", "{any_of: [good, bad]}")
        .replace("accuracy", "micro_f1");
    let lines = rows(|i, label, words| match i % 4 {
        0 => format!("__label__good __label__bad {words}\n"),
        _ => format!("__label__{label} {words}\n"),
    });
    goes(&several, "a.txt", lines.as_bytes());
}

#[test]
fn what_a_task_file_lacks_is_said_with_what_to_write() {
    let yaml =
        "labels: [good, bad]\nmetrics: [accuracy]\nlayout: {format: jsonl, text: t, label: l}\n\
                files: {train: a.jsonl}\n";
    let line = refused(yaml, "a.jsonl", "{\"t\": \"a\", \"l\": \"good\"}\n");
    assert!(line.contains("split: {dev: 0.1}"), "{line}");
    let cut = format!("{yaml}split: {{dev: 0.5}}\n");
    let line = refused(&cut, "a.jsonl", "{\"t\": \"a\", \"l\": [\"good\"]}\n");
    assert!(
        line.contains("a.jsonl:1: key `l` is neither a text nor a number but a list")
            && line.contains("any_of"),
        "{line}"
    );
    let odd = cut.replace("label: l}", "label: l, delimiter: x}");
    let line = refused(&odd, "a.jsonl", "");
    assert!(
        line.contains("layout.delimiter`: is for CSV and TSV"),
        "{line}"
    );
}

#[test]
fn a_cut_gzip_file_is_refused_with_its_name() {
    let yaml = "labels: [good, bad]\nmetrics: [accuracy]\nlayout: {text: text, label: label}\n\
                files: {train: a.tsv.gz}\nsplit: {dev: 0.5}\n";
    let line = refused(yaml, "a.tsv.gz", "no gzip file");
    assert!(
        line.contains("a.tsv.gz: not whole as a gzip file"),
        "{line}"
    );
}
