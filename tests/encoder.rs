//! The shared module computes what transformers computes, from every kind of file.

mod common;

use std::path::{Path, PathBuf};

use covalign::config::alignment::{Form, Start};
use covalign::config::Engine;
use covalign::data::{Batch, Example, Intake, TokenizedSplit, Tokenizer};
use covalign::libtorch;
use covalign::model::alignment::Alignment;
use covalign::model::bert::config as encoder_config;
use covalign::model::bert::Bert;
use covalign::model::encoder::{Encoder, Limits};
use covalign::model::{fit, weights, Mode};
use covalign::train::say::spectrum::Spectrum;
use serde_json::Value;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// The rows of a fixture, and the pooled outputs that transformers gave for them.
fn recorded(path: &Path) -> (Vec<(Vec<i32>, usize)>, Tensor) {
    let json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let rows: Vec<_> = json["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let ids = row["ids"].as_array().unwrap();
            let ids = ids.iter().map(|v| v.as_i64().unwrap() as i32).collect();
            (ids, row["second_segment_at"].as_u64().unwrap() as usize)
        })
        .collect();
    let pooled: Vec<f32> = json["pooled"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|v| v.as_f64().unwrap() as f32)
        .collect();
    let shape = [rows.len() as i64, -1];
    (rows, Tensor::from_slice(&pooled).view(shape))
}

/// The rows as the encoder's engine takes them.
fn batch(encoder: &Bert, rows: &[(Vec<i32>, usize)]) -> Batch {
    let rows: Vec<_> = rows.iter().map(|(ids, at)| (&ids[..], *at)).collect();
    Batch::new(&rows, encoder.batch_shape(0), Device::Cpu).unwrap()
}

fn pooled(encoder: &Bert, rows: &[(Vec<i32>, usize)]) -> Tensor {
    let batch = batch(encoder, rows);
    tch::no_grad(|| {
        let embedded = encoder.embed(&batch, None, Mode::Evaluate).unwrap();
        encoder.pooled(&embedded, &batch, Mode::Evaluate).unwrap()
    })
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    f64::try_from((a - b).abs().max()).unwrap()
}

fn load(folder: &Path, engine: Engine) -> Bert {
    Bert::load(folder, None, engine, Device::Cpu, 1).unwrap().0
}

#[test]
fn minilm_equals_transformers_from_safetensors_and_from_rust_berts_format() {
    let folder = common::minilm();
    let (rows, expected) = recorded(&fixture("minilm.json"));
    for engine in [Engine::Fast, Engine::Padded, Engine::Reference] {
        let encoder = load(&folder, engine);
        let difference = largest_difference(&pooled(&encoder, &rows), &expected);
        assert!(difference < 1e-5, "{engine:?}: {difference}");
    }
    let ot = tempfile::tempdir().unwrap();
    let tensors: Vec<_> = Tensor::read_safetensors(folder.join("model.safetensors"))
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| (format!("bert.{name}"), tensor))
        .collect();
    Tensor::save_multi(&tensors, ot.path().join("rust_model.ot")).unwrap();
    std::fs::copy(folder.join("config.json"), ot.path().join("config.json")).unwrap();
    let encoder = load(ot.path(), Engine::Fast);
    assert!(largest_difference(&pooled(&encoder, &rows), &expected) < 1e-5);
}

#[test]
fn a_pickled_checkpoint_with_legacy_names_equals_transformers() {
    let folder = fixture("legacy-bert");
    let (rows, expected) = recorded(&folder.join("expected.json"));
    let (encoder, report) = Bert::load(&folder, None, Engine::Fast, Device::Cpu, 1).unwrap();
    assert!(largest_difference(&pooled(&encoder, &rows), &expected) < 1e-5);
    assert_eq!(report.ignored, ["cls.predictions.bias"]);
    assert!(report.fresh.is_empty());
}

#[test]
fn a_missing_pooler_is_made_fresh_and_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let source = fixture("legacy-bert");
    std::fs::copy(
        source.join("config.json"),
        folder.path().join("config.json"),
    )
    .unwrap();
    let tensors: Vec<_> = weights::read(&source.join("pytorch_model.bin"))
        .unwrap()
        .into_iter()
        .filter(|(name, _)| !name.starts_with("pooler"))
        .collect();
    Tensor::write_safetensors(&tensors, folder.path().join("model.safetensors")).unwrap();
    let (first, report) = Bert::load(folder.path(), None, Engine::Fast, Device::Cpu, 1).unwrap();
    assert_eq!(report.fresh, ["pooler.dense.bias", "pooler.dense.weight"]);
    let spread = first.variables.variables()["pooler.dense.weight"].std(true);
    let spread = f64::try_from(spread).unwrap();
    assert!((0.015..0.025).contains(&spread), "{spread}");
}

#[test]
fn damaged_and_misfitting_weights_are_input_errors_that_say_what() {
    let source = fixture("legacy-bert");
    let folder = tempfile::tempdir().unwrap();
    let config = std::fs::read_to_string(source.join("config.json")).unwrap();
    let attempt = |config: &str, weights: &[u8]| -> String {
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        std::fs::write(folder.path().join("pytorch_model.bin"), weights).unwrap();
        let error = Bert::load(folder.path(), None, Engine::Fast, Device::Cpu, 1);
        let error = error.err().expect("an error");
        assert_eq!(covalign::error::exit_code(&error), 2);
        let line = covalign::error::one_line(&error);
        assert!(line.len() < 400 && !line.contains("frame #"), "{line}");
        line
    };
    let whole = std::fs::read(source.join("pytorch_model.bin")).unwrap();
    assert!(attempt(&config, &[]).contains("empty"));
    assert!(attempt(&config, &whole[..whole.len() / 2]).contains("truncated"));
    let wider = config.replace("\"intermediate_size\": 64", "\"intermediate_size\": 65");
    let line = attempt(&wider, &whole);
    assert!(
        line.contains("encoder.layer.0.intermediate.dense") && line.contains("65"),
        "{line}"
    );
    let deeper = config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    assert!(attempt(&deeper, &whole).contains("encoder.layer.2."));
    let roberta = config.replace("\"bert\"", "\"roberta\"");
    assert!(attempt(&roberta, &whole).contains("roberta"));
}

/// Loss and gradients through an alignment and the encoder without dropout.
fn gradients(engine: Engine) -> Vec<(String, Tensor)> {
    let folder = fixture("legacy-bert");
    let (rows, _) = recorded(&folder.join("expected.json"));
    let encoder = load(&folder, engine);
    let batch = batch(&encoder, &rows);
    let embedded = encoder.embed(&batch, None, Mode::Evaluate).unwrap();
    let pooled = encoder.pooled(&embedded, &batch, Mode::Evaluate).unwrap();
    pooled.square().sum(Kind::Float).backward();
    let mut all = Vec::new();
    for parameter in encoder.parameters() {
        let gradient = parameter.leaf.grad();
        match parameter.name.split_once("query_key_value") {
            Some((layer, part)) => {
                let names = ["query", "key", "value"].map(|n| format!("{layer}{n}{part}"));
                all.extend(names.into_iter().zip(gradient.chunk(3, 0)));
            }
            None => all.push((parameter.name, gradient)),
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn gradients_equal_rust_berts() {
    let reference = gradients(Engine::Reference);
    for engine in [Engine::Fast, Engine::Padded] {
        let ours = gradients(engine);
        assert_eq!(ours.len(), reference.len());
        for ((name, ours), (expected_name, expected)) in ours.iter().zip(&reference) {
            assert_eq!(name, expected_name);
            let scale = f64::try_from(expected.abs().max()).unwrap();
            let difference = largest_difference(ours, expected);
            assert!(
                difference < 1e-5 * scale.max(1.0),
                "{engine:?} {name}: {difference} of {scale}"
            );
        }
    }
}

#[test]
fn an_encoder_with_random_weights_is_fixed_by_its_seed_and_loads() {
    let folder = tempfile::tempdir().unwrap();
    let config = fixture("legacy-bert").join("config.json");
    let config = config.to_str().unwrap();
    let vocabulary = fixture("legacy-bert");
    let vocabulary = vocabulary.to_str().unwrap();
    let given = ["--config", config, "--vocabulary", vocabulary, "--seed"];
    for (name, seed) in [("one", "1"), ("again", "1"), ("two", "2")] {
        let args = [&["encoder", "init", name], &given[..], &[seed]].concat();
        let output = common::run(folder.path(), &args);
        let errors = common::text(&output.stderr);
        assert!(output.status.success(), "{errors}");
    }
    let weights = |name: &str| std::fs::read(folder.path().join(name).join("model.safetensors"));
    assert_eq!(weights("one").unwrap(), weights("again").unwrap());
    assert_ne!(weights("one").unwrap(), weights("two").unwrap());
    let path = folder.path().join("one");
    let (encoder, report) = Bert::load(&path, None, Engine::Fast, Device::Cpu, 7).unwrap();
    assert!(report.fresh.is_empty() && report.ignored.is_empty());
    let table = &encoder.variables.variables()["embeddings.word_embeddings.weight"];
    let deviation = f64::try_from(table.std(false)).unwrap();
    assert!((deviation - 0.02).abs() < 0.002, "{deviation}");

    let args = [&["encoder", "init", "one"], &given[..], &["1"]].concat();
    assert!(common::fails(folder.path(), &args, 2).contains("is there already"));
}

/// The legacy encoder without tokenizer_config.json, and with its vocabulary in `files`.
fn encoder_folder(folder: &Path, files: &[(&str, &str)]) {
    std::fs::create_dir_all(folder).unwrap();
    for file in ["config.json", "pytorch_model.bin"] {
        std::fs::copy(fixture("legacy-bert").join(file), folder.join(file)).unwrap();
    }
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
}

fn legacy_words() -> String {
    std::fs::read_to_string(fixture("legacy-bert").join("vocab.txt")).unwrap()
}

/// The legacy vocabulary as a tokenizer.json of BERT's.
fn legacy_tokenizer_json(lower: bool) -> String {
    let words = legacy_words();
    let ids: serde_json::Map<String, Value> = words
        .lines()
        .map(str::to_owned)
        .zip(0..)
        .map(|(w, i)| (w, i.into()))
        .collect();
    serde_json::json!({
        "version": "1.0",
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": lower},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", "vocab": ids},
    })
    .to_string()
}

#[test]
fn a_run_of_a_folder_that_is_cased_by_its_name_is_evaluated_as_it_was_trained() {
    let folder = common::workplace();
    let folder = folder.path();
    encoder_folder(
        &folder.join("mini-cased"),
        &[("vocab.txt", &legacy_words())],
    );
    let said = "taken as cased by the folder's name";
    let sets = ["encoder=mini-cased", "training.max_length=16"];
    common::train(folder, "r", &sets);
    let log = std::fs::read_to_string(folder.join("r/log.txt")).unwrap();
    assert_eq!(log.matches(said).count(), 1, "{log}");
    let config = common::json(&folder.join("r/encoder/tokenizer_config.json"));
    assert_eq!(config["do_lower_case"], false);
    let output = common::run(folder, &["evaluate", "r", "--json"]);
    let errors = common::text(&output.stderr);
    assert!(
        output.status.success() && !errors.contains("taken as"),
        "{errors}"
    );
    let evaluated: Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = common::json(&folder.join("r/results.json"));
    for task in ["DemoSentiment", "DemoSimilarity"] {
        assert_eq!(
            evaluated["tasks"][task], results["tasks"][task]["dev"],
            "{task}"
        );
    }
    let tokenizer = |folder: &Path| Tokenizer::from_folder(folder).unwrap();
    let print = tokenizer(&folder.join("mini-cased"))
        .fingerprint()
        .to_owned();
    assert_eq!(tokenizer(&folder.join("r/encoder")).fingerprint(), print);

    // An encoder with that vocabulary has its casing too.
    let shape = fixture("legacy-bert").join("config.json");
    let shape = shape.to_str().unwrap();
    let args = [
        "encoder",
        "init",
        "fresh",
        "--config",
        shape,
        "--vocabulary",
        "mini-cased",
    ];
    let output = common::run(folder, &args);
    assert!(output.status.success(), "{}", common::text(&output.stderr));
    assert_eq!(tokenizer(&folder.join("fresh")).fingerprint(), print);
    let output = common::run(folder, &["encoder", "inspect", "mini-cased"]);
    let printed = common::text(&output.stdout);
    assert!(
        printed.contains("BERT's WordPiece, cased; no added tokens"),
        "{printed}"
    );
    assert!(printed.contains(said), "{printed}");
}

#[test]
fn an_encoder_without_vocab_txt_trains_starts_runs_and_gives_its_tokenizer() {
    let folder = common::workplace();
    let folder = folder.path();
    let full = legacy_tokenizer_json(false);
    encoder_folder(&folder.join("plain"), &[("tokenizer.json", &full)]);
    let shape = fixture("legacy-bert").join("config.json");
    let shape = shape.to_str().unwrap();
    let args = [
        "encoder",
        "init",
        "enc",
        "--config",
        shape,
        "--vocabulary",
        "plain",
    ];
    let output = common::run(folder, &args);
    assert!(output.status.success(), "{}", common::text(&output.stderr));
    let sets = ["training.max_length=16", "training.max_steps=2"];
    common::train(folder, "first", &[&sets[..], &["encoder=enc"]].concat());
    let start = "start.run=first";
    common::train(
        folder,
        "second",
        &[&sets[..], &["encoder=enc", start]].concat(),
    );

    // The same words by the same numbers, but lower-cased, are another tokenizer.
    encoder_folder(
        &folder.join("lower"),
        &[("tokenizer.json", &legacy_tokenizer_json(true))],
    );
    let other = [&sets[..], &["encoder=lower", start]].concat();
    let line = common::refused(folder, &other);
    assert!(line.contains("another tokenizer"), "{line}");
    assert!(
        line.contains("cased; no added tokens") && line.contains("lower-cased"),
        "{line}"
    );
}

#[test]
fn keys_of_config_json_that_nothing_reads_may_hold_anything() {
    let folder = tempfile::tempdir().unwrap();
    let config = common::json(&fixture("legacy-bert").join("config.json"));
    let read = |changes: Value| {
        let mut config = config.clone();
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        encoder_config::read(folder.path())
    };
    let shape = read(serde_json::json!({
        "id2label": 5, "label2id": {"a": "x"}, "output_attentions": "no", "output_hidden_states": [],
        "classifier_dropout": null, "position_embedding_type": null, "is_decoder": null,
        "quantization_config": {"layer_norm_eps": "1e-5", "hidden_size": {}}, "more": [null, {}],
    }));
    assert_eq!(shape.unwrap().hidden_size, 32);
    for (change, expected) in [
        (
            serde_json::json!({"hidden_size": "32"}),
            "key `hidden_size`",
        ),
        (
            serde_json::json!({"num_hidden_layers": null}),
            "key `num_hidden_layers`",
        ),
        (
            serde_json::json!({"layer_norm_eps": "1e-5"}),
            "layer_norm_eps is \"1e-5\"",
        ),
        (
            serde_json::json!({"layer_norm_eps": 1e-5}),
            "layer_norm_eps is 0.00001",
        ),
        (serde_json::json!({"is_decoder": true}), "is_decoder"),
        (serde_json::json!({"model_type": "roberta"}), "roberta"),
    ] {
        let error = read(change).unwrap_err();
        assert_eq!(covalign::error::exit_code(&error), 2);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// MiniLM with much dropout, and rows for it.
fn dropping() -> (Bert, Batch) {
    let (rows, _) = recorded(&fixture("minilm.json"));
    let dropout = Some(0.3);
    let encoder = Bert::load(&common::minilm(), dropout, Engine::Fast, Device::Cpu, 1);
    let encoder = encoder.unwrap().0;
    let batch = batch(&encoder, &rows);
    (encoder, batch)
}

#[test]
fn dropout_drops_its_share_and_scales_up_the_rest() {
    let (encoder, batch) = dropping();
    let embed = |mode| tch::no_grad(|| encoder.embed(&batch, None, mode).unwrap());
    let whole = embed(Mode::Evaluate);
    let first = embed(Mode::Train { seed: 5 });
    let kept = first.not_equal(0.0);
    let scaled = &whole * kept.to_kind(Kind::Float) / 0.7;
    assert!(largest_difference(&first, &scaled) < 1e-5);
    // A binomial share: five standard deviations.
    let n = kept.numel() as f64;
    let share = f64::try_from(kept.mean(Kind::Double)).unwrap();
    let bound = 5.0 * (0.3 * 0.7 / n).sqrt();
    assert!((share - 0.7).abs() < bound, "{share} of {n} kept");
    // Neighbours are independent, and so are seeds.
    let second = embed(Mode::Train { seed: 6 }).not_equal(0.0);
    let shifted = kept.roll([1], [1]);
    for other in [second, shifted] {
        let both = f64::try_from(kept.logical_and(&other).mean(Kind::Double)).unwrap();
        assert!((both - 0.49).abs() < 2.0 * bound, "{both} kept in both");
    }
    let again = embed(Mode::Train { seed: 5 });
    assert_eq!(largest_difference(&first, &again), 0.0);
}

#[test]
fn gradients_under_dropout_equal_a_finite_difference() {
    let (encoder, batch) = dropping();
    let mode = Mode::Train { seed: 9 };
    let loss = || {
        let embedded = encoder.embed(&batch, None, mode).unwrap();
        let pooled = encoder.pooled(&embedded, &batch, mode).unwrap();
        // Some weights, so that no two outputs count alike.
        let weights = Tensor::arange(pooled.numel() as i64, (Kind::Float, Device::Cpu)).sin();
        (pooled * weights.view([-1, encoder.config.hidden_size])).sum(Kind::Double)
    };
    loss().backward();
    let variables = encoder.variables.variables();
    for name in [
        "embeddings.position_embeddings.weight",
        "encoder.layer.0.attention.output.dense.weight",
        "encoder.layer.2.intermediate.dense.bias",
        "encoder.layer.4.output.LayerNorm.weight",
        "encoder.layer.5.output.dense.weight",
    ] {
        // Along the gradient itself the slope is its norm.
        let variable = &variables[name];
        let gradient = variable.grad();
        let norm = f64::try_from(gradient.norm().to_kind(Kind::Double)).unwrap();
        let step = 1e-2 / norm.max(1e-6);
        let at = |scale: f64| {
            tch::no_grad(|| {
                let _ = variable
                    .shallow_clone()
                    .f_add_(&(&gradient * scale))
                    .unwrap();
                let value = f64::try_from(loss()).unwrap();
                let _ = variable
                    .shallow_clone()
                    .f_sub_(&(&gradient * scale))
                    .unwrap();
                value
            })
        };
        let slope = (at(step / norm) - at(-step / norm)) / (2.0 * step);
        assert!(
            (slope / norm - 1.0).abs() < 0.02,
            "{name}: {slope} and {norm}"
        );
    }
}

#[test]
fn bfloat16_stays_close_to_float32() {
    let (rows, expected) = recorded(&fixture("minilm.json"));
    for engine in [Engine::Fast, Engine::Padded] {
        let mut encoder = load(&common::minilm(), engine);
        let relative = |encoder: &Bert| {
            let forward = || Ok(pooled(encoder, &rows));
            let pooled = libtorch::autocast(Device::Cpu, Kind::BFloat16, forward).unwrap();
            let error = pooled.to_kind(Kind::Float) - &expected;
            f64::try_from(error.norm() / expected.norm()).unwrap()
        };
        encoder.set_products(Kind::BFloat16).unwrap();
        let half = relative(&encoder);
        // The dtype has 8 bits of mantissa: 2⁻⁹ a rounding, a few dozen of them.
        assert!((1e-5..0.03).contains(&half), "{engine:?} {half}");
        // The copies follow their masters.
        tch::no_grad(|| {
            let name = "encoder.layer.0.attention.self.key.weight";
            let _ = encoder.variables.variables()[name].shallow_clone().zero_();
        });
        assert_eq!(relative(&encoder), half);
        encoder.set_products(Kind::BFloat16).unwrap();
        assert!(relative(&encoder) > 2.0 * half, "{engine:?}");
    }
}

#[test]
fn the_gradient_of_every_form_of_alignment_equals_a_finite_difference() {
    tch::manual_seed(3);
    let forms = [
        Form::Full,
        Form::LowRank(2),
        Form::Diagonal,
        Form::Orthogonal,
    ];
    for form in forms {
        let mut store = VarStore::new(Device::Cpu);
        let alignment = Alignment::new(&store.root(), form, Start::Random, 6, Device::Cpu).unwrap();
        store.double();
        let x = Tensor::randn([2, 3, 6], (Kind::Double, Device::Cpu));
        let target = Tensor::randn([2, 3, 6], (Kind::Double, Device::Cpu));
        let loss = || {
            (alignment.apply(&x).unwrap().tanh() * &target).sum(Kind::Double)
                + alignment.squared_distance_from_identity().unwrap()
        };
        loss().backward();
        for (name, variable) in store.variables() {
            let gradient = variable.grad();
            let flat = variable.view([-1]);
            for i in 0..flat.size()[0].min(7) {
                let shifted = |by: f64| -> f64 {
                    tch::no_grad(|| {
                        let _ = flat.get(i).g_add_scalar_(by);
                        let value = f64::try_from(loss()).unwrap();
                        let _ = flat.get(i).g_add_scalar_(-by);
                        value
                    })
                };
                let expected = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                let actual = f64::try_from(gradient.view([-1]).get(i)).unwrap();
                assert!(
                    (actual - expected).abs() < 1e-7,
                    "{form:?} {name}[{i}]: {actual} {expected}"
                );
            }
        }
    }
}

#[test]
fn every_form_starts_at_the_identity_and_applies_its_own_matrix() {
    tch::manual_seed(4);
    let x = Tensor::randn([2, 3, 6], (Kind::Float, Device::Cpu));
    for form in [
        Form::Full,
        Form::LowRank(2),
        Form::Diagonal,
        Form::Orthogonal,
    ] {
        let store = VarStore::new(Device::Cpu);
        let start = Alignment::new(&store.root(), form, Start::Identity, 6, Device::Cpu).unwrap();
        assert_eq!(start.apply(&x).unwrap(), x, "{form:?} at the start");
        let store = VarStore::new(Device::Cpu);
        let moved = Alignment::new(&store.root(), form, Start::Random, 6, Device::Cpu).unwrap();
        let product = x.matmul(&moved.matrix().unwrap());
        assert!(
            largest_difference(&moved.apply(&x).unwrap(), &product) < 1e-5,
            "{form:?}"
        );
        let departure = moved.departure_on_host().unwrap();
        let values = Spectrum::of("T", &departure).unwrap().values;
        if form == Form::Orthogonal {
            assert!(values.iter().all(|v| (v - 1.0).abs() < 1e-6), "{values:?}");
        }
        let distance = moved.matrix().unwrap() - Tensor::eye(6, (Kind::Float, Device::Cpu));
        let expected = f64::try_from(distance.square().sum(Kind::Float)).unwrap();
        let actual = f64::try_from(moved.squared_distance_from_identity().unwrap()).unwrap();
        assert!((actual - expected).abs() < 1e-6);
    }
}

#[test]
fn rows_that_an_encoder_has_no_embeddings_for_are_refused_with_their_line() {
    let folder = fixture("legacy-bert");
    let tokenizer = Tokenizer::from_folder(&folder).unwrap();
    let row = |text_b: Option<&str>| Example {
        text_a: "a b c d".into(),
        text_b: text_b.map(String::from),
        line: 7,
        ..Example::default()
    };
    let whole = Limits {
        words: tokenizer.vocab_size() as i64,
        positions: Some(16),
        segments: Some(2),
    };
    let checked = |limits, row| {
        let split = TokenizedSplit::from_examples(&[row], &tokenizer, 16).unwrap();
        fit::check_rows(Some(limits), &split, "T").map_err(|e| e.to_string())
    };
    assert_eq!(checked(whole, row(Some("a"))), Ok(()));
    let few = Limits { words: 3, ..whole };
    let texts = Intake::Texts(Box::new(Tokenizer::from_folder(&folder).unwrap()));
    let short = Limits {
        positions: Some(5),
        ..whole
    };
    let single = Limits {
        segments: Some(1),
        ..whole
    };
    for (limits, expected) in [
        (
            few,
            "enc: the vocabulary has 12 entries, the weights have embeddings for 3",
        ),
        (
            short,
            "key `training.max_length`: 16 is more than the 5 positions of enc",
        ),
        (single, "enc: type_vocab_size is below 2"),
    ] {
        let error = fit::check(Some(limits), &texts, 16, Path::new("enc")).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    for (limits, text_b, expected) in [
        (few, None, "has no embedding"),
        (short, None, "6 tokens, but the encoder takes 1 to 5"),
        (single, Some("a"), "type_vocab_size is 1"),
    ] {
        let error = checked(limits, row(text_b)).unwrap_err();
        assert!(error.starts_with("task T, line 7: "), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}
