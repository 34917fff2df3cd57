//! covalign fine-tunes a pretrained BERT on several tasks at once, each through its own learned
//! alignment matrix, and says which tasks help each other.
//!
//! The rooms. Each uses only rooms above it, and no two files use each other (`tests/rooms.rs`):
//!
//! - [`error`]: which failures are the user's to mend, and exit codes.
//! - [`libtorch`]: the one unsafe room (besides memory maps, in `data::stored` and
//!   [`model::weights`]): a small C++ shim for what tch lacks.
//! - [`config`]: YAML to structs, defaults, overrides, errors that name the key.
//! - [`task`]: what a task is: inputs, labels, metrics, loss, files.
//! - [`data`]: reading, tokenising, caching, decoding, batching, sampling over tasks.
//! - [`telemetry`]: TensorBoard, progress, JSONL.
//! - [`hub`]: encoders from the hub or a folder.
//! - [`model`]: what tasks share, behind one interface (BERT by rust-bert, a module over words, a
//!   network over images), alignment, heads, weights in and out.
//! - [`weighting`]: how the losses of tasks and labels become one objective.
//! - [`train`]: a run: its loop, and what the loop is fed, steps, keeps and says.
//! - [`transfer`]: strategies made of runs: single, multi-task, STILTs, transfer.
//! - [`export`]: a trained task as transformers and ONNX read it.
//! - [`suite`]: a study: its file, its plan, its runs done.
//! - [`analysis`]: covariance similarity, advice.
//! - [`report`]: what runs say: samples, comparisons, tables, figures.
//! - [`simulate`]: the theory's synthetic tasks: width, covariance and weights decide transfer.
//! - [`reference`](mod@reference): what people may write: schemas, and every key with its meaning.
//! - [`cli`]: a file per command; the only room that prints.
//!
//! Data flows config → task → data → model → weighting → train → telemetry; transfer, suite, report and analysis
//! sit on top.

// Both panic where nobody reads or the disk is full; see cli::out.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod analysis;
pub mod cli;
pub mod config;
pub mod data;
pub mod error;
pub mod export;
pub mod hub;
pub mod libtorch;
pub mod model;
pub mod reference;
pub mod report;
pub mod simulate;
pub mod suite;
pub mod task;
pub mod telemetry;
pub mod train;
pub mod transfer;
pub mod weighting;
