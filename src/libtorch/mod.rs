//! The one unsafe room: a small C++ shim (`shim.cpp`) for what libtorch has and tch 0.17 lacks.
//!
//! Fused AdamW and gradient norms without a host sync, autocast on any device, the CUDA library
//! loaded when it is there. Everything here is safe to call; errors are libtorch's first line.

pub mod convolution;
pub mod fused;
pub mod graph;
pub mod group;
pub mod optimizer;
pub mod products;
pub mod profile;
pub mod recurrent;
pub mod threads;

use std::ffi::{c_char, CStr, CString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{bail, Result};
use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

extern "C" {
    fn _exit(code: i32) -> !;
    fn covalign_free(text: *mut c_char);
    fn covalign_version() -> *const c_char;
    fn covalign_library_path() -> *const c_char;
    fn covalign_cpu_capability() -> *mut c_char;
    fn covalign_load_library(path: *const c_char) -> *mut c_char;
    fn covalign_pass_threads() -> i32;
    fn covalign_cuda_choices();
    fn covalign_cuda_sources(
        numbers: *const c_char,
        rows: *const c_char,
        optimizer: *const c_char,
        nvrtc: *const c_char,
    ) -> *mut c_char;
    fn covalign_make_room() -> *mut c_char;
    fn covalign_deterministic(on: bool, fill: bool) -> *mut c_char;
    fn covalign_copy_non_blocking(to: *const C_tensor, from: *const C_tensor) -> *mut c_char;
    fn covalign_host_copy(x: *const C_tensor, out: *mut *mut C_tensor) -> *mut c_char;
    fn covalign_pinned(x: *const C_tensor, out: *mut *mut C_tensor) -> *mut c_char;
    fn covalign_cuda_memory(free_bytes: *mut usize, total_bytes: *mut usize) -> *mut c_char;
    fn covalign_compute_capability(device: i32, major: *mut i32, minor: *mut i32) -> *mut c_char;
    fn covalign_autocast(device_type: i32, enabled: bool, scalar_type: i32) -> *mut c_char;
    fn covalign_widened_product(
        x: *const C_tensor,
        weight: *const C_tensor,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn covalign_float32_matmul_precision(precision: *const c_char) -> *mut c_char;
    fn covalign_backward(output: *const C_tensor, gradient: *const C_tensor) -> *mut c_char;
    fn covalign_attention(
        query: *const C_tensor,
        key: *const C_tensor,
        value: *const C_tensor,
        mask: *const C_tensor,
        dropout: f64,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
}

/// Turns the shim's message (null for success) into a result.
fn check(message: *mut c_char) -> Result<()> {
    if message.is_null() {
        return Ok(());
    }
    let text = unsafe { CStr::from_ptr(message) }
        .to_string_lossy()
        .into_owned();
    unsafe { covalign_free(message) };
    bail!("libtorch: {}", text.lines().next().unwrap_or_default())
}

fn pointers<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<*const C_tensor> {
    tensors.into_iter().map(Tensor::as_ptr).collect()
}

/// Ends the process at once. What libtorch takes down at an ordinary exit is the system's in any case, and
/// takes a tenth of a second.
pub fn leave(code: u8) -> ! {
    unsafe { _exit(code.into()) }
}

/// libtorch's version, such as `2.11.0`.
pub fn version() -> String {
    unsafe { CStr::from_ptr(covalign_version()) }
        .to_string_lossy()
        .into_owned()
}

/// The instruction set that libtorch's own CPU kernels use, such as `AVX512`.
pub fn cpu_capability() -> String {
    let text = unsafe { covalign_cpu_capability() };
    let name = unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned();
    unsafe { covalign_free(text) };
    name
}

/// How many threads covalign's own passes over memory run in: libtorch's, where g++ has compiled them.
pub fn pass_threads() -> i32 {
    unsafe { covalign_pass_threads() }
}

/// The file that `libtorch_cpu` was loaded from.
pub fn path() -> Option<PathBuf> {
    let path = unsafe { covalign_library_path() };
    if path.is_null() {
        return None;
    }
    let path = PathBuf::from(
        unsafe { CStr::from_ptr(path) }
            .to_string_lossy()
            .into_owned(),
    );
    // The loader may have found it through `..`.
    match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(folder)), Some(name)) => Some(folder.join(name)),
        _ => Some(path),
    }
}

/// What became of libtorch's CUDA part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CudaStatus {
    Loaded,
    /// `libtorch_cuda` lies neither beside `libtorch_cpu` nor in `cuda/` beside its folder.
    NotInstalled,
    /// `CUDA_VISIBLE_DEVICES` is there and names no device.
    Hidden,
    Failed(String),
}

impl fmt::Display for CudaStatus {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            CudaStatus::Loaded => f.write_str("loaded"),
            CudaStatus::NotInstalled => f.write_str("not installed"),
            CudaStatus::Hidden => f.write_str("hidden by CUDA_VISIBLE_DEVICES"),
            CudaStatus::Failed(why) => write!(f, "failed to load: {why}"),
        }
    }
}

/// Loads `libtorch_cuda`, once; afterwards [`tch::Cuda`] knows devices.
///
/// The binary links the CPU part alone, so that it also runs where there is no CUDA.
pub fn load_cuda() -> &'static CudaStatus {
    static STATUS: OnceLock<CudaStatus> = OnceLock::new();
    STATUS.get_or_init(|| {
        // No need to load 2 GB of kernels that find nothing.
        let visible = std::env::var("CUDA_VISIBLE_DEVICES");
        if visible.is_ok_and(|devices| ["", "-1"].contains(&devices.trim())) {
            return CudaStatus::Hidden;
        }
        let folder = path().and_then(|p| p.parent().map(Path::to_path_buf));
        // `make setup` puts it into `cuda/`, where torch-sys does not link to it.
        let places = ["../cuda/libtorch_cuda.so", "libtorch_cuda.so"];
        let libraries = folder.map(|folder| places.map(|place| folder.join(place)));
        let Some(library) = libraries.into_iter().flatten().find(|l| l.exists()) else {
            return CudaStatus::NotInstalled;
        };
        let Ok(name) = CString::new(library.to_string_lossy().as_bytes()) else {
            return CudaStatus::Failed("its path holds a NUL byte".into());
        };
        match check(unsafe { covalign_load_library(name.as_ptr()) }) {
            // Without a driver there is no compiler to be found, and nothing to compile for.
            Ok(()) if tch::Cuda::device_count() <= 0 => CudaStatus::Loaded,
            Ok(()) => match give_kernels() {
                Ok(()) => CudaStatus::Loaded,
                Err(error) => CudaStatus::Failed(format!("{error:#}")),
            },
            Err(error) => CudaStatus::Failed(format!("{error:#}")),
        }
    })
}

/// Gives the shim the sources of our kernels and the way to CUDA's compiler.
fn give_kernels() -> Result<()> {
    // Beside `libtorch_cpu`; by it the loader finds the compiler.
    let nvrtc = path()
        .unwrap_or_default()
        .with_file_name("libcaffe2_nvrtc.so");
    let nvrtc = CString::new(nvrtc.to_string_lossy().as_bytes())?;
    check(unsafe {
        covalign_cuda_choices();
        covalign_cuda_sources(
            concat!(
                "#define INLINE __device__ inline\n",
                include_str!("mix.h"),
                include_str!("cuda/numbers.cu"),
                "\0"
            )
            .as_ptr()
            .cast(),
            concat!(include_str!("cuda/rows.cu"), "\0").as_ptr().cast(),
            concat!(include_str!("cuda/optimizer.cu"), "\0")
                .as_ptr()
                .cast(),
            nvrtc.as_ptr(),
        )
    })
}

/// Major and minor compute capability of a CUDA device.
pub type Capability = (i32, i32);

/// Where the kernels of libtorch's CUDA part begin: Turing. Older devices have none of them.
pub const OLDEST: Capability = (7, 5);

/// The CUDA devices of this machine in their order; of one that does not say what it is, (0, 0).
/// Loads `libtorch_cuda` first: a process that asks before remembers for good that there is none.
pub fn cuda_devices() -> Vec<Capability> {
    let count = match load_cuda() {
        CudaStatus::Loaded => tch::Cuda::device_count().max(0) as usize,
        _ => 0,
    };
    let capability = |device| compute_capability(device).unwrap_or_default();
    (0..count).map(capability).collect()
}

/// The numbers of the CUDA devices that libtorch has kernels for.
pub fn usable_cuda_devices() -> Vec<usize> {
    let devices = cuda_devices().into_iter().enumerate();
    let usable = devices.filter(|(_, capability)| *capability >= OLDEST);
    usable.map(|(device, _)| device).collect()
}

/// Gives memory that libtorch keeps for later back to the CUDA device, where little of it is free.
pub fn make_room() -> Result<()> {
    check(unsafe { covalign_make_room() })
}

/// Takes only algorithms that give the same bits each time (`on`), or whatever is fastest; `fill`: new
/// memory is filled with NaN, so that a read before a write shows.
pub fn deterministic(on: bool, fill: bool) -> Result<()> {
    check(unsafe { covalign_deterministic(on, fill) })
}

/// Copies `from` into `to`, of the same shape and kind; from page-locked memory nobody waits.
pub fn copy_non_blocking(to: &Tensor, from: &Tensor) -> Result<()> {
    check(unsafe { covalign_copy_non_blocking(to.as_ptr(), from.as_ptr()) })
}

/// A copy in page-locked memory, from which CUDA copies without waiting.
fn pinned(x: &Tensor) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    check(unsafe { covalign_pinned(x.as_ptr(), &mut out) })?;
    given(out)
}

/// A tensor of the CPU where `device` copies it from without the host's waiting: for CUDA a copy in
/// page-locked memory, else itself.
pub fn staged(x: &Tensor, device: Device) -> Result<Tensor> {
    match device.is_cuda() {
        true => pinned(x),
        false => Ok(x.shallow_clone()),
    }
}

/// A tensor of the CPU on `device`; nobody waits for the copy.
pub fn sent(x: &Tensor, device: Device) -> Result<Tensor> {
    Ok(staged(x, device)?.f_to_device_(device, x.kind(), true, false)?)
}

/// A tensor's values, copied into the host's memory, in one piece.
pub struct HostCopy(Tensor);

impl HostCopy {
    /// From a CUDA device into page-locked memory: they are there once the device has been waited for.
    pub fn of(x: &Tensor) -> Result<HostCopy> {
        let mut out = std::ptr::null_mut();
        check(unsafe { covalign_host_copy(x.as_ptr(), &mut out) })?;
        given(out).map(HostCopy)
    }

    pub fn bytes(&self) -> &[u8] {
        match self.0.numel() * self.0.kind().elt_size_in_bytes() {
            0 => &[],
            // SAFETY: the copy is in one piece in the host's memory, and nobody else has it.
            length => unsafe { std::slice::from_raw_parts(self.0.data_ptr().cast(), length) },
        }
    }
}

/// Free and total bytes of the current CUDA device.
pub fn cuda_memory() -> Result<(usize, usize)> {
    let (mut free, mut total) = (0, 0);
    check(unsafe { covalign_cuda_memory(&mut free, &mut total) })?;
    Ok((free, total))
}

/// What a CUDA device is.
pub fn compute_capability(device: usize) -> Result<Capability> {
    let (mut major, mut minor) = (0, 0);
    check(unsafe { covalign_compute_capability(device as i32, &mut major, &mut minor) })?;
    Ok((major, minor))
}

/// The processor's units that multiply bf16, by the flags that Linux gives; none where it gives no
/// flags.
pub fn bf16_units() -> Option<&'static [&'static str]> {
    static UNITS: OnceLock<Option<Vec<&'static str>>> = OnceLock::new();
    UNITS.get_or_init(read_bf16_units).as_deref()
}

fn read_bf16_units() -> Option<Vec<&'static str>> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let flags: Vec<&str> = text
        .lines()
        .find(|line| line.starts_with("flags") || line.starts_with("Features"))
        .map_or(Vec::new(), |line| line.split_whitespace().collect());
    let units = [
        ("amx_bf16", "AMX"),
        ("avx512_bf16", "AVX512-BF16"),
        ("bf16", "Arm BF16"),
    ];
    let found = units.iter().filter(|(flag, _)| flags.contains(flag));
    Some(found.map(|(_, name)| *name).collect())
}

/// x Wᵀ in bfloat16 as a unit for it gives it, computed in float32; see [`products::widens`].
pub fn widened_product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    check(unsafe { covalign_widened_product(x.as_ptr(), weight.as_ptr(), &mut out) })?;
    given(out)
}

/// c10::ScalarType of what products are taken in.
fn scalar_type(kind: Kind) -> i32 {
    match kind {
        Kind::Half => 5,
        Kind::BFloat16 => 15,
        _ => 6,
    }
}

/// Runs `body` with matrix products in `kind` on `device`, as PyTorch's `torch.autocast`.
pub fn autocast<T>(device: Device, kind: Kind, body: impl FnOnce() -> Result<T>) -> Result<T> {
    // c10::DeviceType: CPU 0, CUDA 1.
    let device_type = i32::from(device.is_cuda());
    let scalar_type = scalar_type(kind);
    check(unsafe { covalign_autocast(device_type, true, scalar_type) })?;
    let result = body();
    check(unsafe { covalign_autocast(device_type, false, scalar_type) })?;
    result
}

/// Lets float32 matrix products on CUDA use TF32 (`true`) or not (`false`).
pub fn allow_tf32(allow: bool) -> Result<()> {
    let precision = if allow { c"high" } else { c"highest" };
    check(unsafe { covalign_float32_matmul_precision(precision.as_ptr()) })
}

/// The backward pass from a tensor whose gradient, in its shape, is known; tch's starts from a
/// scalar.
pub fn backward(output: &Tensor, gradient: &Tensor) -> Result<()> {
    check(unsafe { covalign_backward(output.as_ptr(), gradient.as_ptr()) })
}

/// Scaled dot-product attention, softmax(QKᵀ/√d) V, over `[batch, heads, seq, d]`; `mask`, true
/// where a token is attended, broadcasts to `[batch, heads, seq, seq]`. tch 0.17 cannot leave the
/// mask out.
pub fn attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<&Tensor>,
    dropout: f64,
) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    check(unsafe {
        covalign_attention(
            query.as_ptr(),
            key.as_ptr(),
            value.as_ptr(),
            mask.map_or(std::ptr::null(), Tensor::as_ptr),
            dropout,
            &mut out,
        )
    })?;
    given(out)
}

/// A tensor that the shim gave away: tch frees it.
fn given(tensor: *mut C_tensor) -> Result<Tensor> {
    if tensor.is_null() {
        bail!("libtorch gave no tensor");
    }
    Ok(unsafe { Tensor::from_ptr(tensor) })
}
