//! What CUDA computes, beside the CPU. Needs a device: `make test-cuda`.

mod common;

use covalign::config::Engine;
use covalign::data::Batch;
use covalign::libtorch::fused::{self, Dropout, Norm};
use covalign::libtorch::optimizer::{self as steps, AdamW, CudaSteps, Moments};
use covalign::libtorch::{self, graph};
use covalign::model::bert::Bert;
use covalign::model::encoder::Encoder;
use covalign::model::Mode;
use rust_bert::bert::BertConfig;
use tch::{Device, Kind, Tensor};

/// The first CUDA device, where memory that nothing has written to is NaN.
fn cuda() -> Device {
    assert!(!libtorch::cuda_devices().is_empty(), "no CUDA device");
    std::env::set_var("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
    libtorch::deterministic(true, true).unwrap();
    libtorch::allow_tf32(false).unwrap();
    Device::Cuda(0)
}

/// ‖found − expected‖ / ‖expected‖; NaN where either holds one.
fn error(found: &Tensor, expected: &Tensor) -> f64 {
    let found = found.to_device(Device::Cpu).to_kind(Kind::Double);
    let expected = expected.to_device(Device::Cpu).to_kind(Kind::Double);
    let norm = |x: &Tensor| f64::try_from(x.square().sum(Kind::Double).sqrt()).unwrap();
    norm(&(found - &expected)) / norm(&expected).max(1e-30)
}

fn assert_close(found: &Tensor, expected: &Tensor, bound: f64, what: &str) {
    let error = error(found, expected);
    assert!(error <= bound, "{what}: {error:e} > {bound:e}");
}

/// What rounding to a kind loses.
fn bound(kind: Kind) -> f64 {
    match kind {
        Kind::Float => 2e-5,
        Kind::Half => 4e-3,
        _ => 1.5e-2,
    }
}

/// A leaf with the numbers of `x`, on a device in a kind.
fn leaf(x: &Tensor, device: Device, kind: Kind) -> Tensor {
    x.to_device(device)
        .to_kind(kind)
        .detach()
        .copy()
        .set_requires_grad(true)
}

#[test]
#[ignore = "needs a CUDA device"]
fn passes_between_products_equal_the_cpus_with_the_same_masks() {
    let device = cuda();
    tch::manual_seed(1);
    let options = (Kind::Float, Device::Cpu);
    for (kind, width, rows) in [
        (Kind::Float, 384, 77),
        (Kind::BFloat16, 1024, 600),
        (Kind::Half, 8, 3),
        (Kind::BFloat16, 264, 1),
    ] {
        // Rounded once, so that both start from the same numbers.
        let random = |size: &[i64]| {
            Tensor::randn(size, options)
                .to_kind(kind)
                .to_kind(Kind::Float)
        };
        let (x, residual) = (random(&[rows, width]), random(&[rows, width]));
        let (bias, gamma, beta) = (random(&[width]), random(&[width]), random(&[width]));
        let weights = random(&[rows, width]);
        let dropout = Dropout { p: 0.3, key: 12345 };
        let run = |device: Device, kind: Kind| -> Vec<Tensor> {
            graph::seed_dropout(device, 0).unwrap();
            let of = |x: &Tensor| leaf(x, device, Kind::Float);
            let norm = Norm {
                gamma: of(&gamma),
                beta: of(&beta),
                eps: 1e-12,
            };
            let (x, residual) = (leaf(&x, device, kind), leaf(&residual, device, kind));
            let biases = [of(&bias), of(&bias)];
            let y = fused::add_norm(&x * 1.0, &biases[0], &residual, &norm, dropout).unwrap();
            let z = fused::gelu(&y * 1.0, &biases[1]).unwrap();
            let weighted = z.to_kind(Kind::Float) * weights.to_device(device);
            weighted.sum(Kind::Float).backward();
            let [first, second] = biases;
            let grads = [x, residual, norm.gamma, norm.beta, first, second].map(|t| t.grad());
            [y, z].into_iter().chain(grads).collect()
        };
        let expected = run(Device::Cpu, Kind::Float);
        for (i, (found, expected)) in run(device, kind).iter().zip(&expected).enumerate() {
            assert_close(
                found,
                expected,
                bound(kind),
                &format!("{kind:?} {width}: {i}"),
            );
        }
        let zeros = |t: &Tensor| i64::try_from(t.eq(0.0).sum(Kind::Int64)).unwrap();
        let dropped = run(device, kind)[2].shallow_clone();
        assert_eq!(
            zeros(&dropped),
            zeros(&expected[2]),
            "{kind:?} {width}: other masks"
        );
    }
}

fn shape(hidden: i64, heads: i64) -> BertConfig {
    serde_json::from_value(serde_json::json!({
        "hidden_act": "gelu", "attention_probs_dropout_prob": 0.1, "hidden_dropout_prob": 0.1,
        "hidden_size": hidden, "initializer_range": 0.05, "intermediate_size": 4 * hidden,
        "max_position_embeddings": 256, "num_attention_heads": heads, "num_hidden_layers": 3,
        "type_vocab_size": 2, "vocab_size": 200,
    }))
    .unwrap()
}

/// The pooled outputs of some rows, and the gradients of all parameters, by name.
fn pass(encoder: &Bert, mode: Mode) -> Vec<(String, Tensor)> {
    let device = encoder.variables().device();
    let lengths = [3usize, 150, 17, 64, 1, 33];
    let rows: Vec<Vec<i32>> = lengths
        .iter()
        .enumerate()
        .map(|(i, &n)| (0..n).map(|j| ((7 * i + j * j) % 190) as i32 + 1).collect())
        .collect();
    let rows: Vec<(&[i32], usize)> = rows.iter().map(|ids| (&ids[..], ids.len() / 2)).collect();
    let batch = Batch::new(&rows, encoder.batch_shape(0), Device::Cpu).unwrap();
    let batch = batch.to(device).unwrap();
    let embedded = encoder.embed(&batch, None, mode).unwrap();
    let pooled = encoder.pooled(&embedded, &batch, mode).unwrap();
    assert_eq!(pooled.size(), [6, encoder.output_width()]);
    let weights = Tensor::arange(pooled.numel() as i64, (Kind::Float, device)).sin();
    let objective = pooled.flatten(0, -1).to_kind(Kind::Float) * weights;
    objective.sum(Kind::Float).backward();
    let mut all = vec![("pooled".to_owned(), pooled.detach())];
    let mut steps = encoder.parameters();
    steps.sort_by(|a, b| a.name.cmp(&b.name));
    all.extend(steps.into_iter().map(|p| (p.name, p.leaf.grad())));
    all
}

#[test]
#[ignore = "needs a CUDA device"]
fn packed_rows_give_the_cpus_outputs_and_gradients_in_every_precision() {
    let device = cuda();
    for (hidden, heads) in [(128, 2), (96, 3)] {
        let of = |device, kind, engine| {
            let mut encoder = Bert::random(shape(hidden, heads), engine, device, 1).unwrap();
            encoder.set_products(kind).unwrap();
            encoder
        };
        let expected = pass(&of(Device::Cpu, Kind::Float, Engine::Fast), Mode::Evaluate);
        for kind in [Kind::Float, Kind::Half, Kind::BFloat16] {
            let found = pass(&of(device, kind, Engine::Fast), Mode::Evaluate);
            for ((name, found), (_, expected)) in found.iter().zip(&expected) {
                let bound = match kind {
                    Kind::Float => 1e-4,
                    Kind::Half => 1e-2,
                    _ => 6e-2,
                };
                assert_close(found, expected, bound, &format!("{kind:?} {hidden} {name}"));
            }
        }
        // With dropout, nothing that was not written is read, and the same seed gives the same bits.
        let encoder = of(device, Kind::BFloat16, Engine::Fast);
        let trained = || {
            tch::manual_seed(3);
            graph::seed_dropout(device, 3).unwrap();
            let all = pass(&encoder, Mode::Train { seed: 3 });
            for mut parameter in encoder.parameters() {
                parameter.leaf.zero_grad();
            }
            all
        };
        let once: Vec<_> = trained().into_iter().map(|(n, t)| (n, t.copy())).collect();
        for ((name, first), (_, second)) in once.iter().zip(&trained()) {
            let finite = bool::try_from(second.isfinite().all()).unwrap();
            assert!(finite, "{hidden} {name} is not finite");
            assert!(name == "pooled" || first.equal(second), "{hidden} {name}");
        }
    }
}

#[test]
#[ignore = "needs a CUDA device"]
fn adamw_takes_the_cpus_steps() {
    let device = cuda();
    tch::manual_seed(2);
    let sizes = [vec![70001i64], vec![33, 64], vec![5]];
    let options = (Kind::Float, Device::Cpu);
    let values: Vec<Tensor> = sizes.iter().map(|s| Tensor::randn(s, options)).collect();
    let state = |value: &Tensor, device, half: bool| {
        let parameter = value.to_device(device).copy();
        let leaf = match half {
            true => parameter.to_kind(Kind::BFloat16),
            false => parameter.shallow_clone(),
        };
        Moments::fresh(parameter, leaf.set_requires_grad(true)).unwrap()
    };
    let rules = AdamW {
        learning_rate: 1e-2,
        beta1: 0.9,
        beta2: 0.999,
        weight_decay: 0.1,
        eps: 1e-8,
    };
    for half in [false, true] {
        let states =
            |device| -> Vec<Moments> { values.iter().map(|v| state(v, device, half)).collect() };
        let (here, there) = (states(Device::Cpu), states(device));
        let mut cuda = CudaSteps::new();
        for t in 1..=3 {
            let gradients: Vec<Tensor> = sizes.iter().map(|s| Tensor::randn(s, options)).collect();
            for states in [&here, &there] {
                for (state, gradient) in states.iter().zip(&gradients) {
                    let gradient = gradient.to_device(state.leaf.device());
                    let leaf = &state.leaf;
                    (leaf * gradient.to_kind(leaf.kind()))
                        .sum(leaf.kind())
                        .backward();
                }
            }
            let all: Vec<&Moments> = here.iter().collect();
            let gradients: Vec<Tensor> = here.iter().map(|s| s.leaf.grad()).collect();
            let norm = steps::gradient_norm_cpu(&gradients).unwrap();
            let length = f64::try_from(&norm).unwrap();
            let scale = 5.0 / (length + 1e-6);
            assert!(scale < 1.0);
            let each: Vec<_> = all
                .iter()
                .map(|_| rules.step(f64::from(t), scale))
                .collect();
            steps::adamw_cpu(&all, &each).unwrap();
            let moved = [(rules, there.iter().collect())];
            cuda.step(&moved, 5.0, None, false).unwrap();
            let (found, not_finite) = cuda.taken().unwrap();
            assert_close(&found, &norm, 1e-5, "the norm");
            assert_eq!(f64::try_from(not_finite).unwrap(), 0.0);
            steps::clear_gradients(here.iter().chain(&there).map(|s| &s.leaf));
            for (here, there) in here.iter().zip(&there) {
                assert_close(&there.parameter, &here.parameter, 1e-6, "a parameter");
                assert_close(&there.exp_avg, &here.exp_avg, 1e-5, "its first moment");
                assert_close(
                    &there.exp_avg_sq,
                    &here.exp_avg_sq,
                    1e-5,
                    "its second moment",
                );
                assert_eq!(f64::try_from(&there.step).unwrap(), f64::from(t));
                assert!(there
                    .leaf
                    .equal(&there.parameter.to_kind(there.leaf.kind())));
            }
        }
        // A gradient that is no number moves nothing.
        let before = there[0].parameter.copy();
        for state in &there {
            (&state.leaf * f64::NAN).sum(state.leaf.kind()).backward();
        }
        cuda.step(&[(rules, there.iter().collect())], 5.0, None, false)
            .unwrap();
        assert_eq!(f64::try_from(cuda.taken().unwrap().1).unwrap(), 1.0);
        assert!(before.equal(&there[0].parameter));
        assert_eq!(f64::try_from(&there[0].step).unwrap(), 3.0);
    }
}
