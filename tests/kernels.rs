//! The CPU's own passes: right at every width and with every instruction set, and nothing read or
//! written outside their tensors.

use std::process::Command;

use covalign::config::Engine;
use covalign::data::Batch;
use covalign::libtorch::fused::{self, Dropout, Norm};
use covalign::libtorch::optimizer::{adamw_idle, adamw_rows, widen_gradients, AdamW, Moments};
use covalign::model::bert::Bert;
use covalign::model::encoder::Encoder;
use covalign::model::Mode;
use serde_json::json;
use tch::{Device, Kind, Tensor};

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

/// The gradients of two layers whose heads are `width / heads` wide, by name.
fn gradients(engine: Engine, width: i64, heads: i64) -> Vec<(String, Tensor)> {
    let config = json!({
        "hidden_size": width, "num_attention_heads": heads, "num_hidden_layers": 2,
        "intermediate_size": 24, "hidden_act": "gelu", "vocab_size": 60,
        "max_position_embeddings": 50, "type_vocab_size": 2, "initializer_range": 0.05,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    });
    let config = serde_json::from_value(config).unwrap();
    let encoder = Bert::random(config, engine, Device::Cpu, 7).unwrap();
    // More queries than are taken at a time, a few, and one; 0 is padding, which learns nothing.
    let rows: Vec<Vec<i32>> = [45, 6, 1]
        .map(|n| (0..n).map(|i| 1 + i * 7 % 59).collect())
        .into();
    let rows: Vec<_> = rows.iter().map(|ids| (&ids[..], ids.len() / 2)).collect();
    let batch = Batch::new(&rows, encoder.batch_shape(0), Device::Cpu).unwrap();
    let embedded = encoder.embed(&batch, None, Mode::Evaluate).unwrap();
    let pooled = encoder.pooled(&embedded, &batch, Mode::Evaluate).unwrap();
    pooled.square().sum(Kind::Float).backward();
    let parameters = encoder.parameters().into_iter();
    parameters.map(|p| (p.name, p.leaf.grad())).collect()
}

/// Run by the test below, in a process for each instruction set.
#[test]
#[ignore = "a part of the test below"]
fn wide_heads_with_this_instruction_set() {
    println!("instruction set: {}", fused::instruction_set());
    // 256 is as wide as it goes for sums in 32 of AVX2's registers; 530 is beyond AVX-512's, and no
    // multiple of any.
    for (width, heads) in [(256, 1), (530, 1), (516, 2)] {
        let expected = gradients(Engine::Padded, width, heads);
        let ours = gradients(Engine::Fast, width, heads);
        assert_eq!(ours.len(), expected.len());
        for ((name, ours), (other, expected)) in ours.iter().zip(&expected) {
            assert_eq!(name, other);
            let largest = |x: &Tensor| f64::try_from(x.abs().max()).unwrap();
            let (scale, difference) = (largest(expected), largest(&(ours - expected)));
            assert!(
                difference <= 1e-4 * scale,
                "{width} / {heads} {name}: {difference} of {scale}"
            );
        }
    }
}

#[test]
fn gradients_of_heads_of_any_width_equal_libtorchs_with_every_instruction_set() {
    for set in ["default", "avx2", "avx512"] {
        // libtorch believes the variable, also where the machine has no such instructions.
        #[cfg(target_arch = "x86_64")]
        if set == "avx512" && !is_x86_feature_detected!("avx512f") {
            eprintln!("skipped: this machine has no {set}");
            continue;
        }
        let part = "wide_heads_with_this_instruction_set";
        let output = Command::new(std::env::current_exe().unwrap())
            .args([part, "--exact", "--ignored", "--nocapture"])
            .env("ATEN_CPU_CAPABILITY", set)
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{set}: {shown}{errors}");
        assert!(shown.contains("1 passed"), "{shown}");
        if !shown.contains(&format!("instruction set: {set}\n")) {
            eprintln!("skipped: this machine has no {set}");
        }
    }
}

fn norm(width: i64) -> Norm {
    Norm {
        gamma: Tensor::ones([width], FLOAT),
        beta: Tensor::zeros([width], FLOAT),
        eps: 1e-12,
    }
}

#[test]
fn gradients_of_several_passes_are_added_up_in_float32() {
    let leaf = Tensor::zeros([3], (Kind::BFloat16, Device::Cpu)).set_requires_grad(true);
    // Beside 1, bfloat16 has no room for a 512th.
    for gradient in [1.0, 1.0 / 512.0, 1.0 / 512.0] {
        (&leaf * gradient).sum(Kind::BFloat16).backward();
        widen_gradients([&leaf]).unwrap();
    }
    assert_eq!(leaf.grad(), Tensor::from_slice(&[1.0 + 1.0f32 / 256.0; 3]));
}

#[test]
fn embeddings_that_a_table_does_not_have_are_refused() {
    let tables = [60, 50, 2].map(|rows| Tensor::zeros([rows, 8], FLOAT));
    let norm = norm(8);
    let attempt = |places: [[i64; 3]; 3]| {
        let places = places.map(|p| Tensor::from_slice(&p));
        let dropout = Dropout { p: 0.0, key: 0 };
        let (tables, places) = (tables.each_ref(), places.each_ref());
        fused::embed(tables, places, &norm, dropout, Kind::Float)
    };
    let _ = attempt([[0, 59, 1], [0, 1, 49], [0, 1, 1]]).unwrap();
    let wrong = [
        (
            [[0, 60, 1], [0, 1, 2], [0, 0, 1]],
            "word ids number 1 is 60",
        ),
        (
            [[0, 1, -1], [0, 1, 2], [0, 0, 1]],
            "word ids number 2 is -1",
        ),
        (
            [[0, 1, 1], [50, 1, 2], [0, 0, 1]],
            "positions number 0 is 50",
        ),
        ([[0, 1, 1], [0, 1, 2], [0, 0, 2]], "segments number 2 is 2"),
    ];
    for (places, expected) in wrong {
        let error = attempt(places).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn rows_that_do_not_cover_their_tokens_are_refused() {
    let (qkv, bias) = (Tensor::zeros([9, 24], FLOAT), Tensor::zeros([24], FLOAT));
    let attempt = |starts: &[i64], longest: i64, heads: i64| {
        let starts = Tensor::from_slice(starts);
        let dropout = Dropout { p: 0.0, key: 0 };
        fused::packed_attention(&qkv, &bias, (&starts, longest), heads, false, dropout)
    };
    let _ = attempt(&[0, 4, 9], 5, 2).unwrap();
    let wrong: [(&[i64], i64, i64, &str); 5] = [
        (&[0, 4, 9], 4, 2, "row 1 has 5 tokens; it must have 1 to 4"),
        (&[0, 4, 10], 6, 2, "do not cover the 9 tokens"),
        (&[0, 12, 9], 12, 2, "row 1 has -3 tokens"),
        (&[0, 0, 9], 9, 2, "row 0 has 0 tokens"),
        (&[0, 4, 9], 5, 3, "3 heads cannot share"),
    ];
    for (starts, longest, heads, expected) in wrong {
        let error = attempt(starts, longest, heads).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn steps_on_rows_that_a_table_does_not_have_are_refused() {
    let table = Tensor::zeros([7, 4], FLOAT);
    let state = Moments::fresh(table.shallow_clone(), table).unwrap();
    let constants = AdamW {
        learning_rate: 0.1,
        beta1: 0.9,
        beta2: 0.999,
        weight_decay: 0.0,
        eps: 1e-8,
    };
    let step = constants.step(1.0, 1.0);
    let attempt = |rows: &[i64], gradient: [i64; 2]| {
        let gradient = Tensor::ones(gradient, FLOAT);
        adamw_rows(&state, &Tensor::from_slice(rows), &gradient, step)
    };
    attempt(&[0, 6], [2, 4]).unwrap();
    let error = attempt(&[0, 7], [2, 4]).unwrap_err().to_string();
    assert!(error.contains("rows of a table number 1 is 7"), "{error}");
    let error = attempt(&[0, 6], [1, 4]).unwrap_err().to_string();
    assert!(error.contains("gradient must be 8 numbers"), "{error}");
    let taken = Tensor::from_slice(&[0i64, 0, 0, 2, 0, 0, 0]);
    let error = adamw_idle(&state, &taken, None, &[step]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("row 3 of a table has taken 2 of 1"),
        "{error}"
    );
}
