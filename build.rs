//! Compiles the C++ shim and tells the linker where libtorch is.

use std::path::Path;

fn main() {
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys passes libtorch's folder on");
    let include = Path::new(&lib).with_file_name("include");
    println!("cargo:rerun-if-changed=src/libtorch/shim.cpp");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .file("src/libtorch/shim.cpp")
        .compile("covalign_shim");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
}
