//! The command line, on the demonstration set: what training guarantees.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{covalign, evaluations, fails, json, refused, run, text, train, workplace, CONFIG};
use serde_json::Value;
use tch::Tensor;

/// The checksums of the weights at the run's last checkpoint.
fn weights(folder: &Path, out: &str) -> BTreeMap<String, Value> {
    let state = json(&folder.join(out).join("checkpoints/step-6/state.json"));
    serde_json::from_value(state["files"].clone()).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_weights_and_another_seed_others() {
    let folder = workplace();
    let folder = folder.path();
    let table = train(folder, "a", &[]);
    assert!(
        table.contains("DemoSentiment") && table.contains("mean of 2"),
        "{table}"
    );
    assert!(table.lines().all(|line| line.chars().count() <= 100));
    train(folder, "b", &[]);
    train(folder, "c", &["training.seed=7"]);
    assert_eq!(weights(folder, "a"), weights(folder, "b"));
    assert_eq!(evaluations(folder, "a"), evaluations(folder, "b"));
    assert_ne!(weights(folder, "a"), weights(folder, "c"));
}

#[test]
fn aligned_with_fixed_identity_is_multitask_step_for_step() {
    let folder = workplace();
    let folder = folder.path();
    train(folder, "mtl", &["method=multitask"]);
    train(folder, "fixed", &["alignment.learning_rate=0x"]);
    train(folder, "aligned", &["alignment.learning_rate=20x"]);
    let of = |out: &str| weights(folder, out)["encoder.safetensors"].clone();
    assert_eq!(of("mtl"), of("fixed"));
    assert_eq!(evaluations(folder, "mtl"), evaluations(folder, "fixed"));
    assert_ne!(of("mtl"), of("aligned"));
}

/// The second column of what `predict` says of the dev rows of `data`.
fn predictions(folder: &Path, out: &str, data: &str) -> Vec<f64> {
    let dev = format!("{data}/DemoSimilarity/dev.tsv");
    let output = run(folder, &["predict", out, "--task", "DemoSimilarity", &dev]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    let second = |line: &str| line.split('\t').nth(1).unwrap().parse().unwrap();
    shown.lines().skip(1).map(second).collect()
}

#[test]
fn unit_scores_train_as_if_the_file_had_them_from_0_to_1() {
    let folder = workplace();
    let folder = folder.path();
    common::write_demo(&folder.join("unit-demo"));
    for split in ["train", "dev"] {
        let path = folder.join(format!("unit-demo/DemoSimilarity/{split}.tsv"));
        let rows = std::fs::read_to_string(&path).unwrap();
        let scaled = rows.lines().map(|row| match row.rsplit_once('\t') {
            Some((rest, score)) if score != "score" => {
                format!("{rest}\t{}", score.parse::<f64>().unwrap() / 5.0)
            }
            _ => row.to_owned(),
        });
        std::fs::write(&path, scaled.collect::<Vec<_>>().join("\n")).unwrap();
    }
    let task = common::root().join("configs/tasks/DemoSimilarity.yaml");
    let task = std::fs::read_to_string(task).unwrap();
    let task = task.replace("max: 5", "max: 1") + "name: DemoSimilarity\n";
    std::fs::write(folder.join("Scaled.yaml"), task).unwrap();

    let common = [
        "training.precision=fp32",
        "training.max_steps=24",
        "evaluation.every=24 steps",
    ];
    train(
        folder,
        "unit",
        &[&common[..], &["training.scores=unit"]].concat(),
    );
    let own = ["data=unit-demo", "tasks=[DemoSentiment, Scaled.yaml]"];
    train(folder, "scaled", &[&own[..], &common].concat());
    train(folder, "raw", &common);
    let of = |out: &str, data: &str| predictions(folder, out, data);
    let (unit, scaled, raw) = (
        of("unit", "demo"),
        of("scaled", "unit-demo"),
        of("raw", "demo"),
    );
    let apart = |a: &[f64], b: &[f64]| {
        let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
        differences.fold(0.0, f64::max)
    };
    assert!(unit.iter().any(|&score| score > 0.5), "{unit:?}");
    let scaled: Vec<f64> = scaled.iter().map(|score| 5.0 * score).collect();
    // Predictions have three decimals.
    assert!(apart(&unit, &scaled) < 0.01, "{}", apart(&unit, &scaled));
    assert!(apart(&unit, &raw) > 0.1);
}

/// Waits until a run that goes on has evaluated.
fn wait_for_evaluation(child: &mut std::process::Child, run: &Path) {
    let metrics = run.join("metrics.jsonl");
    while std::fs::metadata(&metrics).map_or(0, |m| m.len()) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "ended too early");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_run_that_a_scheduler_stops_resumes_to_the_same_weights() {
    let folder = workplace();
    let folder = folder.path();
    // Whatever step the signal comes at is one that is evaluated.
    let every = "evaluation.every=1 step";
    train(folder, "whole", &[every]);
    let begun = ["train", "c.yaml", "--out", "cut", "--set", every];
    let mut child = covalign(folder, &begun)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The first evaluation is early in the run.
    let metrics = folder.join("cut/metrics.jsonl");
    wait_for_evaluation(&mut child, &folder.join("cut"));
    let pid = child.id().to_string();
    // As a scheduler asks; Ctrl-C goes the same way.
    std::process::Command::new("kill")
        .args(["-USR1", &pid])
        .status()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("--resume"));
    // A line that was being written when the machine went down.
    let torn = std::fs::read_to_string(&metrics).unwrap() + "{\"step\": 9";
    std::fs::write(&metrics, torn).unwrap();

    let line = fails(folder, &begun, 2);
    assert!(line.contains("--resume"), "{line}");
    let other = [&begun[..], &["--resume", "--set", "training.seed=7"]].concat();
    assert!(fails(folder, &other, 2).contains("training.seed was 42, is 7"));
    let resumed = run(folder, &[&begun[..], &["--resume"]].concat());
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert_eq!(weights(folder, "whole"), weights(folder, "cut"));
    assert_eq!(evaluations(folder, "whole"), evaluations(folder, "cut"));
}

#[test]
fn a_run_killed_before_its_first_checkpoint_starts_its_series_afresh() {
    let folder = workplace();
    let folder = folder.path();
    let sets = ["evaluation.every=1 step", "checkpoints.every=6 steps"];
    train(folder, "whole", &sets);
    let mut begun = vec!["train", "c.yaml", "--out", "cut"];
    sets.iter().for_each(|set| begun.extend(["--set", set]));
    let mut child = covalign(folder, &begun)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for_evaluation(&mut child, &folder.join("cut"));
    child.kill().unwrap();
    child.wait().unwrap();

    begun.push("--resume");
    let resumed = run(folder, &begun);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert_eq!(weights(folder, "whole"), weights(folder, "cut"));
    assert_eq!(evaluations(folder, "whole"), evaluations(folder, "cut"));
    let files = common::event_files(&folder.join("cut/tensorboard"));
    assert_eq!(files.len(), 2);
    // TensorBoard drops what it had from the step of a session's start on: here, everything.
    let second = common::events(&files[1]);
    assert!(second[1].has_session_log());
    assert_eq!(second[1].step, 0);
    let tags: Vec<&str> = second
        .iter()
        .flat_map(|event| event.get_summary().get_value())
        .map(|value| value.get_tag())
        .collect();
    for tag in ["config", "_hparams_/session_start_info"] {
        assert!(tags.contains(&tag), "{tag} is missing from {tags:?}");
    }
}

/// The encoder's weights at the run's last checkpoint.
fn encoder(folder: &Path, out: &str) -> BTreeMap<String, Tensor> {
    let path = folder
        .join(out)
        .join("checkpoints/step-6/encoder.safetensors");
    Tensor::read_safetensors(path)
        .unwrap()
        .into_iter()
        .collect()
}

#[test]
fn packed_rows_and_steps_of_read_words_alone_train_as_padded_rows_and_dense_steps_do() {
    let folder = workplace();
    let folder = folder.path();
    let undropped = ["training.dropout=0", "training.head_dropout=0"];
    for engine in ["fast", "padded"] {
        let own = [&format!("engine={engine}"), "training.precision=fp32"];
        train(folder, engine, &[&undropped[..], &own].concat());
    }
    let (fast, padded) = (encoder(folder, "fast"), encoder(folder, "padded"));
    assert_eq!(fast.len(), padded.len());
    for (name, fast) in &fast {
        // Six steps at 1e-4 move a weight by up to 6e-4.
        let difference = f64::try_from((fast - &padded[name]).abs().max()).unwrap();
        assert!(difference < 1e-5, "{name}: {difference}");
    }
    // Most words are in no batch: decay alone moves them, in both the same.
    let name = "embeddings.word_embeddings.weight";
    let differs = (&fast[name] - &padded[name]).abs().amax([1], false).gt(0.0);
    let differing = i64::try_from(differs.sum(tch::Kind::Int64)).unwrap();
    assert!((1..1000).contains(&differing), "{differing} words differ");
    // From copies of the matrices in half precision too.
    let half = ["engine=padded", "training.precision=bf16"];
    train(folder, "half", &[&undropped[..], &half].concat());
    assert_moved_alike(&padded, &encoder(folder, "half"));
}

#[test]
fn bfloat16_trains_close_to_float32_and_the_same_each_time() {
    let folder = workplace();
    let folder = folder.path();
    train(folder, "fp32", &["training.precision=fp32"]);
    for out in ["bf16", "again"] {
        train(folder, out, &["training.precision=bf16"]);
    }
    assert_eq!(weights(folder, "bf16"), weights(folder, "again"));
    let (fp32, bf16) = (encoder(folder, "fp32"), encoder(folder, "bf16"));
    for (name, fp32) in &fp32 {
        let difference = f64::try_from((fp32 - &bf16[name]).abs().max()).unwrap();
        assert!(difference < 1.2e-3, "{name}: {difference}");
    }
    assert_moved_alike(&fp32, &bf16);
}

/// Adam's steps have a size of their own; in what direction they go is what must agree.
fn assert_moved_alike(a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>) {
    let start = Tensor::read_safetensors(common::minilm().join("model.safetensors")).unwrap();
    let start: BTreeMap<String, Tensor> = start.into_iter().collect();
    for part in ["attention.self.key", "intermediate.dense"] {
        let name = format!("encoder.layer.3.{part}.weight");
        let moved = |all: &BTreeMap<String, Tensor>| (&all[&name] - &start[&name]).view([-1]);
        let cosine = Tensor::cosine_similarity(&moved(a), &moved(b), 0, 1e-12);
        let cosine = f64::try_from(cosine).unwrap();
        assert!(cosine > 0.9, "{name}: {cosine}");
    }
}

#[test]
fn what_is_frozen_stands_still_and_the_rest_learns() {
    let folder = workplace();
    let folder = folder.path();
    let freeze = "training.freeze={embeddings: true, layers: 3}";
    for (out, rate) in [("slow", "5e-5"), ("fast", "2e-4")] {
        let rate = format!("training.learning_rate={rate}");
        train(folder, out, &["method=multitask", freeze, &rate]);
    }
    let (slow, fast) = (encoder(folder, "slow"), encoder(folder, "fast"));
    let frozen = [
        "embeddings.",
        "encoder.layer.0.",
        "encoder.layer.1.",
        "encoder.layer.2.",
    ];
    for (name, tensor) in &slow {
        let stands = frozen.iter().any(|part| name.contains(part));
        // A key's bias moves nothing: softmax does not see it.
        if stands || !name.ends_with("key.bias") {
            assert_eq!(tensor == &fast[name], stands, "{name}");
        }
    }
    let failed = run(
        folder,
        &["train", "c.yaml", "--set", "training.freeze={layers: 7}"],
    );
    assert_eq!(failed.status.code(), Some(2));
    assert!(text(&failed.stderr).contains("`training.freeze.layers`: 7, but the encoder has 6"));
}

#[test]
fn gradient_checkpointing_changes_no_weight() {
    let folder = workplace();
    let folder = folder.path();
    for engine in ["engine=fast", "engine=padded"] {
        train(folder, "kept", &[engine]);
        let again = [engine, "training.gradient_checkpointing=true"];
        train(folder, "computed", &again);
        // Under dropout: a layer that is computed again drops the same.
        assert_eq!(weights(folder, "kept"), weights(folder, "computed"));
        for out in ["kept", "computed"] {
            std::fs::remove_dir_all(folder.join(out)).unwrap();
        }
    }
    let sets = ["--set", "training.gradient_checkpointing=true"];
    let sets = [&sets[..], &["--set", "engine=reference"]].concat();
    let line = fails(folder, &[&["train", "c.yaml"], &sets[..]].concat(), 2);
    assert!(line.contains("engine `reference`"), "{line}");
}

#[test]
fn fp16_leaves_steps_that_overflow_out_and_resumes_with_its_loss_scale() {
    let folder = workplace();
    let folder = folder.path();
    let tiny = common::root().join("tests/fixtures/legacy-bert");
    let tiny = format!("encoder={}", tiny.display());
    let fp16 = [&tiny, "training.max_length=16", "training.precision=fp16"];
    train(folder, "whole", &fp16);
    let state = |step: u64| {
        let name = format!("whole/checkpoints/step-{step}/optimizer.safetensors");
        let tensors = Tensor::read_safetensors(folder.join(name)).unwrap();
        let tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
        let number = |key: &str| f64::try_from(&tensors[key]).unwrap();
        let steps =
            number("heads/DemoSentiment.bias/step") + number("heads/DemoSimilarity.bias/step");
        (
            steps,
            number("loss_scale/scale"),
            number("loss_scale/good_steps"),
        )
    };
    // A step counts where its gradients were finite; each of the others halved 2^16.
    let (steps, scale, good) = state(6);
    let halved = (65536.0 / scale).log2();
    assert_eq!(steps + halved, 6.0, "{scale}");
    assert!(steps >= 1.0 && good <= steps, "{steps} {good}");
    // A run that was cut off after its third step.
    let config = folder.join("cut");
    let cut = [&fp16[..], &["checkpoints.keep=9"]].concat();
    train(folder, "cut", &cut);
    std::fs::remove_dir_all(config.join("checkpoints/step-6")).unwrap();
    std::fs::remove_file(config.join("results.json")).unwrap();
    let mut args = vec!["train", "c.yaml", "--out", "cut", "--resume"];
    cut.iter().for_each(|set| args.extend(["--set", set]));
    let output = run(folder, &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(weights(folder, "cut"), weights(folder, "whole"));
}

#[test]
fn bench_counts_what_it_trains_on_and_writes_a_profile() {
    let folder = workplace();
    let folder = folder.path();
    let args = ["bench", "c.yaml", "--json", "--profile", "trace.json"];
    let output = run(folder, &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    let costs: Value = serde_json::from_slice(&output.stdout).unwrap();
    // An epoch: 48 rows of each of two tasks.
    assert_eq!((&costs["rows"], &costs["steps"]), (&96.into(), &12.into()));
    let number = |key: &str| costs[key].as_f64().unwrap();
    assert!(number("tokens") <= number("padded_tokens"));
    assert_eq!(
        number("density"),
        number("tokens") / number("padded_tokens")
    );
    assert_eq!(
        number("tokens_per_second"),
        number("tokens") / number("seconds")
    );
    assert!(number("peak_host_bytes") > 1e8);
    assert!((0.01..1.5).contains(&number("utilisation")), "{costs}");
    let stages = costs["stages"].as_array().unwrap();
    let share: f64 = stages.iter().map(|stage| stage[1].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-9);
    let trace = json(&folder.join("trace.json"));
    let events = trace["traceEvents"].as_array().unwrap();
    assert!(events.iter().any(|event| event["name"] == "aten::mm"));
    assert!(!folder.join("runs").exists());
}

#[test]
fn an_error_as_metric_counts_the_lower_the_better() {
    let folder = workplace();
    let folder = folder.path();
    let builtin = common::root().join("configs/tasks/DemoSimilarity.yaml");
    let own = std::fs::read_to_string(builtin)
        .unwrap()
        .replace("[pearson, spearman]", "[mean_squared_error]");
    std::fs::write(folder.join("Own.yaml"), own + "folder: DemoSimilarity\n").unwrap();
    train(
        folder,
        "run",
        &["tasks=[Own.yaml]", "evaluation.every=1 step"],
    );
    let errors: Vec<f64> = evaluations(folder, "run")
        .iter()
        .map(|line| line["dev"]["Own"]["mean_squared_error"].as_f64().unwrap())
        .collect();
    let best = errors.iter().copied().fold(f64::INFINITY, f64::min);
    let dev = &json(&folder.join("run/results.json"))["tasks"]["Own"]["dev"];
    assert!(errors.iter().any(|&error| error > best));
    assert_eq!(dev["mean_squared_error"], best);
    assert_eq!(dev["score"], -best);
}

#[test]
fn evaluate_and_predict_agree_with_the_results_of_training() {
    let folder = workplace();
    let folder = folder.path();
    train(folder, "run", &[]);
    let results = json(&folder.join("run/results.json"));
    let output = run(folder, &["evaluate", "run", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let evaluated: Value = serde_json::from_slice(&output.stdout).unwrap();
    for task in ["DemoSentiment", "DemoSimilarity"] {
        assert_eq!(evaluated["tasks"][task], results["tasks"][task]["dev"]);
    }

    // Predictions on the dev file, counted by hand, give the same accuracy. A run folder needs
    // neither the encoder nor the data.
    let dev = folder.join("demo/DemoSentiment/dev.tsv");
    let dev_text = std::fs::read_to_string(&dev).unwrap();
    std::fs::rename(folder.join("demo"), folder.join("moved")).unwrap();
    std::fs::write(folder.join("rows.tsv"), &dev_text).unwrap();
    let output = covalign(
        folder,
        &["predict", "run", "--task", "DemoSentiment", "rows.tsv"],
    )
    .args(["--format", "jsonl", "--probabilities"])
    .env("COVALIGN_HOME", folder.join("nothing-here"))
    .output()
    .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let predictions: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let header: Vec<&str> = dev_text.lines().next().unwrap().split('\t').collect();
    let column = header.iter().position(|name| *name == "label").unwrap();
    let gold: Vec<&str> = dev_text
        .lines()
        .skip(1)
        .map(|line| line.split('\t').nth(column).unwrap())
        .collect();
    assert_eq!(predictions.len(), gold.len());
    let right = predictions
        .iter()
        .zip(&gold)
        .filter(|(p, g)| p["prediction"] == **g)
        .count();
    let accuracy = results["tasks"]["DemoSentiment"]["dev"]["accuracy"]
        .as_f64()
        .unwrap();
    assert!((right as f64 / gold.len() as f64 - accuracy).abs() < 1e-9);
    for prediction in &predictions {
        let all = prediction["probabilities"].as_object().unwrap().values();
        let sum: f64 = all.map(|p| p.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-9);
    }
}

#[test]
fn every_schedule_form_and_method_trains() {
    let folder = workplace();
    let folder = folder.path();
    // A two-layer encoder: what is trained matters here, not how well.
    let tiny = common::root().join("tests/fixtures/legacy-bert");
    let tiny = format!("encoder={}", tiny.display());
    let short = "training.max_steps=4";
    let variants: &[(&str, &[&str])] = &[
        ("fixed", &["alignment.schedule=fixed_encoder", short]),
        (
            "turns",
            &[
                "alignment.schedule=alternating",
                "alignment.alternate_every=1",
                short,
            ],
        ),
        (
            "low",
            &["alignment.rank=8", "alignment.decay_to_identity=0.1", short],
        ),
        ("diagonal", &["alignment.form=diagonal", short]),
        ("rotation", &["alignment.form=orthogonal", short]),
        (
            "uniform",
            &["sampling.strategy=uniform", "training.accumulate=2", short],
        ),
        ("reference", &["engine=reference", short]),
        ("bf16", &["training.precision=bf16", short]),
        (
            "autocast",
            &["training.precision=bf16", "engine=padded", short],
        ),
        ("tokens", &["training.batch_tokens=64", short]),
        ("single", &["method=single", short]),
    ];
    for (out, sets) in variants {
        train(
            folder,
            out,
            &[*sets, &[&tiny, "training.max_length=16"]].concat(),
        );
        let results = json(&folder.join(out).join("results.json"));
        assert_eq!(results["tasks"].as_object().unwrap().len(), 2, "{out}");
    }
    assert!(folder
        .join("single/DemoSimilarity/best/encoder.safetensors")
        .is_file());
    let output = run(folder, &["evaluate", "single"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn wrong_input_is_one_line_with_exit_code_2_and_leaves_nothing_behind() {
    let folder = workplace();
    let folder = folder.path();
    let line = |sets: &[&str]| refused(folder, sets);
    assert!(line(&["training.lerning_rate=1"]).contains("did you mean `learning_rate`?"));
    assert!(line(&["training.batch_size=many"]).contains("training.batch_size"));
    assert!(line(&["training.epochs=0"]).contains("training.epochs"));
    assert!(line(&["training.scores=units"]).contains("training.scores"));
    assert!(line(&["tasks=[DemoSentimnt]"]).contains("DemoSentiment"));
    assert!(line(&["encoder=nowhere"]).contains("covalign encoder fetch"));
    assert!(line(&["data=nowhere"]).contains("nowhere"));
    assert!(line(&["training.device=cuda:9"]).contains("cuda:9"));
    assert!(line(&["training.max_length=600"]).contains("512"));
    std::fs::write(
        folder.join("bad.yaml"),
        "tasks: [DemoSentiment]\n\nmetod: single\n",
    )
    .unwrap();
    let error = fails(folder, &["train", "bad.yaml", "--out", "x"], 2);
    assert!(
        error.contains("bad.yaml:3") && error.contains("`method`"),
        "{error}"
    );
    assert!(fails(folder, &["train", "none.yaml"], 2).contains("none.yaml"));
    assert!(fails(folder, &["evaluate", "demo"], 2).contains("config.yaml"));

    let rows = folder.join("demo/DemoSentiment/train.tsv");
    let whole = std::fs::read_to_string(&rows).unwrap();
    std::fs::write(&rows, whole.replacen("\t1\n", "\tone\n", 1)).unwrap();
    let error = line(&[]);
    assert!(
        error.contains("train.tsv:") && error.contains("one"),
        "{error}"
    );
    std::fs::write(&rows, whole).unwrap();

    train(folder, "good", &[]);
    let weights = folder.join("good/best_per_task/DemoSentiment/heads.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() - 9]).unwrap();
    let error = fails(folder, &["evaluate", "good", "--task", "DemoSentiment"], 2);
    assert!(
        error.contains("heads.safetensors") && error.contains("damaged"),
        "{error}"
    );
    let error = fails(folder, &["predict", "good", "--task", "CoLA"], 2);
    assert!(error.contains("DemoSentiment, DemoSimilarity"), "{error}");
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_with_its_step_task_and_rows() {
    let folder = workplace();
    let sets = [
        "training.learning_rate=1e30",
        "training.clip_norm=0",
        "training.warmup=0",
    ];
    let mut args = vec!["train", "c.yaml", "--out", "x"];
    sets.iter().for_each(|set| args.extend(["--set", set]));
    let line = fails(folder.path(), &args, 1);
    assert!(
        line.contains("step") && line.contains("Demo") && line.contains("lines"),
        "{line}"
    );
}

#[test]
fn the_readmes_own_task_checks_trains_and_predicts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let readme = std::fs::read_to_string(common::root().join("README.md")).unwrap();
    let start = readme.find("name: Tickets").unwrap();
    let task = readme[start..].split("```").next().unwrap();
    std::fs::write(folder.join("Tickets.yaml"), task).unwrap();
    std::fs::create_dir_all(folder.join("data/Tickets")).unwrap();
    let rows =
        "text,team\n\"where is it, please?\",shipping\ncharged twice,billing\nsend back,returns\n";
    for file in ["train.csv", "dev.csv"] {
        std::fs::write(folder.join("data/Tickets").join(file), rows).unwrap();
    }
    let checked = run(folder, &["data", "check", "data", "--task", "Tickets.yaml"]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    std::fs::write(folder.join("c.yaml"), CONFIG).unwrap();
    train(folder, "run", &["tasks=[Tickets.yaml]", "data=data"]);
    std::fs::remove_file(folder.join("Tickets.yaml")).unwrap();
    std::fs::write(folder.join("new.txt"), "where is my parcel\n").unwrap();
    let output = run(
        folder,
        &[
            "predict",
            "run",
            "--task",
            "Tickets",
            "new.txt",
            "--probabilities",
        ],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    assert!(
        table.starts_with("line\tprediction\tp(billing)\tp(shipping)\tp(returns)\n1\t"),
        "{table}"
    );
}

#[test]
fn every_shipped_config_reads_and_names_tasks_that_there_are() {
    let mut count = 0;
    for entry in std::fs::read_dir(common::root().join("configs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let config = covalign::config::Config::load(&path, &[]).unwrap();
            covalign::train::tasks::load_tasks(&config).unwrap();
            let again = covalign::config::Config::parse(&config.to_yaml().unwrap(), "again", &[]);
            assert_eq!(again.unwrap(), config);
            count += 1;
        }
    }
    assert!(count >= 5);
}

#[test]
fn no_test_computes_on_a_gpu_that_happens_to_be_there() {
    let folder = workplace();
    let line = refused(folder.path(), &["training.device=cuda"]);
    assert!(line.contains("hidden by CUDA_VISIBLE_DEVICES"), "{line}");
    let shown = train(folder.path(), "r", &["training.device=auto"]);
    assert!(shown.contains(" tokens/s on cpu "), "{shown}");
    for file in std::fs::read_dir(common::root().join("tests")).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let starts = text.matches("env!(\"CARGO_BIN_EXE").count();
        let hidden = text.matches("CUDA_VISIBLE_DEVICES\", \"\")").count();
        assert!(hidden >= starts, "{}", path.display());
    }
}
