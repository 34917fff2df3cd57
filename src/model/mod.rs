//! TODO
pub mod download;
pub mod encoder_dir;
pub mod hub;
