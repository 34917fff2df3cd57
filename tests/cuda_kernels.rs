//! Our kernels for CUDA, without a GPU: CUDA's compiler takes them for every kind of device, and
//! AdamW's, compiled by g++, takes libtorch's steps.
#![cfg(target_os = "linux")]

mod common;

use std::process::Command;

use common::{compile, libtorch_cuda, root, text};

/// Kinds of devices from Turing to Blackwell; what lies between them has the same instructions.
const KINDS: [&str; 5] = ["75", "80", "90", "100", "120"];

#[test]
fn every_kernel_compiles_for_every_kind_of_device() {
    let Some(libraries) = libtorch_cuda() else {
        return;
    };
    let libraries = libraries.join("../../nvidia/cu13/lib");
    let compiler = compile(&["compile.cpp"], "compile-cuda", &[]);
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program.cu");
    // As covalign puts it together.
    let mut source = "#define INLINE __device__ inline\n".to_owned();
    for file in [
        "mix.h",
        "cuda/numbers.cu",
        "cuda/rows.cu",
        "cuda/optimizer.cu",
    ] {
        source += &std::fs::read_to_string(root().join("src/libtorch").join(file)).unwrap();
    }
    std::fs::write(&program, source).unwrap();
    for element in ["float", "bf16", "f16"] {
        let output = Command::new(&compiler)
            .arg(libraries.join("libnvrtc.so.13"))
            .arg(&program)
            .arg(KINDS.join(","))
            .args([&format!("-DELEMENT={element}"), "-DWIDTH=384"])
            // There the compiler looks for its parts.
            .env("LD_LIBRARY_PATH", &libraries)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{element}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn adamw_for_cuda_takes_libtorchs_steps() {
    let libtorch = covalign::libtorch::path().unwrap();
    let libtorch = libtorch.parent().unwrap();
    let include = libtorch.join("../include");
    let flags = [
        "-O0",
        "-pthread",
        "-Wno-unknown-pragmas",
        "-Wno-sign-compare",
        "-fno-strict-aliasing",
        "-isystem",
        include.to_str().unwrap(),
        "-L",
        libtorch.to_str().unwrap(),
        "-ltorch_cpu",
        "-lc10",
        "-Wl,--allow-shlib-undefined,-rpath",
        &format!("-Wl,{}", libtorch.display()),
    ];
    let program = compile(&["adamw.cpp"], "adamw", &flags);
    let output = Command::new(program).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let number = |name: &str| -> f64 {
        let mut words = said.split_whitespace().skip_while(|word| *word != name);
        words.nth(1).unwrap().parse().unwrap()
    };
    // Of float32's rounding, 6e-8; the norm is a sum of 70,000 squares in it.
    assert!(number("norm") < 2e-6, "{said}");
    assert!(number("values") < 2e-7, "{said}");
    assert!(number("moments") < 3e-7, "{said}");
}
