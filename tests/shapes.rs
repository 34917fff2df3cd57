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

#[test]
fn hugging_face_datasets_on_disk_are_read() {
    // scripts/make_parquet.py wrote it.
    let parquet = include_bytes!("fixtures/reviews.parquet");
    let yaml = "labels: [negative, positive]\nmetrics: [accuracy]\n\
                layout: {text: sentence, label: label, index: idx}\n\
                files: {train: a.parquet}\nsplit: {dev: 0.3}\n";
    let (_, predicted) = goes(yaml, "a.parquet", parquet);
    assert_eq!(predicted.lines().count(), 21, "{predicted}");
    assert!(
        predicted.lines().nth(20).unwrap().starts_with("19\t"),
        "{predicted}"
    );
    // A class by its number, a number, and a list of classes.
    let other = |labels: &str, metric: &str, column: &str| {
        yaml.replace("[negative, positive]", labels)
            .replace("accuracy", metric)
            .replace("label: label", &format!("label: {column}"))
    };
    goes(
        &other("{0: bad, 1: good}", "f1", "label"),
        "a.parquet",
        parquet,
    );
    goes(
        &other("{min: 1, max: 5}", "pearson", "stars"),
        "a.parquet",
        parquet,
    );
    goes(
        &other("{any_of: [plot, cast]}", "micro_f1", "topics"),
        "a.parquet",
        parquet,
    );

    let line = refused(yaml, "a.parquet", "sentence\tlabel\n");
    assert!(line.contains("a.parquet: not whole as Parquet"), "{line}");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("a.tsv"), parquet).unwrap();
    std::fs::write(folder.join("T.yaml"), yaml.replace("a.parquet", "a.tsv")).unwrap();
    std::fs::write(folder.join("c.yaml"), CONFIG).unwrap();
    let line = fails(folder, &["train", "c.yaml", "--out", "r"], 2);
    assert!(
        line.contains("is a Parquet file; set `format: parquet`"),
        "{line}"
    );
}

#[test]
fn glue_as_the_hub_has_it_is_known_by_name() {
    let parquet = include_bytes!("fixtures/reviews.parquet");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("sst2")).unwrap();
    for name in [
        "train-00000-of-00002",
        "train-00001-of-00002",
        "validation-00000-of-00001",
        "test-00000-of-00001",
    ] {
        std::fs::write(folder.join(format!("sst2/{name}.parquet")), parquet).unwrap();
    }
    std::fs::write(folder.join("c.yaml"), CONFIG.replace("T.yaml", "SST-2")).unwrap();
    let output = run(folder, &["train", "c.yaml", "--out", "r"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let log = std::fs::read_to_string(folder.join("r/log.txt")).unwrap();
    assert!(log.contains("training rows: SST-2 40"), "{log}");
    let output = run(folder, &["evaluate", "r"]);
    assert!(
        text(&output.stdout).contains("accuracy"),
        "{}",
        text(&output.stderr)
    );
    let shards = "predict r --task SST-2 sst2/test-00000-of-00001.parquet";
    let output = run(folder, &shards.split(' ').collect::<Vec<_>>());
    let (answers, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(answers.lines().count(), 21, "{said}");
    assert!(said.contains("Parquet"), "{said}");
}

#[test]
fn texts_that_the_vocabulary_cannot_spell_are_told() {
    let yaml = "labels: [good, bad]\nmetrics: [accuracy]\n\
                layout: {format: csv, text: text, label: label}\n\
                files: {train: a.csv}\nsplit: {dev: 0.3}\n";
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("T.yaml"), yaml).unwrap();
    let check = |words: &str| {
        let body = rows(|i, label, _| format!("{words} {i},{label}\n"));
        std::fs::write(folder.join("a.csv"), format!("text,label\n{body}")).unwrap();
        let output = run(folder, &["data", "check", ".", "--task", "T.yaml"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    // Of four tokens, ☃ is one that no vocabulary of English has.
    let said = check("fine film \u{2603}");
    assert!(said.contains("25.0% of its tokens are [UNK]"), "{said}");
    let said = check("a fine film");
    assert!(
        said.contains("[UNK]") && !said.contains("of its tokens"),
        "{said}"
    );
}

#[test]
fn public_data_sets_in_their_shapes_go_with_eight_lines() {
    let cut = "split: {dev: 0.3}\n";
    let two = "labels: [good, bad]\nmetrics: [accuracy]\n";
    // Headerless TSV with a malformed row, as Sentiment140 and SMS Spam have them.
    let yaml = format!(
        "{two}layout: {{header: false, label: 1, text: 2, short_rows: skip}}\nfiles: {{train: a.tsv}}\n{cut}"
    );
    let data = rows(|i, label, words| match i {
        3 => "broken\n".to_owned(),
        _ => format!("{label}\t{words}\n"),
    });
    let (log, _) = goes(&yaml, "a.tsv", data.as_bytes());
    assert!(log.contains("1 columns, needs 2: line 4"), "{log}");

    // Inference in JSON lines with `-` for rows without agreement, as SNLI.
    let yaml = format!(
        "labels: [entailment, neutral, contradiction]\nmetrics: [accuracy]\n\
         layout: {{format: jsonl, text: [sentence1, sentence2], label: gold_label, skip_labels: ['-']}}\n\
         files: {{train: a.jsonl}}\n{cut}"
    );
    let data = rows(|i, _, words| {
        let label = ["entailment", "neutral", "contradiction", "-"][i % 4];
        format!("{{\"gold_label\": \"{label}\", \"sentence1\": \"{words}\", \"sentence2\": \"it is\"}}\n")
    });
    let (log, _) = goes(&yaml, "a.jsonl", data.as_bytes());
    assert!(log.contains("skipped, label `-`: 5 rows"), "{log}");

    // Reviews of several domains in CSV, with line ends in the texts, kept together by domain.
    let yaml = format!(
        "{two}layout: {{format: csv, text: review, label: label}}\nfiles: {{train: a.csv}}\n\
         split: {{dev: 0.3, by: domain}}\n"
    );
    let body =
        rows(|i, label, words| format!("d{},\"{words}\nand \"\"more\"\"\",{label}\n", i % 7));
    let (_, predicted) = goes(
        &yaml,
        "a.csv",
        format!("domain,review,label\n{body}").as_bytes(),
    );
    assert_eq!(predicted.lines().count(), 21, "{predicted}");

    // Five classes, spaces in labels, unbalanced.
    let yaml = format!(
        "labels: [very bad, bad, so so, good, very good]\nmetrics: [macro_f1]\n\
         layout: {{format: csv, text: text, label: stars}}\nfiles: {{train: a.csv}}\n{cut}"
    );
    let names = ["very bad", "bad", "so so", "good", "very good"];
    let body =
        rows(|i, _, words| format!("{words},{}\n", names[if i % 3 == 0 { i % 5 } else { 4 }]));
    goes(&yaml, "a.csv", format!("text,stars\n{body}").as_bytes());

    // cp1252, German.
    let yaml = format!(
        "{two}layout: {{encoding: windows-1252, text: Text, label: Urteil}}\nfiles: {{train: a.tsv}}\n{cut}"
    );
    let mut data = b"Text\tUrteil\n".to_vec();
    for i in 0..20 {
        // "schöner Film \u{2013} großartig", with a dash that Latin-1 has not.
        data.extend(b"sch\xf6ner Film \x96 gro\xdfartig ");
        data.extend(format!("{i}\t{}\n", ["good", "bad"][i % 2]).bytes());
    }
    goes(&yaml, "a.tsv", &data);
}

/// What README shows on the table that `make run` makes.
#[test]
fn the_task_file_of_readme_takes_the_table_of_the_demonstration() {
    let readme = std::fs::read_to_string(common::root().join("README.md")).unwrap();
    let (_, rest) = readme
        .split_once("cat > tickets.yaml <<END\n")
        .expect("README's task file");
    let lines = rest.lines().take_while(|line| line.trim() != "END");
    let yaml: String = lines
        .map(|line| format!("{}\n", line.trim_start()))
        .collect();
    let demo = tempfile::tempdir().unwrap();
    common::write_demo(demo.path());
    let table = std::fs::read(demo.path().join("tickets.csv")).unwrap();
    let (log, predicted) = goes(&yaml, "tickets.csv", &table);
    assert!(!log.contains("overlap"), "{log}");
    assert_eq!(predicted.lines().count(), 601);
}
