//! What a config's values must keep to, alone and together.

use std::ops::RangeInclusive;

use anyhow::Result;

use super::values::LengthWindow;
use super::{BatchKind, Config, Method, Precision, Schedule, Strategy, Training};
use crate::config::training::{ClassWeight, ClassWeights, Freeze};
use crate::config::Engine;
use crate::input_error;

/// Parts of a cross-validation.
pub const FOLDS: RangeInclusive<u64> = 3..=1000;
pub const FOLDS_RULE: &str = "must be from 3 to 1000: one part is test, one dev, the others train";

impl Config {
    /// Whether each batch holds the same number of rows of every task.
    fn splits_evenly(&self) -> bool {
        self.method != Method::Single
            && self.sampling.strategy == Strategy::Uniform
            && self.sampling.batches == BatchKind::Heterogeneous
    }

    /// Whether the second phase of `fixed_encoder` has no parameter to train.
    fn leaves_nothing_to_move(&self) -> bool {
        let base = self.training.learning_rate;
        let rates = [
            self.alignment.learning_rate,
            self.training.head_learning_rate,
        ];
        self.method == Method::Aligned
            && self.alignment.schedule == Schedule::FixedEncoder
            && rates.iter().all(|rate| rate.resolve(base) == 0.0)
    }

    /// Whether tasks are balanced, and classes have weights.
    fn class_weights_fit(&self) -> bool {
        let mut named = self
            .training
            .class_weights
            .iter()
            .flat_map(ClassWeights::named);
        named.all(|(name, weight)| match weight {
            ClassWeight::Balanced(_) => !name.contains('/'),
            ClassWeight::Weight(weight) => {
                name.contains('/') && *weight > 0.0 && weight.is_finite()
            }
        })
    }

    /// What has no meaning where the encoder takes images.
    fn faults_with_images(&self, source: &str) -> Vec<anyhow::Error> {
        let (t, default) = (&self.training, Training::default());
        let window = self.sampling.length_window;
        let rules = [
            (
                self.method != Method::Aligned,
                "method",
                "`aligned` is for embeddings of words; with images take `multitask` or `single`",
            ),
            (
                self.turned.is_empty(),
                "turned",
                "is for embeddings of words, not for images",
            ),
            (
                t.max_length == default.max_length,
                "training.max_length",
                "counts tokens; an image's size is `encoder.image_size`",
            ),
            (
                // What `auto` comes to is in a run's folder.
                matches!(window, LengthWindow::Auto | LengthWindow::Batches(1)),
                "sampling.length_window",
                "is for rows of texts: all images of a run have one size",
            ),
            (
                t.batch_tokens.is_none(),
                "training.batch_tokens",
                "counts tokens; with images give training.batch_size",
            ),
            (
                !t.gradient_checkpointing,
                "training.gradient_checkpointing",
                "is a BERT's; batch norms would count every image twice",
            ),
            (
                t.reinit_layers.is_none(),
                "training.reinit_layers",
                "is a BERT's; `encoder.weights: none` starts at random",
            ),
            (
                t.freeze == Freeze::default(),
                "training.freeze",
                "is a BERT's; with images all layers learn",
            ),
            (
                self.engine == Engine::Fast,
                "engine",
                "is a BERT's; images have one",
            ),
        ];
        broken(&rules, source).collect()
    }

    /// # Errors
    /// An input error that names the key.
    pub(super) fn validate(&self, source: &str) -> Result<()> {
        self.faults(source).into_iter().next().map_or(Ok(()), Err)
    }

    /// An input error for each value that does not keep to the rules.
    pub(super) fn faults(&self, source: &str) -> Vec<anyhow::Error> {
        let parts = [
            self.encoder.validate(source),
            self.weighting.validate(source),
        ];
        let mut faults: Vec<_> = parts.into_iter().filter_map(Result::err).collect();
        let t = &self.training;
        let e = &self.evaluation;
        if self.encoder.images().is_some() {
            faults.extend(self.faults_with_images(source));
        }
        let over_words = self.encoder.words().is_some();
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let rules: &[(bool, &str, &str)] = &[
            (
                !self.tasks.is_empty(),
                "tasks",
                "must name at least one task",
            ),
            (positive(t.epochs), "training.epochs", "must be above 0"),
            (
                t.max_steps != Some(0),
                "training.max_steps",
                "must be above 0",
            ),
            (t.batch_size > 0, "training.batch_size", "must be above 0"),
            (
                t.batch_tokens
                    .is_none_or(|tokens| tokens >= t.max_length.saturating_mul(2)),
                "training.batch_tokens",
                "must be at least twice training.max_length",
            ),
            (
                t.batch_tokens.is_none() || self.sampling.batches == BatchKind::Homogeneous,
                "training.batch_tokens",
                "is for homogeneous batches; give training.batch_size",
            ),
            (
                !(t.gradient_checkpointing && self.engine == Engine::Reference),
                "training.gradient_checkpointing",
                "cannot be with engine `reference`; take `fast` or `padded`",
            ),
            (
                !(t.gradient_checkpointing && over_words),
                "training.gradient_checkpointing",
                "is a BERT's; a module over words needs little memory",
            ),
            (
                !(t.reinit_layers.is_some() && over_words),
                "training.reinit_layers",
                "is a BERT's; a module over words starts at random",
            ),
            (
                !over_words || t.freeze == Freeze::default(),
                "training.freeze",
                "is a BERT's; a module over words has `encoder.train_embeddings`",
            ),
            (
                !over_words || matches!(t.precision, Precision::Auto | Precision::Fp32),
                "training.precision",
                "must be fp32 (or auto) with a module over words",
            ),
            (t.accumulate > 0, "training.accumulate", "must be above 0"),
            (
                positive(t.learning_rate),
                "training.learning_rate",
                "must be above 0",
            ),
            (
                share(t.warmup),
                "training.warmup",
                "is a share of the steps, from 0 to 1",
            ),
            (
                (0.0..1.0).contains(&t.label_smoothing),
                "training.label_smoothing",
                "is a share, from 0 to below 1",
            ),
            (
                self.class_weights_fit(),
                "training.class_weights",
                "is `balanced`, or has `balanced` for a TASK and numbers above 0 for TASK/LABEL",
            ),
            (
                t.weight_decay >= 0.0,
                "training.weight_decay",
                "must not be negative",
            ),
            (
                (0.0..1.0).contains(&t.adam_beta1),
                "training.adam_beta1",
                "must lie in [0, 1)",
            ),
            (
                (0.0..1.0).contains(&t.adam_beta2),
                "training.adam_beta2",
                "must lie in [0, 1)",
            ),
            (positive(t.adam_eps), "training.adam_eps", "must be above 0"),
            (
                positive(t.layer_decay) && t.layer_decay <= 1.0,
                "training.layer_decay",
                "must lie in (0, 1]",
            ),
            (
                t.clip_norm >= 0.0,
                "training.clip_norm",
                "must not be negative",
            ),
            (
                t.max_length >= 5,
                "training.max_length",
                "must be at least 5",
            ),
            (
                t.threads.is_none_or(|n| (1..=1024).contains(&n)),
                "training.threads",
                "must be from 1 to 1024",
            ),
            (
                t.dropout.is_none_or(|p| (0.0..1.0).contains(&p)),
                "training.dropout",
                "must lie in [0, 1)",
            ),
            (
                t.head_dropout.is_none_or(|p| (0.0..1.0).contains(&p)),
                "training.head_dropout",
                "must lie in [0, 1)",
            ),
            (e.batch_size > 0, "evaluation.batch_size", "must be above 0"),
            (
                e.patience != Some(0),
                "evaluation.patience",
                "must be above 0",
            ),
            (
                self.checkpoints.keep > 0,
                "checkpoints.keep",
                "must be above 0",
            ),
            (
                share(self.sampling.temperature),
                "sampling.temperature",
                "must lie in [0, 1]",
            ),
            (
                self.sampling.reference.values().all(|&score| score <= 1.0),
                "sampling.reference",
                "holds fractions, at most 1, as the scores in results.json",
            ),
            (
                !self.splits_evenly() || t.batch_size >= self.tasks.len(),
                "training.batch_size",
                "must be at least the number of tasks: each has a part of every batch",
            ),
            (
                self.alignment.alternate_every > 0,
                "alignment.alternate_every",
                "must be above 0",
            ),
            (
                self.alignment.encoder_share > 0.0 && self.alignment.encoder_share < 1.0,
                "alignment.encoder_share",
                "must lie between 0 and 1",
            ),
            (
                !self.leaves_nothing_to_move(),
                "alignment.learning_rate",
                "and training.head_learning_rate are both 0: once the encoder is fixed, nothing moves",
            ),
            (
                self.folds.is_none_or(|folds| FOLDS.contains(&folds)),
                "folds",
                FOLDS_RULE,
            ),
            (
                self.label_noise.values().all(|&noise| share(noise)),
                "label_noise",
                "holds shares of training rows, from 0 to 1",
            ),
            (
                self.turned.values().all(|degrees| (0.0..=180.0).contains(degrees)),
                "turned",
                "holds degrees, from 0 to 180",
            ),
            (
                self.alignment.learns() || self.alignment.schedule == Schedule::Joint,
                "alignment.schedule",
                "must be joint with form `random_rotation`, which learns no R",
            ),
            (
                self.alignment.decay_to_identity >= 0.0,
                "alignment.decay_to_identity",
                "must not be negative",
            ),
        ];
        // Far above all use, and what sums and products of them are counted in.
        let most = i32::MAX as usize;
        let window = match self.sampling.length_window {
            LengthWindow::Batches(batches) => batches,
            LengthWindow::Auto | LengthWindow::Small => 0,
        };
        let counts = [
            (t.batch_size, "training.batch_size"),
            (t.batch_tokens.unwrap_or(0), "training.batch_tokens"),
            (t.accumulate, "training.accumulate"),
            (t.max_length, "training.max_length"),
            (e.batch_size, "evaluation.batch_size"),
            (window, "sampling.length_window"),
        ];
        let large = counts.iter().filter(|(count, _)| *count > most);
        faults.extend(large.map(|(count, key)| {
            input_error!("{source}: key `{key}` must be at most {most}, not {count}")
        }));
        faults.extend(broken(rules, source));
        let mut names: Vec<_> = self.tasks.iter().collect();
        names.sort();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            faults.push(input_error!(
                "{source}: key `tasks` names `{}` twice",
                pair[0]
            ));
        }
        faults
    }
}

/// An input error for each rule, a key and what it demands, that does not hold.
fn broken<'a>(
    rules: &'a [(bool, &str, &str)],
    source: &'a str,
) -> impl Iterator<Item = anyhow::Error> + 'a {
    let broken = rules.iter().filter(|(holds, ..)| !holds);
    broken.map(move |(_, key, demand)| input_error!("{source}: key `{key}` {demand}"))
}
