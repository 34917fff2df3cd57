//! What a run costs: time by operation, and memory.

use std::ffi::{c_char, CString};
use std::path::Path;

use anyhow::{Context, Result};
use tch::Device;

use super::check;

extern "C" {
    fn covalign_profile_start(cuda: bool) -> *mut c_char;
    fn covalign_profile_save(path: *const c_char) -> *mut c_char;
    fn covalign_peak_host_memory() -> u64;
    fn covalign_peak_device_memory(index: i32, bytes: *mut u64) -> *mut c_char;
}

/// Runs `body` and writes what libtorch did in it to `path`, for Perfetto or chrome://tracing.
pub fn profiled<T>(path: &Path, device: Device, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let name = path.to_string_lossy();
    let name = CString::new(name.as_bytes()).context("a path with a NUL byte")?;
    check(unsafe { covalign_profile_start(device.is_cuda()) })?;
    let result = body();
    check(unsafe { covalign_profile_save(name.as_ptr()) })?;
    result
}

/// Most bytes that this process has had in memory.
pub fn peak_host_memory() -> u64 {
    unsafe { covalign_peak_host_memory() }
}

/// Most bytes that tensors have had on a CUDA device; none on a CPU.
pub fn peak_device_memory(device: Device) -> Result<Option<u64>> {
    let Device::Cuda(index) = device else {
        return Ok(None);
    };
    let mut bytes = 0;
    check(unsafe { covalign_peak_device_memory(index as i32, &mut bytes) })?;
    Ok(Some(bytes))
}
