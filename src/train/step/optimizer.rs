//! AdamW over the model's parameters (Loshchilov and Hutter 2019), with its state in hand.

use std::collections::BTreeMap;

use anyhow::{anyhow, Result};
use tch::Tensor;

use super::loss_scale::LossScale;
use super::precision::Arithmetic;
use super::schedule::Moving;
use super::word_rows::WordRows;
use crate::config::training::Freeze;
use crate::config::{Config, Training};
use crate::data::Batch;
use crate::libtorch::optimizer::{self as steps, AdamW, CudaSteps, Moments};
use crate::model::encoder::WORDS;
use crate::model::{MultiTaskModel, Parameter};

/// Parameters that share a learning rate and a weight decay.
struct Group {
    part: &'static str,
    learning_rate: f64,
    weight_decay: f64,
    names: Vec<String>,
    states: Vec<Moments>,
}

/// AdamW with a learning rate for the encoder, the heads and the alignments each. Biases,
/// norms and alignments have no weight decay. A parameter without a gradient is left alone,
/// moments and all.
pub struct Optimizer {
    groups: Vec<Group>,
    /// The word table, where batches read rows of it.
    words: Option<WordRows>,
    words_rate: f64,
    /// Where gradients are those of a loss that was scaled up.
    loss_scale: Option<LossScale>,
    training: Training,
    cuda: Option<CudaSteps>,
}

const ENCODER: &str = "encoder";
const HEADS: &str = "heads";
const ALIGNMENTS: &str = "alignments";
const LOSS_SCALE: &str = "loss_scale";

impl Optimizer {
    /// Fresh state for every parameter of `model` that learns.
    pub fn new(
        model: &MultiTaskModel,
        config: &Config,
        arithmetic: Arithmetic,
    ) -> Result<Optimizer> {
        let training = &config.training;
        let base = training.learning_rate;
        let head_rate = training.head_learning_rate.resolve(base);
        let alignment_rate = config.alignment.learning_rate.resolve(base);
        // Zhang et al. 2021, Revisiting Few-sample BERT Fine-tuning.
        let rate_of = |name: &str| {
            let above = model.encoder.layers_above(name);
            match stands_still(training.freeze, name, model.encoder.layers() as i64 - above) {
                true => 0.0,
                false => base * training.layer_decay.powi(above as i32),
            }
        };
        let mut encoder = model.encoder.parameters();
        let words = match encoder.iter().position(|p| p.name == WORDS) {
            Some(at) if model.encoder.reads_rows() => Some(encoder.remove(at)),
            _ => None,
        };
        let decay_of = |name: &str| {
            let norm = name.contains("LayerNorm") || name.contains(".norm");
            match name.contains("bias") || norm {
                true => 0.0,
                false => training.weight_decay,
            }
        };
        let mut groups = Vec::new();
        for parameter in encoder {
            let (rate, decay) = (rate_of(&parameter.name), decay_of(&parameter.name));
            add(&mut groups, ENCODER, parameter, rate, decay)?;
        }
        for parameter in Parameter::of(&model.heads) {
            let decay = decay_of(&parameter.name);
            add(&mut groups, HEADS, parameter, head_rate, decay)?;
        }
        for parameter in Parameter::of(&model.alignments) {
            add(&mut groups, ALIGNMENTS, parameter, alignment_rate, 0.0)?;
        }
        let words_rate = rate_of(WORDS);
        Ok(Optimizer {
            groups,
            words: words
                .map(|p| WordRows::new(p.value, words_rate > 0.0))
                .transpose()?,
            words_rate,
            loss_scale: match arithmetic.scales_loss() {
                true => Some(LossScale::new(arithmetic.device())?),
                false => None,
            },
            training: training.clone(),
            cuda: arithmetic.device().is_cuda().then(CudaSteps::new),
        })
    }

    /// Lets the backward pass reach what `moving` names and nothing else.
    pub fn set_moving(&mut self, moving: Moving) {
        for group in &self.groups {
            let moves = match group.part {
                ENCODER => moving.encoder,
                HEADS => moving.heads,
                _ => moving.alignments,
            };
            for state in &group.states {
                let _ = state.leaf.set_requires_grad(moves);
            }
        }
        if let Some(words) = &mut self.words {
            words.moving = moving.encoder && self.words_rate > 0.0;
        }
    }

    /// The learning rate of each part of the model at a step of that `factor`: the highest in it, 0 where
    /// it stands still.
    pub fn rates(&self, factor: f64) -> Vec<(&'static str, f64)> {
        let mut rates: Vec<(&'static str, f64)> = Vec::new();
        for group in &self.groups {
            let moves = group.states.iter().any(|state| state.leaf.requires_grad());
            let rate = factor * group.learning_rate * f64::from(u8::from(moves));
            match rates.iter_mut().find(|(part, _)| *part == group.part) {
                Some((_, highest)) => *highest = highest.max(rate),
                None => rates.push((group.part, rate)),
            }
        }
        rates
    }

    /// The rows of the word table that a batch reads, for its forward pass; none where the pass
    /// takes the whole table.
    pub fn words(&mut self, batch: &Batch) -> Result<Option<Tensor>> {
        match &mut self.words {
            Some(words) => words.read(batch),
            None => Ok(None),
        }
    }

    /// What the backward pass starts from: the objective, a scalar, scaled up in fp16.
    pub fn scaled(&self, objective: Tensor) -> Result<Tensor> {
        match &self.loss_scale {
            Some(loss_scale) => Ok(objective.f_mul(loss_scale.scale())?),
            None => Ok(objective),
        }
    }

    /// Forgets a step that was begun.
    pub fn clear_gradients(&self) {
        let states = self.groups.iter().flat_map(|group| &group.states);
        steps::clear_gradients(states.map(|state| &state.leaf));
    }

    /// The gradients of the step so far, in an order that follows from its batches alone.
    pub fn gradients(&self) -> Vec<Tensor> {
        let states = self.groups.iter().flat_map(|group| &group.states);
        let own = states.map(|state| state.leaf.grad());
        let words = self.words.iter().flat_map(WordRows::gradients);
        own.chain(words)
            .filter(|gradient| gradient.defined())
            .collect()
    }

    /// Between the passes of a step: what they add up is added in float32.
    pub fn widen_gradients(&self) -> Result<()> {
        let states = self.groups.iter().flat_map(|group| &group.states);
        steps::widen_gradients(states.map(|state| &state.leaf))
    }

    /// Clips the gradients to `clip_norm` and takes one step, every learning rate times `factor`;
    /// then drops the gradients. Returns the gradients' norm before clipping, on the device; where
    /// it is not finite, nothing moves.
    pub fn step(&mut self, factor: f64) -> Result<Option<Tensor>> {
        if let Some(mut steps) = self.cuda.take() {
            let norm = self.step_on_cuda(&mut steps, factor);
            self.cuda = Some(steps);
            return norm;
        }
        let rows = match &mut self.words {
            Some(words) => words.gradient()?,
            None => None,
        };
        let training = &self.training;
        let moved = moved(&self.groups, training, factor);
        let mut gradients: Vec<Tensor> = leaves(&moved).map(Tensor::grad).collect();
        gradients.extend(rows.iter().map(|(_, gradient)| gradient.shallow_clone()));
        if gradients.is_empty() {
            return Ok(None);
        }
        let loss_scale = self.loss_scale.as_ref().map(LossScale::scale);
        let up = loss_scale.map_or(Ok(1.0), f64::try_from)?;
        let length = f64::try_from(steps::gradient_norm_cpu(&gradients)?)? / up;
        let scale = clipping(training.clip_norm, length) / up;
        if length.is_finite() {
            for (constants, states) in &moved {
                step_on_cpu(states, *constants, scale)?;
            }
            if let (Some(words), Some((rows, gradient))) = (&mut self.words, &rows) {
                let constants =
                    constants(training, self.words_rate, factor).with_decay(training.weight_decay);
                words.step(constants, scale, rows, gradient)?;
            }
        }
        steps::clear_gradients(leaves(&moved));
        if let Some(loss_scale) = &mut self.loss_scale {
            let not_finite = f32::from(u8::from(!length.is_finite()));
            loss_scale.update(&Tensor::from(not_finite))?;
        }
        Ok(Some(Tensor::from(length as f32)))
    }

    /// The same on CUDA, by way of `steps`.
    pub fn step_on_cuda(&mut self, steps: &mut CudaSteps, factor: f64) -> Result<Option<Tensor>> {
        Ok(match self.give(steps, factor, false)?.is_empty() {
            true => None,
            false => Some(steps.taken()?.0.f_detach_copy()?),
        })
    }

    /// The same while the device records: the learning rates of what moves, before the schedule's factor.
    pub fn record_on_cuda(&mut self, steps: &mut CudaSteps) -> Result<Vec<f64>> {
        self.give(steps, 1.0, true)
    }

    /// Has `steps` move what has gradients, which go then; its learning rates, none where nothing has.
    fn give(&mut self, steps: &mut CudaSteps, factor: f64, recording: bool) -> Result<Vec<f64>> {
        let moved = moved(&self.groups, &self.training, factor);
        let rates = moved
            .iter()
            .flat_map(|(a, s)| s.iter().map(|_| a.learning_rate));
        let rates: Vec<f64> = rates.collect();
        if rates.is_empty() {
            return Ok(rates);
        }
        let scale = self.loss_scale.as_ref().map(LossScale::scale);
        steps.step(&moved, self.training.clip_norm, scale, recording)?;
        steps::clear_gradients(leaves(&moved));
        if let Some(loss_scale) = &mut self.loss_scale {
            loss_scale.update(&steps.taken()?.1)?;
        }
        Ok(rates)
    }

    /// Takes what steps are put off: afterwards the model's variables are what AdamW makes them.
    pub fn settle(&mut self) -> Result<()> {
        self.words.as_mut().map_or(Ok(()), WordRows::settle)
    }

    /// Both moments and the step counter of every parameter that learns, by name, and the loss scale where
    /// there is one. [`Optimizer::settle`] first.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut all = Vec::new();
        for (part, name, state) in self.all() {
            for (kind, tensor) in parts(state) {
                all.push((key(part, name, kind), tensor.shallow_clone()));
            }
        }
        if let Some(loss_scale) = &self.loss_scale {
            let named = loss_scale.state()?.into_iter();
            all.extend(named.map(|(name, tensor)| (format!("{LOSS_SCALE}/{name}"), tensor)));
        }
        Ok(all)
    }

    /// Takes back what [`Optimizer::state`] gave.
    pub fn load_state(&mut self, mut saved: BTreeMap<String, Tensor>) -> Result<()> {
        let mut fill = |key: String, tensor: &Tensor| -> Result<()> {
            let value = saved
                .remove(&key)
                .ok_or_else(|| anyhow!("the optimiser's state lacks `{key}`"))?;
            tch::no_grad(|| tensor.shallow_clone().f_copy_(&value))?;
            Ok(())
        };
        for (part, name, state) in self.all() {
            for (kind, tensor) in parts(state) {
                fill(key(part, name, kind), tensor)?;
            }
        }
        if let Some(loss_scale) = &self.loss_scale {
            for (name, tensor) in loss_scale.parts() {
                fill(format!("{LOSS_SCALE}/{name}"), tensor)?;
            }
        }
        self.words.as_mut().map_or(Ok(()), WordRows::loaded)
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, &str, &Moments)> {
        let words = self.words.iter().filter_map(WordRows::state);
        let words = words.map(|state| (ENCODER, WORDS, state));
        let groups = self.groups.iter().flat_map(|group| {
            let names = group.names.iter().map(String::as_str);
            names.zip(&group.states).map(|(n, s)| (group.part, n, s))
        });
        groups.chain(words)
    }
}

/// Whether a parameter of the encoder is frozen; layers are `number`ed from 1, the lowest.
fn stands_still(freeze: Freeze, name: &str, number: i64) -> bool {
    match name.starts_with("embeddings.") {
        true => freeze.embeddings,
        false => name.starts_with("encoder.layer.") && number <= freeze.layers as i64,
    }
}

/// Puts a parameter into the group of its learning rate and weight decay. One with a learning rate of 0 is
/// frozen: it costs no gradient and no state, and clips nothing.
fn add(
    groups: &mut Vec<Group>,
    part: &'static str,
    parameter: Parameter,
    learning_rate: f64,
    weight_decay: f64,
) -> Result<()> {
    let fits = |g: &Group| {
        (g.part, g.learning_rate, g.weight_decay) == (part, learning_rate, weight_decay)
    };
    let at = groups.iter().position(fits).unwrap_or_else(|| {
        groups.push(Group {
            part,
            learning_rate,
            weight_decay,
            names: Vec::new(),
            states: Vec::new(),
        });
        groups.len() - 1
    });
    if learning_rate == 0.0 {
        let _ = parameter.leaf.set_requires_grad(false);
        return Ok(());
    }
    groups[at].names.push(parameter.name);
    groups[at]
        .states
        .push(Moments::fresh(parameter.value, parameter.leaf)?);
    Ok(())
}

/// The parameters that have gradients, with their constants.
fn moved<'a>(
    groups: &'a [Group],
    training: &Training,
    factor: f64,
) -> Vec<(AdamW, Vec<&'a Moments>)> {
    let groups = groups.iter().map(|group| {
        let constants = constants(training, group.learning_rate, factor);
        let states = group.states.iter();
        let moved: Vec<&Moments> = states.filter(|s| s.leaf.grad().defined()).collect();
        (constants.with_decay(group.weight_decay), moved)
    });
    groups.collect()
}

fn leaves<'a>(moved: &'a [(AdamW, Vec<&'a Moments>)]) -> impl Iterator<Item = &'a Tensor> {
    moved.iter().flat_map(|(_, states)| states).map(|s| &s.leaf)
}

fn constants(training: &Training, learning_rate: f64, factor: f64) -> AdamW {
    AdamW {
        learning_rate: learning_rate * factor,
        beta1: training.adam_beta1,
        beta2: training.adam_beta2,
        weight_decay: 0.0,
        eps: training.adam_eps,
    }
}

/// What clipping multiplies gradients of norm `length` by: torch.nn.utils.clip_grad_norm_ has
/// clip / (norm + 1e-6) where that is below 1; 0 clips nothing.
fn clipping(clip_norm: f64, length: f64) -> f64 {
    match clip_norm > 0.0 {
        true => (clip_norm / (length + 1e-6)).min(1.0),
        false => 1.0,
    }
}

fn step_on_cpu(states: &[&Moments], constants: AdamW, scale: f64) -> Result<()> {
    let each = states.iter().map(|state| {
        let t = f64::try_from(&state.step)? + 1.0;
        let _ = state.step.shallow_clone().f_fill_(t)?;
        Ok(constants.step(t, scale))
    });
    steps::adamw_cpu(states, &each.collect::<Result<Vec<_>>>()?)
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
