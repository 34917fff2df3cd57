//! The recurrence over packed rows gives torch.nn.LSTM's outputs and gradients.

use covalign::data::batch::{Batch, Layout, Packed, Shape};
use covalign::libtorch::recurrent;
use covalign::model::words::reference;
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
        Layout::Padded { .. } => unreachable!(),
    }
}

/// The weights of a layer and direction, and an input; all want gradients.
fn drawn(tokens: i64, input: i64, width: i64) -> (Tensor, [Tensor; 4]) {
    let bound = 1.0 / (width as f64).sqrt();
    let leaf = |size: &[i64], scale: f64| {
        let drawn = (Tensor::rand(size, FLOAT) * 2.0 - 1.0) * scale;
        drawn.set_requires_grad(true)
    };
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
    let weigh = Tensor::linspace(-1.0, 2.0, output.numel() as i64, FLOAT);
    let sum = (&output.reshape([-1]) * weigh).sum(Kind::Float);
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

#[test]
fn a_layer_equals_libtorchs_forward_and_backward() {
    tch::manual_seed(1);
    let many: Vec<usize> = (0..33).map(|i| 1 + (i * 37) % 60).collect();
    for lengths in [&[1][..], &[5, 1, 9], &[3, 3, 3, 3], &many] {
        let rows = packed(lengths);
        let tokens = lengths.iter().sum::<usize>() as i64;
        for (input, width) in [(1, 1), (7, 5), (24, 50), (20, 100)] {
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
    let [a, _, c, d] = weights;
    let square = Tensor::zeros([4, 16], FLOAT);
    assert!(fails(&x, &rows.starts, &[a, square, c, d]).contains("weights of"));
}
