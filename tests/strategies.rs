//! Ways to use several data sets: what a step is made of, what an epoch is made of, what a run
//! starts from.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::{covalign, evaluations, json, refused, run, text, train, workplace};
use covalign::config::Config;
use covalign::data::planned::PlannedBatch;
use covalign::data::sampling::PLAN;
use covalign::data::Batch;
use covalign::train::evaluate::Scores;
use covalign::train::feed::batches::Batches;
use covalign::train::prepare::prepare;
use covalign::train::step::learner::Learner;
use covalign::train::step::schedule::EVERYTHING;
use covalign::train::tasks::load_tasks;
use serde_json::Value;
use tch::{Kind, Tensor};

const HETEROGENEOUS: &str = "sampling.batches=heterogeneous";

/// A two-layer encoder.
fn tiny() -> String {
    let tiny = common::root().join("tests/fixtures/legacy-bert");
    format!("encoder={}", tiny.display())
}

/// What `c.yaml` with other values describes, on the tiny encoder, without dropout and in fp32.
fn learner(folder: &Path, sets: &[&str]) -> Learner {
    let data = format!("data={}", folder.join("demo").display());
    let tiny = tiny();
    let exact = [
        &data[..],
        &tiny,
        "training.dropout=0",
        "training.head_dropout=0",
        "training.max_length=16",
        "training.precision=fp32",
    ];
    let sets: Vec<String> = exact
        .iter()
        .chain(sets)
        .map(|set| set.to_string())
        .collect();
    let config = Config::load(&folder.join("c.yaml"), &sets).unwrap();
    prepare(&config, load_tasks(&config).unwrap())
        .unwrap()
        .learner
}

/// The gradients since the last call, by name.
fn take_gradients(learner: &Learner) -> BTreeMap<String, Tensor> {
    let model = &learner.model;
    let stores = [
        ("encoder", model.encoder.variables()),
        ("head", &model.heads),
        ("alignment", &model.alignments),
    ];
    let mut gradients = BTreeMap::new();
    for (part, store) in stores {
        for (name, mut variable) in store.variables() {
            let gradient = match variable.grad() {
                gradient if gradient.defined() => gradient.copy(),
                _ => variable.zeros_like(),
            };
            gradients.insert(format!("{part} {name}"), gradient);
            variable.zero_grad();
        }
    }
    gradients
}

/// The largest difference, relative to the largest gradient of all.
fn difference(a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>) -> f64 {
    let largest = |tensor: &Tensor| f64::try_from(tensor.abs().max()).unwrap();
    let scale = a.values().map(largest).fold(0.0, f64::max);
    assert!(scale > 0.0 && a.len() == b.len());
    let differences = a.iter().map(|(name, a)| largest(&(a - &b[name])));
    differences.fold(0.0, f64::max) / scale
}

/// A task's mean loss on its part of a batch, put together by hand.
fn loss(learner: &Learner, part: &PlannedBatch) -> Tensor {
    let data = &learner.data[part.task];
    let shape = learner.model.encoder.batch_shape(learner.pad);
    let batch = Batch::collate(&data.train, &part.rows, shape, tch::Device::Cpu).unwrap();
    let logits = learner
        .model
        .predictor(part.task)
        .and_then(|predictor| predictor.logits(&batch))
        .unwrap();
    let rows = part.rows.iter();
    let labels: Vec<f32> = rows
        .map(|&row| data.train.label(row as usize).unwrap().number().unwrap())
        .collect();
    let labels = Tensor::from_slice(&labels);
    if data.task.is_regression() {
        (logits.squeeze_dim(1) - labels).square().mean(Kind::Float)
    } else {
        let log = logits.log_softmax(1, Kind::Float);
        let picked = log.gather(1, &labels.to_kind(Kind::Int64).unsqueeze(1), false);
        -picked.mean(Kind::Float)
    }
}

#[test]
fn a_heterogeneous_steps_gradient_is_that_of_its_parts_weighted_losses() {
    let folder = workplace();
    let folder = folder.path();
    let sets = [HETEROGENEOUS, "engine=padded", "training.scores=unit"];
    let mut learner = learner(folder, &sets);
    let mut batches = Batches::new(&learner.config, &learner.data).unwrap();
    let mut loader = learner.loader();
    let step = loader.passes(&mut batches, 3).unwrap();
    assert_eq!(step.len(), 2);
    let parts = || step.iter().flat_map(|(_, loaded)| &loaded.parts);
    let rows: usize = parts().map(|part| part.planned.rows.len()).sum();
    assert_eq!(rows, learner.config.training.batch_size);

    for (number, part) in &step {
        let _ = learner.backward(*number, part, EVERYTHING).unwrap();
    }
    let together = take_gradients(&learner);
    let mut sum: BTreeMap<String, Tensor> = BTreeMap::new();
    for (number, part) in &step {
        let _ = learner.backward(*number, part, EVERYTHING).unwrap();
        for (name, gradient) in take_gradients(&learner) {
            let sum = sum.entry(name).or_insert_with(|| gradient.zeros_like());
            *sum += gradient;
        }
    }
    assert!(difference(&together, &sum) < 1e-6);
    let losses: Vec<Tensor> = parts()
        .map(|part| {
            let weight = match learner.data[part.planned.task].task.is_regression() {
                // DemoSimilarity goes from 0 to 5.
                true => 1.0 / 25.0,
                false => 1.0,
            };
            loss(&learner, &part.planned) * weight
        })
        .collect();
    Tensor::stack(&losses, 0).sum(Kind::Float).backward();
    assert!(difference(&take_gradients(&learner), &sum) < 1e-5);
}

#[test]
fn packed_rows_of_several_tasks_go_through_the_encoder_at_once() {
    let folder = workplace();
    let folder = folder.path();
    let gradients = |engine: &str, passes: usize| {
        let engine = format!("engine={engine}");
        let sets = [HETEROGENEOUS, &engine, "alignment.init=random"];
        let mut learner = learner(folder, &sets);
        let mut batches = Batches::new(&learner.config, &learner.data).unwrap();
        let step = learner.loader().passes(&mut batches, 0).unwrap();
        assert_eq!(step.len(), passes);
        let mut losses = Vec::new();
        for (number, loaded) in &step {
            losses.extend(learner.backward(*number, loaded, EVERYTHING).unwrap());
        }
        let losses: Vec<f64> = losses.iter().map(|l| f64::try_from(l).unwrap()).collect();
        let mut gradients = take_gradients(&learner);
        // The packed engine's go to rows of the table.
        gradients.remove("encoder embeddings.word_embeddings.weight");
        (gradients, losses)
    };
    let (packed, losses) = gradients("fast", 1);
    let (padded, expected) = gradients("padded", 2);
    assert!(difference(&packed, &padded) < 1e-5);
    assert_eq!(losses.len(), 2);
    for (loss, expected) in losses.iter().zip(&expected) {
        assert!((loss - expected).abs() < 1e-5, "{loss} {expected}");
    }
}

#[test]
fn an_epoch_under_a_budget_of_tokens_has_the_gradient_of_all_rows_alike() {
    let folder = workplace();
    let folder = folder.path();
    let sets = [
        "tasks=[DemoSentiment]",
        "training.batch_tokens=64",
        "engine=padded",
    ];
    let mut learner = learner(folder, &sets);
    let mut batches = Batches::new(&learner.config, &learner.data).unwrap();
    let in_epoch = batches.length.per_epoch as u64;
    let steps = (0..in_epoch).flat_map(|step| batches.step(step));
    let parts: Vec<PlannedBatch> = steps.flat_map(|(_, parts)| parts).collect();
    let numbers: BTreeSet<usize> = parts.iter().map(|part| part.rows.len()).collect();
    assert!(parts.len() > 3 && numbers.len() > 1, "{numbers:?}");
    let mut loader = learner.loader();
    let mut batches = Batches::new(&learner.config, &learner.data).unwrap();
    for step in 0..in_epoch {
        for (index, loaded) in loader.passes(&mut batches, step).unwrap() {
            let _ = learner.backward(index, &loaded, EVERYTHING).unwrap();
        }
    }
    let summed = take_gradients(&learner);
    let all = PlannedBatch {
        task: 0,
        rows: learner.data[0].rows.clone(),
        weight: 1.0,
    };
    (loss(&learner, &all) * in_epoch as f64).backward();
    assert!(difference(&take_gradients(&learner), &summed) < 1e-5);
}

#[test]
fn a_run_says_how_its_rows_were_sorted_and_goes_on_by_that_plan_alone() {
    let folder = workplace();
    let folder = folder.path();
    let tiny = tiny();
    let base = [&tiny, "training.max_length=16", "training.device=cpu"];
    let window = |sets: &[&str]| {
        train(folder, "x", &[&base[..], sets].concat());
        let config = std::fs::read_to_string(folder.join("x/config.yaml")).unwrap();
        std::fs::remove_dir_all(folder.join("x")).unwrap();
        let line = config.lines().find(|line| line.contains("length_window"));
        line.unwrap().trim().to_owned()
    };
    let padded = "engine=padded";
    // No padding is spared where rows are packed.
    assert_eq!(window(&[]), "length_window: 1");
    assert_eq!(window(&[padded]), "length_window: small");
    let given = "sampling.length_window=100";
    assert_eq!(window(&[given]), "length_window: 100");
    let none = refused(folder, &["sampling.length_window=0"]);
    assert!(none.contains("write `auto`, `small` or a number"), "{none}");

    train(folder, "x", &[&base[..], &[given]].concat());
    std::fs::remove_file(folder.join("x/results.json")).unwrap();
    let resume = |sets: &[&str]| {
        let mut args = vec!["train", "c.yaml", "--out", "x", "--resume"];
        let sets = [&base[..], sets].concat();
        sets.iter().for_each(|set| args.extend(["--set", set]));
        run(folder, &args)
    };
    // Begun with the default of an earlier version, or on another kind of machine.
    let other = resume(&[]);
    assert_eq!(other.status.code(), Some(2));
    let other = text(&other.stderr);
    assert!(
        other.contains("sampling.length_window was 100, is 1;"),
        "{other}"
    );
    assert!(resume(&[given]).status.success());
    // An earlier version's checkpoints say nothing of the plan.
    std::fs::remove_file(folder.join("x/results.json")).unwrap();
    let mut old = state(folder, "x", 6);
    for key in ["plan", "sha256"] {
        old.as_object_mut().unwrap().remove(key).unwrap();
    }
    let place = folder.join("x/checkpoints/step-6/state.json");
    std::fs::write(place, old.to_string()).unwrap();
    let old = resume(&[given]);
    assert_eq!(old.status.code(), Some(2));
    let old = text(&old.stderr);
    assert!(old.contains("in another way; start a new run"), "{old}");
}

#[test]
fn heterogeneous_batches_train_packed_as_padded() {
    let folder = workplace();
    let folder = folder.path();
    let undropped = [
        "training.dropout=0",
        "training.head_dropout=0",
        "training.precision=fp32",
        HETEROGENEOUS,
    ];
    for engine in ["fast", "padded"] {
        let set = format!("engine={engine}");
        train(folder, engine, &[&undropped[..], &[&set]].concat());
    }
    let encoder = |out: &str| -> BTreeMap<String, Tensor> {
        let path = folder.join(out).join("best/encoder.safetensors");
        Tensor::read_safetensors(path)
            .unwrap()
            .into_iter()
            .collect()
    };
    let (fast, padded) = (encoder("fast"), encoder("padded"));
    for (name, fast) in &fast {
        let difference = f64::try_from((fast - &padded[name]).abs().max()).unwrap();
        assert!(difference < 1e-5, "{name}: {difference}");
    }
}

/// `state.json` of a checkpoint.
fn state(folder: &Path, out: &str, step: u64) -> Value {
    let place = format!("checkpoints/step-{step}/state.json");
    json(&folder.join(out).join(place))
}

/// An epoch of 4 steps, 14 in all; a checkpoint in the middle of each epoch.
const EPOCHS: [&str; 5] = [
    "training.max_train_rows=16",
    "training.max_steps=14",
    "training.epochs=4",
    "evaluation.every=2 steps",
    "checkpoints.every=3 steps",
];

#[test]
fn a_dynamic_heterogeneous_run_resumes_to_the_same_weights() {
    let folder = workplace();
    let folder = folder.path();
    let dynamic = [
        HETEROGENEOUS,
        "sampling.strategy=dynamic",
        "sampling.reference={DemoSentiment: 1.0, DemoSimilarity: 0.5}",
        // Steps so large that the score at step 10 would give other shares than that at step 8.
        "training.learning_rate=5e-4",
        "training.warmup=0",
        "checkpoints.every=5 steps",
    ];
    let sets = [&EPOCHS[..], &dynamic].concat();
    train(folder, "whole", &sets);
    let mut args = vec!["train", "c.yaml", "--out", "cut"];
    sets.iter().for_each(|set| args.extend(["--set", set]));
    // Killed in the third epoch, which was planned at step 8, when step 10 has been scored too.
    let mut child = covalign(folder, &args)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let saved = folder.join("cut/checkpoints/step-10/state.json");
    while !saved.is_file() {
        assert!(child.try_wait().unwrap().is_none(), "ended too early");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    args.push("--resume");
    let resumed = run(folder, &args);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert_eq!(
        state(folder, "whole", 14)["files"],
        state(folder, "cut", 14)["files"]
    );
    assert_eq!(evaluations(folder, "whole"), evaluations(folder, "cut"));
}

#[test]
fn an_epoch_under_way_keeps_the_shares_that_it_was_planned_by() {
    let folder = workplace();
    let folder = folder.path();
    let data = format!("data={}", folder.join("demo").display());
    let tiny = tiny();
    let dynamic = [
        "sampling.strategy=dynamic",
        "sampling.reference={DemoSentiment: 1.0, DemoSimilarity: 1.0}",
        "training.max_length=16",
        &data,
        &tiny,
    ];
    for kind in ["homogeneous", "heterogeneous"] {
        let batches = format!("sampling.batches={kind}");
        let sets = [&EPOCHS[..], &dynamic, &[&batches]].concat();
        let sets: Vec<String> = sets.into_iter().map(str::to_owned).collect();
        let config = Config::load(&folder.join("c.yaml"), &sets).unwrap();
        let tasks = load_tasks(&config).unwrap();
        let learner = prepare(&config, tasks).unwrap().learner;
        let fresh = || Batches::new(&learner.config, &learner.data).unwrap();
        let scores = |sentiment: f64, similarity: f64| {
            let of = |score| Scores {
                metrics: Vec::new(),
                labels: Vec::new(),
                classes: Vec::new(),
                confusion: None,
                score,
            };
            BTreeMap::from([
                ("DemoSentiment".to_owned(), of(sentiment)),
                ("DemoSimilarity".to_owned(), of(similarity)),
            ])
        };
        let mut whole = fresh();
        whole.step(3);
        whole.observe(&scores(0.9, -0.9));
        let mut begun = vec![whole.step(4)];
        whole.observe(&scores(0.0, 0.9));
        let shares = whole.shares().cloned();
        let mut resumed = fresh();
        resumed.observe(&scores(0.0, 0.9));
        resumed.resume(PLAN, shares).unwrap();
        assert_eq!(resumed.step(4), begun[0]);
        for step in 5..12 {
            let of_whole = whole.step(step);
            assert_eq!(of_whole, resumed.step(step), "{kind} {step}");
            begun.push(of_whole);
        }
        let mut forgetful = fresh();
        forgetful.observe(&scores(0.0, 0.9));
        let forgot: Vec<_> = (4..12).map(|step| forgetful.step(step)).collect();
        assert_ne!(forgot, begun);
    }
}

#[test]
fn dynamic_shares_follow_the_last_scores_before_the_epoch() {
    let folder = workplace();
    let folder = folder.path();
    let sets = [
        "sampling.strategy=dynamic",
        "sampling.reference={DemoSentiment: 1.0, DemoSimilarity: -2.0, CoLA: 0.6}",
        "sampling.batches=heterogeneous",
        "checkpoints.keep=9",
    ];
    train(folder, "x", &[&EPOCHS[..], &sets].concat());
    let lines = evaluations(folder, "x");
    let score = |step: u64, task: &str| {
        let line = lines.iter().find(|line| line["step"] == step).unwrap();
        line["dev"][task]["score"].as_f64().unwrap_or(0.0)
    };
    // 32 rows an epoch, half of them each task's in the first one, as their sizes are.
    let first = &state(folder, "x", 3)["shares"];
    assert_eq!(first, &serde_json::json!({"epoch": 0, "shares": [16, 16]}));
    let mut seen = Vec::new();
    for (epoch, checkpoint) in [(1, 6), (2, 12), (3, 14)] {
        let gap =
            (1.0 - score(4 * epoch, "DemoSentiment")) - (-2.0 - score(4 * epoch, "DemoSimilarity"));
        // A softmax of two is the logistic function of their difference.
        let sentiment = (32.0 / (1.0 + (-gap).exp())).round() as u64;
        let shares = serde_json::json!({"epoch": epoch, "shares": [sentiment, 32 - sentiment]});
        assert_eq!(state(folder, "x", checkpoint)["shares"], shares);
        seen.push(sentiment);
    }
    assert!(seen.iter().all(|&share| share > 20), "{seen:?}");
    assert_eq!(json(&folder.join("x/results.json"))["steps"], 14);
}

#[test]
fn a_run_starts_from_the_best_weights_of_another() {
    let folder = workplace();
    let folder = folder.path();
    let of = |place: &str| std::fs::read(folder.join(place)).unwrap();
    train(folder, "stl", &["method=single"]);
    let source = "stl/DemoSentiment";
    // Steps too small to show: what a run starts from is what it saves.
    let still = ["training.learning_rate=1e-60", "training.weight_decay=0"];
    let from = format!("start.run={source}");
    let start = |out: &str, sets: &[&str]| {
        train(folder, out, &[&still[..], &[&from], sets].concat());
        assert_eq!(
            of(&format!("{out}/best/encoder.safetensors")),
            of(&format!("{source}/best/encoder.safetensors"))
        );
        json(&folder.join(out).join("results.json"))["start"].clone()
    };

    // Transfer with an alignment: the target's R is the identity, its head is new.
    let tasks = "tasks=[DemoParaphrase]";
    let fresh = start("fresh", &[tasks, "method=aligned"]);
    assert_eq!(fresh["run"], source);
    assert_eq!(fresh["tasks"], serde_json::json!(["DemoSentiment"]));
    assert_eq!(fresh["heads"], serde_json::json!({}));
    let state = json(&folder.join(source).join("best/state.json"));
    assert_eq!(fresh["sha256"], state["files"]["encoder.safetensors"]);
    assert_eq!(fresh["step"], state["step"]);
    let tensors = |place: &str| -> BTreeMap<String, Tensor> {
        let read = Tensor::read_safetensors(folder.join(place)).unwrap();
        read.into_iter().collect()
    };
    let r = &tensors("fresh/best/alignment.safetensors")["DemoParaphrase.matrix"];
    assert_eq!(r, &Tensor::eye(384, (Kind::Float, tch::Device::Cpu)));
    let log = std::fs::read_to_string(folder.join("fresh/log.txt")).unwrap();
    assert!(
        log.contains("starts from stl/DemoSentiment (single on DemoSentiment)"),
        "{log}"
    );

    // Two labels fit two labels, a number fits nothing here.
    let tasks = "tasks=[DemoParaphrase, DemoSimilarity, DemoSentiment]";
    let kept = start("kept", &[tasks, "start.heads=keep", "method=multitask"]);
    let expected = serde_json::json!({
        "DemoParaphrase": "DemoSentiment", "DemoSentiment": "DemoSentiment"
    });
    assert_eq!(kept["heads"], expected);
    let theirs = tensors(&format!("{source}/best/heads.safetensors"));
    let (ours, other) = (
        tensors("kept/best/heads.safetensors"),
        tensors("fresh/best/heads.safetensors"),
    );
    for part in ["weight", "bias"] {
        for task in ["DemoParaphrase", "DemoSentiment"] {
            let (ours, theirs) = (
                &ours[&format!("{task}.{part}")],
                &theirs[&format!("DemoSentiment.{part}")],
            );
            assert_eq!(ours, theirs);
        }
    }
    assert_ne!(
        ours["DemoParaphrase.weight"],
        other["DemoParaphrase.weight"]
    );
    // Of several that fit, the task's own; a head of scores as they are is none of scores to 1.
    let heads = |task: &str, scores: &str| -> Value {
        let out = format!("{task}-{scores}");
        let tasks = format!("tasks=[{task}]");
        let scores = format!("training.scores={scores}");
        let own = [
            "method=single",
            "start.run=kept",
            "start.heads=keep",
            &tasks,
            &scores,
        ];
        train(folder, &out, &[&still[..], &own].concat());
        json(&folder.join(out).join("results.json"))["start"]["heads"].clone()
    };
    let own = |task: &str| serde_json::json!({ task: task });
    assert_eq!(heads("DemoSentiment", "unit"), own("DemoSentiment"));
    assert_eq!(heads("DemoSimilarity", "raw"), own("DemoSimilarity"));
    assert_eq!(heads("DemoSimilarity", "unit"), serde_json::json!({}));

    // The run needs its source no more: to predict, or to go on from its last checkpoint.
    std::fs::rename(folder.join("stl"), folder.join("moved")).unwrap();
    std::fs::remove_file(folder.join("fresh/results.json")).unwrap();
    let mut args = vec!["train", "c.yaml", "--out", "fresh", "--resume"];
    for set in still
        .iter()
        .chain(&[&*from, "tasks=[DemoParaphrase]", "method=aligned"])
    {
        args.extend(["--set", set]);
    }
    let resumed = run(folder, &args);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert_eq!(json(&folder.join("fresh/results.json"))["start"], fresh);
    let evaluated = run(folder, &["evaluate", "fresh"]);
    assert!(evaluated.status.success(), "{}", text(&evaluated.stderr));
}

#[test]
fn what_a_strategy_lacks_is_one_line_that_names_the_key() {
    let folder = workplace();
    let folder = folder.path();
    train(folder, "stl", &["method=single", "training.max_steps=1"]);
    let best = "stl/DemoSentiment/best";
    let line = |sets: &[&str]| refused(folder, sets);
    assert!(line(&["start.run=demo"]).contains("no run folder"));
    let several = line(&["start.run=stl"]);
    assert!(several.contains("stl/DemoSentiment"), "{several}");
    let other = line(&[
        "start.run=stl/DemoSentiment",
        &tiny(),
        "training.max_length=16",
    ]);
    assert!(other.contains("hidden_size 384"), "{other}");
    let vocabulary = folder.join("stl/DemoSentiment/encoder/tokenizer.json");
    let words = std::fs::read_to_string(&vocabulary).unwrap();
    std::fs::write(&vocabulary, words.replacen("[unused0]", "[unusedx]", 1)).unwrap();
    let changed = line(&["start.run=stl/DemoSentiment"]);
    assert!(changed.contains("tokenizer.json: was another"), "{changed}");
    std::fs::write(&vocabulary, words).unwrap();
    std::fs::rename(folder.join(best), folder.join("kept")).unwrap();
    assert!(line(&["start.run=stl/DemoSentiment"]).contains("checkpoints.after"));
    std::fs::rename(folder.join("kept"), folder.join(best)).unwrap();
    std::fs::remove_file(folder.join("stl/DemoSentiment/results.json")).unwrap();
    assert!(line(&["start.run=stl/DemoSentiment"]).contains("has not ended"));

    let dynamic = "sampling.strategy=dynamic";
    let missing = line(&[dynamic, "sampling.reference={DemoSentiment: 0.9}"]);
    assert!(
        missing.contains("`sampling.reference.DemoSimilarity`"),
        "{missing}"
    );
    let both = "sampling.reference={DemoSentiment: 0.9, DemoSimilarity: 0.8}";
    let rare = line(&[dynamic, both, "evaluation.every=2 epochs"]);
    assert!(
        rare.contains("`evaluation.every`") && rare.contains("12 steps"),
        "{rare}"
    );
    let per_cent = line(&[dynamic, "sampling.reference={DemoSentiment: 93}"]);
    assert!(per_cent.contains("`sampling.reference`"), "{per_cent}");
    let even = [
        HETEROGENEOUS,
        "sampling.strategy=uniform",
        "training.batch_size=1",
    ];
    assert!(line(&even).contains("`training.batch_size`"));
    let fixed = [
        "method=aligned",
        "alignment.schedule=fixed_encoder",
        "alignment.learning_rate=0x",
        "training.head_learning_rate=0",
    ];
    assert!(line(&fixed).contains("nothing moves"));
}
