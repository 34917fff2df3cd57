//! Encoders: from the hub, or from a folder.
//!
//! [`encoder_dir`] says where they live and which files an encoder has, [`fetch`] gets them from the
//! hub, [`download`] is one file's way here.

pub mod download;
pub mod encoder_dir;
pub mod fetch;
