//! A recurrent layer that takes a CPU a fraction of the time that libtorch's takes.

use std::ffi::c_char;

use anyhow::Result;
use tch::Tensor;
use torch_sys::C_tensor;

use super::{check, given};

extern "C" {
    fn covalign_lstm(
        x: *const C_tensor,
        weights: *const *const C_tensor,
        starts: *const C_tensor,
        backward: bool,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
}

/// The states `[tokens, width]` of one layer and direction of torch.nn.LSTM over packed rows, in
/// float32 on a CPU.
///
/// `x` is `[tokens, input]`, row r being the tokens `starts[r]..starts[r + 1]`; `weights` are
/// `weight_ih` `[4 width, input]`, `weight_hh` `[4 width, width]`, `bias_ih` and `bias_hh`
/// `[4 width]`, the gates being input, forget, cell, output. With `backward` each row is read from its
/// end to its start; a token's state is at the token's place all the same.
pub fn lstm(x: &Tensor, starts: &Tensor, weights: &[Tensor; 4], backward: bool) -> Result<Tensor> {
    let weights = weights.each_ref().map(|weight| weight.as_ptr());
    let mut out = std::ptr::null_mut();
    check(unsafe {
        covalign_lstm(
            x.as_ptr(),
            weights.as_ptr() as *const *const C_tensor,
            starts.as_ptr(),
            backward,
            &mut out,
        )
    })?;
    given(out)
}
