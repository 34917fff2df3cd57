//! Layers through which each thread takes some rows, beside the same layers operation by operation, in float32 and
//! bfloat16 by each library of products. It and how many threads there are is the process's: the test is alone.

use covalign::libtorch::fused::{self, Dropout, Layer, Norm};
use covalign::libtorch::products::{has_onednn, take, taken, widens, Library};
use covalign::libtorch::{bf16_units, widened_product};
use tch::{Device, Kind, Tensor};

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);
const WIDTH: i64 = 20;
const INNER: i64 = 56;
const HEADS: i64 = 4;

/// A layer's matrices with biases, and norms, all of which learn.
struct Parameters {
    linear: [[Tensor; 2]; 4],
    norms: [Norm; 2],
}

fn random(size: &[i64]) -> Tensor {
    Tensor::randn(size, FLOAT)
}

impl Parameters {
    /// With matrices in `kind`.
    fn random(kind: Kind) -> Parameters {
        let leaf = |x: Tensor| x.set_requires_grad(true);
        let linear = |out: i64, from: i64| {
            let matrix = (random(&[out, from]) * 0.2).to_kind(kind);
            [matrix, random(&[out]) * 0.2].map(leaf)
        };
        let norm = || Norm {
            gamma: leaf(random(&[WIDTH])),
            beta: leaf(random(&[WIDTH])),
            eps: 1e-12,
        };
        Parameters {
            linear: [
                linear(3 * WIDTH, WIDTH),
                linear(WIDTH, WIDTH),
                linear(INNER, WIDTH),
                linear(WIDTH, INNER),
            ],
            norms: [norm(), norm()],
        }
    }

    fn in_float32(&self) -> Parameters {
        let norm = |norm: &Norm| Norm {
            gamma: float32(&norm.gamma),
            beta: float32(&norm.beta),
            eps: norm.eps,
        };
        Parameters {
            linear: self
                .linear
                .each_ref()
                .map(|linear| linear.each_ref().map(float32)),
            norms: self.norms.each_ref().map(norm),
        }
    }

    fn all(&self) -> Vec<&Tensor> {
        let norms = self.norms.iter().flat_map(|norm| [&norm.gamma, &norm.beta]);
        self.linear.iter().flatten().chain(norms).collect()
    }

    fn whole(&self, dropouts: [Dropout; 3]) -> Layer<'_> {
        let [qkv, attention, wide, narrow] = self.linear.each_ref().map(|[w, b]| (w, b));
        Layer {
            qkv,
            attention,
            attention_norm: &self.norms[0],
            wide,
            narrow,
            norm: &self.norms[1],
            dropouts,
        }
    }

    fn by_operation(
        &self,
        x: &Tensor,
        starts: &Tensor,
        first: bool,
        dropouts: [Dropout; 3],
    ) -> Tensor {
        let [qkv, attention, wide, narrow] = &self.linear;
        let product =
            |x: &Tensor, [weight, _]: &[Tensor; 2]| match widens(weight.kind(), Device::Cpu) {
                true => widened_product(x, weight).unwrap(),
                false => x.linear(weight, None::<Tensor>),
            };
        let cut = (starts, longest(starts));
        let heads = product(x, qkv);
        let seen = fused::packed_attention(&heads, &qkv[1], cut, HEADS, first, dropouts[0]);
        let residual = match first {
            true => x.index_select(0, &starts.narrow(0, 0, starts.size()[0] - 1)),
            false => x.shallow_clone(),
        };
        let sum = |x: Tensor, linear: &[Tensor; 2], residual: &Tensor, at: usize| {
            fused::add_norm(x, &linear[1], residual, &self.norms[at], dropouts[at + 1]).unwrap()
        };
        let y = sum(product(&seen.unwrap(), attention), attention, &residual, 0);
        let inner = fused::gelu(product(&y, wide), &wide[1]).unwrap();
        sum(product(&inner, narrow), narrow, &y, 1)
    }
}

/// Layers one after the other, each of which drops with probability `p`.
struct Stack {
    layers: Vec<Parameters>,
    starts: Tensor,
    first: bool,
    p: f64,
}

impl Stack {
    fn in_float32(&self) -> Stack {
        Stack {
            layers: self.layers.iter().map(Parameters::in_float32).collect(),
            starts: self.starts.shallow_clone(),
            ..*self
        }
    }

    fn weights(&self) -> Vec<&Tensor> {
        self.layers.iter().flat_map(Parameters::all).collect()
    }

    fn dropouts(&self, index: usize) -> [Dropout; 3] {
        [1, 2, 3].map(|site| Dropout {
            p: self.p,
            key: 3 * index as u64 + site,
        })
    }

    fn whole(&self, x: &Tensor) -> Option<Tensor> {
        let each = self.layers.iter().enumerate();
        let layers: Vec<Layer> = each.map(|(i, l)| l.whole(self.dropouts(i))).collect();
        let cut = (&self.starts, longest(&self.starts));
        fused::layers(&layers, HEADS, x, cut, self.first).unwrap()
    }

    fn by_operation(&self, x: &Tensor) -> Tensor {
        let each = self.layers.iter().enumerate();
        each.fold(x.shallow_clone(), |x, (i, layer)| {
            let first = self.first && i + 1 == self.layers.len();
            layer.by_operation(&x, &self.starts, first, self.dropouts(i))
        })
    }
}

/// Another leaf of the same numbers.
fn float32(x: &Tensor) -> Tensor {
    x.detach()
        .to_kind(Kind::Float)
        .copy()
        .set_requires_grad(true)
}

fn longest(starts: &Tensor) -> i64 {
    let rows = starts.size()[0] - 1;
    let lengths = starts.narrow(0, 1, rows) - starts.narrow(0, 0, rows);
    i64::try_from(lengths.max()).unwrap()
}

/// Some number that every output weighs in differently.
fn loss(y: &Tensor) -> Tensor {
    let weights = Tensor::arange(y.numel() as i64, FLOAT).sin();
    (y.to_kind(Kind::Float).view([-1]) * weights).sum(Kind::Float)
}

fn gradients(y: &Tensor, of: &[&Tensor]) -> Vec<Tensor> {
    Tensor::run_backward(&[loss(y)], of, false, false)
}

fn error(a: &Tensor, b: &Tensor) -> f64 {
    let norm = |x: &Tensor| f64::try_from(x.square().sum(Kind::Double).sqrt()).unwrap();
    norm(&(a - b)) / norm(b)
}

fn starts(lengths: impl IntoIterator<Item = i64>) -> Tensor {
    let mut starts = vec![0];
    for length in lengths {
        starts.push(starts[starts.len() - 1] + length);
    }
    Tensor::from_slice(&starts)
}

#[test]
fn layers_by_rows_are_the_layers_operation_by_operation() {
    rows_are_shared_out_where_threads_end_together();
    for kind in [Kind::Float, Kind::BFloat16] {
        for library in [Library::Own, Library::OneDnn] {
            if library == Library::Own || has_onednn(kind) {
                take(library).unwrap();
                by_rows_are_by_operation(kind);
            } else {
                eprintln!("skipped: libtorch lets oneDNN multiply in {kind:?} with AVX-512 alone");
            }
        }
    }
    take(Library::Own).unwrap();
    if has_onednn(Kind::BFloat16) {
        attention_in_pairs_is_attention();
    }
}

/// With oneDNN, where the processor has AVX512-BF16 and no AMX, attention multiplies pairs of numbers in bfloat16. What
/// it rounds more than attention in float32 does moves results no further than a few times what bfloat16 itself does.
fn attention_in_pairs_is_attention() {
    tch::set_num_threads(2);
    tch::manual_seed(9);
    let in_pairs =
        bf16_units().unwrap() == ["AVX512-BF16"] && fused::instruction_set() == "avx512_bf16";
    // An odd number of queries, keys and numbers a head, and more queries than are taken at a time.
    let (heads, depth) = (2, 33);
    let starts = starts([1, 2, 45, 31, 70]);
    let tokens = i64::try_from(starts.max()).unwrap();
    let leaf = |x: Tensor| x.set_requires_grad(true);
    let x = leaf(random(&[tokens, 3 * heads * depth]).to_kind(Kind::BFloat16));
    let bias = leaf(random(&[3 * heads * depth]) * 0.2);
    for (first, p) in [(false, 0.0), (true, 0.0), (false, 0.3)] {
        let attended = |x: &Tensor| -> Vec<Tensor> {
            let (cut, dropout) = ((&starts, longest(&starts)), Dropout { p, key: 7 });
            let y = fused::packed_attention(x, &bias, cut, heads, first, dropout).unwrap();
            let gradients = gradients(&y, &[x, &bias]);
            [y].into_iter().chain(gradients).collect()
        };
        let exact = attended(&float32(&x));
        let by_library = [Library::Own, Library::OneDnn].map(|library| {
            take(library).unwrap();
            attended(&x)
        });
        take(Library::Own).unwrap();
        for (at, exact) in exact.iter().enumerate() {
            let [own, onednn] = by_library.each_ref().map(|found| &found[at]);
            let errors = [own, onednn].map(|found| error(found, exact));
            let case = format!("first {first}, dropout {p}, number {at}: {errors:?}");
            assert!(errors[1] < 3.0 * errors[0], "{case}");
            assert_eq!(own == onednn, !in_pairs, "{case}");
        }
    }
}

/// In such a kind and by the library that is taken. The operations' results in float32 are the measure, from which in
/// bfloat16 both ways differ alike.
fn by_rows_are_by_operation(kind: Kind) {
    tch::manual_seed(5);
    // Several parts for each thread, rows of one token among them.
    let starts_of_many = starts((0..270).map(|i| 1 + i * 7 % 23));
    let tokens = i64::try_from(starts_of_many.max()).unwrap();
    let x = random(&[tokens, WIDTH])
        .to_kind(kind)
        .set_requires_grad(true);
    let cases = [1, 2, 3].into_iter().flat_map(|threads| {
        let of = move |count| [(threads, count, false, 0.3), (threads, count, true, 0.0)];
        [1, 3].into_iter().flat_map(of)
    });
    let all_of_two = [(2, 3, false, 0.0), (2, 3, true, 0.3)];
    for (threads, count, first, p) in cases.chain(all_of_two) {
        let library = taken().name();
        let case = format!(
            "{kind:?}, {library}, {threads} threads, {count} layers, first {first}, dropout {p}"
        );
        tch::set_num_threads(threads);
        let stack = Stack {
            layers: (0..count).map(|_| Parameters::random(kind)).collect(),
            starts: starts_of_many.shallow_clone(),
            first,
            p,
        };
        let weights = stack.weights();
        let all = [&[&x], &weights[..]].concat();
        let in_float32 = stack.in_float32();
        let exact_x = float32(&x);
        let exact = in_float32.by_operation(&exact_x);
        let by_operation = stack.by_operation(&x);
        let whole = stack.whole(&x).expect(&case);
        let bound = |least: f64, by_operation: &Tensor, exact: &Tensor| match kind {
            Kind::Float => least,
            _ => 2.5 * error(by_operation, exact),
        };
        assert!(
            error(&whole, &exact) < bound(1e-5, &by_operation, &exact),
            "{case}"
        );
        let kept_nothing = tch::no_grad(|| stack.whole(&x));
        assert_eq!(kept_nothing.unwrap(), whole, "{case}");

        let exact = gradients(&exact, &[&[&exact_x], &in_float32.weights()[..]].concat());
        let by_operation = gradients(&by_operation, &all);
        let found = gradients(&whole, &all);
        for (at, found) in found.iter().enumerate() {
            let (error, bound) = (
                error(found, &exact[at]),
                bound(2e-5, &by_operation[at], &exact[at]),
            );
            assert!(error < bound, "{case}, number {at}: {error:e}");
        }
        // The same bits again; and of the input alone, which is all that frozen layers pass on.
        assert_eq!(gradients(&stack.whole(&x).unwrap(), &all), found, "{case}");
        let input = gradients(&stack.whole(&x).unwrap(), &all[..1]);
        assert_eq!(input[0], found[0], "{case}");
        // Layers at the bottom that stand still.
        let still = x.detach();
        let lowest = stack.layers[0].all();
        lowest
            .iter()
            .for_each(|weight| drop(weight.set_requires_grad(count == 1)));
        let upper = &weights[weights.len() - lowest.len()..];
        let above = gradients(&stack.whole(&still).unwrap(), upper);
        let expected = &found[all.len() - lowest.len()..];
        assert_eq!(above, expected, "{case}, above what stands still");
    }
}

fn rows_are_shared_out_where_threads_end_together() {
    // A row that is longer than half of all rows keeps one of two threads waiting.
    tch::set_num_threads(2);
    for (lengths, is_shared) in [
        (vec![30], false),
        (vec![20, 5, 5], false),
        (vec![15, 15], true),
    ] {
        let x = random(&[lengths.iter().sum(), WIDTH]);
        let stack = Stack {
            layers: vec![Parameters::random(Kind::Float)],
            starts: starts(lengths),
            first: false,
            p: 0.0,
        };
        assert_eq!(stack.whole(&x).is_some(), is_shared, "{}", stack.starts);
    }
}
