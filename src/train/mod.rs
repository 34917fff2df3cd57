//! The loop, optimiser, schedule, precision, checkpoints.

pub mod optimizer;
pub mod precision;
pub mod schedule;
