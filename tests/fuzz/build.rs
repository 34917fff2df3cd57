//! Tells the linker where libtorch is: covalign's build script tells only covalign's own programs.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let libtorch = std::env::var("LIBTORCH").expect(".cargo/config.toml says where libtorch is");
    let lib = Path::new(&libtorch).join("lib");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    let files = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    let openmp = files.map(|file| file.path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libgomp") && name.contains(".so")
    });
    match openmp {
        Some(path) => println!("cargo:rustc-link-arg={}", path.display()),
        None => println!("cargo:rustc-link-arg=-lgomp"),
    }
}
