//! What stays on disk: the run folder's names and files, checkpoints, the lock; and what a run folder
//! says of how its scores came about.

pub mod begin;
pub mod checkpoint;
pub mod lock;
pub mod made_of;
pub mod reading;
pub mod run_folder;
pub mod same;
pub mod saver;
pub mod setting;
pub mod way;
