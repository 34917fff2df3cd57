//! Operations in one pass where libtorch takes several, forward and backward, on CPU and CUDA. But for [`layers`],
//! sums over rows are taken in a fixed order: results do not depend on the number of threads.

use std::ffi::{c_char, CStr};

use anyhow::Result;
use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use super::{check, given};

extern "C" {
    fn covalign_kernel_name() -> *const c_char;
    fn covalign_add_norm(
        x: *const C_tensor,
        bias: *const C_tensor,
        residual: *const C_tensor,
        gamma: *const C_tensor,
        beta: *const C_tensor,
        eps: f64,
        p: f64,
        key: u64,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn covalign_gelu(
        x: *const C_tensor,
        bias: *const C_tensor,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn covalign_packed_attention(
        qkv: *const C_tensor,
        bias: *const C_tensor,
        starts: *const C_tensor,
        longest: i64,
        heads: i64,
        first: bool,
        p: f64,
        key: u64,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn covalign_layers(
        tensors: *const *const C_tensor,
        count: i64,
        starts: *const C_tensor,
        longest: i64,
        heads: i64,
        first: bool,
        eps: f64,
        p: *const f64,
        keys: *const u64,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn covalign_packed_attention_cuda(
        qkv: *const C_tensor,
        starts: *const C_tensor,
        longest: i64,
        heads: i64,
        first: bool,
        p: f64,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn covalign_embed(
        tables: *const *const C_tensor,
        places: *const *const C_tensor,
        gamma: *const C_tensor,
        beta: *const C_tensor,
        eps: f64,
        p: f64,
        key: u64,
        kind: i32,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
}

/// Dropout with probability `p`. Which elements go is a hash of `key` and the element's place: no
/// mask is stored, and the same key gives the same mask.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    pub p: f64,
    pub key: u64,
}

/// Scale and shift of a LayerNorm, float32 `[width]`, and what keeps its divisor from zero.
#[derive(Debug)]
pub struct Norm {
    pub gamma: Tensor,
    pub beta: Tensor,
    pub eps: f64,
}

/// The instruction set of the passes here: `default`, `avx2`, `avx512` or `avx512_bf16`. The machine's best, unless
/// libtorch's variable `ATEN_CPU_CAPABILITY` names a lesser one.
pub fn instruction_set() -> String {
    unsafe { CStr::from_ptr(covalign_kernel_name()) }
        .to_string_lossy()
        .into_owned()
}

fn made(call: impl FnOnce(*mut *mut C_tensor) -> *mut c_char) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    check(call(&mut out))?;
    given(out)
}

/// LayerNorm(dropout(x + bias) + residual) over rows `[rows, width]` in float32 or bfloat16, bias
/// in float32. Takes `x`, a matrix product that nobody else has: it is overwritten.
pub fn add_norm(
    x: Tensor,
    bias: &Tensor,
    residual: &Tensor,
    norm: &Norm,
    dropout: Dropout,
) -> Result<Tensor> {
    made(|out| unsafe {
        covalign_add_norm(
            x.as_ptr(),
            bias.as_ptr(),
            residual.as_ptr(),
            norm.gamma.as_ptr(),
            norm.beta.as_ptr(),
            norm.eps,
            dropout.p,
            dropout.key,
            out,
        )
    })
}

/// gelu(x + bias), the exact one, within 2e-7; overwrites `x` as [`add_norm`] does.
pub fn gelu(x: Tensor, bias: &Tensor) -> Result<Tensor> {
    made(|out| unsafe { covalign_gelu(x.as_ptr(), bias.as_ptr(), out) })
}

/// Multi-head attention within packed rows.
///
/// `qkv` `[tokens, 3 width]` holds query, key and value without their bias `[3 width]`; row r is
/// the tokens `starts[r]..starts[r + 1]`, none longer than `longest`. Gives `[tokens, width]`, or
/// with `first` what the first token of each row sees, `[rows, width]`.
pub fn packed_attention(
    qkv: &Tensor,
    bias: &Tensor,
    (starts, longest): (&Tensor, i64),
    heads: i64,
    first: bool,
    dropout: Dropout,
) -> Result<Tensor> {
    made(|out| unsafe {
        covalign_packed_attention(
            qkv.as_ptr(),
            bias.as_ptr(),
            starts.as_ptr(),
            longest,
            heads,
            first,
            dropout.p,
            dropout.key,
            out,
        )
    })
}

/// A layer's parameters: matrices `[out, in]` in x's kind, each with its bias in float32.
#[derive(Debug)]
pub struct Layer<'a> {
    /// Query, key and value one below the other, `[3 width, width]`.
    pub qkv: (&'a Tensor, &'a Tensor),
    pub attention: (&'a Tensor, &'a Tensor),
    pub attention_norm: &'a Norm,
    pub wide: (&'a Tensor, &'a Tensor),
    pub narrow: (&'a Tensor, &'a Tensor),
    /// With the same `eps` as the other norm.
    pub norm: &'a Norm,
    /// Attention's, and those of the two sums.
    pub dropouts: [Dropout; 3],
}

impl<'a> Layer<'a> {
    fn tensors(&self) -> [&'a Tensor; 12] {
        let (first, second) = (self.attention_norm, self.norm);
        [
            self.qkv.0,
            self.qkv.1,
            self.attention.0,
            self.attention.1,
            &first.gamma,
            &first.beta,
            self.wide.0,
            self.wide.1,
            self.narrow.0,
            self.narrow.1,
            &second.gamma,
            &second.beta,
        ]
    }
}

/// Layers with GELU and `heads` heads over packed rows in float32 or bfloat16 on a CPU, one after the other:
/// [`packed_attention`], [`add_norm`], [`gelu`], [`add_norm`] and the products between them. Each thread takes some
/// rows through all of them.
/// `x` is `[tokens, width]`, and so is the output, or with `first` `[rows, width]`. None where rows of these lengths
/// cannot be shared out evenly over the threads.
pub fn layers(
    layers: &[Layer],
    heads: i64,
    x: &Tensor,
    (starts, longest): (&Tensor, i64),
    first: bool,
) -> Result<Option<Tensor>> {
    let weights = layers.iter().flat_map(Layer::tensors);
    let tensors: Vec<_> = [x].into_iter().chain(weights).map(Tensor::as_ptr).collect();
    let dropouts = || layers.iter().flat_map(|layer| layer.dropouts);
    let p: Vec<f64> = dropouts().map(|dropout| dropout.p).collect();
    let keys: Vec<u64> = dropouts().map(|dropout| dropout.key).collect();
    let mut out = std::ptr::null_mut();
    check(unsafe {
        covalign_layers(
            tensors.as_ptr(),
            layers.len() as i64,
            starts.as_ptr(),
            longest,
            heads,
            first,
            layers.first().map_or(0.0, |layer| layer.norm.eps),
            p.as_ptr(),
            keys.as_ptr(),
            &mut out,
        )
    })?;
    match out.is_null() {
        true => Ok(None),
        false => given(out).map(Some),
    }
}

/// [`packed_attention`] on CUDA, of a `qkv` that has its bias; what is dropped, with probability `p`, comes from
/// libtorch's generator.
pub fn packed_attention_cuda(
    qkv: &Tensor,
    (starts, longest): (&Tensor, i64),
    heads: i64,
    first: bool,
    p: f64,
) -> Result<Tensor> {
    made(|out| unsafe {
        covalign_packed_attention_cuda(qkv.as_ptr(), starts.as_ptr(), longest, heads, first, p, out)
    })
}

/// dropout(LayerNorm(sum of a row of each table)), `[tokens, width]`; `places` `[tokens]` are the
/// rows. In `kind`: float, bfloat16, on CUDA also half.
pub fn embed(
    tables: [&Tensor; 3],
    places: [&Tensor; 3],
    norm: &Norm,
    dropout: Dropout,
    kind: Kind,
) -> Result<Tensor> {
    let tables = tables.map(|t| t.as_ptr());
    let places = places.map(|t| t.as_ptr());
    made(|out| unsafe {
        covalign_embed(
            tables.as_ptr(),
            places.as_ptr(),
            norm.gamma.as_ptr(),
            norm.beta.as_ptr(),
            norm.eps,
            dropout.p,
            dropout.key,
            super::scalar_type(kind),
            out,
        )
    })
}
