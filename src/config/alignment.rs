//! The alignment matrices R_i: their form, where they start, how they are learned.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{Rank, Rate};

/// Which of the papers' texts the updates follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// A batch of task i moves A_i, R_i and B.
    #[default]
    Joint,
    /// B is trained with R_i = I, then frozen; then R_i and A_i alone.
    FixedEncoder,
    /// B, and (R_i, A_i), in turn.
    Alternating,
}

/// Form of the R_i's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlignmentForm {
    /// A matrix of the given rank (`full`, or r for I + U Vᵀ).
    #[default]
    General,
    /// A factor for each coordinate.
    Diagonal,
    /// A rotation.
    Orthogonal,
    /// One matrix for all tasks: what an R does besides telling tasks apart.
    Shared,
    /// Fixed rotations, drawn by the seed, of all tasks but the first: tasks are told apart, and
    /// nothing is aligned.
    RandomRotation,
}

/// The set of matrices that R_i is learned in; d is the encoder's width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// Any d×d matrix: the paper's.
    Full,
    /// R = I + U Vᵀ with U and V of d×r; U starts as N(0, 0.02²), V at zero.
    LowRank(i64),
    /// R = diag(r).
    Diagonal,
    /// R = (I + A)⁻¹ (I − A) with A = W − Wᵀ (Cayley's map): a rotation.
    Orthogonal,
}

/// What R_i are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Matrices {
    /// One learned for each task.
    Each(Form),
    /// One learned for all.
    Shared(Form),
    /// Fixed rotations of all tasks but the first.
    Rotations,
}

/// Where R_i starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the identity: plain multi-task training.
    #[default]
    Identity,
    /// Parameters get N(0, 0.02²) on top of the identity.
    Random,
}

/// The alignment matrices of `method: aligned`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Alignment {
    /// What the matrices are, and which tasks have one.
    pub form: AlignmentForm,
    /// `full`, or the rank r of R − I: a low one holds R near the identity, at fewer parameters.
    pub rank: Rank,
    /// Where the R_i start.
    pub init: Start,
    /// The R_i's learning rate: `2e-5`, or a multiple of the encoder's such as `20x`; `0x` freezes
    /// them. To be searched together with `decay_to_identity`.
    pub learning_rate: Rate,
    /// λ of the term λ‖R − I‖²_F in the loss: above 0 it draws R back to the identity.
    pub decay_to_identity: f64,
    /// When the encoder, and when the R_i are trained.
    pub schedule: Schedule,
    /// `alternating`: optimiser steps before the turn changes.
    pub alternate_every: u64,
    /// `fixed_encoder`: the share of all steps that trains B first.
    pub encoder_share: f64,
    /// Optimiser steps before the R_i begin to move.
    pub warmup_steps: u64,
}

impl Default for Alignment {
    fn default() -> Self {
        Alignment {
            form: AlignmentForm::General,
            rank: Rank::Full,
            init: Start::Identity,
            learning_rate: Rate::Relative(1.0),
            decay_to_identity: 0.0,
            schedule: Schedule::Joint,
            alternate_every: 50,
            encoder_share: 0.5,
            warmup_steps: 0,
        }
    }
}

impl Alignment {
    /// What the model's R_i are.
    pub fn matrices(&self) -> Matrices {
        let general = match self.rank {
            Rank::Full => Form::Full,
            Rank::Low(rank) => Form::LowRank(rank),
        };
        match self.form {
            AlignmentForm::General => Matrices::Each(general),
            AlignmentForm::Shared => Matrices::Shared(general),
            AlignmentForm::Diagonal => Matrices::Each(Form::Diagonal),
            AlignmentForm::Orthogonal => Matrices::Each(Form::Orthogonal),
            AlignmentForm::RandomRotation => Matrices::Rotations,
        }
    }

    /// Whether R_i are learned.
    pub fn learns(&self) -> bool {
        self.form != AlignmentForm::RandomRotation
    }
}
