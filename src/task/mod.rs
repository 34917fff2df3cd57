//! What a task is: inputs, labels, metrics, loss, files.
//!
//! A task is one YAML file (see `configs/tasks`); adding one takes no Rust.

pub mod metric;
