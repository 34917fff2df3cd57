//! Where, in what arithmetic and by which library forward and backward pass are computed.

use std::sync::{Once, OnceLock};

use anyhow::Result;
use tch::{Device, Kind};

use crate::bail_input;
use crate::config::training::Products;
use crate::config::{Config, Engine, Precision};
use crate::libtorch::products::{self, Library};
use crate::libtorch::{self, graph, Capability, CudaStatus, OLDEST};
use crate::model::source;
use crate::telemetry::progress;

/// Where CUDA devices begin to multiply bf16.
const BF16: Capability = (8, 0);

/// Precision on a device, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arithmetic {
    device: Device,
    /// What matrix products are computed in.
    products: Kind,
    tf32: bool,
    /// What takes them in float32 on a CPU.
    library: Library,
}

impl Arithmetic {
    /// Decides what `auto` means on this machine, and sets threads, the library of products and
    /// libtorch's TF32 switch: a run's numbers come again only with the same threads and library.
    pub fn new(config: &Config) -> Result<Arithmetic> {
        let settings = &config.training;
        if settings.deterministic && std::env::var_os("CUBLAS_WORKSPACE_CONFIG").is_none() {
            // cuBLAS's own condition for the same bits each time, read when it is loaded.
            std::env::set_var("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
        }
        let device = device(&settings.device)?;
        if let Some(threads) = settings.threads {
            tch::set_num_threads(threads as i32);
            // What tokenises and decodes too; an error says that these threads are running already.
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let _ = pool.build_global();
        }
        let half = matches!(settings.precision, Precision::Bf16 | Precision::Fp16);
        if let (Device::Cuda(index), Precision::Bf16) = (device, settings.precision) {
            let (major, minor) = libtorch::compute_capability(index)?;
            if (major, minor) < BF16 {
                bail_input!(
                    "key `training.precision`: cuda:{index} has compute capability {major}.{minor}, and \
                     bf16 begins at {}.{}; take fp16, fp32 or auto",
                    BF16.0,
                    BF16.1
                );
            }
        }
        let images_on_cpu = config.encoder.images().is_some() && !device.is_cuda();
        if images_on_cpu && half {
            bail_input!(
                "key `training.precision`: on a CPU images are computed in fp32; say fp32 or auto"
            );
        }
        if settings.precision == Precision::Fp16 && !device.is_cuda() {
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                progress::say(
                    "precision: fp16 is for GPUs without bfloat16; on a CPU it is many times slower than \
                     fp32: `auto` takes what is fastest",
                );
            });
        }
        let products = match settings.precision {
            Precision::Auto if images_on_cpu => Kind::Float,
            // A module over words has products too small for half precision.
            Precision::Auto if config.encoder.words().is_some() => Kind::Float,
            Precision::Auto => fastest(device)?,
            Precision::Bf16 => Kind::BFloat16,
            Precision::Fp16 => Kind::Half,
            Precision::Fp32 | Precision::Tf32 => Kind::Float,
        };
        let arithmetic = Arithmetic {
            device,
            products,
            tf32: settings.precision == Precision::Tf32,
            library: library(config, device, products)?,
        };
        products::take(arithmetic.library)?;
        if device.is_cuda() {
            graph::own_stream(device)?;
            libtorch::allow_tf32(arithmetic.tf32)?;
            libtorch::deterministic(settings.deterministic, false)?;
        }
        Ok(arithmetic)
    }

    pub fn device(self) -> Device {
        self.device
    }

    /// What matrix products are computed in.
    pub fn products(self) -> Kind {
        self.products
    }

    /// The engine that `wanted` comes to: a CPU does not compute packed rows in fp16.
    pub fn engine(self, wanted: Engine) -> Engine {
        match wanted {
            Engine::Fast if self.products == Kind::Half && !self.device.is_cuda() => Engine::Padded,
            other => other,
        }
    }

    /// The config with what its `auto` windows of lengths come to.
    pub fn settle(self, mut config: Config) -> Config {
        let engine = self.engine(config.engine);
        let packs = source::packs(&config.encoder, engine);
        config.sampling.length_window = config.sampling.length_window.settled(packs);
        config
    }

    /// Whether small gradients would vanish, so that the loss must be scaled up.
    pub fn scales_loss(self) -> bool {
        self.products == Kind::Half
    }

    /// How many steps one after the other may have gradients that are not finite while the loss
    /// scale is looked for: as many halvings bring it from its start far below 1.
    pub fn forgiven_overflows(self) -> u64 {
        match self.scales_loss() {
            true => 32,
            false => 0,
        }
    }

    /// The name in a config.
    pub fn name(self) -> &'static str {
        match self.products {
            Kind::BFloat16 => "bf16",
            Kind::Half => "fp16",
            _ if self.tf32 => "tf32",
            _ => "fp32",
        }
    }

    /// The library that multiplies matrices.
    pub fn library(self) -> &'static str {
        match self.products {
            _ if self.device.is_cuda() => "cuBLAS",
            products if in_float32(self.device, products) => self.library.name(),
            _ => "oneDNN",
        }
    }

    /// What `training.products` comes to.
    pub fn taken(self) -> Products {
        match self.library {
            Library::Own => Products::Mkl,
            Library::OneDnn => Products::Onednn,
        }
    }

    /// Runs a forward pass in this arithmetic.
    pub fn run<T>(self, forward: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.products {
            Kind::Float => forward(),
            kind => libtorch::autocast(self.device, kind, forward),
        }
    }
}

/// What `auto` picks: bf16 where the device multiplies it in hardware, fp16 on GPUs before it.
fn fastest(device: Device) -> Result<Kind> {
    Ok(match device {
        Device::Cuda(index) if libtorch::compute_capability(index)? < BF16 => Kind::Half,
        Device::Cuda(_) => Kind::BFloat16,
        _ if libtorch::bf16_units().is_some_and(|units| !units.is_empty()) => Kind::BFloat16,
        _ => Kind::Float,
    })
}

/// Whether products in a kind are taken in float32.
fn in_float32(device: Device, kind: Kind) -> bool {
    match kind {
        Kind::Float => true,
        Kind::BFloat16 => libtorch::widens_bf16(device),
        _ => false,
    }
}

/// The library of products in float32 on a CPU that `training.products` comes to.
fn library(config: &Config, device: Device, products: Kind) -> Result<Library> {
    let encoder = &config.encoder;
    let is_bert = encoder.words().is_none() && encoder.images().is_none();
    Ok(match config.training.products {
        _ if device.is_cuda() => Library::Own,
        Products::Mkl => Library::Own,
        Products::Onednn if products::has_onednn() => Library::OneDnn,
        Products::Onednn => {
            bail_input!(
                "key `training.products`: libtorch lets oneDNN multiply in fp32 on processors with \
                 AVX-512 alone, and this is none; say mkl or auto"
            )
        }
        Products::Auto if is_bert && in_float32(device, products) && products::has_onednn() => {
            faster_library()?
        }
        Products::Auto => Library::Own,
    })
}

/// How much faster oneDNN must be to be taken: it compiles a kernel for each size, and a choice that noise
/// decides would differ from run to run.
const CLEARLY: f64 = 1.25;

/// Which of the libraries with such rates `auto` takes.
pub fn faster_of(rates: &[(Library, f64)]) -> Library {
    let rate = |of| {
        let known = rates.iter().find(|(library, _)| *library == of);
        known.map_or(0.0, |(_, rate)| *rate)
    };
    match rate(Library::OneDnn) > CLEARLY * rate(Library::Own) {
        true => Library::OneDnn,
        false => Library::Own,
    }
}

/// The library that is faster on this machine, measured once a process.
fn faster_library() -> Result<Library> {
    static FASTER: OnceLock<Library> = OnceLock::new();
    if let Some(known) = FASTER.get() {
        return Ok(*known);
    }
    let faster = faster_of(&products::rates()?);
    Ok(*FASTER.get_or_init(|| faster))
}

/// The device that `training.device` names.
fn device(name: &str) -> Result<Device> {
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let (device, note) = choose(name, &libtorch::cuda_devices(), libtorch::load_cuda())?;
    if let Some(note) = note {
        static SAID: Once = Once::new();
        SAID.call_once(|| progress::say(&note));
    }
    Ok(device)
}

/// The device that `name` names where there are `devices`; a note where `auto` passes over what is
/// there.
fn choose(
    name: &str,
    devices: &[Capability],
    status: &CudaStatus,
) -> Result<(Device, Option<String>)> {
    let old = |(index, (major, minor)): (usize, &Capability)| {
        let (from, to) = OLDEST;
        format!(
            "cuda:{index} has compute capability {major}.{minor}, and libtorch's kernels begin at \
             {from}.{to}"
        )
    };
    if name == "auto" {
        let usable = devices.iter().position(|capability| *capability >= OLDEST);
        let unused = match (status, devices.first()) {
            (CudaStatus::Failed(_), _) => Some(format!("libtorch's CUDA part {status}")),
            (_, first) => first.map(|capability| old((0, capability))),
        };
        return Ok(match (usable, unused) {
            (Some(index), _) => (Device::Cuda(index), None),
            (None, why) => {
                let note = why.map(|why| format!("device: auto takes the CPU: {why}"));
                (Device::Cpu, note)
            }
        });
    }
    let index = match name {
        "cuda" => 0,
        _ => match name.strip_prefix("cuda:").map(str::parse::<usize>) {
            Some(Ok(index)) => index,
            _ => bail_input!("key `training.device`: `{name}` is none of auto, cpu, cuda, cuda:1"),
        },
    };
    match devices.get(index) {
        Some(capability) if *capability >= OLDEST => Ok((Device::Cuda(index), None)),
        Some(capability) => {
            let why = old((index, capability));
            bail_input!("key `training.device`: {why}; take another device, or cpu")
        }
        None => bail_input!(
            "key `training.device`: `{name}` is not there ({} CUDA devices; libtorch's CUDA part: \
             {status}); see `covalign doctor`",
            devices.len()
        ),
    }
}

/// `cpu` or `cuda`.
pub fn device_kind(device: tch::Device) -> &'static str {
    match device.is_cuda() {
        true => "cuda",
        false => "cpu",
    }
}

/// `cpu` or `cuda:0`.
pub fn device_name(device: tch::Device) -> String {
    match device {
        tch::Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn onednn_is_taken_where_it_is_clearly_faster() {
        let of = |own, onednn| faster_of(&[(Library::Own, own), (Library::OneDnn, onednn)]);
        assert_eq!(of(215e9, 470e9), Library::OneDnn);
        assert_eq!(of(400e9, 440e9), Library::Own);
        assert_eq!(faster_of(&[(Library::Own, 1e9)]), Library::Own);
    }

    #[test]
    fn auto_passes_over_devices_that_libtorch_has_no_kernels_for_and_others_are_refused() {
        let of = |name: &str, devices: &[Capability]| choose(name, devices, &CudaStatus::Loaded);
        let h100 = (9, 0);
        assert_eq!(of("auto", &[]).unwrap(), (Device::Cpu, None));
        assert_eq!(of("auto", &[(7, 5)]).unwrap(), (Device::Cuda(0), None));
        let (device, note) = of("auto", &[(7, 0), h100]).unwrap();
        assert_eq!((device, note), (Device::Cuda(1), None));
        let (device, note) = of("auto", &[(7, 0)]).unwrap();
        assert_eq!(device, Device::Cpu);
        assert!(note.unwrap().contains("cuda:0 has compute capability 7.0"));
        let broken = CudaStatus::Failed("libcudart.so.13: file too short".into());
        let (device, note) = choose("auto", &[], &broken).unwrap();
        assert_eq!(device, Device::Cpu);
        assert!(note.unwrap().contains("file too short"));

        let (device, note) = of("cuda:1", &[(6, 1), h100]).unwrap();
        assert_eq!((device, note), (Device::Cuda(1), None));
        for (name, part) in [
            ("cuda", "cuda:0 has compute capability 6.1"),
            ("cuda:2", "2 CUDA devices"),
            ("gpu", "none of auto"),
        ] {
            let error = of(name, &[(6, 1), h100]).unwrap_err();
            assert_eq!(crate::error::exit_code(&error), 2);
            assert!(format!("{error:#}").contains(part), "{error:#}");
        }
    }
}
