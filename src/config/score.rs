//! Which settings make a score.

use super::{Checkpoints, Config, Engine, Precision, StartFrom, Training};

impl Config {
    /// The settings that make a score. At their defaults stand those that cannot change it (what is
    /// kept, how much memory is taken, threads), and those in whose place a run's `made_of.json`
    /// says what there was: files by their content, and what `auto` came to.
    pub fn of_score(&self) -> Config {
        let defaults = Config::default();
        let start = self.start.as_ref().map(|start| StartFrom {
            run: Default::default(),
            ..start.clone()
        });
        Config {
            encoder: defaults.encoder,
            data: defaults.data,
            start,
            training: Training {
                precision: Precision::Auto,
                products: self.training.products.of_run(),
                device: defaults.training.device,
                threads: None,
                gradient_checkpointing: false,
                cuda_graphs: true,
                deterministic: false,
                ..self.training.clone()
            },
            checkpoints: Checkpoints::default(),
            engine: Engine::default(),
            out: None,
            ..self.clone()
        }
    }
}
