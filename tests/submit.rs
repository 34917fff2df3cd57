//! `covalign submit` on the real test files, checked by a script that knows the server's rules alone.

mod common;

use std::io::{Cursor, Read, Write};
use std::path::Path;
use std::process::Command;

use common::{fails, real_data, root, run, text};
use covalign::task::submission::{check_zip, FILES};

/// What the script says of a zip.
fn checked(path: &Path) -> (bool, String) {
    let output = Command::new("python3")
        .arg(root().join("scripts/check_submission.py"))
        .arg(path)
        .output()
        .expect("python3");
    (output.status.success(), text(&output.stdout))
}

fn member(bytes: &[u8], name: &str) -> String {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut text = String::new();
    let mut file = archive.by_name(name).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

/// GLUE's folders as they are, and a small MNLI without test files.
fn glue(real: &Path, folder: &Path) {
    std::fs::create_dir_all(folder.join("MNLI")).unwrap();
    for task in ["CoLA", "STS-B", "WNLI", "AX"] {
        std::os::unix::fs::symlink(
            std::fs::canonicalize(real.join("glue").join(task)).unwrap(),
            folder.join(task),
        )
        .unwrap();
    }
    for name in ["train.tsv", "dev_matched.tsv", "dev_mismatched.tsv"] {
        let from = root().join("tests/fixtures/MNLI").join(name);
        std::fs::copy(from, folder.join("MNLI").join(name)).unwrap();
    }
}

/// A test file of one of MNLI's parts.
fn part(folder: &Path, name: &str, rows: usize) {
    let mut lines = String::from("index\tsentence1\tsentence2\n");
    (0..rows).for_each(|row| lines.push_str(&format!("{row}\ta\tb\n")));
    std::fs::write(folder.join("glue/MNLI").join(name), lines).unwrap();
}

const CONFIG: &str = "
encoder: all-MiniLM-L6-v2
data: glue
tasks: [MNLI, CoLA, STS-B, WNLI]
method: multitask
training: {max_steps: 2, batch_size: 4, max_length: 12, max_train_rows: 8, threads: 1}
checkpoints: {best_per_task: false}
";

#[test]
fn a_submission_is_what_the_server_wants() {
    let Some(real) = real_data() else { return };
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    glue(&real, &folder.join("glue"));
    std::fs::write(folder.join("c.yaml"), CONFIG).unwrap();
    for (out, tasks) in [("joint", "[MNLI, CoLA, STS-B]"), ("other", "[WNLI, CoLA]")] {
        let set = format!("tasks={tasks}");
        let output = run(folder, &["train", "c.yaml", "--out", out, "--set", &set]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let submit = ["submit", "joint", "other", "--out", "s.zip"];
    let line = fails(folder, &submit, 2);
    for name in [
        "SST-2 (no run has SST-2)",
        "MNLI (no test rows in glue)",
        "QNLI",
        "RTE",
        "--fill-missing",
    ] {
        assert!(line.contains(name), "{line}");
    }
    assert!(
        !line.contains("WNLI") && !folder.join("s.zip").exists(),
        "{line}"
    );

    let args = [&submit[..], &["--fill-missing", "--task", "CoLA=other"]].concat();
    let output = run(folder, &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(
        shown.lines().all(|line| line.chars().count() <= 100),
        "{shown}"
    );
    let by = |name: &str| {
        let line = shown.lines().find(|line| line.contains(name)).unwrap();
        line.split_whitespace().nth(2).unwrap().to_owned()
    };
    let found = ["CoLA.tsv", "WNLI.tsv", "AX.tsv", "STS-B.tsv", "RTE.tsv"].map(by);
    assert_eq!(found, ["other", "other", "joint", "joint", "nothing:"]);
    assert_eq!(checked(&folder.join("s.zip")), (true, "ok\n".into()));
    let bytes = std::fs::read(folder.join("s.zip")).unwrap();
    assert!(member(&bytes, "RTE.tsv").starts_with("index\tprediction\n0\tentailment\n"));

    // The answers are the ones that `predict` gives for the same rows.
    let test = folder.join("glue/CoLA/test.tsv");
    let args = ["predict", "other", "--task", "CoLA", test.to_str().unwrap()];
    let predicted = text(&run(folder, &args).stdout);
    assert_eq!(member(&bytes, "CoLA.tsv"), predicted);

    // Test files that are not the official ones: each part of MNLI has its own rows.
    part(folder, "test_matched.tsv", 9796);
    part(folder, "test_mismatched.tsv", 9796);
    let line = fails(folder, &[&submit[..], &["--fill-missing"]].concat(), 2);
    assert!(
        line.contains("9796 rows for MNLI-mm.tsv, the official test file has 9847"),
        "{line}"
    );
    let rows = std::fs::read_to_string(&test).unwrap();
    std::fs::remove_file(folder.join("glue/CoLA")).unwrap();
    std::fs::create_dir(folder.join("glue/CoLA")).unwrap();
    let short: Vec<&str> = rows.lines().take(1001).collect();
    std::fs::write(&test, short.join("\n")).unwrap();
    let line = fails(folder, &[&submit[..], &["--fill-missing"]].concat(), 2);
    assert!(
        line.contains("1000 rows for CoLA.tsv, the official test file has 1063"),
        "{line}"
    );
    std::fs::write(&test, rows.replacen("\n7\t", "\n8\t", 1)).unwrap();
    let line = fails(folder, &[&submit[..], &["--fill-missing"]].concat(), 2);
    assert!(
        line.contains("test.tsv:9: index `8` where the official"),
        "{line}"
    );
}

#[test]
fn what_the_server_would_refuse_is_refused_here_too() {
    let good: Vec<(String, String)> = FILES
        .iter()
        .map(|file| (format!("{}.tsv", file.name), file.filled().unwrap()))
        .collect();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("s.zip");
    let both = |files: &[(String, String)]| {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in files {
            writer
                .start_file(name, zip::write::SimpleFileOptions::default())
                .unwrap();
            writer.write_all(text.as_bytes()).unwrap();
        }
        let bytes = writer.finish().unwrap().into_inner();
        std::fs::write(&path, &bytes).unwrap();
        let ours = check_zip(&bytes).map_err(|e| e.to_string());
        let (theirs, said) = checked(&path);
        assert_eq!(ours.is_ok(), theirs, "{ours:?} {said}");
        ours
    };
    both(&good).unwrap();
    let changed = |name: &str, from: &str, to: &str| {
        let mut files = good.clone();
        let file = files.iter_mut().find(|(file, _)| file == name).unwrap();
        assert!(file.1.contains(from), "{name}");
        file.1 = file.1.replacen(from, to, 1);
        files
    };
    for (name, from, to, says) in [
        (
            "CoLA.tsv",
            "index\tprediction",
            "id\tprediction",
            "CoLA.tsv:1: the header",
        ),
        ("CoLA.tsv", "\n5\t1", "", "CoLA.tsv:7: index `6` where 5"),
        ("CoLA.tsv", "\n1062\t1", "", "CoLA.tsv: 1062 rows"),
        (
            "WNLI.tsv",
            "\n145\t0\n",
            "\n145\t0\n146\t0\n",
            "WNLI.tsv: 147 rows",
        ),
        (
            "QNLI.tsv",
            "\n7\tnot_entailment",
            "\n7\tneutral",
            "QNLI.tsv:9: prediction `neutral`",
        ),
        (
            "MNLI-m.tsv",
            "\n0\tcontradiction",
            "\n0\t2",
            "MNLI-m.tsv:2: prediction `2`",
        ),
        (
            "STS-B.tsv",
            "\n3\t2.701",
            "\n3\t5.01",
            "STS-B.tsv:5: prediction `5.01`",
        ),
        (
            "STS-B.tsv",
            "\n3\t2.701",
            "\n3\tNaN",
            "STS-B.tsv:5: prediction `NaN`",
        ),
        ("AX.tsv", "\n3\t", "\n3 ", "AX.tsv:5: needs an index"),
    ] {
        let message = both(&changed(name, from, to)).unwrap_err();
        assert!(message.starts_with(says), "{message}");
    }
    assert!(both(&good[1..]).unwrap_err().contains("CoLA.tsv"));
    let extra = [&good[..], &[("README".to_owned(), String::new())]].concat();
    assert!(both(&extra).unwrap_err().contains("12 files"));
}
