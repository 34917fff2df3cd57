//! What a batch does to the model.
//!
//! [`learner`] takes a batch forward and back in the [`precision`] asked for, perhaps with
//! [`recompute`]; [`optimizer`] steps, with [`word_rows`] for the word table and [`loss_scale`] in
//! fp16; [`schedule`] says what moves, and how fast. `take` makes a step
//! of these, on CUDA one that [`recorded`] replays.

pub mod learner;
pub mod loss_scale;
pub mod losses;
pub mod optimizer;
pub mod precision;
pub mod recompute;
pub mod recorded;
pub mod schedule;
mod take;
mod word_rows;
