//! Files that survive being cut off: atomic replacement and append-only JSON lines.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use covalign::error::exit_code;
use covalign::telemetry::atomic::{write_atomically, write_json};
use covalign::telemetry::jsonl::JsonLines;
use serde_json::{json, Value};

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("results.json");
    write_json(&path, &json!({"seed": 42})).unwrap();
    let error = write_atomically(&path, |file| {
        file.write_all(b"half")?;
        Err(std::io::ErrorKind::StorageFull.into())
    });
    let error = error.unwrap_err();
    assert!(
        error.to_string().contains("results.json: no space left"),
        "{error}"
    );
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "{\n  \"seed\": 42\n}\n"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_written_file_has_the_permissions_of_any_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, plain) = (dir.path().join("ours"), dir.path().join("plain"));
    write_atomically(&ours, |file| file.write_all(b"x")).unwrap();
    std::fs::write(&plain, "x").unwrap();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&plain));
}

#[test]
fn a_missing_folder_is_an_input_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = write_json(&dir.path().join("none/x.json"), &1).unwrap_err();
    assert_eq!(exit_code(&error), 2);
}

#[test]
fn a_line_that_was_cut_off_is_removed_before_the_next_is_appended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    std::fs::write(&path, "{\"step\":1}\n{\"st").unwrap();
    let mut lines = JsonLines::open(&path).unwrap();
    lines.append(&json!({"step": 2})).unwrap();
    lines.append(&json!({"step": 3})).unwrap();
    drop(lines);
    JsonLines::open(&path)
        .unwrap()
        .append(&json!({"step": 4}))
        .unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        text,
        "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"step\":4}\n"
    );
}

#[test]
fn a_resumed_run_drops_the_lines_after_its_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    std::fs::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{").unwrap();
    let until_two = |line: &Value| line["step"].as_u64() <= Some(2);
    let (mut lines, count) = JsonLines::resume(&path, until_two).unwrap();
    assert_eq!(count, 2);
    lines.append(&json!({"step": 3})).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n");

    std::fs::write(&path, "{\"step\":1}\nnonsense\n").unwrap();
    let error = JsonLines::resume(&path, until_two).err().unwrap();
    assert!(error.to_string().contains("metrics.jsonl:2: "), "{error}");
}
