//! A run: its loop, and what the loop needs.
//!
//! [`run`] takes a config to its results: [`tasks`] and [`prepare`] make what is trained, [`start`]
//! gives it another run's weights where the config says so, [`trainer`] is the loop,
//! [`outputs`] are the model's answers, which [`evaluate`] scores. Around the loop, in the order in which a step comes by:
//!
//! - [`feed`]: which batch comes when, and its tensors.
//! - [`step`]: what a batch does to the model: precision, gradients, the optimiser, its schedule.
//! - [`keep`]: what stays on disk: the run folder, checkpoints, the lock.
//! - [`say`]: what people are told: progress, losses, time by stage.
//!
//! [`ranks`] are the processes that train one model together, as [`launcher`] finds them started.
//! [`bench`](mod@bench) measures the loop without the rest, [`forecast`] a run that is not trained;
//! [`own`] gives a run's own config to another command.

pub mod bench;
mod class_weights;
pub mod evaluate;
pub mod feed;
pub mod forecast;
pub mod interrupt;
pub mod keep;
pub mod launcher;
pub mod outputs;
pub mod own;
pub mod prepare;
pub mod ranks;
pub mod run;
pub mod say;
mod space;
pub mod start;
pub mod step;
pub mod tasks;
pub mod trainer;
