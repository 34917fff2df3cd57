//! The library that multiplies matrices on a CPU: libtorch holds several, and which is the fastest is the
//! machine's.

use std::ffi::c_char;

use anyhow::Result;
use rustix::time::{clock_gettime, ClockId};
use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use super::threads::OneEach;
use super::{bf16_units, check, given};

extern "C" {
    fn covalign_has_onednn(half: bool) -> bool;
    fn covalign_takes_onednn() -> bool;
    fn covalign_take_onednn(takes: bool, pairs: bool) -> *mut c_char;
    fn covalign_product(
        a: *const C_tensor,
        b: *const C_tensor,
        onednn: bool,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
}

/// One that multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// libtorch's own choice for float32: MKL, on other processors than x86 another BLAS. What is in bfloat16
    /// is widened for it, and the product is rounded.
    Own,
    /// Takes float32 and bfloat16 as they are.
    OneDnn,
}

impl Library {
    /// Its name for people, and in a run's records.
    pub fn name(self) -> &'static str {
        match self {
            Library::OneDnn => "oneDNN",
            Library::Own if tch::utils::has_mkl() => "MKL",
            Library::Own => "BLAS",
        }
    }
}

/// Whether oneDNN takes float32, or bfloat16, on this machine: where libtorch holds it, and the processor has
/// AVX-512.
pub fn has_onednn(kind: Kind) -> bool {
    unsafe { covalign_has_onednn(kind == Kind::BFloat16) }
}

/// Whether products of `kind` on `device` are taken in float32, and rounded.
pub fn widens(kind: Kind, device: Device) -> bool {
    kind == Kind::BFloat16 && !device.is_cuda() && taken() == Library::Own
}

/// The library that multiplies now.
pub fn taken() -> Library {
    match unsafe { covalign_takes_onednn() } {
        true => Library::OneDnn,
        false => Library::Own,
    }
}

/// Multiplies with `library` from now on, in the whole process. Where AVX512-BF16 is what oneDNN multiplies bfloat16
/// with, it does so in attention, too; beside AMX, whose rate says nothing of it, it may be slower than float32.
pub fn take(library: Library) -> Result<()> {
    let onednn = library == Library::OneDnn;
    let pairs = onednn && bf16_units().is_some_and(|units| units == ["AVX512-BF16"]);
    check(unsafe { covalign_take_onednn(onednn, pairs) })
}

/// Tokens, width and inner width of the layer that is measured: a small BERT's.
const LAYER: [i64; 3] = [256, 384, 1536];

/// Of so many times each library's fastest counts; in the first it sets itself up.
const TRIES: usize = 6;

/// Whether oneDNN may be the faster one: it takes `kind`, and for bfloat16 the processor has a unit, without which
/// it takes twenty times as long.
pub fn onednn_competes(kind: Kind) -> bool {
    let has_unit = || bf16_units().is_some_and(|units| !units.is_empty());
    has_onednn(kind) && (kind != Kind::BFloat16 || has_unit())
}

/// Floating-point operations that each library that competes does in a second of one core's time: in a linear layer of
/// float32 or bfloat16, forward and the gradient of its weights. Takes tens of milliseconds.
pub fn rates(kind: Kind) -> Result<Vec<(Library, f64)>> {
    let [tokens, width, inner] = LAYER;
    let ones = |size: [i64; 2]| Tensor::f_ones(size, (kind, Device::Cpu));
    let (x, weight) = (ones([tokens, width])?, ones([inner, width])?);
    let onednn = onednn_competes(kind).then_some(Library::OneDnn);
    let libraries: Vec<Library> = [Library::Own].into_iter().chain(onednn).collect();
    let operations = 4.0 * (tokens * width * inner) as f64;
    let seconds = |library: Library| -> Result<f64> {
        let begun = own_time();
        let y = product(library, &x, &weight.f_transpose(0, 1)?)?;
        let _ = product(library, &y.f_transpose(0, 1)?, &x)?;
        Ok(own_time() - begun)
    };
    // One core's own time, in turns: what else the machine does must not decide.
    let _one_each = OneEach::begin();
    let mut rates = vec![0.0; libraries.len()];
    for _ in 0..TRIES {
        for (library, rate) in libraries.iter().zip(&mut rates) {
            *rate = f64::max(*rate, operations / seconds(*library)?);
        }
    }
    Ok(libraries.into_iter().zip(rates).collect())
}

/// Seconds that this thread has computed.
fn own_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// a b by `library`, whichever is taken.
fn product(library: Library, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    let onednn = library == Library::OneDnn;
    check(unsafe { covalign_product(a.as_ptr(), b.as_ptr(), onednn, &mut out) })?;
    given(out)
}
