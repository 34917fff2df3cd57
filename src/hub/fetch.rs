//! What an encoder needs, whole or not at all: from the Hugging Face hub, or from its tools' cache.
//!
//! Addresses are `{endpoint}/{repository}/resolve/{revision}/{file}`, for the hub's own weights and
//! for rust-bert's `rust_model.ot`. `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME`, `HF_HUB_CACHE` and
//! `HF_HUB_OFFLINE` mean what they mean to `huggingface_hub`.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::download::{Answer, Downloader};
use super::encoder_dir::{
    folder_name, is_complete, user_home, KNOWN, TOKENIZER_FILES, VOCABULARY_FILES,
};
use super::http::{host, origin};
use super::snapshot;
use crate::error::io_error;
use crate::{bail_input, input_error};

/// Which weights to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Weights {
    /// `model.safetensors`, else `pytorch_model.bin`
    #[default]
    Auto,
    /// `model.safetensors`
    Safetensors,
    /// `pytorch_model.bin`
    Bin,
    /// `rust_model.ot`, rust-bert's own
    Rust,
}

impl Weights {
    /// File names, in the order in which they are tried.
    pub fn files(self) -> &'static [&'static str] {
        match self {
            Weights::Auto => &["model.safetensors", "pytorch_model.bin"],
            Weights::Safetensors => &["model.safetensors"],
            Weights::Bin => &["pytorch_model.bin"],
            Weights::Rust => &["rust_model.ot"],
        }
    }
}

/// A hub and how to talk to it.
#[derive(Debug, Clone)]
pub struct Hub {
    pub endpoint: String,
    pub token: Option<String>,
    /// The folder with `models--org--name/snapshots/<revision>`.
    pub cache: PathBuf,
    pub offline: bool,
    /// Tries in a row that may bring not a byte, and the pause before the second.
    pub tries: u32,
    pub pause: Duration,
    /// How long a server may be silent.
    pub patience: Duration,
}

/// The most bytes of a config or of a tokenizer's file, and of weights.
const MOST_SMALL: u64 = 64 << 20;
const MOST_WEIGHTS: u64 = 64 << 30;

/// What to fetch.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// A short name of [`KNOWN`], or `org/name`.
    pub name: String,
    pub revision: String,
    pub weights: Weights,
    /// Replace an encoder that is there already.
    pub force: bool,
}

/// Where a fetched encoder came from.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    AlreadyThere,
    Cache(PathBuf),
    Hub,
}

/// Told the file's name, the bytes so far and in all.
pub type Progress<'a> = dyn FnMut(&str, u64, Option<u64>) + 'a;

impl Hub {
    /// The hub that the environment describes.
    pub fn from_env() -> Hub {
        let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
        let home = variable("HF_HOME").map_or_else(
            || {
                let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
                let cache = cache.unwrap_or_else(|| user_home().join(".cache"));
                cache.join("huggingface")
            },
            PathBuf::from,
        );
        let stored = || std::fs::read_to_string(home.join("token")).ok();
        let token = variable("HF_TOKEN").or_else(stored);
        let offline = variable("HF_HUB_OFFLINE")
            .unwrap_or_default()
            .to_lowercase();
        Hub {
            endpoint: variable("HF_ENDPOINT").unwrap_or("https://huggingface.co".into()),
            token: token
                .map(|t| t.trim().into())
                .filter(|t: &String| !t.is_empty()),
            cache: variable("HF_HUB_CACHE").map_or(home.join("hub"), PathBuf::from),
            offline: matches!(offline.as_str(), "1" | "true" | "yes" | "on"),
            tries: 5,
            pause: Duration::from_secs(1),
            patience: Duration::from_secs(20),
        }
    }

    /// What stands in a header must be one line; where it is not, it is not printed either.
    fn check_token(&self) -> Result<()> {
        let token = self.token.iter().flat_map(|token| token.chars());
        match token.clone().all(|letter| letter.is_ascii_graphic()) {
            true => Ok(()),
            false => bail_input!(
                "HF_TOKEN (or the file `token` in HF_HOME) has a line break, a space or a letter \
                 that no token has; set it to the token alone"
            ),
        }
    }

    /// Puts the encoder into a folder of `encoders`, whole or not at all; returns the folder.
    ///
    /// An interrupted download leaves `<folder>.partial/`, from which the next call goes on.
    /// Errors: an unknown or gated name, no network, a full disk, a wrong checksum.
    pub fn fetch(
        &self,
        wanted: &Wanted,
        encoders: &Path,
        progress: &mut Progress,
    ) -> Result<(PathBuf, Source)> {
        let repository = repository(&wanted.name)?;
        if !is_plain(&wanted.revision) {
            bail_input!(
                "`{}` is not a revision: give a branch, tag or commit",
                wanted.revision
            );
        }
        let folder = encoders.join(folder_name(&repository));
        if folder.is_dir() && !wanted.force {
            if is_complete(&folder, wanted.weights.files()) {
                return Ok((folder, Source::AlreadyThere));
            }
            bail_input!(
                "{} is there without {}; add --force to replace it",
                folder.display(),
                wanted.weights.files().join(" or ")
            );
        }
        let revision = match wanted.revision.as_str() {
            "main" => String::new(),
            other => format!("@{other}"),
        };
        let partial = format!("{}{revision}.partial", folder_name(&repository));
        let partial = encoders.join(partial);
        std::fs::create_dir_all(&partial).map_err(|e| io_error(&partial, e))?;
        let lock = partial.join("lock");
        let held = File::create(&lock).map_err(|e| io_error(&lock, e))?;
        if let Err(TryLockError::WouldBlock) = held.try_lock() {
            bail_input!("{repository} is being fetched by another command");
        }
        let source = self.fill(&partial, &repository, wanted, progress);
        std::fs::remove_file(&lock).map_err(|e| io_error(&lock, e))?;
        if source.is_err() {
            // Succeeds only where nothing has been fetched yet.
            let _ = std::fs::remove_dir(&partial);
        }
        let source = source?;
        replace(&partial, &folder)?;
        Ok((folder, source))
    }

    /// Puts the wanted files into `folder`, from the cache or from the hub.
    fn fill(
        &self,
        folder: &Path,
        repository: &str,
        wanted: &Wanted,
        progress: &mut Progress,
    ) -> Result<Source> {
        let weights = wanted.weights.files();
        if let Some(snapshot) = snapshot::find(&self.cache, repository, &wanted.revision, weights) {
            snapshot::copy(&snapshot, folder, weights)?;
            return Ok(Source::Cache(snapshot));
        }
        if self.offline {
            bail_input!(
                "HF_HUB_OFFLINE is set and {} has no {repository} with config.json, {} and {}; \
                 unset it, or give a folder with these files instead of a name",
                self.cache.display(),
                VOCABULARY_FILES.join(" or "),
                weights.join(" or ")
            );
        }
        self.download(repository, wanted, folder, progress)?;
        Ok(Source::Hub)
    }

    fn download(
        &self,
        repository: &str,
        wanted: &Wanted,
        folder: &Path,
        progress: &mut Progress,
    ) -> Result<()> {
        let base = format!(
            "{}/{repository}/resolve/{}",
            self.endpoint.trim_end_matches('/'),
            wanted.revision
        );
        let downloader = Downloader {
            token: self.token.clone(),
            token_origin: origin(&self.endpoint),
            tries: self.tries.max(1),
            pause: self.pause,
            patience: self.patience,
        };
        self.check_token()?;
        let mut get = |file: &str| -> Result<bool> {
            let path = folder.join(file);
            if path.is_file() {
                return Ok(true);
            }
            let mut tell = |done, total| progress(file, done, total);
            let most = match TOKENIZER_FILES.contains(&file) || file == "config.json" {
                true => MOST_SMALL,
                false => MOST_WEIGHTS,
            };
            match downloader.download(&format!("{base}/{file}"), &path, most, &mut tell)? {
                Answer::File => Ok(true),
                Answer::Missing => Ok(false),
                Answer::Denied(code) => bail_input!(
                    "{} answers {code} for {repository}: no such encoder, or a private or gated one; \
                     check the name, or set HF_TOKEN to a token that may read it",
                    host(&self.endpoint)
                ),
            }
        };
        let missing = |files: &[&str], advice: &str| {
            input_error!(
                "{} has no {} in {repository} ({}){advice}",
                host(&self.endpoint),
                files.join(" or "),
                wanted.revision
            )
        };
        let takes = "; covalign takes BERT encoders with a WordPiece vocabulary, such as \
                     bert-large-uncased";
        if !get("config.json")? {
            return Err(missing(&["config.json"], takes));
        }
        check_config(&folder.join("config.json"), repository)?;
        for file in TOKENIZER_FILES {
            get(file)?;
        }
        if !VOCABULARY_FILES.iter().any(|f| folder.join(f).is_file()) {
            return Err(missing(&VOCABULARY_FILES, takes));
        }
        for file in wanted.weights.files() {
            if get(file)? {
                return Ok(());
            }
        }
        Err(missing(wanted.weights.files(), ""))
    }
}

/// `org/name` of a short name; refuses what cannot be a repository.
fn repository(name: &str) -> Result<String> {
    if let Some((_, repository)) = KNOWN.iter().find(|(short, _)| *short == name) {
        return Ok(repository.to_string());
    }
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() > 2 || !parts.iter().all(|part| is_plain(part)) {
        let known: Vec<&str> = KNOWN.iter().map(|(short, _)| *short).collect();
        bail_input!(
            "`{name}` is not an encoder's name; give {}, or org/name",
            known.join(", ")
        );
    }
    Ok(name.to_string())
}

/// Whether `part` can stand in an address and in a folder's name.
fn is_plain(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !part.is_empty() && !part.starts_with('.') && part.chars().all(plain)
}

/// Refuses another architecture before its weights are fetched.
fn check_config(path: &Path, repository: &str) -> Result<()> {
    let text = std::fs::read(path).map_err(|e| io_error(path, e))?;
    let config: Result<serde_json::Value, _> = serde_json::from_slice(&text);
    let Ok(config) = config else {
        let _ = std::fs::remove_file(path);
        bail_input!("{repository}: config.json is not JSON; is HF_ENDPOINT a hub?");
    };
    match config.get("model_type").and_then(|kind| kind.as_str()) {
        Some("bert") | None => Ok(()),
        Some(kind) => {
            let _ = std::fs::remove_file(path);
            bail_input!("{repository} is a `{kind}` model; covalign takes BERT encoders")
        }
    }
}

/// Moves `partial` to `folder`; what was there stays until the new one can take over.
fn replace(partial: &Path, folder: &Path) -> Result<()> {
    let old = folder.with_file_name(format!(
        "{}.old",
        folder.file_name().unwrap_or_default().to_string_lossy()
    ));
    let _ = std::fs::remove_dir_all(&old);
    if folder.exists() {
        std::fs::rename(folder, &old).map_err(|e| io_error(folder, e))?;
    }
    std::fs::rename(partial, folder)
        .map_err(|e| io_error(folder, e))
        .with_context(|| format!("{} stays", partial.display()))?;
    let _ = std::fs::remove_dir_all(&old);
    Ok(())
}
