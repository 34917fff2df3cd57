//! AdamW over the model's parameters (Loshchilov and Hutter 2019), fused, with its state in hand.

use std::collections::BTreeMap;

use anyhow::{anyhow, Result};
use tch::nn::VarStore;
use tch::{Kind, Tensor};

use super::schedule::Moving;
use crate::config::{Config, Training};
use crate::libtorch::{self, AdamW, Moments};
use crate::model::MultiTaskModel;

/// Parameters that share a learning rate and a weight decay.
struct Group {
    part: &'static str,
    learning_rate: f64,
    weight_decay: f64,
    names: Vec<String>,
    states: Vec<Moments>,
}

/// AdamW with a learning rate for the encoder, the heads and the alignments each. Biases,
/// LayerNorms and alignments have no weight decay. A parameter without a gradient is left alone,
/// moments and all.
pub struct Optimizer {
    groups: Vec<Group>,
    training: Training,
}

const ENCODER: &str = "encoder";
const HEADS: &str = "heads";
const ALIGNMENTS: &str = "alignments";

impl Optimizer {
    /// Fresh state for every parameter of `model`.
    pub fn new(model: &MultiTaskModel, config: &Config) -> Result<Optimizer> {
        let training = &config.training;
        let base = training.learning_rate;
        let head_rate = training.head_learning_rate.resolve(base);
        let alignment_rate = config.alignment.learning_rate.resolve(base);
        let decay = training.weight_decay;
        let decays = |name: &str| !name.ends_with("bias") && !name.contains("LayerNorm");
        let groups = [
            (ENCODER, &model.encoder.variables, base, decay, true),
            (ENCODER, &model.encoder.variables, base, 0.0, false),
            (HEADS, &model.heads, head_rate, decay, true),
            (HEADS, &model.heads, head_rate, 0.0, false),
            (ALIGNMENTS, &model.alignments, alignment_rate, 0.0, true),
        ];
        let groups = groups
            .into_iter()
            .map(|(part, store, rate, decay, decayed)| {
                let group = Group {
                    part,
                    learning_rate: rate,
                    weight_decay: decay,
                    names: Vec::new(),
                    states: Vec::new(),
                };
                fill(group, store, |name| {
                    part == ALIGNMENTS || decays(name) == decayed
                })
            })
            .collect::<Result<_>>()?;
        Ok(Optimizer {
            groups,
            training: training.clone(),
        })
    }

    /// Lets the backward pass reach what `moving` names and nothing else.
    pub fn set_moving(&self, moving: Moving) {
        for group in &self.groups {
            let moves = match group.part {
                ENCODER => moving.encoder,
                HEADS => moving.heads,
                _ => moving.alignments,
            };
            // What has a learning rate of 0 is frozen: it costs no gradient and clips nothing.
            let moves = moves && group.learning_rate > 0.0;
            for state in &group.states {
                let _ = state.parameter.set_requires_grad(moves);
            }
        }
    }

    /// Clips the gradients to `clip_norm` and takes one step, every learning rate times `factor`;
    /// then drops the gradients. Returns the gradients' norm before clipping, on the device; where
    /// it is not finite, nothing moves.
    pub fn step(&mut self, factor: f64) -> Result<Option<Tensor>> {
        let with_gradient: Vec<Vec<&Moments>> = self
            .groups
            .iter()
            .map(|group| {
                let states = group.states.iter();
                states.filter(|s| s.parameter.grad().defined()).collect()
            })
            .collect();
        let all = || with_gradient.iter().flatten().map(|s| &s.parameter);
        if all().next().is_none() {
            return Ok(None);
        }
        let t = &self.training;
        let norm = libtorch::gradient_norm(all())?;
        let not_finite = norm.f_isfinite()?.f_logical_not()?.f_to_kind(Kind::Float)?;
        let scale = if t.clip_norm > 0.0 {
            // torch.nn.utils.clip_grad_norm_ multiplies by clip / (norm + 1e-6) where below 1.
            let ratio = norm.f_add_scalar(1e-6)?.f_div_scalar(t.clip_norm)?;
            Some(ratio.f_clamp_min(1.0)?)
        } else {
            None
        };
        for (group, states) in self.groups.iter().zip(&with_gradient) {
            let constants = AdamW {
                learning_rate: group.learning_rate * factor,
                beta1: t.adam_beta1,
                beta2: t.adam_beta2,
                weight_decay: group.weight_decay,
                eps: t.adam_eps,
            };
            libtorch::fused_adamw(states, constants, scale.as_ref(), Some(&not_finite))?;
        }
        libtorch::clear_gradients(all());
        Ok(Some(norm))
    }

    /// Both moments and the step counter of every parameter, by name.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut all = Vec::new();
        for group in &self.groups {
            for (name, state) in group.names.iter().zip(&group.states) {
                for (kind, tensor) in parts(state) {
                    all.push((key(group.part, name, kind), tensor.shallow_clone()));
                }
            }
        }
        all
    }

    /// Takes back what [`Optimizer::state`] gave.
    pub fn load_state(&mut self, mut saved: BTreeMap<String, Tensor>) -> Result<()> {
        for group in &mut self.groups {
            for (name, state) in group.names.iter().zip(&group.states) {
                for (kind, tensor) in parts(state) {
                    let key = key(group.part, name, kind);
                    let value = saved
                        .remove(&key)
                        .ok_or_else(|| anyhow!("the optimiser's state lacks `{key}`"))?;
                    tch::no_grad(|| tensor.shallow_clone().f_copy_(&value))?;
                }
            }
        }
        Ok(())
    }
}

fn fill(mut group: Group, store: &VarStore, takes: impl Fn(&str) -> bool) -> Result<Group> {
    let mut variables: Vec<_> = store.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, parameter) in variables {
        if !takes(&name) {
            continue;
        }
        group.states.push(Moments {
            exp_avg: parameter.f_zeros_like()?,
            exp_avg_sq: parameter.f_zeros_like()?,
            step: Tensor::f_zeros([1; 0], (Kind::Float, parameter.device()))?,
            parameter,
        });
        group.names.push(name);
    }
    Ok(group)
}

fn parts(state: &Moments) -> [(&'static str, &Tensor); 3] {
    [
        ("exp_avg", &state.exp_avg),
        ("exp_avg_sq", &state.exp_avg_sq),
        ("step", &state.step),
    ]
}

fn key(part: &str, name: &str, kind: &str) -> String {
    format!("{part}/{name}/{kind}")
}
