//! Names become paths: what a task may be called, and what covalign may remove.

mod common;

use std::fs;

use common::{fails, refused, workplace};
use covalign::config::{After, Checkpoints};
use covalign::task::Task;
use covalign::train::keep::checkpoint;
use covalign::train::keep::run_folder::RunFolder;

const YAML: &str = "labels: [0, 1]\nmetrics: [accuracy]\nfolder: DemoSentiment\n\
                    layout: {text: sentence, label: label}\nfiles: {train: train.tsv, dev: dev.tsv}\n";

#[test]
fn a_task_is_named_by_one_component_of_a_path() {
    let long = "x".repeat(101);
    let bad = [
        "/tmp/kept",
        "../kept",
        "..",
        ".",
        "a/b",
        "a\\\\b",
        "reviews.v2",
        ".hidden",
        "end.",
        "",
        " ",
        "-x",
        "a ",
        "tab\\there",
        "bell\\u0007",
        "a:b",
        &long,
    ];
    for name in bad {
        let text = format!("name: \"{name}\"\n{YAML}");
        let error = Task::from_yaml(&text, "mine.yaml").expect_err(name);
        assert_eq!(covalign::error::exit_code(&error), 2, "{error:#}");
        let line = error.to_string();
        assert!(
            line.starts_with("mine.yaml: ") && line.contains("`name:`"),
            "{line}"
        );
        assert!(!line.contains('\n'), "{line}");
    }
    for name in ["CoLA", "SST-2", "my_task 2", "a+b", "Stimmung_ä", "感情"] {
        let task = Task::from_yaml(&format!("name: {name}\n{YAML}"), "x.y.yaml");
        assert_eq!(task.expect(name).name, name);
    }
    // The file's name stands for a missing `name:`.
    assert!(Task::from_yaml(YAML, "data/reviews.yaml").is_ok_and(|task| task.name == "reviews"));
    let error = Task::from_yaml(YAML, "reviews.v2.yaml").expect_err("a dot");
    assert!(
        error
            .to_string()
            .contains("\"reviews.v2\" cannot name a task"),
        "{error}"
    );
}

#[test]
fn training_replaces_no_folder_that_a_name_points_to() {
    let place = workplace();
    let folder = place.path();
    let victim = folder.join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("thesis.txt"), "years of work").unwrap();
    for name in [victim.to_str().unwrap(), "../../victim"] {
        fs::write(folder.join("t.yaml"), format!("name: {name}\n{YAML}")).unwrap();
        let line = refused(folder, &["tasks=[t.yaml]"]);
        assert!(line.contains("cannot name a task"), "{line}");
        assert_eq!(
            fs::read_to_string(victim.join("thesis.txt")).unwrap(),
            "years of work"
        );
    }
    fs::write(folder.join("reviews.v2.yaml"), YAML).unwrap();
    assert!(refused(folder, &["tasks=[reviews.v2.yaml]"]).contains("reviews.v2.yaml: "));
    for name in ["Mood", "mood"] {
        fs::write(folder.join(format!("{name}.yaml")), YAML).unwrap();
    }
    let line = refused(folder, &["tasks=[Mood.yaml, mood.yaml]"]);
    assert!(
        line.contains("`Mood` and `mood`, which must differ"),
        "{line}"
    );
}

#[test]
fn a_run_folder_leads_to_no_task_outside_itself() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::create_dir_all(folder.join("run/tasks")).unwrap();
    let config = "encoder: x\ndata: x\ntasks: [\"../../outside\"]\n";
    fs::write(folder.join("run/config.yaml"), config).unwrap();
    fs::write(folder.join("outside.yaml"), YAML).unwrap();
    for args in [
        &["predict", "run", "--task", "../../outside"][..],
        &["evaluate", "run"],
        &["submit", "run", "--out", "s.zip"],
    ] {
        let line = fails(folder, args, 2);
        assert!(
            line.contains("\"../../outside\" cannot name a task"),
            "{line}"
        );
    }
    // A file under one task's name that holds another.
    fs::write(
        folder.join("run/config.yaml"),
        "encoder: x\ndata: x\ntasks: [A]\n",
    )
    .unwrap();
    fs::write(folder.join("run/tasks/A.yaml"), format!("name: B\n{YAML}")).unwrap();
    let line = fails(folder, &["predict", "run", "--task", "A"], 2);
    assert!(line.contains("A.yaml: holds the task `B`"), "{line}");
}

#[test]
fn only_weights_that_covalign_wrote_are_removed_or_replaced() {
    let nothing = Checkpoints {
        after: After::Nothing,
        ..Checkpoints::default()
    };
    let place = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(place.path());
    let weights = |at: &std::path::Path| {
        fs::create_dir_all(at).unwrap();
        fs::write(at.join("state.json"), "{}").unwrap();
    };
    for at in [
        folder.best(),
        folder.best_of("A"),
        folder.checkpoints().join("step-3"),
    ] {
        weights(&at);
    }
    let notes = folder.best().join("notes.txt");
    fs::write(&notes, "mine").unwrap();
    let from = folder.checkpoints().join("step-3");
    for refused in [
        checkpoint::link(&from, &folder.best()),
        checkpoint::clear(&folder, &nothing),
    ] {
        let error = refused.expect_err("another's file");
        assert_eq!(covalign::error::exit_code(&error), 2);
        assert!(
            error.to_string().contains("notes.txt: is not covalign's"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&notes).unwrap(), "mine");
        weights(&from);
    }
    fs::remove_file(&notes).unwrap();
    checkpoint::link(&from, &folder.best()).unwrap();
    fs::create_dir(folder.best_per_task().join("own")).unwrap();
    fs::write(folder.best_per_task().join("own/notes.txt"), "mine").unwrap();
    assert!(checkpoint::clear(&folder, &nothing).is_err());
    assert!(folder.best_per_task().join("own/notes.txt").is_file());
    fs::remove_dir_all(folder.best_per_task().join("own")).unwrap();
    checkpoint::clear(&folder, &nothing).unwrap();
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}
