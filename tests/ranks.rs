//! Several processes that train one model together are one process with all rows.

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{covalign, run, text, workplace};
use covalign::config::Config;
use covalign::train::feed::batches::Batches;
use covalign::train::launcher::variables;
use covalign::train::prepare::prepare;
use covalign::train::ranks::Ranks;
use covalign::train::step::schedule::Moving;
use covalign::train::tasks::load_tasks;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use rustix::process::{prlimit, Resource, Rlimit};
use serde_json::Value;
use tch::Tensor;

const EVERYTHING: Moving = Moving {
    encoder: true,
    heads: true,
    alignments: true,
};

/// A port that nobody has just now.
fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The gradients of a run's first steps as a process has them, and their losses.
fn gradients(folder: &Path, sets: &[String], ranks: Ranks) -> Vec<Vec<Tensor>> {
    let config = Config::load(&folder.join("c.yaml"), sets).unwrap();
    let prepared = prepare(&config, load_tasks(&config).unwrap()).unwrap();
    let mut learner = prepared.learner;
    learner.ranks = Arc::new(ranks);
    let mut batches = Batches::new(&learner.config, &learner.data).unwrap();
    let mut loader = learner.loader();
    learner.optimizer.set_moving(EVERYTHING);
    let mut all = Vec::new();
    for step in 0..3 {
        let mut losses = Vec::new();
        for (index, loaded) in loader.passes(&mut batches, step).unwrap() {
            losses.extend(learner.backward(index, &loaded, EVERYTHING).unwrap());
        }
        learner.sum(&losses).unwrap();
        let mut seen: Vec<Tensor> = learner.optimizer.gradients();
        seen.extend(losses);
        all.push(seen.iter().map(Tensor::copy).collect());
        // Weights stay: every step compares the same ones.
        let _ = learner.optimizer.step(0.0).unwrap();
    }
    all
}

/// Where a process of several is told its run's settings (JSON), and where its gradients go.
const SETS: &str = "COVALIGN_TEST_SETS";
const OUT: &str = "COVALIGN_TEST_OUT";

/// One of the processes that the next test starts.
#[test]
#[ignore = "the next test starts it"]
fn one_of_several() {
    let folder = std::env::current_dir().unwrap();
    let sets: Vec<String> = serde_json::from_str(&std::env::var(SETS).unwrap()).unwrap();
    let all = gradients(&folder, &sets, Ranks::join().unwrap());
    let named = |(step, tensors): (usize, Vec<Tensor>)| {
        let tensors = tensors.into_iter().enumerate();
        tensors.map(move |(i, tensor)| (format!("{step}.{i:04}"), tensor))
    };
    let named: Vec<_> = all.into_iter().enumerate().flat_map(named).collect();
    Tensor::write_safetensors(&named, std::env::var(OUT).unwrap()).unwrap();
}

/// The gradients of each of `size` processes, by step and parameter.
fn gradients_of_several(folder: &Path, sets: &[String], size: usize) -> Vec<Vec<(String, Tensor)>> {
    let port = port();
    let out = |rank: usize| folder.join(format!("gradients-{rank}"));
    let process = |rank: usize| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "one_of_several"])
            .current_dir(folder)
            .envs(variables(rank, size, port))
            .env("CUDA_VISIBLE_DEVICES", "")
            .env(SETS, serde_json::to_string(sets).unwrap())
            .env(OUT, out(rank))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    for (code, said, errors) in ends((0..size).map(process).collect()) {
        assert_eq!(code, Some(0), "{said}{errors}");
    }
    let read = |rank| {
        let mut tensors = Tensor::read_safetensors(out(rank)).unwrap();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors
    };
    (0..size).map(read).collect()
}

#[test]
fn gradients_of_two_and_three_processes_are_those_of_one() {
    let folder = workplace();
    let folder = folder.path();
    for (engine, batches) in [
        ("fast", "homogeneous"),
        // Two rows of two tasks: a process of three has none of some.
        ("fast", "heterogeneous"),
        ("padded", "homogeneous"),
    ] {
        let rows = if batches == "heterogeneous" { 4 } else { 8 };
        let sets: Vec<String> = [
            &format!("data={}", folder.join("demo").display())[..],
            "method=aligned",
            "alignment.decay_to_identity=0.1",
            "training.dropout=0",
            "training.head_dropout=0",
            "training.precision=fp32",
            &format!("training.batch_size={rows}"),
            &format!("engine={engine}"),
            &format!("sampling.batches={batches}"),
        ]
        .iter()
        .map(|set| (*set).to_owned())
        .collect();
        let alone = gradients(folder, &sets, Ranks::alone());
        for size in [2, 3] {
            let each = gradients_of_several(folder, &sets, size);
            assert_eq!(each[0].len(), alone.iter().flatten().count());
            for ((name, own), expected) in each[0].iter().zip(alone.iter().flatten()) {
                let difference = (own - expected).abs().max().double_value(&[]);
                let most = expected.abs().max().double_value(&[]).max(1.0);
                assert!(
                    difference <= 1e-6 * most,
                    "{engine} {batches}, {size} processes, {name}: {difference} of {most}"
                );
            }
            // All processes have the same bits.
            for other in &each[1..] {
                let mut pairs = each[0].iter().zip(other);
                assert!(pairs.all(|(a, b)| a.0 == b.0 && a.1.equal(&b.1)));
            }
        }
    }
}

/// `covalign train c.yaml` as so many processes, as torchrun starts them.
fn start(folder: &Path, out: &str, size: usize, args: &[&str]) -> Vec<Child> {
    let port = port().to_string();
    let process = |rank: usize| {
        let mut command = covalign(folder, &["train", "c.yaml", "--out", out]);
        command.args(args);
        command.env("RANK", rank.to_string());
        command.env("LOCAL_RANK", rank.to_string());
        command.env("WORLD_SIZE", size.to_string());
        command.env("MASTER_ADDR", "127.0.0.1");
        command.env("MASTER_PORT", &port);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    (0..size).map(process).collect()
}

/// How each process ended, with what it printed on both outputs; none may hang.
fn ends(children: Vec<Child>) -> Vec<(Option<i32>, String, String)> {
    let last = Instant::now() + Duration::from_secs(180);
    // What one prints is read while another is waited for: a full pipe would hold it up.
    let wait = |child: Child| {
        let (tell, ended) = channel();
        std::thread::spawn(move || tell.send(child.wait_with_output()));
        ended
    };
    let waiting: Vec<_> = children.into_iter().map(wait).collect();
    let end = |ended: Receiver<std::io::Result<Output>>| {
        let left = last.saturating_duration_since(Instant::now());
        let output = ended.recv_timeout(left).expect("a process hangs").unwrap();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    waiting.into_iter().map(end).collect()
}

fn results(folder: &Path, out: &str) -> Value {
    let json = std::fs::read(folder.join(out).join("results.json")).unwrap();
    serde_json::from_slice(&json).unwrap()
}

fn complaints(errors: &str) -> Vec<&str> {
    let lines = errors.lines();
    lines.filter(|line| line.starts_with("covalign:")).collect()
}

#[test]
fn processes_that_train_together_come_to_the_scores_of_one_and_the_first_speaks() {
    let folder = workplace();
    let folder = folder.path();
    let sets = [
        "training.dropout=0",
        "training.head_dropout=0",
        "training.precision=fp32",
    ];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let alone = run(
        folder,
        &[&["train", "c.yaml", "--out", "one"], &sets[..]].concat(),
    );
    assert!(alone.status.success(), "{}", text(&alone.stderr));
    let ended = ends(start(folder, "two", 2, &sets));
    assert_eq!(ended[0].0, Some(0), "{}", ended[0].2);
    assert!(ended[0].1.contains("run folder   two"));
    assert_eq!(ended[1], (Some(0), String::new(), String::new()));
    let (one, two) = (results(folder, "one"), results(folder, "two"));
    assert_eq!(two["ranks"], 2);
    assert_eq!(one["ranks"], Value::Null);
    for task in ["DemoSentiment", "DemoSimilarity"] {
        let score = |results: &Value| results["tasks"][task]["dev"]["score"].as_f64().unwrap();
        assert!((score(&one) - score(&two)).abs() < 1e-4, "{task}");
    }
    // What the first says of a wrong config, the others need not say again.
    for ended in [
        ends(start(folder, "two", 2, &[])),
        ends(start(folder, "x", 2, &["--set", "training.epochs=-1"])),
    ] {
        assert_eq!(ended[0].0, Some(2), "{ended:?}");
        assert_ne!(ended[1].0, Some(0), "{ended:?}");
        assert_eq!(complaints(&ended[0].2).len(), 1, "{ended:?}");
        assert_eq!(ended[1].2, "");
    }
}

/// A run that somebody has to stop.
const LONG: [&str; 4] = [
    "--set",
    "training.max_steps=5000",
    "--set",
    "training.epochs=1000",
];

/// Waits until a run has a checkpoint.
fn wait_for_checkpoint(folder: &Path, out: &str) {
    let last = Instant::now() + Duration::from_secs(180);
    let checkpoints = folder.join(out).join("checkpoints");
    let saved = || {
        let entries = checkpoints.read_dir().into_iter().flatten().flatten();
        entries
            .map(|e| e.file_name())
            .any(|name| name.to_string_lossy().starts_with("step-"))
    };
    while !saved() {
        assert!(Instant::now() < last, "no checkpoint");
        sleep(Duration::from_millis(20));
    }
}

/// Lets processes that go on with a run do so until they have evaluated it, and tells the last to stop: how
/// each ended.
fn go_on_and_stop(folder: &Path, out: &str, size: usize, args: &[&str]) -> Vec<Option<i32>> {
    let metrics = folder.join(out).join("metrics.jsonl");
    let length = || std::fs::metadata(&metrics).map_or(0, |file| file.len());
    let (before, last) = (length(), Instant::now() + Duration::from_secs(180));
    let children = start(folder, out, size, args);
    while length() <= before {
        assert!(Instant::now() < last, "no evaluation");
        sleep(Duration::from_millis(20));
    }
    let told = children[size - 1].id();
    kill(Pid::from_raw(told as i32), Signal::SIGTERM).unwrap();
    let ended = ends(children);
    let first = complaints(&ended[0].2);
    assert!(
        first.iter().any(|line| line.contains("stopped after step")),
        "{ended:?}"
    );
    let mut others = ended[1..].iter();
    assert!(others.all(|end| complaints(&end.2).is_empty()), "{ended:?}");
    ended.into_iter().map(|end| end.0).collect()
}

#[test]
fn a_process_that_dies_or_is_told_to_stop_ends_all_with_a_whole_checkpoint() {
    let folder = workplace();
    let folder = folder.path();
    let children = start(folder, "killed", 2, &LONG);
    wait_for_checkpoint(folder, "killed");
    kill(Pid::from_raw(children[1].id() as i32), Signal::SIGKILL).unwrap();
    let ended = ends(children);
    assert_eq!(ended[0].0, Some(1), "{}", ended[0].2);
    let said = complaints(&ended[0].2);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("has ended") && said[0].contains("--resume"),
        "{said:?}"
    );
    assert!(!said[0].contains("gloo"), "{said:?}");

    // Any number of processes goes on.
    let going_on = [&LONG[..], &["--resume"]].concat();
    let codes = go_on_and_stop(folder, "killed", 3, &going_on);
    assert_eq!(codes, [Some(130); 3]);
}

#[test]
fn a_first_process_that_can_write_no_more_ends_all_and_its_checkpoint_goes_on() {
    let folder = workplace();
    let folder = folder.path();
    let children = start(folder, "full", 2, &LONG);
    wait_for_checkpoint(folder, "full");
    let bytes = Some(1 << 16);
    let limit = Rlimit {
        current: bytes,
        maximum: bytes,
    };
    let first = rustix::process::Pid::from_raw(children[0].id() as i32);
    prlimit(first, Resource::Fsize, limit).unwrap();
    let begun = Instant::now();
    let ended = ends(children);
    assert!(begun.elapsed() < Duration::from_secs(60), "{ended:?}");
    assert_eq!(ended[0].0, Some(1), "{ended:?}");
    let said = complaints(&ended[0].2);
    assert!(
        said.len() == 1 && said[0].contains("`ulimit -f`"),
        "{said:?}"
    );
    // The other says one line at most, and none of libtorch's.
    assert_eq!(ended[1].0, Some(1), "{ended:?}");
    let said: Vec<&str> = ended[1].2.lines().collect();
    let own = said.iter().all(|line| line.starts_with("covalign: "));
    assert!(own && said.len() <= 1, "{said:?}");

    let going_on = [&LONG[..], &["--resume"]].concat();
    let codes = go_on_and_stop(folder, "full", 2, &going_on);
    assert_eq!(codes, [Some(130); 2]);
}
