//! TensorBoard, progress, JSONL: what a run says of itself while it runs.

pub mod atomic;
mod hparams;
pub mod jsonl;
pub mod layout;
pub mod progress;
pub mod sealed;
pub mod tensorboard;
