//! What training costs on this machine.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use super::feed::batches::Batches;
use super::feed::loader::Loader;
use super::say::stages::{synchronize, Stage, Stages};
use super::step::learner::Learner;
use super::step::precision::{device_name, measured};
use super::step::schedule::Plan;
use crate::config::alignment::{Form, Matrices};
use crate::config::Method;
use crate::data::planned::PlannedBatch;
use crate::libtorch::profile;
use crate::telemetry::progress::Progress;

/// Steps before those that are measured, where nobody says otherwise: libraries set themselves up in them.
pub const WARM_UP: u64 = 3;
/// Steps whose stages are looked at where that slows them down.
const LOOKED_AT: u64 = 20;
/// Steps in a profile; more make a trace that viewers refuse.
const PROFILED: u64 = 5;

/// What a number of training steps cost.
#[derive(Debug, Clone, Serialize)]
pub struct Costs {
    pub device: String,
    pub precision: String,
    pub threads: i32,
    pub steps: u64,
    pub rows: u64,
    /// Tokens of the rows.
    pub tokens: u64,
    /// Tokens, were every row filled up to the longest of its batch.
    pub padded_tokens: u64,
    /// Wall time of the steps, without loading and warm-up.
    pub seconds: f64,
    /// Share of each stage in the time of a step.
    pub stages: Vec<(Stage, f64)>,
    /// Most bytes in the host's and the device's memory.
    pub peak_host_bytes: u64,
    pub peak_device_bytes: Option<u64>,
    /// Floating-point operations of the model's products, forward and back, per second.
    pub model_flops: f64,
    /// What one large product reaches in the same precision, at best, and the size of its matrices.
    pub matmul_flops: f64,
    pub matmul_size: i64,
    /// The libraries of products on a CPU, and what each reaches in a layer's, in this precision.
    pub libraries: Vec<(&'static str, f64)>,
}

impl Costs {
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.seconds
    }

    /// Tokens that are no padding, were rows padded.
    pub fn density(&self) -> f64 {
        self.tokens as f64 / self.padded_tokens as f64
    }

    /// Model FLOP utilisation, against the measured rate of a product.
    pub fn utilisation(&self) -> f64 {
        self.model_flops / self.matmul_flops
    }
}

/// Trains for `warm_up` steps, in which libraries set themselves up, and then measures `steps`; then
/// writes a profile of a few more to `trace`.
pub fn measure(
    learner: &mut Learner,
    batches: &mut Batches,
    (warm_up, steps): (u64, u64),
    trace: Option<&Path>,
) -> Result<Costs> {
    let device = learner.arithmetic.device();
    // Who shares a CPU may be busy at one time and not at another; a device's memory is to be the steps' alone.
    let before = match device {
        Device::Cpu => matmul_flops(learner)?,
        _ => 0.0,
    };
    let bar = Progress::new(steps, "measuring");
    let mut loader = learner.loader();
    for step in 0..warm_up {
        train(learner, (batches, &mut loader), step, 0.0, &mut |_| {})?;
    }
    synchronize(device);
    // A CPU's clock costs nothing to look at; a device would have to be waited for.
    if device == Device::Cpu {
        learner.stages = Stages::measured(device);
    }
    let plan = plan(learner, batches);
    let mut seen: Vec<PlannedBatch> = Vec::new();
    let mut loader = learner.loader();
    let start = Instant::now();
    for step in 0..steps {
        let factor = plan.factor(step.min(batches.length.total - 1));
        let sources = (&mut *batches, &mut loader);
        train(learner, sources, step, factor, &mut |b| seen.push(b))?;
        bar.at(step + 1, "");
    }
    synchronize(device);
    let seconds = start.elapsed().as_secs_f64();
    bar.finish();
    let peak_host_bytes = profile::peak_host_memory();
    let peak_device_bytes = profile::peak_device_memory(device)?;
    if device != Device::Cpu {
        learner.stages = Stages::measured(device);
        let mut loader = learner.loader();
        for step in 0..LOOKED_AT.min(steps) {
            train(learner, (batches, &mut loader), step, 0.0, &mut |_| {})?;
        }
    }
    let of_stage = |stage| (stage, learner.stages.seconds(stage));
    let stages: Vec<(Stage, f64)> = Stage::ALL.into_iter().map(of_stage).collect();
    let all: f64 = stages.iter().map(|(_, seconds)| seconds).sum();
    let stages = stages.into_iter().map(|(s, t)| (s, t / all)).collect();
    if let Some(path) = trace {
        learner.stages = Stages::unmeasured();
        profile::profiled(path, device, || {
            let mut loader = learner.loader();
            for step in 0..PROFILED {
                train(learner, (batches, &mut loader), step, 0.0, &mut |_| {})?;
            }
            synchronize(device);
            Ok(())
        })?;
    }

    let work = work(learner, &seen);
    Ok(Costs {
        device: device_name(device),
        precision: learner.arithmetic.name().into(),
        threads: tch::get_num_threads(),
        steps,
        rows: seen.iter().map(|batch| batch.rows.len() as u64).sum(),
        tokens: work.tokens,
        padded_tokens: work.padded_tokens,
        seconds,
        stages,
        peak_host_bytes,
        peak_device_bytes,
        model_flops: work.flops / seconds,
        matmul_flops: before.max(matmul_flops(learner)?),
        matmul_size: matmul_size(device),
        libraries: match device {
            Device::Cpu => measured(learner.arithmetic.products())?
                .into_iter()
                .map(|(library, rate)| (library.name(), rate))
                .collect(),
            _ => Vec::new(),
        },
    })
}

fn plan(learner: &Learner, batches: &Batches) -> Plan {
    let config = &learner.config;
    let total = batches.length.total;
    Plan::new(config.method, &config.alignment, total, &config.training)
}

/// One optimiser step, as the trainer takes it.
fn train(
    learner: &mut Learner,
    (batches, loader): (&mut Batches, &mut Loader),
    step: u64,
    factor: f64,
    seen: &mut impl FnMut(PlannedBatch),
) -> Result<()> {
    let moving = plan(learner, batches).moving(step.min(batches.length.total - 1));
    let passes = loader.passes(batches, step)?;
    learner.take(&passes, moving, factor)?;
    let parts = passes.into_iter().flat_map(|(_, loaded)| loaded.parts);
    parts.for_each(|part| seen(part.planned));
    Ok(())
}

struct Work {
    tokens: u64,
    padded_tokens: u64,
    flops: f64,
}

/// What the batches asked of the model.
fn work(learner: &Learner, batches: &[PlannedBatch]) -> Work {
    let encoder = learner.model.encoder.as_ref();
    let width = encoder.embedding_width() as f64;
    let mut weights = 0.0;
    let config = &learner.config;
    if config.method == Method::Aligned {
        weights = match config.alignment.matrices() {
            Matrices::Each(form) | Matrices::Shared(form) => match form {
                Form::Diagonal => width,
                Form::LowRank(rank) => 2.0 * width * rank as f64,
                Form::Full | Form::Orthogonal => width * width,
            },
            Matrices::Rotations => width * width,
        };
    }
    let mut work = Work {
        tokens: 0,
        padded_tokens: 0,
        flops: 0.0,
    };
    for batch in batches {
        let train = &learner.data[batch.task].train;
        let length = |&row: &u32| train.length(row as usize) as u64;
        let lengths: Vec<u64> = batch.rows.iter().map(length).collect();
        let tokens: u64 = lengths.iter().sum();
        let longest = lengths.iter().max().copied().unwrap_or_default();
        work.tokens += tokens;
        work.padded_tokens += longest * lengths.len() as u64;
        work.flops += 6.0 * weights * tokens as f64;
        let rows = lengths.iter().map(|&n| encoder.training_flops(n as f64));
        work.flops += rows.sum::<f64>();
    }
    work
}

/// Rows and columns of the matrices in [`Costs::matmul_flops`].
fn matmul_size(device: Device) -> i64 {
    match device {
        Device::Cuda(_) => 8192,
        _ => 2048,
    }
}

/// Operations per second of a product of two square matrices, large enough to fill the device; the
/// best of six.
fn matmul_flops(learner: &Learner) -> Result<f64> {
    let device = learner.arithmetic.device();
    let size = matmul_size(device);
    let kind = learner.arithmetic.multiplied_in();
    // Of random numbers: products of ones take a device less power, and run faster than any real one.
    let matrix = Tensor::f_randn([size, size], (Kind::Float, device))?.f_to_kind(kind)?;
    let mut best = f64::INFINITY;
    for _ in 0..6 {
        synchronize(device);
        let start = Instant::now();
        let _ = matrix.f_matmul(&matrix)?;
        synchronize(device);
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(2.0 * (size as f64).powi(3) / best)
}
