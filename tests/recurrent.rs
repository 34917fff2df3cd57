//! The recurrence, the convolution and the pooling over packed rows give PyTorch's outputs and
//! gradients, whatever the rows, widths, threads and instruction set, and refuse what does not fit.

mod common;

use std::process::Command;

use covalign::data::batch::{Batch, Layout, Packed, Shape};
use covalign::libtorch::convolution::{conv_max, row_max, row_mean};
use covalign::libtorch::{fused, recurrent};
use covalign::model::words::reference;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

/// Packed rows of these lengths.
fn packed(lengths: &[usize]) -> Packed {
    let ids: Vec<Vec<i32>> = lengths.iter().map(|&n| vec![1; n]).collect();
    let rows: Vec<_> = ids.iter().map(|ids| (ids.as_slice(), ids.len())).collect();
    match Batch::new(&rows, Shape::Packed, Device::Cpu)
        .unwrap()
        .layout
    {
        Layout::Packed(packed) => packed,
        _ => unreachable!("packed rows"),
    }
}

/// Numbers up to `scale` that want gradients.
fn leaf(size: &[i64], scale: f64) -> Tensor {
    let drawn = (Tensor::rand(size, FLOAT) * 2.0 - 1.0) * scale;
    drawn.set_requires_grad(true)
}

/// The weights of a layer and direction, and an input; all want gradients.
fn drawn(tokens: i64, input: i64, width: i64) -> (Tensor, [Tensor; 4]) {
    let bound = 1.0 / (width as f64).sqrt();
    let weights = [
        leaf(&[4 * width, input], bound),
        leaf(&[4 * width, width], bound),
        leaf(&[4 * width], bound),
        leaf(&[4 * width], bound),
    ];
    (leaf(&[tokens, input], 2.0), weights)
}

/// The output, then the gradients of a sum that weighs each of its numbers differently.
fn passed(output: Tensor, leaves: &[&Tensor]) -> Vec<Tensor> {
    let all = output.ones_like();
    passed_where(output, &all, leaves)
}

/// As [`passed`], of the outputs where `counts` is 1 and not 0.
fn passed_where(output: Tensor, counts: &Tensor, leaves: &[&Tensor]) -> Vec<Tensor> {
    let weigh = Tensor::linspace(-1.0, 2.0, output.numel() as i64, FLOAT);
    let sum = (&output.reshape([-1]) * weigh * counts.reshape([-1])).sum(Kind::Float);
    let gradients = Tensor::run_backward(&[sum], leaves, false, false);
    std::iter::once(output).chain(gradients).collect()
}

fn assert_close(a: &[Tensor], b: &[Tensor], what: &str) {
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let largest = |x: &Tensor| f64::try_from(x.abs().max()).unwrap();
        let off = largest(&(a - b)) / largest(b).max(1.0);
        assert!(off < 1e-5, "{what}, tensor {i}: {off:e}");
    }
}

/// Batches: one word, a few rows, and rows of 1 to 60 words.
fn batches() -> [Vec<usize>; 4] {
    let many = (0..33).map(|i| 1 + (i * 37) % 60).collect();
    [vec![1], vec![5, 1, 9], vec![3, 3, 3, 3], many]
}

const WIDTHS: [(i64, i64); 5] = [(1, 1), (7, 5), (24, 50), (384, 100), (100, 384)];

fn compare_lstms(widths: &[(i64, i64)]) {
    for lengths in batches() {
        let rows = packed(&lengths);
        let tokens = lengths.iter().sum::<usize>() as i64;
        for &(input, width) in widths {
            for backward in [false, true] {
                let (x, weights) = drawn(tokens, input, width);
                let leaves: Vec<&Tensor> = std::iter::once(&x).chain(&weights).collect();
                let ours = recurrent::lstm(&x, &rows.starts, &weights, backward).unwrap();
                let theirs = reference::lstm(&x, &rows, &weights, backward).unwrap();
                let what = format!("{lengths:?}, {input} to {width}, backward {backward}");
                assert_close(&passed(ours, &leaves), &passed(theirs, &leaves), &what);
            }
        }
    }
}

/// 1 where the largest answer over the places is so by more than rounding, and the ReLU behind it open or
/// shut by more; 0 elsewhere, where either of two places may get the gradient. `[rows, filters]`
fn clear(answers: &Tensor) -> Tensor {
    let first_two = answers.topk(2.min(answers.size()[2]), 2, true, true).0;
    let largest = first_two.select(2, 0);
    let next = first_two.select(2, -1);
    let only = first_two.size()[2] == 1;
    let apart = (&largest - next).gt(1e-5).logical_or(&Tensor::from(only));
    let clear = apart.logical_and(&largest.abs().gt(1e-5));
    // A test that left much out would see little.
    let count = clear.numel() as i64;
    let left_out = count - clear.sum(Kind::Int64).int64_value(&[]);
    assert!(left_out <= 1 + count / 100, "{left_out} of {count}");
    clear.to_kind(Kind::Float)
}

fn compare_convolutions(widths: &[(i64, i64)]) {
    for lengths in batches() {
        let rows = packed(&lengths);
        let tokens = lengths.iter().sum::<usize>() as i64;
        for &(input, filters) in widths {
            for window in [1, 3, 5] {
                let x = leaf(&[tokens, input], 2.0);
                let bound = 1.0 / ((input * window) as f64).sqrt();
                let weight = leaf(&[filters, input, window], bound);
                let bias = leaf(&[filters], bound);
                let leaves = [&x, &weight, &bias];
                let ours = conv_max(&x, &rows.starts, &weight, &bias).unwrap();
                let answers = reference::answers(&x, &rows, &weight, &bias).unwrap();
                let clear = clear(&answers);
                let theirs = reference::conv_max(&x, &rows, &weight, &bias).unwrap();
                let what = format!("{lengths:?}, {input} to {filters}, window {window}");
                assert_close(
                    &passed_where(ours, &clear, &leaves),
                    &passed_where(theirs, &clear, &leaves),
                    &what,
                );
            }
        }
    }
}

#[test]
fn a_layer_equals_libtorchs_forward_and_backward_with_one_and_two_threads() {
    tch::manual_seed(1);
    for threads in [1, 2] {
        tch::set_num_threads(threads);
        compare_lstms(&WIDTHS);
    }
}

#[test]
fn a_convolution_equals_libtorchs_forward_and_backward_with_one_and_two_threads() {
    tch::manual_seed(2);
    for threads in [1, 2] {
        tch::set_num_threads(threads);
        compare_convolutions(&WIDTHS);
    }
}

#[test]
fn pooling_equals_libtorchs_forward_and_backward() {
    tch::manual_seed(3);
    for lengths in batches() {
        let rows = packed(&lengths);
        for width in [1, 5, 50, 384] {
            let x = leaf(&[lengths.iter().sum::<usize>() as i64, width], 2.0);
            let what = format!("{lengths:?}, {width}");
            let (ours, theirs) = (row_max(&x, &rows.starts), reference::row_max(&x, &rows));
            let (ours, theirs) = (passed(ours.unwrap(), &[&x]), passed(theirs.unwrap(), &[&x]));
            assert_close(&ours, &theirs, &format!("max of {what}"));
            let (ours, theirs) = (row_mean(&x, &rows.starts), reference::row_mean(&x, &rows));
            let (ours, theirs) = (passed(ours.unwrap(), &[&x]), passed(theirs.unwrap(), &[&x]));
            assert_close(&ours, &theirs, &format!("mean of {what}"));
        }
    }
}

#[test]
fn the_first_of_equals_gets_the_gradient_and_nan_is_seen() {
    let starts = Tensor::from_slice(&[0i64, 3, 5]);
    let x = Tensor::from_slice(&[2f32, 7.0, 7.0, 4.0, 4.0]).view([5, 1]);
    let x = x.set_requires_grad(true);
    let expected = Tensor::from_slice(&[0f32, 1.0, 0.0, 1.0, 0.0]).view([5, 1]);
    let gradient = |out: Tensor| Tensor::run_backward(&[out.sum(Kind::Float)], &[&x], false, false);
    assert_eq!(gradient(row_max(&x, &starts).unwrap())[0], expected);
    let (one, none) = (Tensor::ones([1, 1, 1], FLOAT), Tensor::zeros([1], FLOAT));
    let answers = conv_max(&x, &starts, &one, &none).unwrap();
    assert_eq!(gradient(answers)[0], expected);
    let broken = Tensor::from_slice(&[1f32, f32::NAN, 2.0, 1.0, 2.0]).view([5, 1]);
    let shown = Vec::<f32>::try_from(row_max(&broken, &starts).unwrap().view([2])).unwrap();
    assert!(shown[0].is_nan() && shown[1] == 2.0, "{shown:?}");
}

/// Run by the test below, in a process for each instruction set.
#[test]
#[ignore = "a part of the test below"]
fn some_widths_with_this_instruction_set() {
    println!("instruction set: {}", fused::instruction_set());
    tch::manual_seed(4);
    compare_lstms(&[(7, 5), (24, 50)]);
    compare_convolutions(&[(7, 5), (24, 50)]);
}

#[test]
fn each_instruction_set_gives_the_same() {
    for set in ["default", "avx2", "avx512"] {
        let part = "some_widths_with_this_instruction_set";
        let output = Command::new(std::env::current_exe().unwrap())
            .args([part, "--exact", "--ignored", "--nocapture"])
            .env("ATEN_CPU_CAPABILITY", set)
            .output()
            .unwrap();
        let shown = common::text(&output.stdout);
        let errors = common::text(&output.stderr);
        assert!(output.status.success(), "{set}: {shown}{errors}");
        assert!(shown.contains("1 passed"), "{shown}");
        if !shown.contains(&format!("instruction set: {set}\n")) {
            eprintln!("skipped: this machine has no {set}");
        }
    }
}

/// A tensor of the fixture.
fn recorded(value: &Value) -> Tensor {
    let numbers = |v: &Value| serde_json::from_value::<Vec<f64>>(v.clone()).unwrap();
    let size: Vec<i64> = numbers(&value["size"]).iter().map(|&n| n as i64).collect();
    let values = Tensor::from_slice(&numbers(&value["values"]));
    values.to_kind(Kind::Float).view(&size[..])
}

/// What PyTorch's modules gave (`scripts/recurrent_cases.py`).
#[test]
fn pytorchs_own_modules_give_the_same() {
    let text = include_str!("fixtures/recurrent_cases.json");
    let cases: Value = serde_json::from_str(text).unwrap();
    for kind in ["lstm", "conv_max"] {
        let cases = cases[kind].as_array().unwrap();
        assert!(cases.len() >= 2);
        for (number, case) in cases.iter().enumerate() {
            let wants = |value: &Value| recorded(value).set_requires_grad(true);
            let lengths: Vec<usize> = serde_json::from_value(case["lengths"].clone()).unwrap();
            let starts = packed(&lengths).starts;
            let x = wants(&case["x"]);
            let weights: Vec<Tensor> = case["weights"]
                .as_array()
                .unwrap()
                .iter()
                .map(wants)
                .collect();
            let leaves: Vec<&Tensor> = std::iter::once(&x).chain(&weights).collect();
            let out = match kind {
                "lstm" => {
                    let weights: [&Tensor; 4] =
                        weights.iter().collect::<Vec<_>>().try_into().unwrap();
                    let weights = weights.map(Tensor::shallow_clone);
                    let backward = case["reverse"].as_bool().unwrap();
                    recurrent::lstm(&x, &starts, &weights, backward).unwrap()
                }
                _ => conv_max(&x, &starts, &weights[0], &weights[1]).unwrap(),
            };
            let sum = (&out * recorded(&case["sent"])).sum(Kind::Float);
            let gradients = Tensor::run_backward(&[sum], &leaves, false, false);
            let ours: Vec<Tensor> = std::iter::once(out).chain(gradients).collect();
            let theirs = case["gradients"].as_array().unwrap().iter().map(recorded);
            let theirs: Vec<Tensor> = std::iter::once(recorded(&case["out"]))
                .chain(theirs)
                .collect();
            assert_eq!(ours.len(), theirs.len());
            assert_close(&ours, &theirs, &format!("{kind} {number}"));
        }
    }
}

#[test]
fn activations_are_right_to_a_millionth_of_themselves() {
    // Rows of one word that only the cell's gate reads: ½ tanh(½ tanh(x)).
    let values: Vec<f32> = (-80..60).map(|i| 1.25f32.powf(i as f32 / 2.0)).collect();
    let n = values.len() as i64;
    let x = Tensor::from_slice(&values).view([n, 1]);
    let starts = Tensor::arange(n + 1, (Kind::Int64, Device::Cpu));
    let zeros = |size: &[i64]| Tensor::zeros(size, FLOAT);
    let gates = Tensor::from_slice(&[0f32, 0.0, 1.0, 0.0]).view([4, 1]);
    let weights = [gates, zeros(&[4, 1]), zeros(&[4]), zeros(&[4])];
    let states = recurrent::lstm(&x, &starts, &weights, false).unwrap();
    let states = Vec::<f32>::try_from(states.view([n])).unwrap();
    for (x, state) in values.iter().zip(states) {
        let expected = 0.5 * (0.5 * f64::from(*x).tanh()).tanh();
        let off = (f64::from(state) / expected - 1.0).abs();
        assert!(off < 1e-6, "{x:e}: {state:e}, off by {off:e}");
    }
}

#[test]
fn what_stands_still_gets_no_gradient_and_the_same_threads_give_the_same_bits() {
    let rows = packed(&[4, 9, 2, 30, 7]);
    let (x, weights) = drawn(52, 16, 20);
    let frozen = x.detach();
    let ours = || recurrent::lstm(&frozen, &rows.starts, &weights, false).unwrap();
    let first = ours();
    assert_eq!(first, ours());
    first.sum(Kind::Float).backward();
    assert!(weights.iter().all(|weight| weight.grad().defined()));
    assert!(!frozen.grad().defined());
    assert_eq!(weights[2].grad(), weights[3].grad());
}

#[test]
fn what_does_not_fit_together_is_an_error() {
    let rows = packed(&[3, 2]);
    let (x, weights) = drawn(5, 6, 4);
    let fails = |x: &Tensor, starts: &Tensor, weights: &[Tensor; 4]| {
        let error = recurrent::lstm(x, starts, weights, false).unwrap_err();
        error.to_string()
    };
    let short = Tensor::from_slice(&[0i64, 3, 4]);
    assert!(fails(&x, &short, &weights).contains("do not cover"));
    let hole = Tensor::from_slice(&[0i64, 5, 5]);
    assert!(fails(&x, &hole, &weights).contains("row 1 has 0 tokens"));
    let double = x.to_kind(Kind::Double);
    assert!(fails(&double, &rows.starts, &weights).contains("the embeddings must be"));
    let wide = Tensor::zeros([5, 7], FLOAT);
    assert!(fails(&wide, &rows.starts, &weights).contains("weights of the input"));
    let [a, b, c, d] = weights;
    // As many numbers, but not in that shape.
    let flat = [a.detach().view([6, 16]), b, c, d];
    assert!(fails(&x, &rows.starts, &flat).contains("weights of the input are"));
    let [_, _, c, d] = flat;
    let square = Tensor::zeros([4, 16], FLOAT);
    assert!(fails(&x, &rows.starts, &[a, square, c, d]).contains("weights of"));
}

#[test]
fn rows_and_filters_that_do_not_fit_are_an_error() {
    let rows = packed(&[3, 2]);
    let (x, starts) = (Tensor::zeros([5, 6], FLOAT), &rows.starts);
    let (weight, bias) = (Tensor::zeros([4, 6, 3], FLOAT), Tensor::zeros([4], FLOAT));
    let fails = |x: &Tensor, starts: &Tensor, weight: &Tensor, bias: &Tensor| {
        let error = conv_max(x, starts, weight, bias).unwrap_err();
        error.to_string()
    };
    let hole = Tensor::from_slice(&[0i64, 5, 5]);
    assert!(fails(&x, &hole, &weight, &bias).contains("row 1 has 0 tokens"));
    let narrow = Tensor::zeros([4, 5, 3], FLOAT);
    assert!(fails(&x, starts, &narrow, &bias).contains("[filters, 6, window]"));
    let short = Tensor::zeros([3], FLOAT);
    assert!(fails(&x, starts, &weight, &short).contains("the filters' bias must be 4"));
    let double = x.to_kind(Kind::Double);
    assert!(fails(&double, starts, &weight, &bias).contains("packed rows must be"));
    for pool in [row_max, row_mean] {
        let error = |x: &Tensor, starts: &Tensor| pool(x, starts).unwrap_err().to_string();
        assert!(error(&x, &hole).contains("row 1 has 0 tokens"));
        assert!(error(&x, &starts.to_kind(Kind::Int)).contains("starts must be"));
        assert!(error(&x.view([-1]), starts).contains("[tokens, width]"));
    }
}
