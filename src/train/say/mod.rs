//! What people are told while a run trains.

pub mod introduction;
pub mod recorder;
pub mod sizes;
pub mod stages;
pub mod window;
