//! A file per command; the only room that prints.

pub mod doctor;
pub mod encoder;
