//! The program's folder may be moved or copied: it takes the libtorch that is in it.
#![cfg(target_os = "linux")]

mod common;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{root, text};

/// `libtorch/` in the repository's folder where the tested binary was built with it.
fn installed() -> Option<PathBuf> {
    let installed = root().join("libtorch").canonicalize().ok();
    let named = std::env::var_os("LIBTORCH").map(PathBuf::from);
    let built_with = named.and_then(|named| named.canonicalize().ok());
    if installed.is_none() || installed != built_with {
        eprintln!("skipped: built with another libtorch than that of `make setup`");
        return None;
    }
    installed
}

/// What `doctor` says of the libtorch that a binary has loaded, while the environment names others.
fn loaded(binary: &Path, others: &Path) -> String {
    let output = Command::new(binary)
        .arg("doctor")
        .env("LD_LIBRARY_PATH", others)
        .env("CUDA_VISIBLE_DEVICES", "")
        .output()
        .unwrap();
    let lines = text(&output.stdout);
    let line = lines.lines().find(|line| line.contains("libtorch"));
    line.unwrap_or_else(|| panic!("{lines}{}", text(&output.stderr)))
        .to_owned()
}

#[test]
fn a_folder_that_was_copied_takes_its_own_libtorch() {
    let Some(libtorch) = installed() else {
        return;
    };
    let other = tempfile::tempdir().unwrap();
    let other = other.path();
    std::fs::create_dir_all(other.join("target/release")).unwrap();
    let binary = other.join("target/release/covalign");
    std::fs::copy(env!("CARGO_BIN_EXE_covalign"), &binary).unwrap();
    // Alone it takes the libtorch that it was built with.
    let line = loaded(&binary, &other.join("libtorch/lib"));
    assert!(line.contains(libtorch.to_str().unwrap()), "{line}");
    symlink(&libtorch, other.join("libtorch")).unwrap();
    let line = loaded(&binary, &libtorch.join("lib"));
    assert!(line.contains(other.to_str().unwrap()), "{line}");
}
