//! TensorBoard, progress, JSONL.

pub mod tensorboard;
