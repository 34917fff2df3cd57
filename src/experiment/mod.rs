//! A grid of runs, its results, its report.
//!
//! A study is one YAML file. [`plan`] is what it comes to: the runs to train, each once, and the
//! cells of the study's tables that they fill.

pub mod plan;
