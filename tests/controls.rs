//! Controls of what sharing and alignment do: embeddings turned on purpose, rotations that nothing
//! learns, one matrix for all tasks, labels by chance.

mod common;

use common::{fails, json, train, workplace};
use covalign::config::Config;
use covalign::data::Batch;
use covalign::model::Mode;
use covalign::task::Label;
use covalign::train::prepare::prepare;
use covalign::train::step::learner::Learner;
use covalign::train::tasks::load_tasks;
use tch::{Device, Kind, Tensor};

const WORDS: &str = "encoder={kind: mlp, width: 8, embeddings: all-MiniLM-L6-v2}";

/// A learner of `c.yaml`'s two tasks over words.
fn learner(folder: &std::path::Path, sets: &[&str]) -> Learner {
    let data = format!("data={}", folder.join("demo").display());
    let sets = [&[WORDS, &data], sets].concat();
    let sets: Vec<String> = sets.into_iter().map(str::to_owned).collect();
    let config = Config::load(&folder.join("c.yaml"), &sets).unwrap();
    prepare(&config, load_tasks(&config).unwrap())
        .unwrap()
        .learner
}

/// The aligned embeddings `[tokens, width]` of a task's first rows.
fn embedded(learner: &Learner, task: usize) -> Tensor {
    let shape = learner.model.encoder.batch_shape(learner.pad);
    let rows = [0, 1, 2];
    let batch = Batch::collate(&learner.data[0].train, &rows, shape, Device::Cpu).unwrap();
    let embed = || learner.model.embed(task, &batch, None, Mode::Evaluate);
    tch::no_grad(embed).unwrap()
}

fn largest(x: &Tensor) -> f64 {
    f64::try_from(x.abs().max()).unwrap()
}

fn cosines(a: &Tensor, b: &Tensor) -> Tensor {
    Tensor::cosine_similarity(a, b, 1, 1e-9)
}

#[test]
fn a_turned_task_sees_its_words_at_that_angle_and_the_others_do_not() {
    let folder = workplace();
    let folder = folder.path();
    let plain = learner(folder, &["method=multitask"]);
    for degrees in [30.0f64, 90.0] {
        let turn = format!("turned.DemoSimilarity={degrees}");
        let turned = learner(folder, &["method=multitask", &turn]);
        let (first, second) = (embedded(&turned, 0), embedded(&turned, 1));
        assert_eq!(first, embedded(&plain, 0));
        let expected = degrees.to_radians().cos();
        assert!(
            largest(&(cosines(&first, &second) - expected)) < 1e-4,
            "{degrees}"
        );
    }
}

#[test]
fn random_rotations_keep_the_first_task_and_are_learned_by_nothing() {
    let folder = workplace();
    let folder = folder.path();
    let rotated = learner(folder, &["alignment.form=random_rotation"]);
    let (first, second) = (embedded(&rotated, 0), embedded(&rotated, 1));
    assert_eq!(first, embedded(&learner(folder, &["method=multitask"]), 0));
    let norms = |x: &Tensor| x.square().sum_dim_intlist(1, false, Kind::Float);
    assert!(largest(&(norms(&first) - norms(&second))) < 1e-3);
    assert!(largest(&cosines(&first, &second)) < 0.5);
    assert!(rotated.model.alignments.variables().is_empty());
    assert!(rotated.model.alignment(1).is_none());
}

#[test]
fn a_shared_matrix_is_one_parameter_that_every_task_goes_through() {
    let folder = workplace();
    let folder = folder.path();
    train(
        folder,
        "x",
        &[
            WORDS,
            "alignment.form=shared",
            "training.learning_rate=1e-2",
        ],
    );
    let distances = json(&folder.join("x/results.json"))["distance_from_identity"].clone();
    let of = |task: &str| distances[task].as_f64().unwrap();
    assert!(of("DemoSentiment") > 0.1);
    assert_eq!(of("DemoSentiment"), of("DemoSimilarity"));
    let saved = folder.join("x/best/alignment.safetensors");
    let names: Vec<String> = Tensor::read_safetensors(saved)
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["shared.matrix"]);
}

#[test]
fn alignments_stand_still_until_their_warm_up_is_over() {
    let folder = workplace();
    let folder = folder.path();
    let sets = [WORDS, "training.learning_rate=1e-2"];
    let moved = |out: &str, more: &[&str]| {
        train(folder, out, &[&sets[..], more].concat());
        let results = json(&folder.join(out).join("results.json"));
        results["distance_from_identity"]["DemoSentiment"]
            .as_f64()
            .unwrap()
    };
    assert_eq!(moved("still", &["alignment.warmup_steps=6"]), 0.0);
    assert!(moved("moving", &["alignment.warmup_steps=4"]) > 0.0);
}

#[test]
fn a_run_alone_takes_the_steps_of_a_joint_one_where_it_is_asked_to() {
    let folder = workplace();
    let folder = folder.path();
    let sets = [
        WORDS,
        "method=multitask",
        "training.max_steps=null",
        "training.epochs=2",
        "training.max_train_rows={DemoSentiment: 16, DemoSimilarity: 48}",
        "evaluation.every=0.5 epochs",
    ];
    train(folder, "joint", &sets);
    let with = "training.steps_with=[DemoSimilarity]";
    let alone = ["tasks=[DemoSentiment]", with];
    train(folder, "matched", &[&sets[..], &alone].concat());
    let [joint, matched] =
        ["joint", "matched"].map(|out| json(&folder.join(out).join("results.json")));
    // Two batches of one task and six of the other, twice; alone it would be four steps.
    assert_eq!(joint["steps"], 16);
    assert_eq!(matched["steps"], 16);
    let chosen = |of: &serde_json::Value| {
        let chosen = &of["tasks"]["DemoSentiment"]["chosen_from"];
        (chosen["evaluations"].clone(), chosen["every"].clone())
    };
    assert_eq!(chosen(&joint), chosen(&matched));
    let config = std::fs::read_to_string(folder.join("matched/config.yaml")).unwrap();
    assert!(config.contains("steps_with:"));
}

#[test]
fn label_noise_changes_that_share_of_the_training_rows_and_no_dev_row() {
    let folder = workplace();
    let folder = folder.path();
    let sets = ["training.max_train_rows=400"];
    let clean = learner(folder, &sets);
    let noisy = learner(folder, &[sets[0], "label_noise.DemoSentiment=0.4"]);
    let labels = |learner: &Learner, task: usize| -> Vec<Label> {
        let data = &learner.data[task];
        let rows = data.rows.iter();
        rows.map(|&row| data.train.label(row as usize).unwrap())
            .collect()
    };
    let differing = |task: usize| {
        let (a, b) = (labels(&clean, task), labels(&noisy, task));
        a.iter().zip(&b).filter(|(a, b)| a != b).count()
    };
    // Of 160 rows with one of two labels by chance, about half have another than theirs.
    let other = differing(0);
    assert!((60..=100).contains(&other), "{other}");
    assert_eq!(noisy.data[0].noise, (160, other));
    assert_eq!(differing(1), 0);
    let dev = |learner: &Learner| -> Vec<Option<Label>> {
        let dev = &learner.data[0].dev;
        (0..dev.len()).map(|row| dev.label(row)).collect()
    };
    assert_eq!(dev(&clean), dev(&noisy));
    let again = learner(folder, &[sets[0], "label_noise.DemoSentiment=0.4"]);
    assert_eq!(labels(&again, 0), labels(&noisy, 0));
}

#[test]
fn controls_are_part_of_what_a_resumed_run_must_keep() {
    let folder = workplace();
    let folder = folder.path();
    train(folder, "x", &[WORDS]);
    for set in [
        "label_noise.DemoSentiment=0.1",
        "turned.DemoSentiment=10",
        "alignment.form=shared",
    ] {
        let args = [
            "train", "c.yaml", "--out", "x", "--resume", "--set", WORDS, "--set", set,
        ];
        let line = fails(folder, &args, 2);
        assert!(
            line.contains(set.split('=').next().unwrap().split('.').next().unwrap()),
            "{line}"
        );
    }
}
