//! `covalign doctor`: what this machine has for covalign, what is missing, and what mends it.

use std::path::Path;
use std::process::Command;

use anyhow::{bail, Result};
use comfy_table::{presets, Cell, ColumnConstraint, Table, Width};
use serde_json::{json, Value};
use tch::Kind;

use super::encoder::megabytes;
use crate::cli::out::say;
use crate::hub::encoder_dir::{cache_dir, encoders_dir, home, list, size_on_disk};
use crate::libtorch::{self, Capability, CudaStatus, OLDEST};
use crate::train::step::precision::{bf16_is_faster, faster_of, measured};

/// The libtorch that covalign is tested with.
const TESTED: &str = "2.11.0";

/// One line of the table.
struct Finding {
    topic: &'static str,
    text: String,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Fine,
    /// Works, but there is something to know or to do.
    Note(String),
    /// covalign cannot train until this is done.
    Missing(String),
}

/// Say what covalign finds on this machine, and what is missing
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  covalign doctor")]
pub struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An error if something necessary is missing.
pub fn run(args: DoctorArgs) -> Result<()> {
    let cuda = libtorch::load_cuda();
    let mut findings = vec![covalign(), library()];
    findings.extend(cuda_devices(cuda));
    findings.extend([bf16_on_cpu(), fp32_on_cpu(), threads()]);
    findings.extend(encoders());
    findings.extend([token_cache(), writable_home()]);

    match args.json {
        true => {
            let all = findings.iter().map(|finding| {
                let (mark, advice) = finding.state.shown();
                json!({"topic": finding.topic, "state": mark, "found": finding.text, "advice": advice})
            });
            say!("{}", Value::from_iter(all));
        }
        false => print(&findings),
    }
    let missing: Vec<_> = findings
        .iter()
        .filter(|f| matches!(f.state, State::Missing(_)))
        .map(|f| f.topic)
        .collect();
    if !missing.is_empty() {
        bail!(
            "missing: {}; the lines with → say what to do",
            missing.join(", ")
        );
    }
    Ok(())
}

fn print(findings: &[Finding]) {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_width(100);
    for finding in findings {
        let (mark, advice) = finding.state.shown();
        let text = match advice {
            None => finding.text.clone(),
            Some(advice) => format!("{}\n→ {advice}", finding.text),
        };
        table.add_row([Cell::new(finding.topic), Cell::new(mark), Cell::new(text)]);
    }
    if let Some(column) = table.column_mut(2) {
        column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(75)));
    }
    for line in table.to_string().lines() {
        say!("{}", line.trim_end());
    }
}

impl State {
    /// Its name, and what is to be done.
    fn shown(&self) -> (&'static str, Option<&str>) {
        match self {
            State::Fine => ("ok", None),
            State::Note(advice) => ("note", Some(advice)),
            State::Missing(advice) => ("missing", Some(advice)),
        }
    }
}

fn fine(topic: &'static str, text: String) -> Finding {
    finding(topic, text, State::Fine)
}

fn finding(topic: &'static str, text: String, state: State) -> Finding {
    Finding { topic, text, state }
}

fn covalign() -> Finding {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    fine(
        "covalign",
        format!("{} on {os} {arch}", env!("CARGO_PKG_VERSION")),
    )
}

fn library() -> Finding {
    let version = libtorch::version();
    let path = libtorch::path().map_or("an unknown place".into(), |p| p.display().to_string());
    let state = match version.split('+').next() == Some(TESTED) {
        true => State::Fine,
        false => State::Note(format!(
            "covalign is tested with {TESTED}: unset LIBTORCH, then `make setup` and `make build`"
        )),
    };
    finding("libtorch", format!("{version} from {path}"), state)
}

fn cuda_devices(status: &CudaStatus) -> Vec<Finding> {
    let driver =
        Path::new("/proc/driver/nvidia/version").exists() || Path::new("/dev/dxg").exists();
    match status {
        CudaStatus::NotInstalled if driver => vec![finding(
            "CUDA",
            "an NVIDIA driver is here, libtorch's CUDA libraries are not: training runs on the CPU"
                .into(),
            State::Note("`make setup CUDA=1` fetches them; no rebuild is needed".into()),
        )],
        CudaStatus::NotInstalled => vec![fine(
            "CUDA",
            "no NVIDIA driver: training runs on the CPU".into(),
        )],
        CudaStatus::Hidden => vec![fine(
            "CUDA",
            "CUDA_VISIBLE_DEVICES names no device: training runs on the CPU".into(),
        )],
        CudaStatus::Failed(why) => vec![finding(
            "CUDA",
            format!("libtorch's CUDA libraries do not load: {why}"),
            State::Note("`make setup CUDA=0` and then `make setup CUDA=1` fetch them anew".into()),
        )],
        CudaStatus::Loaded if libtorch::cuda_devices().is_empty() => vec![finding(
            "CUDA",
            "libtorch's CUDA libraries are here and find no device: training runs on the CPU"
                .into(),
            State::Note("`nvidia-smi` should list one; CUDA 13 needs driver 580 or newer".into()),
        )],
        CudaStatus::Loaded => devices_found(),
    }
}

fn devices_found() -> Vec<Finding> {
    let devices = libtorch::cuda_devices();
    let cudnn = if tch::Cuda::cudnn_is_available() {
        "with"
    } else {
        "without"
    };
    let memory = match libtorch::cuda_memory() {
        Ok((free, total)) => {
            let (free, total) = (megabytes(free as u64), megabytes(total as u64));
            format!("; on the first {free} of {total} are free")
        }
        Err(error) => format!(
            "; its memory cannot be read: {}",
            crate::error::one_line(&error)
        ),
    };
    let summary = format!("{} device(s), {cudnn} cuDNN{memory}", devices.len());
    let mut findings = vec![fine("CUDA", summary)];
    findings.extend(device_lines().into_iter().map(|line| fine("", line)));
    findings.extend(devices.into_iter().enumerate().filter_map(too_old));
    findings
}

/// A device that libtorch has no kernels for.
fn too_old((index, capability): (usize, Capability)) -> Option<Finding> {
    let ((major, minor), (from, to)) = (capability, OLDEST);
    (capability < OLDEST).then(|| {
        finding(
            "",
            format!("cuda:{index} has compute capability {major}.{minor}: it cannot be used"),
            State::Note(format!(
                "libtorch's kernels begin at {from}.{to}; without another device training runs \
                 on the CPU"
            )),
        )
    })
}

/// `NVIDIA H100, compute capability 9.0 (bf16), 80000 MiB`, a line per device, as `nvidia-smi`
/// knows them; tch has no names.
fn device_lines() -> Vec<String> {
    let output = Command::new("nvidia-smi")
        .args([
            "--query-gpu=name,compute_cap,memory.total",
            "--format=csv,noheader",
        ])
        .output();
    let Ok(output) = output else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let describe = |line: &str| {
        let mut fields = line.split(", ");
        let (name, capability, memory) = (fields.next()?, fields.next()?, fields.next()?);
        // Tensor cores take bf16 since compute capability 8.0.
        let bf16 = capability.parse::<f64>().is_ok_and(|c| c >= 8.0);
        let bf16 = if bf16 { "bf16" } else { "no bf16" };
        Some(format!(
            "{name}, compute capability {capability} ({bf16}), {memory}"
        ))
    };
    text.lines().filter_map(describe).collect()
}

/// Whether the processor multiplies bf16 in hardware, and whether that is worth while.
fn bf16_on_cpu() -> Finding {
    let text = match libtorch::bf16_units() {
        None => "unknown: this system has no /proc/cpuinfo".into(),
        Some([]) => "no AMX, AVX512-BF16 or Arm BF16: fp32 is faster here".into(),
        Some(units) => bf16_is_faster()
            .and_then(|is_faster| {
                let faster = if is_faster { "bf16" } else { "fp32" };
                let rates = products(Kind::BFloat16)?;
                Ok(format!(
                    "{}; {rates}; {faster} is faster here",
                    units.join(", ")
                ))
            })
            .unwrap_or_else(|error| crate::error::one_line(&error)),
    };
    fine("bf16 on CPU", text)
}

/// What the libraries of float32 products reach.
fn fp32_on_cpu() -> Finding {
    let text = products(Kind::Float).unwrap_or_else(|error| crate::error::one_line(&error));
    fine("fp32 on CPU", text)
}

/// What the libraries of products on a CPU reach, and which is taken.
fn products(kind: Kind) -> Result<String> {
    let rates = measured(kind)?;
    let each = rates
        .iter()
        .map(|(library, rate)| format!("{} {:.0}", library.name(), rate / 1e9));
    let each: Vec<String> = each.collect();
    Ok(match &each[..] {
        [only] => format!("{only} GFLOP/s a core in products; oneDNN's need AVX-512"),
        _ => {
            let (all, taken) = (each.join(", "), faster_of(&rates).name());
            format!("{all} GFLOP/s a core in products: {taken} is taken")
        }
    })
}

fn threads() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let threads = tch::get_num_threads();
    let passes = match libtorch::pass_threads() {
        own if own < threads => format!(", covalign's own passes {own}: g++ compiles them for all"),
        _ => String::new(),
    };
    fine(
        "threads",
        format!("libtorch uses {threads} of {cores} cores{passes}; OMP_NUM_THREADS sets it"),
    )
}

fn encoders() -> Vec<Finding> {
    let installed = list(&encoders_dir());
    if installed.is_empty() {
        return vec![finding(
            "encoders",
            format!("none in {}", encoders_dir().display()),
            State::Missing(
                "`make setup` fetches all-MiniLM-L6-v2, `covalign encoder fetch NAME` others"
                    .into(),
            ),
        )];
    }
    let describe = |(number, encoder): (usize, _)| {
        let crate::hub::encoder_dir::Installed {
            name,
            shape,
            weights,
            bytes,
        } = encoder;
        let shape = shape.map_or(String::new(), |(layers, width)| {
            format!(", {layers} × {width}")
        });
        let topic = if number == 0 { "encoders" } else { "" };
        let text = format!("{name}{shape}, {}", megabytes(bytes));
        match weights {
            Some(_) => fine(topic, text),
            None => {
                let advice = format!("it has no weights: `covalign encoder fetch {name} --force`");
                finding(topic, text, State::Note(advice))
            }
        }
    };
    installed.into_iter().enumerate().map(describe).collect()
}

fn token_cache() -> Finding {
    let folder = cache_dir();
    let size = megabytes(size_on_disk(&folder));
    fine(
        "token cache",
        format!("{size} in {} (may be deleted)", folder.display()),
    )
}

/// Encoders and tokens are written there.
fn writable_home() -> Finding {
    let home = home();
    let probe = std::fs::create_dir_all(&home).and_then(|()| tempfile::tempfile_in(&home));
    match probe {
        Ok(_) => fine("cache folder", format!("{} is writable", home.display())),
        Err(error) => finding(
            "cache folder",
            format!("{}: {error}", home.display()),
            State::Missing("set COVALIGN_HOME to a folder that you may write to".into()),
        ),
    }
}
