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
    /// What takes them on a CPU.
    library: Library,
    /// Whether it takes them in float32.
    in_float32: bool,
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
            // A module over words has products too small for half precision.
            Precision::Auto if config.encoder.words().is_some() => Kind::Float,
            Precision::Auto => fastest(config, device)?,
            Precision::Bf16 => Kind::BFloat16,
            Precision::Fp16 => Kind::Half,
            Precision::Fp32 | Precision::Tf32 => Kind::Float,
        };
        let library = library(config, device, products)?;
        products::take(library)?;
        // What is no BERT's is left to libtorch.
        let widens = is_bert(config) && products::widens(products, device);
        let arithmetic = Arithmetic {
            device,
            products,
            tf32: settings.precision == Precision::Tf32,
            library,
            in_float32: products == Kind::Float || widens,
        };
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
        match self.in_float32 {
            _ if self.device.is_cuda() => "cuBLAS",
            true => self.library.name(),
            false => "oneDNN",
        }
    }

    /// What matrices are multiplied in: float32 where a CPU widens bfloat16.
    pub fn multiplied_in(self) -> Kind {
        match self.in_float32 {
            true => Kind::Float,
            false => self.products,
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

fn is_bert(config: &Config) -> bool {
    config.encoder.words().is_none() && config.encoder.images().is_none()
}

/// What `auto` picks: bf16 where the device multiplies it in hardware, fp16 on GPUs before it; on a CPU bf16 where
/// that is faster than fp32.
fn fastest(config: &Config, device: Device) -> Result<Kind> {
    Ok(match device {
        Device::Cuda(index) if libtorch::compute_capability(index)? < BF16 => Kind::Half,
        Device::Cuda(_) => Kind::BFloat16,
        _ if is_bert(config) && bf16_is_faster()? => Kind::BFloat16,
        _ => Kind::Float,
    })
}

/// The library of products on a CPU that `training.products` comes to.
fn library(config: &Config, device: Device, products: Kind) -> Result<Library> {
    Ok(match config.training.products {
        _ if device.is_cuda() => Library::Own,
        Products::Mkl => Library::Own,
        Products::Onednn if products::has_onednn(products) => Library::OneDnn,
        Products::Onednn => {
            bail_input!(
                "key `training.products`: libtorch lets oneDNN multiply on processors with AVX-512 alone, and \
                 this is none; say mkl or auto"
            )
        }
        Products::Auto
            if is_bert(config) && products != Kind::Half && products::onednn_competes(products) =>
        {
            faster_of(&measured(products)?)
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

/// The libraries' rates in bfloat16, or for another kind in float32, measured once a process.
pub fn measured(kind: Kind) -> Result<Vec<(Library, f64)>> {
    static FLOAT: OnceLock<Vec<(Library, f64)>> = OnceLock::new();
    static BFLOAT16: OnceLock<Vec<(Library, f64)>> = OnceLock::new();
    let (known, kind) = match kind {
        Kind::BFloat16 => (&BFLOAT16, Kind::BFloat16),
        _ => (&FLOAT, Kind::Float),
    };
    if let Some(rates) = known.get() {
        return Ok(rates.clone());
    }
    let rates = products::rates(kind)?;
    Ok(known.get_or_init(|| rates).clone())
}

/// Whether this CPU multiplies bf16 clearly faster than fp32: a processor may have a unit for it that is slower.
pub fn bf16_is_faster() -> Result<bool> {
    if !products::onednn_competes(Kind::BFloat16) {
        return Ok(false);
    }
    let most = |kind| -> Result<f64> {
        let rates = measured(kind)?.into_iter().map(|(_, rate)| rate);
        Ok(rates.fold(0.0, f64::max))
    };
    Ok(most(Kind::BFloat16)? > CLEARLY * most(Kind::Float)?)
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
