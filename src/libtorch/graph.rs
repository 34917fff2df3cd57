//! A sequence of operations recorded once as a CUDA graph and replayed with one launch.

use std::ffi::{c_char, c_void};

use anyhow::Result;
use tch::Device;

use super::check;

extern "C" {
    fn covalign_cuda_own_stream(device: i32) -> *mut c_char;
    fn covalign_cuda_seed(device: i32, value: i64) -> *mut c_char;
    fn covalign_cuda_graph_begin(graph: *mut *mut c_void) -> *mut c_char;
    fn covalign_cuda_graph_end(graph: *mut c_void) -> *mut c_char;
    fn covalign_cuda_graph_replay(graph: *mut c_void) -> *mut c_char;
    fn covalign_cuda_graph_free(graph: *mut c_void);
}

/// Has this thread compute on a stream of its own from now on: libtorch's first one cannot be
/// recorded.
pub fn own_stream(device: Device) -> Result<()> {
    match device {
        Device::Cuda(index) => check(unsafe { covalign_cuda_own_stream(index as i32) }),
        _ => Ok(()),
    }
}

/// Counts the dropout keys of [`super::fused`] from `value` on a CUDA device from now on: they are read
/// when a kernel runs, so that a recorded step drops something else each time.
pub fn seed_dropout(device: Device, value: i64) -> Result<()> {
    match device {
        Device::Cuda(index) => check(unsafe { covalign_cuda_seed(index as i32, value) }),
        _ => Ok(()),
    }
}

/// What was recorded. It reads and writes the memory that it was recorded with.
#[derive(Debug)]
pub struct Graph(*mut c_void);

impl Graph {
    /// Records what `body` has the device do, without doing it. `body` must not wait for the device,
    /// nor seed its generator.
    pub fn record<T>(body: impl FnOnce() -> Result<T>) -> Result<(Graph, T)> {
        let mut graph = std::ptr::null_mut();
        check(unsafe { covalign_cuda_graph_begin(&mut graph) })?;
        let graph = Graph(graph);
        let result = body();
        let ended = check(unsafe { covalign_cuda_graph_end(graph.0) });
        let result = result?;
        ended?;
        Ok((graph, result))
    }

    /// Does it; nobody waits.
    pub fn replay(&self) -> Result<()> {
        check(unsafe { covalign_cuda_graph_replay(self.0) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        unsafe { covalign_cuda_graph_free(self.0) }
    }
}
