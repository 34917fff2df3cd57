//! TensorBoard, progress, JSONL, and files that appear whole.

pub mod atomic;
pub mod hparams;
pub mod jsonl;
pub mod progress;
pub mod tensorboard;
