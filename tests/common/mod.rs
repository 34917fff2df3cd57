//! What several tests need.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use protobuf::Message;
use serde_json::Value;
use tensorboard_proto::event::Event;
use tensorboard_rs::masked_crc32c::masked_crc32c;

/// all-MiniLM-L6-v2, which `make setup` installs.
pub fn minilm() -> PathBuf {
    covalign::hub::encoder_dir::resolve("all-MiniLM-L6-v2").expect("`make setup` first")
}

/// The repository's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Real GLUE and sentiment data, where there is some: `$COVALIGN_DATA` or `../shared/data`.
pub fn real_data() -> Option<PathBuf> {
    let given = std::env::var_os("COVALIGN_DATA").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| root().join("../shared/data"));
    if !folder.is_dir() {
        eprintln!(
            "skipped: no real data in {} (set COVALIGN_DATA)",
            folder.display()
        );
        return None;
    }
    Some(folder)
}

/// The folder of libtorch's libraries, where its CUDA part is there too.
pub fn libtorch_cuda() -> Option<PathBuf> {
    let folder = covalign::libtorch::path()?.parent()?.to_owned();
    let places = ["../cuda/libtorch_cuda.so", "libtorch_cuda.so"];
    let there = places.iter().any(|place| folder.join(place).exists());
    if !there {
        eprintln!(
            "skipped: no libtorch_cuda in {} (make test-cuda)",
            folder.display()
        );
    }
    there.then_some(folder)
}

/// What the C++ compiler makes of files in `stand-in/`.
pub fn compile(sources: &[&str], name: &str, flags: &[&str]) -> PathBuf {
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let output = Command::new(compiler)
        .args(["-std=c++17", "-O1", "-Wall", "-Werror"])
        .args(
            sources
                .iter()
                .map(|file| root().join("tests/stand-in").join(file)),
        )
        .args(flags)
        .arg("-o")
        .arg(&made)
        .output()
        .expect("a C++ compiler");
    assert!(output.status.success(), "{}", text(&output.stderr));
    made
}

/// Writes the demonstration set into `folder`.
pub fn write_demo(folder: &Path) {
    let status = Command::new("python3")
        .arg(root().join("scripts/make_demo.py"))
        .arg(folder)
        .output()
        .expect("python3");
    assert!(status.status.success(), "{}", text(&status.stderr));
}

/// The built binary with arguments, in `folder`. It computes on the CPU, whose numbers the tests
/// compare; a test of CUDA makes devices visible again.
pub fn covalign(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_covalign"));
    command.current_dir(folder).args(args);
    command.env("CUDA_VISIBLE_DEVICES", "");
    command
}

/// Runs the binary to its end.
pub fn run(folder: &Path, args: &[&str]) -> Output {
    covalign(folder, args).output().expect("the binary runs")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs what must fail with `code` and one line on standard error, and returns that line.
pub fn fails(folder: &Path, args: &[&str], code: i32) -> String {
    let output = run(folder, args);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
    let lines: Vec<&str> = errors
        .lines()
        .filter(|l| l.starts_with("covalign:"))
        .collect();
    assert_eq!(lines.len(), 1, "{args:?}: {errors}");
    assert!(
        !errors.contains("panicked") && !errors.contains("frame #"),
        "{errors}"
    );
    lines[0].to_owned()
}

/// The one line that `train c.yaml` with other values ends with, which leaves nothing behind.
pub fn refused(folder: &Path, sets: &[&str]) -> String {
    let mut args = vec!["train", "c.yaml", "--out", "x"];
    sets.iter().for_each(|set| args.extend(["--set", set]));
    let line = fails(folder, &args, 2);
    assert!(!folder.join("x").exists(), "{sets:?}");
    line
}

/// A TensorBoard folder's event files, in the order in which they were begun.
pub fn event_files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The events of a TensorBoard file, each record's checksums checked.
pub fn events(path: &Path) -> Vec<Event> {
    let bytes = std::fs::read(path).unwrap();
    let (mut rest, mut events) = (bytes.as_slice(), Vec::new());
    let u32_at =
        |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        assert_eq!(u32_at(rest, 8), masked_crc32c(&rest[..8]));
        let data = &rest[12..12 + length];
        assert_eq!(u32_at(rest, 12 + length), masked_crc32c(data));
        events.push(Event::parse_from_bytes(data).unwrap());
        rest = &rest[16 + length..];
    }
    events
}

/// Two short tasks of different shape; a dozen steps, on the CPU also where a test takes the config
/// into its own process.
pub const CONFIG: &str = "
encoder: all-MiniLM-L6-v2
data: demo
tasks: [DemoSentiment, DemoSimilarity]
training:
  {max_steps: 6, batch_size: 8, learning_rate: 1e-4, max_length: 32, max_train_rows: 48, threads: 1,
   device: cpu}
evaluation: {every: 3 steps}
checkpoints: {every: 3 steps}
";

/// A folder with the demonstration set and the config `c.yaml`.
pub fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_demo(&folder.path().join("demo"));
    std::fs::write(folder.path().join("c.yaml"), CONFIG).unwrap();
    folder
}

/// Trains `c.yaml` with changes; what it printed.
pub fn train(folder: &Path, out: &str, sets: &[&str]) -> String {
    let mut args = vec!["train", "c.yaml", "--out", out];
    sets.iter().for_each(|set| args.extend(["--set", set]));
    let output = run(folder, &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// A JSON file without its seal: as older versions wrote it, and as a test may write it again.
pub fn json(path: &Path) -> Value {
    let mut value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    if let Some(map) = value.as_object_mut() {
        map.remove("sealed");
    }
    value
}

/// The lines of metrics.jsonl without their times.
pub fn evaluations(folder: &Path, out: &str) -> Vec<Value> {
    let lines = std::fs::read_to_string(folder.join(out).join("metrics.jsonl")).unwrap();
    let untimed = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().remove("seconds");
        value
    };
    lines.lines().map(untimed).collect()
}
