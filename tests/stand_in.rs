//! CUDA's control flow without a GPU: the binary and the real `libtorch_cuda` on a CUDA without devices
//! (`stand-in/`). Numbers are garbage; what is asked of the devices, in which order, and who waits for
//! it, is real. Needs the CUDA set: `make test-cuda`.
#![cfg(target_os = "linux")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use common::{covalign, json, root, text, write_demo};

/// The stand-in, built once; none where there is no `libtorch_cuda` to stand on.
fn stand_in() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let libraries = covalign::libtorch::path()?.parent()?.to_owned();
        let places = ["../cuda/libtorch_cuda.so", "libtorch_cuda.so"];
        if !places.iter().any(|place| libraries.join(place).exists()) {
            return None;
        }
        let sources = ["cuda.cpp", "products.cpp"].map(|f| root().join("tests/stand-in").join(f));
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stand-in.so");
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
        let status = Command::new(compiler)
            .args(["-std=c++17", "-O1", "-fPIC", "-shared", "-Wall", "-Werror"])
            // By this name libtorch looks for the driver.
            .arg("-Wl,-soname,libcuda.so.1")
            .args(sources)
            .arg("-o")
            .arg(&library)
            .status();
        assert!(status.unwrap().success());
        Some(library)
    });
    if built.is_none() {
        eprintln!("skipped: no libtorch_cuda in libtorch/ (make test-cuda)");
    }
    built.as_deref()
}

/// Two tasks of few rows; six steps, of which none is looked at before the end.
const CONFIG: &str = "
encoder: ENCODER
data: demo
tasks: [DemoSentiment, DemoSimilarity]
method: aligned
training:
  {max_steps: 6, batch_size: 8, max_length: 16, max_train_rows: 8, threads: 1, device: cuda}
evaluation: {every: 6 steps}
checkpoints: {every: 3 steps}
";

/// A folder with the demonstration set, a config and a stand-in with devices of these compute
/// capabilities.
struct Place {
    folder: tempfile::TempDir,
    library: &'static Path,
    devices: &'static str,
}

/// None where there is no stand-in.
fn place(devices: &'static str) -> Option<Place> {
    let library = stand_in()?;
    let folder = tempfile::tempdir().unwrap();
    write_demo(&folder.path().join("demo"));
    let encoder = root().join("tests/fixtures/legacy-bert");
    let config = CONFIG.replace("ENCODER", encoder.to_str().unwrap());
    std::fs::write(folder.path().join("c.yaml"), config).unwrap();
    Some(Place {
        folder,
        library,
        devices,
    })
}

impl Place {
    /// The binary on the stand-in.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = covalign(self.folder.path(), args);
        command
            .env_remove("CUDA_VISIBLE_DEVICES")
            .env("LD_PRELOAD", self.library)
            .env("STANDIN_DEVICES", self.devices)
            .env("STANDIN_LOG", self.log());
        command
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("events")
    }

    /// What the devices were asked since the last call, in order; `stand-in/cuda.cpp` has the words.
    fn events(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let _ = std::fs::remove_file(self.log());
        log.lines().map(str::to_owned).collect()
    }

    fn train(&self, out: &str, sets: &[&str]) -> Output {
        let mut args = vec!["train", "c.yaml", "--out", out];
        sets.iter().for_each(|set| args.extend(["--set", set]));
        self.command(&args).output().unwrap()
    }

    /// The events of a run that trains to its end without a word on standard error.
    fn trained(&self, out: &str, sets: &[&str]) -> Vec<String> {
        let output = self.train(out, sets);
        assert_eq!(text(&output.stderr), "", "{sets:?}");
        assert!(output.status.success(), "{sets:?}");
        let results = json(&self.folder.path().join(out).join("results.json"));
        assert_eq!(results["steps"], 6, "{sets:?}");
        self.events()
    }
}

/// How many events are of a kind.
fn count(events: &[String], kind: &str) -> usize {
    let is = |event: &&String| event.split(' ').next() == Some(kind);
    events.iter().filter(is).count()
}

/// The events of each step but the first: a step ends with AdamW or with a graph's replay.
fn steps(events: &[String]) -> Vec<&[String]> {
    let ends = |event: &String| event == "launch adamw" || event.starts_with("replay ");
    let mut steps: Vec<_> = events.split_inclusive(ends).collect();
    steps.pop();
    steps.drain(..1);
    steps
}

#[test]
fn try_it() {
    let Some(place) = place("90") else { return };
    for graphs in ["true", "false"] {
        let graphs = format!("training.cuda_graphs={graphs}");
        let output = place.train(&graphs, &[&graphs]);
        println!("{}\n{}", text(&output.stdout), text(&output.stderr));
        let events = place.events();
        for step in steps(&events) {
            println!("{} launches, {} waits", count(step, "launch"), count(step, "wait"));
        }
        std::fs::write(format!("/tmp/w/{graphs}"), events.join("\n")).unwrap();
    }
}
