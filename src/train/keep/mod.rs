//! What stays on disk: the run folder's names and files, checkpoints, the lock.

pub mod begin;
pub mod checkpoint;
pub mod lock;
pub mod made_of;
pub mod run_folder;
pub mod same;
pub mod saver;
