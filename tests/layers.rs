//! Whole layers, of which each thread takes some rows, beside the same layer operation by operation. How many
//! threads there are is the process's: the test is alone.

use covalign::libtorch::fused::{self, Dropout, Layer, Norm};
use tch::{Device, Kind, Tensor};

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);
const WIDTH: i64 = 20;
const INNER: i64 = 56;
const HEADS: i64 = 4;

/// A layer's input, matrices with biases, and norms, all of which learn.
struct Parameters {
    x: Tensor,
    linear: [[Tensor; 2]; 4],
    norms: [Norm; 2],
}

impl Parameters {
    fn random(tokens: i64) -> Parameters {
        tch::manual_seed(5);
        let leaf = |x: Tensor| x.set_requires_grad(true);
        let random = |size: &[i64]| Tensor::randn(size, FLOAT);
        let linear =
            |out: i64, from: i64| [random(&[out, from]) * 0.2, random(&[out]) * 0.2].map(leaf);
        let norm = || Norm {
            gamma: leaf(random(&[WIDTH])),
            beta: leaf(random(&[WIDTH])),
            eps: 1e-12,
        };
        Parameters {
            x: leaf(random(&[tokens, WIDTH])),
            linear: [
                linear(3 * WIDTH, WIDTH),
                linear(WIDTH, WIDTH),
                linear(INNER, WIDTH),
                linear(WIDTH, INNER),
            ],
            norms: [norm(), norm()],
        }
    }

    /// The input first.
    fn all(&self) -> Vec<&Tensor> {
        let norms = self.norms.iter().flat_map(|norm| [&norm.gamma, &norm.beta]);
        [&self.x]
            .into_iter()
            .chain(self.linear.iter().flatten())
            .chain(norms)
            .collect()
    }

    fn whole(&self, starts: &Tensor, first: bool, dropouts: [Dropout; 3]) -> Option<Tensor> {
        let [qkv, attention, wide, narrow] = self.linear.each_ref().map(|[w, b]| (w, b));
        let layer = Layer {
            qkv,
            attention,
            attention_norm: &self.norms[0],
            wide,
            narrow,
            norm: &self.norms[1],
            heads: HEADS,
        };
        fused::layer(&layer, &self.x, (starts, longest(starts)), first, dropouts).unwrap()
    }

    fn by_operation(&self, starts: &Tensor, first: bool, dropouts: [Dropout; 3]) -> Tensor {
        let [qkv, attention, wide, narrow] = &self.linear;
        let product = |x: &Tensor, [weight, _]: &[Tensor; 2]| x.linear(weight, None::<Tensor>);
        let cut = (starts, longest(starts));
        let heads = product(&self.x, qkv);
        let seen = fused::packed_attention(&heads, &qkv[1], cut, HEADS, first, dropouts[0]);
        let residual = match first {
            true => self
                .x
                .index_select(0, &starts.narrow(0, 0, starts.size()[0] - 1)),
            false => self.x.shallow_clone(),
        };
        let sum = |x: Tensor, linear: &[Tensor; 2], residual: &Tensor, at: usize| {
            fused::add_norm(x, &linear[1], residual, &self.norms[at], dropouts[at + 1]).unwrap()
        };
        let y = sum(product(&seen.unwrap(), attention), attention, &residual, 0);
        let inner = fused::gelu(product(&y, wide), &wide[1]).unwrap();
        sum(product(&inner, narrow), narrow, &y, 1)
    }
}

fn longest(starts: &Tensor) -> i64 {
    let rows = starts.size()[0] - 1;
    let lengths = starts.narrow(0, 1, rows) - starts.narrow(0, 0, rows);
    i64::try_from(lengths.max()).unwrap()
}

/// Some number that every output weighs in differently.
fn loss(y: &Tensor) -> Tensor {
    let weights = Tensor::arange(y.numel() as i64, FLOAT).sin();
    (y.view([-1]) * weights).sum(Kind::Float)
}

fn gradients(y: &Tensor, of: &[&Tensor]) -> Vec<Tensor> {
    Tensor::run_backward(&[loss(y)], of, false, false)
}

fn error(a: &Tensor, b: &Tensor) -> f64 {
    let norm = |x: &Tensor| f64::try_from(x.square().sum(Kind::Double).sqrt()).unwrap();
    norm(&(a - b)) / norm(b)
}

#[test]
fn a_whole_layer_is_the_layer_operation_by_operation() {
    // Several parts for each thread, rows of one token among them.
    let lengths: Vec<i64> = (0..90).map(|i| 1 + i * 7 % 23).collect();
    let starts: Vec<i64> = std::iter::once(0)
        .chain(lengths.iter().scan(0, |at, length| {
            *at += length;
            Some(*at)
        }))
        .collect();
    let parameters = Parameters::random(starts[lengths.len()]);
    let starts = Tensor::from_slice(&starts);
    let all = parameters.all();
    for threads in [1, 2, 3] {
        tch::set_num_threads(threads);
        for first in [false, true] {
            for p in [0.0, 0.3] {
                let dropouts = [11, 12, 13].map(|key| Dropout { p, key });
                let case = format!("{threads} threads, first {first}, dropout {p}");
                let expected = parameters.by_operation(&starts, first, dropouts);
                let whole = parameters.whole(&starts, first, dropouts).expect(&case);
                assert!(error(&whole, &expected) < 1e-5, "{case}");
                let kept_nothing = tch::no_grad(|| parameters.whole(&starts, first, dropouts));
                assert_eq!(kept_nothing.unwrap(), whole, "{case}");

                let pairs = gradients(&whole, &all)
                    .into_iter()
                    .zip(gradients(&expected, &all));
                for (at, (whole, expected)) in pairs.enumerate() {
                    let error = error(&whole, &expected);
                    assert!(error < 2e-5, "{case}, number {at}: {error:e}");
                }
                // The same bits again; and of the input alone, which is all that a frozen layer passes on.
                let again = parameters.whole(&starts, first, dropouts).unwrap();
                let once = parameters.whole(&starts, first, dropouts).unwrap();
                let all_of_them = gradients(&again, &all);
                let input = gradients(&once, &all[..1]);
                assert_eq!(all_of_them[0], input[0], "{case}");
            }
        }
    }
    // A row that is longer than half of all rows keeps one of two threads waiting.
    tch::set_num_threads(2);
    let none = [0; 3].map(|key| Dropout { p: 0.0, key });
    for (lengths, is_shared) in [
        (vec![30], false),
        (vec![20, 5, 5], false),
        (vec![15, 15], true),
    ] {
        let tokens: i64 = lengths.iter().sum();
        let parameters = Parameters::random(tokens);
        let mut starts = vec![0];
        for length in lengths {
            starts.push(starts[starts.len() - 1] + length);
        }
        let whole = parameters.whole(&Tensor::from_slice(&starts), false, none);
        assert_eq!(whole.is_some(), is_shared, "{starts:?}");
    }
}
