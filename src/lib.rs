//! covalign fine-tunes a pretrained BERT on several tasks at once, each through its own learned
//! alignment matrix, and says which tasks help each other.
//!
//! The rooms, in the order data flows; none reaches back:
//!
//! - [`cli`]: a file per command; the only room that prints.
//! - [`config`]: YAML to structs, defaults, overrides, errors that name the key.
//! - [`task`]: what a task is: inputs, labels, metrics, loss, files.
//! - [`data`]: reading, tokenising, caching, batching, sampling over tasks.
//! - [`hub`]: encoders from the hub or a folder.
//! - [`model`]: encoder (rust-bert), alignment, heads, weights in and out.
//! - [`train`]: the loop, optimiser, schedule, precision, checkpoints.
//! - [`transfer`]: strategies made of runs.
//! - [`analysis`]: covariance similarity, advice.
//! - [`suite`]: a study: its file, its plan, its runs done.
//! - [`report`]: what runs say: samples, comparisons, tables, figures.
//! - [`telemetry`]: TensorBoard, progress, JSONL.
//! - [`libtorch`]: the one unsafe room (besides the memory map in [`data::cache`]): a small C++ shim
//!   for what tch lacks.
//! - [`error`]: which failures are the user's to mend, and exit codes.

// Both panic where nobody reads or the disk is full; see cli::out.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod analysis;
pub mod cli;
pub mod config;
pub mod data;
pub mod error;
pub mod hub;
pub mod libtorch;
pub mod model;
pub mod report;
pub mod suite;
pub mod task;
pub mod telemetry;
pub mod train;
pub mod transfer;
