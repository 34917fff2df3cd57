//! Where encoders live on this machine, and how a config's `encoder:` finds one.
//!
//! `$COVALIGN_HOME` (default `~/.cache/covalign`) holds `encoders/<name>/` with `config.json`,
//! a vocabulary and weights each, and `tokens/`, the token cache.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::bail_input;

/// The weight files that an encoder's folder may hold, the preferred one first.
pub const WEIGHT_FILES: [&str; 3] = ["model.safetensors", "pytorch_model.bin", "rust_model.ot"];

/// What an encoder's folder says of its tokeniser; `vocab.txt` or `tokenizer.json` must be there.
pub const TOKENIZER_FILES: [&str; 5] = [
    "vocab.txt",
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
];

/// Where a vocabulary may stand: one of these must be there.
pub const VOCABULARY_FILES: [&str; 2] = ["vocab.txt", "tokenizer.json"];

/// Short names and the Hugging Face repositories they stand for.
pub const KNOWN: [(&str, &str); 5] = [
    ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
    ("bert-base-cased", "google-bert/bert-base-cased"),
    ("bert-base-uncased", "google-bert/bert-base-uncased"),
    ("bert-large-cased", "google-bert/bert-large-cased"),
    ("bert-large-uncased", "google-bert/bert-large-uncased"),
];

/// `$COVALIGN_HOME`, or `~/.cache/covalign`.
pub fn home() -> PathBuf {
    match std::env::var_os("COVALIGN_HOME").filter(|value| !value.is_empty()) {
        Some(home) => PathBuf::from(home),
        None => user_home().join(".cache/covalign"),
    }
}

/// The person's own folder, `$HOME`.
pub fn user_home() -> PathBuf {
    std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// The token cache.
pub fn cache_dir() -> PathBuf {
    home().join("tokens")
}

/// The folder with a folder per encoder.
pub fn encoders_dir() -> PathBuf {
    home().join("encoders")
}

/// The folder of an encoder called `name` or `org/name` inside [`encoders_dir`].
pub fn folder_name(name: &str) -> String {
    match KNOWN.iter().find(|(_, repository)| *repository == name) {
        Some((short, _)) => short.to_string(),
        None => name.replace('/', "--"),
    }
}

/// The folder that a config's `encoder:` means: an existing folder, or a fetched encoder's name.
///
/// An encoder that is not there is an input error that says how to fetch it.
pub fn resolve(name_or_dir: &str) -> Result<PathBuf> {
    resolve_in(name_or_dir, &encoders_dir())
}

fn resolve_in(name_or_dir: &str, encoders: &Path) -> Result<PathBuf> {
    let given = Path::new(name_or_dir);
    if given.is_dir() {
        return Ok(given.to_path_buf());
    }
    let fetched = encoders.join(folder_name(name_or_dir));
    if !name_or_dir.is_empty() && fetched.is_dir() {
        return Ok(fetched);
    }
    let command = match name_or_dir {
        "all-MiniLM-L6-v2" => "make setup".to_string(),
        name => format!("covalign encoder fetch {name}"),
    };
    let mut nearest: Vec<String> = names_in(encoders)
        .into_iter()
        .filter(|there| strsim::jaro_winkler(there, name_or_dir) > 0.8)
        .collect();
    nearest.truncate(3);
    let nearest = match nearest.is_empty() {
        true => String::new(),
        false => format!(" (there: {})", nearest.join(", ")),
    };
    bail_input!(
        "encoder `{name_or_dir}` is not in {}{nearest}; fetch it with `{command}`, or give a folder \
         with config.json, weights, and vocab.txt or tokenizer.json",
        encoders.display()
    )
}

/// Whether `folder` holds a config, a vocabulary and one of `weights`.
pub fn is_complete(folder: &Path, weights: &[&str]) -> bool {
    let has = |file: &&str| folder.join(file).is_file();
    has(&"config.json") && VOCABULARY_FILES.iter().any(has) && weights.iter().any(has)
}

/// A fetched encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    pub name: String,
    /// Layers and hidden width from `config.json`, where it says them.
    pub shape: Option<(u64, u64)>,
    /// The weight file that is there, the first of [`WEIGHT_FILES`].
    pub weights: Option<&'static str>,
    /// Size on disk.
    pub bytes: u64,
}

/// The encoders in `folder` (see [`encoders_dir`]), by name.
pub fn list(folder: &Path) -> Vec<Installed> {
    let describe = |name: String| {
        let folder = folder.join(&name);
        let weights = WEIGHT_FILES.into_iter().find(|f| folder.join(f).is_file());
        let bytes = size_on_disk(&folder);
        Installed {
            name,
            shape: shape(&folder),
            weights,
            bytes,
        }
    };
    names_in(folder).into_iter().map(describe).collect()
}

/// Bytes of all files below `folder`; what cannot be read counts nothing.
pub fn size_on_disk(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => size_on_disk(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Names of the sub-folders that hold a `config.json`, sorted; unfinished ones are left out.
fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("config.json").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.ends_with(".partial") && !name.ends_with(".old"))
        .collect();
    names.sort();
    names
}

fn shape(folder: &Path) -> Option<(u64, u64)> {
    let text = std::fs::read(folder.join("config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let number = |key: &str| config.get(key)?.as_u64();
    Some((number("num_hidden_layers")?, number("hidden_size")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;

    fn encoder(root: &Path, name: &str) -> PathBuf {
        let folder = root.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let config = r#"{"num_hidden_layers": 6, "hidden_size": 384}"#;
        std::fs::write(folder.join("config.json"), config).unwrap();
        std::fs::write(folder.join("pytorch_model.bin"), [0; 100]).unwrap();
        folder
    }

    #[test]
    fn a_folder_wins_over_a_name_and_a_repository_finds_its_short_name() {
        let root = tempfile::tempdir().unwrap();
        let large = encoder(root.path(), "bert-large-uncased");
        let other = encoder(root.path(), "acme--tiny");
        let find = |name: &str| resolve_in(name, root.path()).unwrap();
        assert_eq!(find("bert-large-uncased"), large);
        assert_eq!(find("google-bert/bert-large-uncased"), large);
        assert_eq!(find("acme/tiny"), other);
        assert_eq!(find(other.to_str().unwrap()), other);
    }

    #[test]
    fn an_encoder_that_is_not_there_is_an_input_error_with_the_command_and_the_nearest_name() {
        let root = tempfile::tempdir().unwrap();
        encoder(root.path(), "bert-large-uncased");
        encoder(root.path(), "bert-large-uncased.partial");
        let error = resolve_in("bert-large-cased", root.path()).unwrap_err();
        assert_eq!(exit_code(&error), 2);
        let text = error.to_string();
        assert!(
            text.contains("`covalign encoder fetch bert-large-cased`"),
            "{text}"
        );
        assert!(text.contains("(there: bert-large-uncased);"), "{text}");
        assert!(resolve_in("", root.path()).is_err());
    }

    #[test]
    fn the_list_has_shape_weights_and_size() {
        let root = tempfile::tempdir().unwrap();
        encoder(root.path(), "tiny");
        let listed = list(root.path());
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].shape, Some((6, 384)));
        assert_eq!(listed[0].weights, Some("pytorch_model.bin"));
        assert_eq!(listed[0].bytes, 100 + 44);
    }
}
