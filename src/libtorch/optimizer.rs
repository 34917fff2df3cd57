//! AdamW in one pass, and what it needs of gradients. Nothing is read back from a CUDA device.

use std::ffi::c_char;

use anyhow::Result;
use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use super::{check, given, pointers};

extern "C" {
    fn covalign_adamw_cpu(
        parameters: *const *const C_tensor,
        leaves: *const *const C_tensor,
        exp_avgs: *const *const C_tensor,
        exp_avg_sqs: *const *const C_tensor,
        constants: *const Step,
        count: i64,
    ) -> *mut c_char;
    fn covalign_adamw_rows(
        table: *const C_tensor,
        exp_avg: *const C_tensor,
        exp_avg_sq: *const C_tensor,
        rows: *const C_tensor,
        gradient: *const C_tensor,
        constants: *const Step,
    ) -> *mut c_char;
    fn covalign_adamw_idle(
        table: *const C_tensor,
        exp_avg: *const C_tensor,
        exp_avg_sq: *const C_tensor,
        last: *const C_tensor,
        rows: *const C_tensor,
        steps: *const Step,
        count: i64,
    ) -> *mut c_char;
    fn covalign_adamw_cuda(
        parameters: *const *const C_tensor,
        leaves: *const *const C_tensor,
        exp_avgs: *const *const C_tensor,
        exp_avg_sqs: *const *const C_tensor,
        steps: *const *const C_tensor,
        count: i64,
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
        grad_scale: *const C_tensor,
        found_inf: *const C_tensor,
    ) -> *mut c_char;
    fn covalign_gradient_norm(
        gradients: *const *const C_tensor,
        count: i64,
        norm: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn covalign_clear_gradients(tensors: *const *const C_tensor, count: i64);
}

/// AdamW's constants.
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    pub learning_rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub weight_decay: f64,
    pub eps: f64,
}

/// What one step of AdamW multiplies by.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    decay: f32,
    step_size: f32,
    beta1: f32,
    beta2: f32,
    eps: f32,
    correction: f32,
    grad_scale: f32,
}

impl AdamW {
    /// The same with another weight decay.
    pub fn with_decay(self, weight_decay: f64) -> AdamW {
        AdamW {
            weight_decay,
            ..self
        }
    }

    /// The constants of a parameter's step number `t`, counted from 1, on gradients times
    /// `grad_scale`.
    pub fn step(&self, t: f64, grad_scale: f64) -> Step {
        Step {
            decay: (1.0 - self.learning_rate * self.weight_decay) as f32,
            step_size: (self.learning_rate / (1.0 - self.beta1.powf(t))) as f32,
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            eps: self.eps as f32,
            correction: (1.0 - self.beta2.powf(t)).sqrt() as f32,
            grad_scale: grad_scale as f32,
        }
    }
}

/// A parameter with AdamW's state for it: both moments in its shape, and a float32 step counter.
#[derive(Debug)]
pub struct Moments {
    pub parameter: Tensor,
    /// Where its gradient arrives: itself, or its copy in half precision, which a step renews.
    pub leaf: Tensor,
    pub exp_avg: Tensor,
    pub exp_avg_sq: Tensor,
    pub step: Tensor,
}

impl Moments {
    /// The state before the first step.
    pub fn fresh(parameter: Tensor, leaf: Tensor) -> Result<Moments> {
        Ok(Moments {
            exp_avg: parameter.f_zeros_like()?,
            exp_avg_sq: parameter.f_zeros_like()?,
            step: Tensor::f_zeros([1; 0], (Kind::Float, parameter.device()))?,
            leaf,
            parameter,
        })
    }
}

/// One AdamW step on the CPU over `states`, all of whose leaves have gradients.
pub fn adamw_cpu(states: &[&Moments], steps: &[Step]) -> Result<()> {
    assert_eq!(states.len(), steps.len());
    check(unsafe {
        covalign_adamw_cpu(
            pointers(states.iter().map(|s| &s.parameter)).as_ptr(),
            pointers(states.iter().map(|s| &s.leaf)).as_ptr(),
            pointers(states.iter().map(|s| &s.exp_avg)).as_ptr(),
            pointers(states.iter().map(|s| &s.exp_avg_sq)).as_ptr(),
            steps.as_ptr(),
            states.len() as i64,
        )
    })
}

/// One AdamW step on CUDA over `states`, all of whose leaves have gradients. These are divided by
/// the scalar tensor `grad_scale`; nothing happens where the scalar tensor `found_inf` is 1.
pub fn adamw_cuda(
    states: &[&Moments],
    constants: AdamW,
    grad_scale: &Tensor,
    found_inf: &Tensor,
) -> Result<()> {
    check(unsafe {
        covalign_adamw_cuda(
            pointers(states.iter().map(|s| &s.parameter)).as_ptr(),
            pointers(states.iter().map(|s| &s.leaf)).as_ptr(),
            pointers(states.iter().map(|s| &s.exp_avg)).as_ptr(),
            pointers(states.iter().map(|s| &s.exp_avg_sq)).as_ptr(),
            pointers(states.iter().map(|s| &s.step)).as_ptr(),
            states.len() as i64,
            constants.learning_rate,
            constants.beta1,
            constants.beta2,
            constants.weight_decay,
            constants.eps,
            grad_scale.as_ptr(),
            found_inf.as_ptr(),
        )
    })
}

/// One AdamW step on the rows `rows` (int64) of a table on the CPU, with `gradient`
/// `[rows, width]`.
pub fn adamw_rows(state: &Moments, rows: &Tensor, gradient: &Tensor, step: Step) -> Result<()> {
    check(unsafe {
        covalign_adamw_rows(
            state.parameter.as_ptr(),
            state.exp_avg.as_ptr(),
            state.exp_avg_sq.as_ptr(),
            rows.as_ptr(),
            gradient.as_ptr(),
            &step,
        )
    })
}

/// Takes the steps that rows of a table have missed, as AdamW does on a gradient of zero. Of
/// `steps`, row r has had the first `last[r]` (int64, one for each row of the table), which are
/// brought up to date. All rows where `rows` is none.
pub fn adamw_idle(
    state: &Moments,
    last: &Tensor,
    rows: Option<&Tensor>,
    steps: &[Step],
) -> Result<()> {
    check(unsafe {
        covalign_adamw_idle(
            state.parameter.as_ptr(),
            state.exp_avg.as_ptr(),
            state.exp_avg_sq.as_ptr(),
            last.as_ptr(),
            rows.map_or(std::ptr::null(), Tensor::as_ptr),
            steps.as_ptr(),
            steps.len() as i64,
        )
    })
}

/// The 2-norm of gradients together: a scalar on their device.
pub fn gradient_norm(gradients: &[Tensor]) -> Result<Tensor> {
    let pointers = pointers(gradients);
    let mut norm = std::ptr::null_mut();
    check(unsafe { covalign_gradient_norm(pointers.as_ptr(), pointers.len() as i64, &mut norm) })?;
    given(norm)
}

/// Drops the gradients of `leaves`, so that the next backward pass writes instead of adding.
pub fn clear_gradients<'a>(leaves: impl IntoIterator<Item = &'a Tensor>) {
    let leaves = pointers(leaves);
    unsafe { covalign_clear_gradients(leaves.as_ptr(), leaves.len() as i64) }
}
