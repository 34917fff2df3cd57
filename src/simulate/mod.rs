//! The theory's synthetic tasks: when a shared module helps, when it harms, and what alignment and
//! task weights change (Wu, Zhang and Ré, ICLR 2020, sections 2 and 3).
//!
//! Linear and one-layer ReLU tasks, squared loss, in float64, without libtorch. `studies` measure one
//! seed at a time; `results` makes means, intervals and tests of them; `picture`, `tables` and `write`
//! tell them.

pub mod closed;
pub mod config;
pub mod data;
pub mod picture;
pub mod results;
pub mod studies;
pub mod tables;
pub mod target;
pub mod train;
pub mod write;
