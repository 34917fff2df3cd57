//! Where and in what arithmetic forward and backward pass are computed.

use anyhow::Result;
use tch::{Device, Kind};

use crate::bail_input;
use crate::config::{Precision, Training};
use crate::libtorch;

/// Precision on a device, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arithmetic {
    device: Device,
    bf16: bool,
    tf32: bool,
}

impl Arithmetic {
    /// Decides what `auto` means on this machine, and sets libtorch's threads and TF32 switch: a
    /// run's numbers come again only with the same number of threads.
    pub fn new(settings: &Training) -> Result<Arithmetic> {
        let device = device(&settings.device)?;
        let precision = settings.precision;
        if let Some(threads) = settings.threads {
            tch::set_num_threads(threads as i32);
        }
        let arithmetic = Arithmetic {
            device,
            bf16: match precision {
                Precision::Auto => device.is_cuda(),
                Precision::Bf16 => true,
                _ => false,
            },
            tf32: precision == Precision::Tf32,
        };
        if device.is_cuda() {
            libtorch::allow_tf32(arithmetic.tf32)?;
        }
        Ok(arithmetic)
    }

    pub fn device(self) -> Device {
        self.device
    }

    /// Whether products are in bfloat16.
    pub fn half(self) -> bool {
        self.bf16
    }

    /// The name in a config.
    pub fn name(self) -> &'static str {
        match (self.bf16, self.tf32) {
            (true, _) => "bf16",
            (_, true) => "tf32",
            _ => "fp32",
        }
    }

    /// Runs a forward pass in this arithmetic.
    pub fn run<T>(self, forward: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.bf16 {
            libtorch::autocast(self.device, Kind::BFloat16, forward)
        } else {
            forward()
        }
    }
}

/// The device that `training.device` names.
fn device(name: &str) -> Result<Device> {
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let index = match name {
        "auto" | "cuda" => 0,
        _ => match name.strip_prefix("cuda:").map(str::parse::<usize>) {
            Some(Ok(index)) => index,
            _ => bail_input!("key `training.device`: `{name}` is none of auto, cpu, cuda, cuda:1"),
        },
    };
    let status = libtorch::load_cuda();
    let count = tch::Cuda::device_count().max(0) as usize;
    if index < count {
        Ok(Device::Cuda(index))
    } else if name == "auto" {
        Ok(Device::Cpu)
    } else {
        bail_input!(
            "key `training.device`: `{name}` is not there ({count} CUDA devices; libtorch's CUDA \
             part: {status}); see `covalign doctor`"
        )
    }
}
