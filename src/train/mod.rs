//! The loop, optimiser, schedule, precision, checkpoints.

pub mod batches;
pub mod bench;
pub mod checkpoint;
pub mod evaluate;
pub mod interrupt;
pub mod learner;
pub mod lock;
pub mod optimizer;
pub mod precision;
pub mod prepare;
pub mod recorder;
pub mod run;
pub mod run_folder;
mod saver;
pub mod schedule;
pub mod stages;
pub mod start;
pub mod tasks;
pub mod trainer;
mod window;
mod word_rows;
