//! A file per command; the only room that prints.

pub mod data;
