//! A convolution over text, and pooling, made for training on a CPU: a batch's rows lie one after
//! the other in `x` `[tokens, width]`, row r being the tokens `starts[r]..starts[r + 1]`, and none
//! is empty. In float32; results do not depend on the number of threads beyond libtorch's products.

use std::ffi::c_char;

use anyhow::Result;
use tch::Tensor;
use torch_sys::C_tensor;

use super::{check, given};

extern "C" {
    fn covalign_conv_max(
        x: *const C_tensor,
        starts: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn covalign_row_max(
        x: *const C_tensor,
        starts: *const C_tensor,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn covalign_row_mean(
        x: *const C_tensor,
        starts: *const C_tensor,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
}

/// ReLU of the largest answer of each filter over each row, `[rows, filters]`; backwards the first
/// of equals counts.
///
/// `weight` `[filters, in, window]` and `bias` `[filters]` are torch.nn.Conv1d's; a row shorter
/// than the window is filled up with zeros at its end.
pub fn conv_max(x: &Tensor, starts: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    check(unsafe {
        covalign_conv_max(
            x.as_ptr(),
            starts.as_ptr(),
            weight.as_ptr(),
            bias.as_ptr(),
            &mut out,
        )
    })?;
    given(out)
}

/// The largest of each column over each row, `[rows, width]`; backwards the first of equals counts.
pub fn row_max(x: &Tensor, starts: &Tensor) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    check(unsafe { covalign_row_max(x.as_ptr(), starts.as_ptr(), &mut out) })?;
    given(out)
}

/// The mean of each row, `[rows, width]`.
pub fn row_mean(x: &Tensor, starts: &Tensor) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    check(unsafe { covalign_row_mean(x.as_ptr(), starts.as_ptr(), &mut out) })?;
    given(out)
}
