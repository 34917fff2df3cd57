//! Where encoders lie.

use std::path::PathBuf;

pub fn home() -> PathBuf {
    std::env::var_os("COVALIGN_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/covalign")
        })
}

pub fn resolve(name_or_dir: &str) -> anyhow::Result<PathBuf> {
    let dir = PathBuf::from(name_or_dir);
    Ok(if dir.is_dir() {
        dir
    } else {
        home().join("encoders").join(name_or_dir)
    })
}
