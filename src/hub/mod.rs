//! Encoders: from the hub, or from a folder.
//!
//! [`encoder_dir`] says where they live and which files an encoder has; [`fetch`] gets them, from a
//! `snapshot` that Hugging Face's own tools have cached or from the hub; [`download`] is one file's
//! way here, `http` whom its requests go to.
//!
//! Why not Hugging Face's `hf-hub` crate: both of its lines were tried in place of [`download`], and
//! five of tests/hub.rs's ten behaviours were lost with each. Neither compares the file with its
//! sha256, goes on where another command's cut download broke off, or reads `HF_HUB_OFFLINE`; both
//! refuse a hub that does not send `X-Repo-Commit`. Besides,
//!
//! - 0.5.0 (`api::sync::Api::metadata`) sends the token to the host that a redirect names, and
//!   refuses a server that ignores `Range`.
//! - 1.0.0 (`repository::download`) begins a cut file anew, in another try even of the same command
//!   none at all, and keeps the page of an error 500 as the weights
//!   (`download_file_to_cache_network` does not look at the second answer's status). It brings
//!   tokio, reqwest and hf-xet: 147 crates more than covalign has without it.

pub mod download;
pub mod encoder_dir;
pub mod fetch;
mod http;
mod snapshot;
