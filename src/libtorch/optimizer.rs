//! AdamW in one pass, and what it needs of gradients. Nothing is read back from a CUDA device.

use std::ffi::{c_char, c_void};

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
    fn covalign_cuda_steps_new() -> *mut c_void;
    fn covalign_cuda_steps_free(steps: *mut c_void);
    fn covalign_cuda_steps_take(
        steps: *mut c_void,
        parameters: *const *const C_tensor,
        leaves: *const *const C_tensor,
        exp_avgs: *const *const C_tensor,
        exp_avg_sqs: *const *const C_tensor,
        counters: *const *const C_tensor,
        learning_rates: *const f64,
        weight_decays: *const f64,
        count: i64,
        recording: bool,
    ) -> *mut c_char;
    fn covalign_cuda_steps_rates(steps: *mut c_void, learning_rates: *const f64);
    fn covalign_cuda_steps_upload(steps: *mut c_void) -> *mut c_char;
    fn covalign_cuda_steps_run(
        steps: *mut c_void,
        beta1: f64,
        beta2: f64,
        eps: f64,
        clip_norm: f64,
        loss_scale: *const C_tensor,
    ) -> *mut c_char;
    fn covalign_cuda_steps_taken(steps: *mut c_void, taken: *mut *mut C_tensor);
    fn covalign_gradient_norm_cpu(
        gradients: *const *const C_tensor,
        count: i64,
        norm: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn covalign_widen_gradients(tensors: *const *const C_tensor, count: i64) -> *mut c_char;
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

/// Steps on CUDA: what they need on the device is kept from one to the next.
#[derive(Debug)]
pub struct CudaSteps(*mut c_void);

/// Parameters that move in one step, with their constants.
pub type Moved<'a> = [(AdamW, Vec<&'a Moments>)];

impl CudaSteps {
    pub fn new() -> CudaSteps {
        CudaSteps(unsafe { covalign_cuda_steps_new() })
    }

    /// Clips the gradients to `clip_norm` (0 clips nothing) and takes one AdamW step over states, all of
    /// whose leaves have gradients. These are divided by the scalar tensor `loss_scale`, where there is
    /// one. While the device is `recording`, over the same parameters as the last step; before each
    /// replay, [`CudaSteps::renew`].
    pub fn step(
        &mut self,
        moved: &Moved,
        clip_norm: f64,
        loss_scale: Option<&Tensor>,
        recording: bool,
    ) -> Result<()> {
        self.take(moved, recording)?;
        if !recording {
            self.upload()?;
        }
        self.run(moved[0].0, clip_norm, loss_scale)
    }

    /// Brings the learning rates of a recorded step up to date.
    pub fn renew(&mut self, learning_rates: &[f64]) -> Result<()> {
        unsafe { covalign_cuda_steps_rates(self.0, learning_rates.as_ptr()) };
        self.upload()
    }

    /// Of the last step, on the device: the gradients' norm before clipping, and 1 where it is not
    /// finite, so that nothing has moved, else 0; float32 scalars that the next step overwrites.
    pub fn taken(&self) -> Result<(Tensor, Tensor)> {
        let mut taken = std::ptr::null_mut();
        unsafe { covalign_cuda_steps_taken(self.0, &mut taken) };
        let taken = given(taken)?;
        Ok((taken.f_select(0, 0)?, taken.f_select(0, 2)?))
    }

    fn take(&mut self, moved: &Moved, recording: bool) -> Result<()> {
        let each = || {
            moved
                .iter()
                .flat_map(|(a, s)| s.iter().map(move |s| (a, *s)))
        };
        let rates: Vec<f64> = each().map(|(a, _)| a.learning_rate).collect();
        let decays: Vec<f64> = each().map(|(a, _)| a.weight_decay).collect();
        check(unsafe {
            covalign_cuda_steps_take(
                self.0,
                pointers(each().map(|(_, s)| &s.parameter)).as_ptr(),
                pointers(each().map(|(_, s)| &s.leaf)).as_ptr(),
                pointers(each().map(|(_, s)| &s.exp_avg)).as_ptr(),
                pointers(each().map(|(_, s)| &s.exp_avg_sq)).as_ptr(),
                pointers(each().map(|(_, s)| &s.step)).as_ptr(),
                rates.as_ptr(),
                decays.as_ptr(),
                rates.len() as i64,
                recording,
            )
        })
    }

    fn upload(&mut self) -> Result<()> {
        check(unsafe { covalign_cuda_steps_upload(self.0) })
    }

    fn run(&mut self, constants: AdamW, clip: f64, loss_scale: Option<&Tensor>) -> Result<()> {
        check(unsafe {
            covalign_cuda_steps_run(
                self.0,
                constants.beta1,
                constants.beta2,
                constants.eps,
                clip,
                loss_scale.map_or(std::ptr::null(), Tensor::as_ptr),
            )
        })
    }
}

impl Default for CudaSteps {
    fn default() -> CudaSteps {
        CudaSteps::new()
    }
}

impl Drop for CudaSteps {
    fn drop(&mut self) {
        unsafe { covalign_cuda_steps_free(self.0) }
    }
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

/// The 2-norm of gradients together, on the CPU: a scalar.
pub fn gradient_norm_cpu(gradients: &[Tensor]) -> Result<Tensor> {
    let pointers = pointers(gradients);
    let mut norm = std::ptr::null_mut();
    check(unsafe {
        covalign_gradient_norm_cpu(pointers.as_ptr(), pointers.len() as i64, &mut norm)
    })?;
    given(norm)
}

/// Makes the gradients of `leaves` float32, so that later passes add to them in float32, as gradients
/// under torch.autocast are added up.
pub fn widen_gradients<'a>(leaves: impl IntoIterator<Item = &'a Tensor>) -> Result<()> {
    let leaves = pointers(leaves);
    check(unsafe { covalign_widen_gradients(leaves.as_ptr(), leaves.len() as i64) })
}

/// Drops the gradients of `leaves`, so that the next backward pass writes instead of adding.
pub fn clear_gradients<'a>(leaves: impl IntoIterator<Item = &'a Tensor>) {
    let leaves = pointers(leaves);
    unsafe { covalign_clear_gradients(leaves.as_ptr(), leaves.len() as i64) }
}
