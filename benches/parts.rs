//! What can get slower unnoticed: `cargo bench`, or `cargo bench -- tokenise` for one.
//!
//! `covalign bench` measures whole steps.

use covalign::config::alignment::{Form, Start};
use covalign::config::Config;
use covalign::data::batch::{Layout, Shape};
use covalign::data::planned::TaskRows;
use covalign::data::sampling::{BatchSize, Sampler};
use covalign::data::Example;
use covalign::data::{Batch, TokenizedSplit, Tokenizer};
use covalign::hub::encoder_dir;
use covalign::libtorch::{convolution, recurrent};
use covalign::model::alignment::Alignment;
use covalign::model::words::reference;
use covalign::task::Label;
use covalign::train::feed::batches::Batches;
use covalign::train::prepare::prepare;
use covalign::train::step::schedule::EVERYTHING;
use covalign::train::tasks::load_tasks;
use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

const ROWS: usize = 4096;

/// Rows of 5 to 60 words, the same each time.
fn examples() -> Vec<Example> {
    let words = [
        "a",
        "the",
        "film",
        "is",
        "unmistakably",
        "good",
        "never",
        "dull",
        ",",
        "and",
    ];
    let row = |i: usize| {
        let length = 5 + i * 7919 % 56;
        let text: Vec<&str> = (0..length).map(|j| words[(i * 31 + j * j) % 10]).collect();
        Example {
            text_a: text.join(" "),
            text_b: None,
            label: Some(Label::Number((i % 2) as f32)),
            group: None,
            index: None,
            file: 0,
            line: i as u32 + 1,
        }
    };
    (0..ROWS).map(row).collect()
}

fn tokenizer() -> Tokenizer {
    let folder = encoder_dir::resolve("all-MiniLM-L6-v2").expect("`make setup` first");
    Tokenizer::from_folder(&folder).unwrap()
}

fn data(c: &mut Criterion) {
    let (examples, tokenizer) = (examples(), tokenizer());
    let split = TokenizedSplit::from_examples(&examples, &tokenizer, 128).unwrap();
    let lengths: Vec<u32> = split.lengths().iter().map(|&n| n as u32).collect();
    let mut group = c.benchmark_group("data");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("tokenise", |b| {
        b.iter(|| TokenizedSplit::from_examples(&examples, &tokenizer, 128).unwrap())
    });
    let rows = TaskRows {
        rows: (0..ROWS as u32).collect(),
        lengths,
    };
    let sampler = Sampler::new(vec![rows], &Default::default(), BatchSize::Rows(32), 1);
    let shares = sampler.shares(0, 1, None);
    group.bench_function("plan an epoch", |b| b.iter(|| sampler.epoch(3, &shares)));
    let batches = sampler.epoch(0, &shares).concat();
    for (name, shape) in [
        ("packed", Shape::Packed),
        ("padded", Shape::Padded { pad: 0 }),
    ] {
        group.bench_function(format!("collate {name}"), |b| {
            b.iter(|| {
                for batch in &batches {
                    Batch::collate(&split, &batch.rows, shape, Device::Cpu).unwrap();
                }
            })
        });
    }
}

fn alignment(c: &mut Criterion) {
    let (width, tokens) = (384, 1024);
    let x = Tensor::randn([tokens, width], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let mut group = c.benchmark_group("alignment");
    group.throughput(Throughput::Elements(tokens as u64));
    for (name, form) in [
        ("full", Form::Full),
        ("low rank", Form::LowRank(8)),
        ("diagonal", Form::Diagonal),
        ("orthogonal", Form::Orthogonal),
    ] {
        let store = VarStore::new(Device::Cpu);
        let alignment =
            Alignment::new(&store.root(), form, Start::Random, width, Device::Cpu).unwrap();
        group.bench_function(name, |b| {
            b.iter(|| alignment.apply(&x).unwrap().sum(Kind::Float).backward())
        });
    }
}

/// Forward and backward of one batch, and the optimiser's step after it.
fn step(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let task = folder.path().join("Bench");
    std::fs::create_dir(&task).unwrap();
    let line = |e: &Example| format!("{}\t{}\n", e.text_a, e.label.unwrap().number().unwrap());
    let text: String = examples().iter().take(256).map(line).collect();
    for split in ["train.tsv", "dev.tsv"] {
        std::fs::write(task.join(split), format!("sentence\tlabel\n{text}")).unwrap();
    }
    let root = folder.path().display();
    let own = folder.path().join("Bench.yaml");
    let task = "labels: ['0', '1']\nmetrics: [accuracy]\nlayout: {text: sentence, label: label}\n\
                files: {train: train.tsv, dev: dev.tsv}\n";
    std::fs::write(&own, task).unwrap();
    let config = folder.path().join("bench.yaml");
    let text = format!("encoder: all-MiniLM-L6-v2\ndata: {root}\ntasks: [{root}/Bench.yaml]\n");
    std::fs::write(&config, text).unwrap();
    let config = Config::load(&config, &[]).unwrap();
    let mut learner = prepare(&config, load_tasks(&config).unwrap())
        .unwrap()
        .learner;
    let mut batches = Batches::new(&learner.config, &learner.data).unwrap();
    let mut loader = learner.loader();
    let (_, loaded) = loader.passes(&mut batches, 0).unwrap().remove(0);
    let mut group = c.benchmark_group("step");
    group.sample_size(20);
    group.bench_function("forward and backward", |b| {
        b.iter(|| learner.backward(0, &loaded, EVERYTHING).unwrap())
    });
    group.bench_function("forward, backward and optimiser", |b| {
        b.iter(|| {
            let _ = learner.backward(0, &loaded, EVERYTHING).unwrap();
            let _ = learner.optimizer.step(1.0).unwrap();
        })
    });
}

/// Forward and backward of one layer over 32 packed rows of 5 to 40 words, covalign's own and
/// libtorch's.
fn words(c: &mut Criterion) {
    const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);
    let ids: Vec<Vec<i32>> = (0..32).map(|i| vec![1; 5 + i * 37 % 36]).collect();
    let lines: Vec<_> = ids.iter().map(|ids| (&ids[..], ids.len())).collect();
    let batch = Batch::new(&lines, Shape::Packed, Device::Cpu).unwrap();
    let Layout::Packed(rows) = &batch.layout else {
        unreachable!()
    };
    let leaf = |size: &[i64]| (Tensor::randn(size, FLOAT) * 0.1).set_requires_grad(true);
    let x = Tensor::randn([batch.tokens as i64, 384], FLOAT);
    let weights = [
        leaf(&[400, 384]),
        leaf(&[400, 100]),
        leaf(&[400]),
        leaf(&[400]),
    ];
    let (filters, bias) = (leaf(&[100, 384, 3]), leaf(&[100]));
    let back = |out: anyhow::Result<Tensor>| out.unwrap().sum(Kind::Float).backward();
    let mut group = c.benchmark_group("words");
    group.throughput(Throughput::Elements(batch.tokens as u64));
    group.bench_function("lstm", |b| {
        b.iter(|| back(recurrent::lstm(&x, &rows.starts, &weights, false)))
    });
    group.bench_function("lstm, libtorch's", |b| {
        b.iter(|| back(reference::lstm(&x, rows, &weights, false)))
    });
    group.bench_function("convolution", |b| {
        b.iter(|| back(convolution::conv_max(&x, &rows.starts, &filters, &bias)))
    });
    group.bench_function("convolution, libtorch's", |b| {
        b.iter(|| back(reference::conv_max(&x, rows, &filters, &bias)))
    });
}

criterion_group!(parts, data, alignment, step, words);
criterion_main!(parts);
