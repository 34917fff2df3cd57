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

/// What `doctor` says, as one word, while the environment names another libtorch.
fn doctor(binary: &Path, other: &Path) -> String {
    let output = Command::new(binary)
        .arg("doctor")
        .env("LD_LIBRARY_PATH", other)
        .env("CUDA_VISIBLE_DEVICES", "")
        .output()
        .unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    said.split_whitespace().collect()
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
    let said = doctor(&binary, &other.join("elsewhere"));
    let lib = libtorch.join("lib").canonicalize().unwrap();
    assert!(said.contains(&format!("from{}", lib.display())), "{said}");
    let own = other.join("libtorch/lib");
    std::fs::create_dir_all(&own).unwrap();
    for file in std::fs::read_dir(&lib).unwrap().flatten() {
        symlink(file.path(), own.join(file.file_name())).unwrap();
    }
    let said = doctor(&binary, &lib);
    let own = own.canonicalize().unwrap();
    assert!(said.contains(&format!("from{}", own.display())), "{said}");
}
