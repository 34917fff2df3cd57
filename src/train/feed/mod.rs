//! Which batch comes when, and its tensors, made ahead of their use.

pub mod batches;
pub mod loader;
