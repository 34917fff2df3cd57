//! Where a step's time goes.

use std::time::Instant;

use serde::Serialize;
use tch::Device;

/// Parts of a step, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Rows to tensors on the device
    Data,
    /// Embedding layer and alignment
    Embed,
    Encoder,
    /// Head and loss
    Head,
    Backward,
    Optimizer,
}

impl Stage {
    pub const ALL: [Stage; 6] = [
        Stage::Data,
        Stage::Embed,
        Stage::Encoder,
        Stage::Head,
        Stage::Backward,
        Stage::Optimizer,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Stage::Data => "data",
            Stage::Embed => "embed + align",
            Stage::Encoder => "encoder",
            Stage::Head => "head + loss",
            Stage::Backward => "backward",
            Stage::Optimizer => "optimiser",
        }
    }
}

/// A clock for stages. It stands still in training: looking at a device's clock means waiting for
/// the device.
#[derive(Debug)]
pub struct Stages {
    device: Option<Device>,
    at: Instant,
    seconds: [f64; Stage::ALL.len()],
}

impl Stages {
    pub fn unmeasured() -> Stages {
        Stages {
            device: None,
            at: Instant::now(),
            seconds: Default::default(),
        }
    }

    /// Starts the clock of what runs on `device`.
    pub fn measured(device: Device) -> Stages {
        Stages {
            device: Some(device),
            ..Stages::unmeasured()
        }
    }

    /// Whether the clock runs.
    pub fn running(&self) -> bool {
        self.device.is_some()
    }

    /// The time since the last stage's end was `stage`'s.
    pub fn end(&mut self, stage: Stage) {
        let Some(device) = self.device else { return };
        synchronize(device);
        self.seconds[stage as usize] += self.at.elapsed().as_secs_f64();
        self.at = Instant::now();
    }

    /// Seconds in a stage so far.
    pub fn seconds(&self, stage: Stage) -> f64 {
        self.seconds[stage as usize]
    }
}

/// Waits until a device has done all that it was given.
pub fn synchronize(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}
