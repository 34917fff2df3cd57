//! Compiles the C++ shim and tells the linker where libtorch is.

use std::path::Path;

fn main() {
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys passes libtorch's folder on");
    let include = Path::new(&lib).with_file_name("include");
    println!("cargo:rerun-if-changed=build.rs");
    watch(Path::new("src/libtorch"));

    let x86 = std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64");
    let base = ("base", String::new());
    let avx512 = "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma";
    let wider = [
        ("avx2", "-mavx2 -mfma".to_string()),
        ("avx512", avx512.to_string()),
        ("avx512_bf16", format!("{avx512} -mavx512bf16")),
    ];
    let sets = [base].into_iter().chain(wider.into_iter().filter(|_| x86));
    for (isa, flags) in sets {
        let mut build = cpp();
        build.define("COVALIGN_ISA", isa).opt_level(3);
        build.flags(["-ffp-contract=fast", "-fno-math-errno"]);
        build.flag("-Wno-psabi");
        build.flags(flags.split_whitespace());
        let all = ["kernels", "lstm_kernels", "convolution_kernels"];
        // The others know float32 alone.
        let files = if isa == "avx512_bf16" {
            &all[..1]
        } else {
            &all
        };
        build.files(files.iter().map(|f| format!("src/libtorch/{f}.cpp")));
        build.compile(&format!("covalign_kernels_{isa}"));
    }

    let mut build = cpp();
    if x86 {
        build.define("COVALIGN_X86", None);
    }
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if system == "linux" && build.get_compiler().is_like_gnu() {
        // Without it libtorch's `parallel_for`, a template, is a plain loop in one thread.
        build.flag("-fopenmp");
        link_openmp(Path::new(&lib));
    } else {
        println!(
            "cargo:warning=not compiled by g++ for Linux: covalign's own passes use one thread"
        );
    }
    build
        .include(&include)
        .include("src/libtorch/compat")
        .include(include.join("torch/csrc/api/include"))
        .files(
            [
                "convolution",
                "cuda/graph",
                "cuda/nccl",
                "cuda/optimizer",
                "cuda/rows",
                "cuda/runtime",
                "dispatch",
                "fused",
                "group",
                "layer",
                "layers",
                "optimizer",
                "products",
                "profile",
                "recurrent",
                "shim",
            ]
            .map(|f| format!("src/libtorch/{f}.cpp")),
        )
        .compile("covalign_shim");
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
    let installed = Path::new(&folder).join("libtorch/lib");
    if installed.canonicalize().ok() == Path::new(&lib).canonicalize().ok() {
        // What `make setup` installs goes with the folder, wherever that is moved or copied. As
        // DT_RPATH these come before LD_LIBRARY_PATH, which may name another program's libtorch.
        match system.as_str() {
            "macos" => link("-rpath,@executable_path/../../libtorch/lib"),
            _ => link("--disable-new-dtags,-rpath,$ORIGIN/../../libtorch/lib"),
        }
    }
    link(&format!("-rpath,{lib}"));
}

/// Has this run again where a file in a folder changes, but for Rust's: what it compiles takes minutes.
fn watch(folder: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            watch(&path);
        } else if path.extension().is_none_or(|extension| extension != "rs") {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
}

/// Links the OpenMP runtime that libtorch uses: there must be one, whose threads both share.
fn link_openmp(lib: &Path) {
    let own = std::fs::read_dir(lib).into_iter().flatten().flatten();
    let mut own = own.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libgomp") && name.contains(".so")
    });
    match own.next() {
        Some(path) => println!("cargo:rustc-link-arg={}", path.display()),
        None => println!("cargo:rustc-link-arg=-lgomp"),
    }
}

fn link(argument: &str) {
    println!("cargo:rustc-link-arg=-Wl,{argument}");
}

fn cpp() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").warnings(false);
    build
}
