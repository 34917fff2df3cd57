//! What `covalign export` writes is what the run computes: for transformers (held here by the names,
//! shapes and numbers that it reads; by transformers itself in scripts/check_export.py), and in ONNX.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{fails, json, run, text, train, workplace};
use covalign::config::Engine;
use covalign::data::{Batch, Tokenizer};
use covalign::export::classifier::{Aligned, Classifier, ALIGNMENT};
use covalign::export::onnx;
use covalign::export::onnx::messages::{ModelProto, NodeProto, TensorProto};
use covalign::model::bert::{config as encoder_config, Bert};
use covalign::model::encoder::Encoder;
use covalign::model::Mode;
use prost::Message;
use serde_json::{json, Value};
use tch::{Device, Kind, Tensor};

/// A row's ids, and where in them the second text starts.
type Row = (Vec<i32>, usize);

const COMMENTS: &str = "
name: Comments
labels: {any_of: [good, bad, long]}
metrics: [micro_f1]
layout: {format: csv, text: text, label: [good, bad, long]}
files: {train: comments.csv, dev: comments.csv}
";

/// The demonstration set with a task of several labels a row.
fn with_comments() -> tempfile::TempDir {
    let folder = workplace();
    std::fs::write(folder.path().join("Comments.yaml"), COMMENTS).unwrap();
    let rows = std::fs::read_to_string(folder.path().join("demo/DemoSentiment/dev.tsv")).unwrap();
    let mut table = String::from("text,good,bad,long\n");
    for row in rows.lines().skip(1).take(40) {
        let (sentence, label) = row.split_once('\t').unwrap();
        let (good, long) = (label == "1", sentence.len() > 45);
        let marks = [good, !good, long].map(|holds| u8::from(holds).to_string());
        table += &format!("\"{sentence}\",{}\n", marks.join(","));
    }
    std::fs::write(folder.path().join("demo/comments.csv"), table).unwrap();
    folder
}

fn done(folder: &Path, args: &[&str]) -> String {
    let output = run(folder, args);
    assert!(
        output.status.success(),
        "{args:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// An exported folder, read with covalign's own readers.
struct Exported {
    config: Value,
    classifier: Classifier,
    tokenizer: Tokenizer,
    /// What an encoder made of the folder leaves.
    ignored: Vec<String>,
    bert: Bert,
}

impl Exported {
    fn read(folder: &Path) -> Exported {
        let tensors = Tensor::read_safetensors(folder.join("model.safetensors")).unwrap();
        let tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
        let (bert, report) = Bert::load(folder, None, Engine::Padded, Device::Cpu, 1).unwrap();
        Exported {
            config: json(&folder.join("config.json")),
            classifier: Classifier {
                config: encoder_config::read(folder).unwrap(),
                head_dropout: 0.1,
                aligned: match tensors.contains_key(ALIGNMENT) {
                    true => Aligned::Apart,
                    false => Aligned::No,
                },
                tensors,
            },
            tokenizer: Tokenizer::from_folder(folder).unwrap(),
            ignored: report.ignored,
            bert,
        }
    }

    /// What `BertForSequenceClassification` computes: pooler, then the classifier.
    fn logits(&self, rows: &[(Vec<i32>, usize)]) -> Tensor {
        let rows: Vec<_> = rows.iter().map(|(ids, at)| (&ids[..], *at)).collect();
        let batch = Batch::new(&rows, self.bert.batch_shape(0), Device::Cpu).unwrap();
        let tensors = &self.classifier.tensors;
        tch::no_grad(|| {
            let mut x = self.bert.embed(&batch, None, Mode::Evaluate).unwrap();
            if let Some(matrix) = tensors.get(ALIGNMENT) {
                x = x.matmul(matrix);
            }
            let pooled = self.bert.pooled(&x, &batch, Mode::Evaluate).unwrap();
            let bias = Some(&tensors["classifier.bias"]);
            pooled.linear(&tensors["classifier.weight"], bias)
        })
    }

    /// The tensors' names and sizes, in order.
    fn sizes(&self) -> Vec<(String, Vec<i64>)> {
        let tensors = self.classifier.tensors.iter();
        tensors.map(|(name, t)| (name.clone(), t.size())).collect()
    }
}

/// The answers of `predict --logits` to the first rows of a task's dev file, and their texts' ids.
fn predicted(
    folder: &Path,
    run: &str,
    task: &str,
    file: &str,
    exported: &Exported,
) -> (Vec<(Vec<i32>, usize)>, Tensor) {
    let args = [
        "predict", run, "--task", task, file, "--format", "jsonl", "--logits",
    ];
    let answers = done(folder, &args);
    let (mut rows, mut logits) = (Vec::new(), Vec::new());
    for line in answers.lines().take(24) {
        let answer: Value = serde_json::from_str(line).unwrap();
        let second = answer["second_text"].as_str();
        let encoded = exported
            .tokenizer
            .encode(answer["text"].as_str().unwrap(), second, 32)
            .unwrap();
        rows.push((encoded.ids, encoded.second_segment_at));
        let values = answer["logits"].as_object().unwrap().values();
        logits.extend(values.map(|v| v.as_f64().unwrap() as f32));
    }
    let count = rows.len() as i64;
    (rows, Tensor::from_slice(&logits).view([count, -1]))
}

fn apart(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    f64::try_from((a - b).abs().max()).unwrap()
}

/// Computes a graph with libtorch, operation by operation as ONNX defines them, on padded rows.
fn computed(folder: &Path, rows: &[(Vec<i32>, usize)]) -> Tensor {
    let bytes = std::fs::read(folder.join("model.onnx")).unwrap();
    let model = ModelProto::decode(&bytes[..]).unwrap();
    assert!(model.ir_version >= 8 && model.opset_import[0].version >= 17);
    let graph = model.graph.unwrap();
    let longest = rows.iter().map(|(ids, _)| ids.len()).max().unwrap();
    let inputs = |of: &dyn Fn(&Row, usize) -> i64| {
        let padded = rows
            .iter()
            .flat_map(|row| (0..longest).map(move |at| (row, at)));
        let values: Vec<i64> = padded
            .map(|(row, at)| if at < row.0.len() { of(row, at) } else { 0 })
            .collect();
        Tensor::from_slice(&values).view([rows.len() as i64, longest as i64])
    };
    let mut values: BTreeMap<String, Tensor> = BTreeMap::new();
    values.insert("input_ids".into(), inputs(&|row, at| row.0[at].into()));
    values.insert("attention_mask".into(), inputs(&|_, _| 1));
    values.insert(
        "token_type_ids".into(),
        inputs(&|row, at| i64::from(at >= row.1)),
    );
    for input in &graph.input {
        let shape = input.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
        let dims = &shape.shape.as_ref().unwrap().dim;
        assert!(dims.iter().all(|dim| dim.dim_param.is_some()), "{dims:?}");
        assert!(values.contains_key(&input.name));
    }
    for initializer in &graph.initializer {
        values.insert(initializer.name.clone(), constant(folder, initializer));
    }
    let used: Vec<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
    for initializer in &graph.initializer {
        assert!(used.contains(&&initializer.name), "{}", initializer.name);
    }
    for node in &graph.node {
        let inputs: Vec<&Tensor> = node.input.iter().map(|name| &values[name]).collect();
        let output = operation(node, &inputs);
        values.insert(node.output[0].clone(), output);
    }
    assert_eq!(graph.output[0].name, "logits");
    values.remove("logits").unwrap()
}

fn constant(folder: &Path, tensor: &TensorProto) -> Tensor {
    let mut bytes = tensor.raw_data.clone();
    if tensor.data_location == 1 {
        let of = |key: &str| {
            let entry = tensor.external_data.iter().find(|entry| entry.key == key);
            entry.unwrap().value.clone()
        };
        let whole = std::fs::read(folder.join(of("location"))).unwrap();
        let at: usize = of("offset").parse().unwrap();
        bytes = whole[at..at + of("length").parse::<usize>().unwrap()].to_vec();
    }
    let kind = if tensor.data_type == 7 {
        Kind::Int64
    } else {
        Kind::Float
    };
    Tensor::from_data_size(&bytes, &tensor.dims, kind)
}

fn operation(node: &NodeProto, inputs: &[&Tensor]) -> Tensor {
    let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name);
    let int = |name: &str, default| attribute(name).map_or(default, |a| a.i.unwrap());
    let whole = |tensor: &Tensor| Vec::<i64>::try_from(tensor.view([-1])).unwrap();
    let x = inputs[0];
    match node.op_type.as_str() {
        "Gather" => {
            let (axis, at) = (int("axis", 0), inputs[1]);
            let mut size = x.size();
            size.splice(axis as usize..=axis as usize, at.size());
            x.index_select(axis, &at.reshape([-1])).view(&size[..])
        }
        "Shape" => {
            let (start, end) = (int("start", 0) as usize, int("end", 99) as usize);
            Tensor::from_slice(&x.size()[start..end])
        }
        "Slice" => {
            let [start, end, axis] = [1, 2, 3].map(|at: usize| whole(inputs[at])[0]);
            x.narrow(axis, start, end - start)
        }
        "Unsqueeze" => {
            let axes = whole(inputs[1]);
            axes.iter()
                .fold(x.shallow_clone(), |x, &axis| x.unsqueeze(axis))
        }
        "Cast" => x.to_kind(Kind::Float),
        "Add" => x + inputs[1],
        "Sub" => x - inputs[1],
        "Mul" => x * inputs[1],
        "MatMul" => x.matmul(inputs[1]),
        "Gemm" => {
            assert_eq!(int("transB", 0), 1);
            x.matmul(&inputs[1].tr()) + inputs[2]
        }
        "LayerNormalization" => {
            let eps = f64::from(attribute("epsilon").unwrap().f.unwrap());
            let size = inputs[1].size();
            x.layer_norm(size, Some(inputs[1]), Some(inputs[2]), eps, false)
        }
        "Reshape" => {
            let kept = |(at, &size): (usize, &i64)| if size == 0 { x.size()[at] } else { size };
            let size: Vec<i64> = whole(inputs[1]).iter().enumerate().map(kept).collect();
            x.reshape(&size[..])
        }
        "Transpose" => x.permute(&attribute("perm").unwrap().ints[..]),
        "Softmax" => x.softmax(int("axis", 0), Kind::Float),
        "Erf" => x.erf(),
        "Tanh" => x.tanh(),
        other => panic!("{other}"),
    }
}

#[test]
fn exported_folders_and_graphs_compute_what_the_run_computes_and_train_again() {
    let folder = with_comments();
    let folder = folder.path();
    let fp32 = ["training.precision=fp32", "training.scores=unit"];
    let tasks = "tasks=[DemoSentiment,DemoSimilarity,Comments.yaml]";
    let random = "alignment.init=random";
    let aligned = ["method=aligned", tasks, random];
    let diagonal = [&aligned[..], &["alignment.form=diagonal"]].concat();
    let turned = [&aligned[..], &["turned={DemoSimilarity: 30}"]].concat();
    let runs: [(&str, &[&str]); 4] = [
        ("single", &["method=single", "tasks=[DemoSentiment]"]),
        ("full", &aligned),
        ("diagonal", &diagonal),
        ("turned", &turned),
    ];
    let encoder: BTreeMap<String, Tensor> =
        Tensor::read_safetensors(common::minilm().join("model.safetensors"))
            .unwrap()
            .into_iter()
            .collect();
    for (name, sets) in runs {
        train(folder, name, &[&fp32[..], sets].concat());
        let out = format!("out/{name}");
        let said = done(folder, &["export", name, "--out", &out]);
        assert_eq!(
            said.contains("trust_remote_code"),
            ["full", "turned"].contains(&name)
        );
        let facts = [
            (
                "DemoSentiment",
                "demo/DemoSentiment/dev.tsv",
                "single_label_classification",
                json!({"0": "0", "1": "1"}),
            ),
            (
                "DemoSimilarity",
                "demo/DemoSimilarity/dev.tsv",
                "regression",
                json!({"0": "score"}),
            ),
            (
                "Comments",
                "demo/comments.csv",
                "multi_label_classification",
                json!({"0": "good", "1": "bad", "2": "long"}),
            ),
        ];
        for (task, file, problem, labels) in facts {
            let place = match name {
                "single" => folder.join(&out),
                _ => folder.join(&out).join(task),
            };
            if !place.is_dir() || name == "single" && task != "DemoSentiment" {
                assert_eq!(name, "single");
                continue;
            }
            let exported = Exported::read(&place);
            // What transformers decides by.
            let apart_of_it = name == "full" || name == "turned";
            let class = match apart_of_it {
                true => "CovalignBertForSequenceClassification",
                false => "BertForSequenceClassification",
            };
            let config = &exported.config;
            assert_eq!(config["architectures"], json!([class]), "{name} {task}");
            assert_eq!(config["model_type"] == "bert", !apart_of_it);
            assert_eq!(config["auto_map"].is_object(), apart_of_it);
            assert_eq!(place.join("modeling_covalign.py").is_file(), apart_of_it);
            assert_eq!(config["problem_type"], problem);
            assert_eq!(config["id2label"], labels);
            assert_eq!(config["initializer_range"], json!(0.02));
            let tokenizer = json(&place.join("tokenizer_config.json"));
            assert_eq!(tokenizer["model_max_length"], 32);
            // Names and sizes: the encoder's under `bert.`, the head, and R where it is apart.
            let outputs = labels.as_object().unwrap().len() as i64;
            let tensors = encoder
                .iter()
                .filter(|(n, _)| *n != "embeddings.position_ids");
            let mut sizes: BTreeMap<String, Vec<i64>> = tensors
                .map(|(n, t)| (format!("bert.{n}"), t.size()))
                .collect();
            sizes.insert("classifier.weight".into(), vec![outputs, 384]);
            sizes.insert("classifier.bias".into(), vec![outputs]);
            if apart_of_it {
                sizes.insert(ALIGNMENT.into(), vec![384, 384]);
            }
            assert_eq!(exported.sizes(), sizes.into_iter().collect::<Vec<_>>());
            // The numbers.
            let (rows, wanted) = predicted(folder, name, task, file, &exported);
            let own = apart(&exported.logits(&rows), &wanted);
            assert!(own < 1e-5, "{name} {task}: {own}");
            let graph = apart(&computed(&place, &rows), &wanted);
            assert!(graph < 1e-5, "{name} {task}: {graph}");
            // Not by chance: without R they are others.
            if apart_of_it {
                let mut plain = Exported::read(&place);
                plain.classifier.tensors.remove(ALIGNMENT);
                assert!(apart(&plain.logits(&rows), &wanted) > 1e-4, "{name} {task}");
            }
            let card = std::fs::read_to_string(place.join("README.md")).unwrap();
            assert!(
                card.contains("Dev chose") && card.contains("sha256"),
                "{card}"
            );
        }
    }
    // The whole graph's constants in a file beside it, as those of more than 2 GB.
    let exported = Exported::read(&folder.join("out/full/DemoSentiment"));
    std::fs::create_dir(folder.join("beside")).unwrap();
    let path = folder.join("beside/model.onnx");
    onnx::write(&exported.classifier, &path, 0).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() < 1 << 20);
    let rows = vec![(vec![101, 2023, 2003, 102], 4)];
    let (a, b) = (
        computed(&folder.join("beside"), &rows),
        exported.logits(&rows),
    );
    assert!(apart(&a, &b) < 1e-5);

    // Such a folder is an encoder again; its head and its R are not the encoder's.
    let kept = [
        "classifier.bias",
        "classifier.weight",
        "embeddings.alignment",
    ];
    assert_eq!(exported.ignored, kept);
    train(folder, "again", &["encoder=out/full/DemoSentiment"]);
    let log = std::fs::read_to_string(folder.join("again/log.txt")).unwrap();
    assert!(
        log.contains("no part of the encoder; ignored: classifier.bias"),
        "{log}"
    );
    // Or a run starts from it, as from the run itself, with its head.
    let start = ["start.run=out/full/DemoSentiment", "start.heads=keep"];
    train(folder, "goes-on", &[&start[..], &fp32].concat());
    let started = &json(&folder.join("goes-on/results.json"))["start"];
    assert_eq!(started["heads"], json!({"DemoSentiment": "DemoSentiment"}));
    assert_eq!(started["tasks"][2], "Comments");
}

#[test]
fn an_export_replaces_nothing_and_is_there_whole_or_not_at_all() {
    let folder = workplace();
    let folder = folder.path();
    train(folder, "r", &["method=multitask"]);
    // Something of somebody's.
    std::fs::create_dir(folder.join("mine")).unwrap();
    std::fs::write(folder.join("mine/notes.txt"), "mine").unwrap();
    let line = fails(folder, &["export", "r", "--out", "mine"], 2);
    assert!(line.contains("mine: is there already"), "{line}");
    assert_eq!(std::fs::read_dir(folder.join("mine")).unwrap().count(), 1);
    let line = fails(folder, &["export", "r", "--out", "x", "--task", "RTE"], 2);
    assert!(line.contains("no task `RTE`"), "{line}");
    // The second task's weights are damaged.
    let heads = folder.join("r/best_per_task/DemoSimilarity/heads.safetensors");
    let before = std::fs::read(&heads).unwrap();
    std::fs::remove_file(&heads).unwrap();
    let mut bytes = before.clone();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&heads, bytes).unwrap();
    let line = fails(folder, &["export", "r", "--out", "x"], 2);
    assert!(
        line.contains("heads.safetensors: the file is damaged"),
        "{line}"
    );
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().collect();
    let mut left: Vec<_> = left.iter().map(|e| e.file_name()).collect();
    left.sort();
    assert_eq!(left, ["c.yaml", "demo", "mine", "r"]);
    std::fs::write(&heads, before).unwrap();
    // One task is DIR itself, also where that is there and empty; a part alone is one.
    std::fs::create_dir(folder.join("empty")).unwrap();
    let args = [
        "export",
        "r",
        "--out",
        "empty",
        "--task",
        "DemoSentiment",
        "--format",
        "onnx",
    ];
    done(folder, &args);
    assert!(folder.join("empty/model.onnx").is_file());
    assert!(!folder.join("empty/model.safetensors").exists());
    // No BERT.
    let words = [
        "encoder={kind: cnn, embeddings: all-MiniLM-L6-v2, width: 8}",
        "method=single",
        "tasks=[DemoSentiment]",
    ];
    train(folder, "words", &words);
    let line = fails(folder, &["export", "words", "--out", "x"], 2);
    assert!(line.contains("is no BERT"), "{line}");
}
