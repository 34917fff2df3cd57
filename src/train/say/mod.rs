//! What people are told while a run trains.

mod columns;
mod confusion;
pub mod introduction;
pub mod recorder;
pub mod sizes;
pub mod spectrum;
pub mod stages;
pub mod window;
