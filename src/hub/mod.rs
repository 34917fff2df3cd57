//! Encoders: from the hub, or from a folder.
//!
//! [`word_vectors`] makes one of a text file of words. [`encoder_dir`] says where they live and which files an encoder has; [`fetch`] gets them, from a
//! `snapshot` that Hugging Face's own tools have cached or from the hub; [`download`] is one file's
//! way here, `http` whom its requests go to.
//!
//! Why not Hugging Face's `hf-hub` crate: both of its lines were tried in [`download`]'s place on
//! tests/hub.rs. Neither compares a file with its sha256, reads `HF_HUB_OFFLINE`, or fills its cache
//! from a hub that does not send `X-Repo-Commit`. Besides,
//!
//! - 0.5.0 (`api::sync::Api::metadata`) sends the token to whatever host a redirect names, and
//!   refuses a server that ignores `Range`.
//! - 1.0.0 (`repository::download`) gives up where a line breaks and begins the file anew at the next
//!   command; `download_file_to_cache_network` does not look at the second answer's status, so that
//!   the page of an error 500 becomes the weights. It brings tokio, reqwest and hf-xet: 147 crates.

pub mod download;
pub mod encoder_dir;
pub mod fetch;
pub mod http;
mod snapshot;
pub mod word_vectors;
