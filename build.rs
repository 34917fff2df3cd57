//! Tells the linker where libtorch is.

fn main() {
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys passes libtorch's folder on");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
}
