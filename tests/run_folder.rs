//! A run folder's life: one process at a time, resumed, ended, cleared.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use common::{covalign, evaluations, fails, json, run, text, train, workplace};
use covalign::task::Task;

/// A two-layer encoder: what stays in a folder matters here, not what is learnt.
fn tiny() -> [String; 2] {
    let tiny = common::root().join("tests/fixtures/legacy-bert");
    let encoder = format!("encoder={}", tiny.display());
    [encoder, "training.max_length=16".into()]
}

/// Starts a run and waits for its first evaluation.
fn begun(folder: &Path, args: &[&str], out: &str) -> Child {
    let mut child = covalign(folder, args)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let metrics = folder.join(out).join("metrics.jsonl");
    while std::fs::metadata(&metrics).map_or(0, |m| m.len()) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "ended too early");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn a_folder_has_one_run_at_a_time_and_a_killed_one_lets_go_of_it() {
    let folder = workplace();
    let folder = folder.path();
    let sets = [
        "evaluation.every=2 steps",
        "checkpoints.every=6 steps",
        "training.max_steps=12",
    ];
    let mut args = vec!["train", "c.yaml", "--out", "x"];
    sets.iter().for_each(|set| args.extend(["--set", set]));
    let resume = [&args[..], &["--resume"]].concat();

    let mut child = begun(folder, &args, "x");
    for args in [&args, &resume] {
        let line = fails(folder, args, 1);
        assert!(line.contains("x: another process"), "{line}");
    }
    assert!(child.try_wait().unwrap().is_none(), "ended too early");
    // SIGKILL: the kernel alone can let go.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(fails(folder, &args, 2).contains("--resume"));
    let resumed = run(folder, &resume);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));

    train(folder, "whole", &sets);
    assert_eq!(evaluations(folder, "x"), evaluations(folder, "whole"));
}

#[test]
fn two_processes_that_start_together_train_once() {
    let folder = workplace();
    let folder = folder.path();
    let args = ["train", "c.yaml", "--out", "x"];
    let start = || {
        let mut command = covalign(folder, &args);
        command.stderr(Stdio::piped()).stdout(Stdio::null());
        command.spawn().unwrap()
    };
    let children: Vec<Child> = (0..3).map(|_| start()).collect();
    let outputs = children.into_iter().map(|c| c.wait_with_output().unwrap());
    let mut codes: Vec<_> = outputs
        .map(|output| output.status.code().unwrap())
        .collect();
    codes.sort();
    assert_eq!(codes, [0, 1, 1]);
    assert_eq!(evaluations(folder, "x").len(), 2);
}

#[test]
fn resuming_a_run_that_has_ended_shows_its_scores_and_trains_nothing() {
    let folder = workplace();
    let folder = folder.path();
    let [encoder, length] = tiny();
    for method in ["aligned", "single"] {
        let set = format!("method={method}");
        let sets = [&*set, &encoder, &length];
        let table = train(folder, method, &sets);
        let files = ["results.json", "log.txt", "metrics.jsonl"];
        let part = match method {
            "single" => folder.join("single/DemoSentiment"),
            _ => folder.join(method),
        };
        let bytes = || files.map(|name| std::fs::read(part.join(name)).unwrap());
        let before = bytes();
        let mut args = vec!["train", "c.yaml", "--out", method, "--resume"];
        sets.iter().for_each(|set| args.extend(["--set", set]));
        let again = run(folder, &args);
        assert!(again.status.success(), "{}", text(&again.stderr));
        assert_eq!(text(&again.stdout), table);
        assert_eq!(bytes(), before);
        args.extend(["--set", "training.seed=7"]);
        assert!(fails(folder, &args, 2).contains("training.seed was 42, is 7"));
    }
}

#[test]
fn a_run_keeps_the_weights_that_its_config_says_and_the_same_scores() {
    let folder = workplace();
    let folder = folder.path();
    let [encoder, length] = tiny();
    let there = |out: &str| {
        ["checkpoints", "best", "best_per_task"].map(|name| folder.join(out).join(name).is_dir())
    };
    for (after, left) in [
        ("all", [true, true, true]),
        ("best", [false, true, true]),
        ("nothing", [false, false, false]),
    ] {
        let set = format!("checkpoints.after={after}");
        train(folder, after, &[&set, &encoder, &length]);
        assert_eq!(there(after), left, "{after}");
        let results = |out: &str| json(&folder.join(out).join("results.json"))["tasks"].clone();
        assert_eq!(results(after), results("all"));
    }
    let evaluated = run(folder, &["evaluate", "best"]);
    assert!(evaluated.status.success(), "{}", text(&evaluated.stderr));
    let line = fails(folder, &["evaluate", "nothing"], 2);
    assert!(line.contains("checkpoints.after: nothing"), "{line}");

    // Whoever may read the rest may read weights.
    let mode = |name: &str| {
        let file = folder.join("all").join(name);
        std::fs::metadata(file).unwrap().permissions().mode()
    };
    assert_eq!(mode("best/encoder.safetensors"), mode("config.yaml"));

    // Killed between the scores and the clearing: --resume clears.
    std::fs::create_dir_all(folder.join("best/checkpoints/step-6")).unwrap();
    let mut args = vec!["train", "c.yaml", "--out", "best", "--resume"];
    for set in ["checkpoints.after=best", &encoder, &length] {
        args.extend(["--set", set]);
    }
    assert!(run(folder, &args).status.success());
    assert_eq!(there("best"), [false, true, true]);

    // Killed behind the last save, before the oldest had gone: it goes now.
    let saved = || {
        let entries = std::fs::read_dir(folder.join("all/checkpoints")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let kept = saved();
    let older = folder.join("all/checkpoints/step-1");
    copy(&folder.join("all/checkpoints").join(&kept[0]), &older);
    std::fs::remove_file(folder.join("all/results.json")).unwrap();
    args[3] = "all";
    args[6] = "checkpoints.after=all";
    assert!(run(folder, &args).status.success());
    assert_eq!(saved(), kept);
}

/// A run of six steps that was cut off after its third, with an encoder and a task file of its own.
fn cut_off(folder: &Path) -> Vec<String> {
    let fixture = common::root().join("tests/fixtures/legacy-bert");
    std::fs::create_dir(folder.join("encoder")).unwrap();
    for name in [
        "config.json",
        "tokenizer_config.json",
        "vocab.txt",
        "pytorch_model.bin",
    ] {
        std::fs::copy(fixture.join(name), folder.join("encoder").join(name)).unwrap();
    }
    let task = common::root().join("configs/tasks/DemoSentiment.yaml");
    let task = std::fs::read_to_string(task).unwrap() + "\nfolder: DemoSentiment\n";
    std::fs::write(folder.join("Own.yaml"), task).unwrap();
    let sets = [
        "encoder=encoder",
        "tasks=[Own.yaml]",
        "training.max_length=16",
        "training.precision=fp32",
        "checkpoints.keep=9",
    ];
    train(folder, "whole", &sets);
    copy(&folder.join("whole"), &folder.join("cut"));
    std::fs::remove_dir_all(folder.join("cut/checkpoints/step-6")).unwrap();
    std::fs::remove_file(folder.join("cut/results.json")).unwrap();
    let mut args: Vec<String> = ["train", "c.yaml", "--resume"].map(String::from).into();
    sets.iter()
        .for_each(|set| args.extend(["--set".to_owned(), (*set).to_owned()]));
    args
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp")
        .arg("-r")
        .args([from, to])
        .status();
    assert!(status.unwrap().success());
}

/// The arguments with other settings, for the run at `out`.
fn resumed<'a>(args: &'a [String], out: &'a str, sets: &[&'a str]) -> Vec<&'a str> {
    let mut all: Vec<&str> = args.iter().map(String::as_str).collect();
    all.extend(["--out", out]);
    sets.iter().for_each(|set| all.extend(["--set", set]));
    all
}

#[test]
fn resume_refuses_whatever_else_would_make_the_score() {
    let folder = workplace();
    let folder = folder.path();
    let args = cut_off(folder);
    let refused = |out: &str, sets: &[&str], words: &[&str]| {
        let line = fails(folder, &resumed(&args, out, sets), 2);
        for word in [&["--out"], words].concat() {
            assert!(line.contains(word), "`{word}` is missing: {line}");
        }
    };
    // A file that says something else for a while, for a run that goes on and for one that has ended.
    let with = |path: &str, change: &dyn Fn(&str) -> String, words: &[&str]| {
        let path = folder.join(path);
        let whole = std::fs::read_to_string(&path).unwrap();
        let changed = change(&whole);
        assert_ne!(whole, changed);
        std::fs::write(&path, changed).unwrap();
        refused("cut", &[], words);
        refused("whole", &[], words);
        std::fs::write(&path, whole).unwrap();
    };
    let flipped = |rows: &str| {
        let flip = |row: &str| match row.rsplit_once('\t') {
            Some((text, "0")) => format!("{text}\t1\n"),
            Some((text, "1")) => format!("{text}\t0\n"),
            _ => format!("{row}\n"),
        };
        rows.lines().map(flip).collect()
    };
    let reversed = |rows: &str| {
        let mut lines: Vec<&str> = rows.lines().collect();
        lines[1..].reverse();
        lines.join("\n")
    };
    let halved = |rows: &str| {
        let lines: Vec<&str> = rows.lines().collect();
        lines[..lines.len() / 2].join("\n")
    };
    let train_file = "demo/DemoSentiment/train.tsv";
    let of_train = ["task Own: train rows in train.tsv (sha256) was "];
    with(train_file, &flipped, &of_train);
    with(train_file, &reversed, &of_train);
    with(train_file, &halved, &of_train);
    with(
        "demo/DemoSentiment/dev.tsv",
        &halved,
        &["task Own: dev rows in dev.tsv"],
    );
    let labels = [r#"task Own: labels was ["0","1"], is ["1","0"]"#];
    with(
        "Own.yaml",
        &|task| {
            task.replace("[0, 1]", "[1, 0]")
                .replace("[\"0\", \"1\"]", "[\"1\", \"0\"]")
        },
        &labels,
    );
    let words = |words: &str| words.replace("fine\nfilm\n", "film\nfine\n");
    with(
        "encoder/vocab.txt",
        &words,
        &["the encoder's tokenizer (vocab.txt) was"],
    );
    let dropout = |config: &str| config.replace("0.1", "0.2");
    with(
        "encoder/config.json",
        &dropout,
        &["the encoder's hidden_dropout_prob was 0.1"],
    );

    // Other weights; model.safetensors comes before pytorch_model.bin.
    let weights = tch::Tensor::loadz_multi(folder.join("encoder/pytorch_model.bin")).unwrap();
    let weights: Vec<_> = weights.iter().map(|(name, w)| (name, w * 2)).collect();
    let path = folder.join("encoder/model.safetensors");
    tch::Tensor::write_safetensors(&weights, &path).unwrap();
    refused("cut", &[], &["the encoder's weights (sha256) was"]);
    refused("whole", &[], &["the encoder's weights (sha256) was"]);
    std::fs::remove_file(path).unwrap();

    refused(
        "cut",
        &["training.precision=bf16"],
        &["training.precision was fp32, is bf16"],
    );
    refused(
        "cut",
        &["engine=padded", "sampling.length_window=1"],
        &["engine was packed, is padded"],
    );
    refused("cut", &["training.seed=7"], &["training.seed was 42, is 7"]);
    // As on a machine where `auto` came to something else, or that multiplied by another library.
    let record = json(&folder.join("cut/made_of.json"));
    for (key, words) in [
        ("precision", "training.precision was other"),
        ("products", "the library of matrix products was other"),
        ("device", "training.device was other"),
    ] {
        let mut other = record.clone();
        other["arithmetic"][key] = "other".into();
        std::fs::write(folder.join("cut/made_of.json"), other.to_string()).unwrap();
        refused("cut", &["training.precision=auto"], &[words]);
    }
}

#[test]
fn resume_takes_what_cannot_change_the_score() {
    let folder = workplace();
    let folder = folder.path();
    let args = cut_off(folder);
    let go_on = |sets: &[&str]| {
        let output = run(folder, &resumed(&args, "cut", sets));
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let end =
        |out: &str| json(&folder.join(out).join("checkpoints/step-6/state.json"))["files"].clone();
    copy(&folder.join("cut"), &folder.join("before"));
    let again = || {
        std::fs::remove_dir_all(folder.join("cut")).unwrap();
        copy(&folder.join("before"), &folder.join("cut"));
    };

    // The same files elsewhere, and others kept: not a bit differs.
    copy(&folder.join("demo"), &folder.join("moved"));
    copy(&folder.join("encoder"), &folder.join("moved-encoder"));
    let log = go_on(&["data=moved", "encoder=moved-encoder", "checkpoints.keep=5"]);
    assert!(!log.contains("resumed"), "{log}");
    assert_eq!(end("cut"), end("whole"));
    let results = |out: &str| json(&folder.join(out).join("results.json"));
    assert_eq!(results("cut")["tasks"], results("whole")["tasks"]);
    let record = json(&folder.join("whole/made_of.json"));
    let weights = folder.join("encoder/pytorch_model.bin");
    let weights = covalign::model::save::sha256(&weights).unwrap();
    for out in ["cut", "whole"] {
        assert_eq!(results(out)["made_of"], record);
        assert_eq!(results(out)["encoder"]["sha256"], *weights);
    }
    assert_eq!(record["content"]["encoder"]["weights"], *weights);

    // Sums in another order are said.
    again();
    let log = go_on(&["training.threads=2"]);
    assert!(log.contains("threads was 1, is 2"), "{log}");

    // An older version's folder.
    again();
    std::fs::remove_file(folder.join("cut/made_of.json")).unwrap();
    let state = folder.join("cut/checkpoints/step-3/state.json");
    let mut old = json(&state);
    for since in ["run", "sha256"] {
        old.as_object_mut().unwrap().remove(since).unwrap();
    }
    std::fs::write(&state, old.to_string()).unwrap();
    let moved = resumed(&args, "cut", &["data=moved"]);
    assert!(fails(folder, &moved, 2).contains("data was demo, is moved"));
    let log = go_on(&[]);
    assert!(log.contains("resumed without made_of.json"), "{log}");
    assert_eq!(end("cut"), end("whole"));
    assert!(results("cut").get("made_of").is_none());
}

#[test]
fn fixed_encoder_chooses_and_has_patience_in_its_second_phase_alone() {
    let folder = workplace();
    let folder = folder.path();
    let [encoder, length] = tiny();
    // Next to nothing moves, so that every evaluation is as good as the first.
    let still = [
        "alignment.schedule=fixed_encoder",
        "training.learning_rate=1e-30",
        "training.max_steps=10",
        "evaluation.every=2 steps",
        "evaluation.patience=1",
    ];
    let table = train(folder, "x", &[&still[..], &[&encoder, &length]].concat());
    // The encoder is trained for five steps; the sixth is the first that counts.
    let steps = evaluations(folder, "x");
    let steps: Vec<_> = steps
        .iter()
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [2, 4, 6, 8]);
    let results = json(&folder.join("x/results.json"));
    assert_eq!(results["best"]["step"], 6);
    let from = serde_json::json!({"evaluations": 2, "every": 2, "first": 6});
    for task in ["DemoSentiment", "DemoSimilarity"] {
        assert_eq!(results["tasks"][task]["step"], 6);
        assert_eq!(results["tasks"][task]["chosen_from"], from);
    }
    assert!(
        table.contains("Score: best of 2 evaluations on dev"),
        "{table}"
    );
    let best = json(&folder.join("x/best/state.json"));
    assert_eq!(best["step"], 6);
}

/// Sends what Ctrl-C sends once `file` is there, and returns the last line that was printed.
fn stopped(folder: &Path, args: &[&str], file: &Path) -> String {
    let mut child = covalign(folder, args)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !file.is_file() {
        assert!(child.try_wait().unwrap().is_none(), "ended too early");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    let kill = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(kill.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{errors}");
    errors.lines().last().unwrap().to_owned()
}

#[test]
fn a_stopped_run_says_the_command_that_goes_on_and_its_own_config_trains_again() {
    let folder = workplace();
    let folder = folder.path();
    let task = Task::built_in("DemoSimilarity").unwrap();
    std::fs::create_dir(folder.join("own")).unwrap();
    // A built-in name that means another task here.
    let task = format!("{task}\nname: CoLA\nfolder: DemoSimilarity\n");
    std::fs::write(folder.join("own/similar.yaml"), task).unwrap();
    let [encoder, length] = tiny();
    for method in ["aligned", "single"] {
        let out = format!("my runs/{method}");
        let begun = format!("method={method}");
        let sets = [
            &*begun,
            &*encoder,
            &*length,
            "tasks=[DemoSentiment, own/similar.yaml]",
            // Longer than anybody waits, and nothing is evaluated.
            "training.epochs=2000",
            "training.max_steps=100000",
            "evaluation.every=100000 steps",
            "checkpoints.every=100000 steps",
        ];
        let mut args = vec!["train", "c.yaml", "--out", &out];
        sets.iter().for_each(|set| args.extend(["--set", set]));
        let part = match method {
            "single" => folder.join(&out).join("DemoSentiment"),
            _ => folder.join(&out),
        };
        let line = stopped(folder, &args, &part.join("log.txt"));
        let (stopped, command) = line.split_once("; go on with: ").expect(&line);
        assert!(stopped.contains("stopped after step"), "{line}");

        // Nothing is evaluated yet.
        let line = fails(folder, &["evaluate", &out, "--task", "DemoSentiment"], 2);
        assert!(line.contains("--weights last"), "{line}");
        let last = [
            "evaluate",
            &out,
            "--task",
            "DemoSentiment",
            "--weights",
            "last",
        ];
        assert!(run(folder, &last).status.success());

        // As a person types it, and as short as a test may be: it goes on, and is stopped again.
        let words = shlex::split(command).unwrap();
        let binary = covalign(folder, &[]).get_program().to_owned();
        assert_eq!(binary, *words[0]);
        let words: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let log = part.join("log.txt");
        std::fs::remove_file(&log).unwrap();
        let again = self::stopped(folder, &words, &log);
        assert!(again.ends_with(command), "{again}");
        let step = |line: &str| -> u64 {
            let after = line.split("after step ").nth(1).unwrap();
            after.split(';').next().unwrap().parse().unwrap()
        };
        assert!(step(&again) > step(stopped), "{stopped} {again}");
    }

    // A run's own config begins another run, with the tasks that the run keeps.
    std::fs::remove_dir_all(folder.join("own")).unwrap();
    let own = "my runs/aligned/config.yaml";
    let mut args = vec!["train", own, "--set", "training.max_steps=4"];
    let short = ["training.epochs=1", "evaluation.every=2 steps"];
    short.iter().for_each(|set| args.extend(["--set", set]));
    let output = run(folder, &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let results = json(&folder.join("runs/aligned/results.json"));
    assert!(results["tasks"]["CoLA"]["dev"]["pearson"].is_number());
    let output = run(folder, &["config", "check", own]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}
