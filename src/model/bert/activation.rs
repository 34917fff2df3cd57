//! The functions that a config's `hidden_act` names.

use anyhow::Result;
use rust_bert::Activation;
use tch::{TchError, Tensor};

/// The function that a config's `hidden_act` names.
pub fn activation(kind: &Activation) -> fn(&Tensor) -> Result<Tensor, TchError> {
    match kind {
        Activation::gelu => |x| x.f_gelu("none"),
        Activation::gelu_new => |x| x.f_gelu("tanh"),
        Activation::relu => |x| x.f_relu(),
        Activation::swish => |x| x.f_silu(),
        Activation::mish => |x| x.f_mish(),
        Activation::tanh => |x| x.f_tanh(),
        Activation::identity => |x| Ok(x.shallow_clone()),
    }
}
