//! Products on a CPU by either library that libtorch holds. The library is the process's: what
//! switches it is here alone.

mod common;

use std::path::{Path, PathBuf};

use common::{fails, json, run, text, train, workplace};
use covalign::libtorch::products::{has_onednn, rates, take, Library};
use tch::{Device, Kind, Tensor};

/// A linear layer's output and the gradients of its input, weight and bias.
fn layer(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Vec<Tensor> {
    let leaf = |x: &Tensor| x.detach().copy().set_requires_grad(true);
    let (x, weight, bias) = (leaf(x), leaf(weight), bias.map(leaf));
    let y = x.linear(&weight, bias.as_ref());
    (&y * &y).mean(Kind::Float).backward();
    let leaves = [&x, &weight].into_iter().chain(bias.as_ref());
    let gradients: Vec<Tensor> = leaves.map(Tensor::grad).collect();
    [y.detach()].into_iter().chain(gradients).collect()
}

/// Whether two are the same bit for bit, and ‖a − b‖ / ‖b‖.
fn compare(a: &Tensor, b: &Tensor) -> (bool, f64) {
    let norm = |x: &Tensor| f64::try_from(x.square().sum(Kind::Double).sqrt()).unwrap();
    (a == b, norm(&(a - b)) / norm(b))
}

#[test]
fn onednns_products_are_mkls_up_to_rounding_and_small_ones_stay_as_they_are() {
    if !has_onednn(Kind::Float) {
        eprintln!("skipped: libtorch lets oneDNN multiply in float32 with AVX-512 alone");
        return;
    }
    tch::manual_seed(3);
    let random = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
    let mut changed = 0;
    for (tokens, width, inner, is_large) in [
        (704, 384, 1536, true),
        (96, 1536, 384, true),
        (333, 100, 700, true),
        (32, 384, 2, false),
        (1, 384, 384, false),
    ] {
        let (x, weight) = (random(&[tokens, width]), random(&[inner, width]));
        // Rows of a larger tensor, as a task's part of a batch is.
        let rows = random(&[tokens + 9, width]).narrow(0, 5, tokens);
        let bias = random(&[inner]);
        for (x, bias) in [(&x, Some(&bias)), (&x, None), (&rows, Some(&bias))] {
            take(Library::Own).unwrap();
            let own = layer(x, &weight, bias);
            take(Library::OneDnn).unwrap();
            let onednn = layer(x, &weight, bias);
            take(Library::Own).unwrap();
            for (onednn, own) in onednn.iter().zip(&own) {
                let (same, error) = compare(onednn, own);
                assert!(error < 2e-6, "{tokens} {width} {inner}: {error:e}");
                assert!(same || is_large, "{tokens} {width} {inner}");
                changed += i32::from(!same);
            }
        }
    }
    // Were the switch without effect, all were the same.
    assert!(changed > 0);

    let rates = rates(Kind::Float).unwrap();
    assert_eq!(rates.len(), 2);
    assert!(rates.iter().all(|(_, rate)| *rate > 1e8), "{rates:?}");
}

/// The last checkpoint.
fn last(folder: &Path, out: &str) -> PathBuf {
    folder.join(out).join("checkpoints/step-6")
}

/// The checksums of the weights at a run's end.
fn weights(folder: &Path, out: &str) -> serde_json::Value {
    json(&last(folder, out).join("state.json"))["files"].clone()
}

/// The encoder's weights at a run's end, by name.
fn encoder(folder: &Path, out: &str) -> Vec<(String, Tensor)> {
    let file = last(folder, out).join("encoder.safetensors");
    let mut weights = Tensor::read_safetensors(file).unwrap();
    weights.sort_by(|a, b| a.0.cmp(&b.0));
    weights
}

#[test]
fn a_run_keeps_the_library_that_it_was_begun_with() {
    let folder = workplace();
    let folder = folder.path();
    if !has_onednn(Kind::Float) {
        let line = common::refused(folder, &["training.products=onednn"]);
        assert!(line.contains("say mkl or auto"), "{line}");
        return;
    }
    let by = |library: &str| format!("training.products={library}");
    let exact = [
        "training.precision=fp32",
        "training.dropout=0",
        "training.head_dropout=0",
    ];
    for (out, library) in [("mkl", "mkl"), ("onednn", "onednn"), ("again", "onednn")] {
        train(folder, out, &[&exact[..], &[&by(library)]].concat());
    }
    assert_eq!(weights(folder, "onednn"), weights(folder, "again"));
    assert_ne!(weights(folder, "onednn"), weights(folder, "mkl"));
    let made_of = |out: &str| json(&folder.join(out).join("made_of.json"))["arithmetic"].clone();
    assert_eq!(made_of("onednn")["products"], "oneDNN");
    let (mkl, onednn) = (encoder(folder, "mkl"), encoder(folder, "onednn"));
    for ((name, mkl), (_, onednn)) in mkl.iter().zip(&onednn) {
        // Six steps at 1e-4 move a weight by up to 6e-4.
        let difference = f64::try_from((mkl - onednn).abs().max()).unwrap();
        assert!(difference < 1e-5, "{name}: {difference}");
    }

    // What is left of a run that was killed after its third step.
    std::fs::remove_file(folder.join("again/results.json")).unwrap();
    std::fs::remove_dir_all(folder.join("again/checkpoints/step-6")).unwrap();
    let resume = |more: &[&'static str]| {
        let args = ["train", "c.yaml", "--out", "again", "--resume"];
        let sets = exact.iter().chain(more).flat_map(|set| ["--set", set]);
        args.into_iter().chain(sets).collect::<Vec<_>>()
    };
    let other = fails(folder, &resume(&["training.products=mkl"]), 2);
    assert!(
        other.contains("training.products was onednn, is mkl"),
        "{other}"
    );
    let resumed = run(folder, &resume(&[]));
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert_eq!(weights(folder, "onednn"), weights(folder, "again"));
}
