//! The model.

pub mod encoder_dir;
