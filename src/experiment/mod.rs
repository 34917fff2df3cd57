//! A grid of runs, its results, its report.
//!
//! A study is one YAML file. [`plan`] is what it comes to: the runs to train, each once, and the
//! cells of the study's tables that they fill. [`results`] reads back what the runs gave (or
//! [`plain`], where no suite planned them), [`samples`] gathers cells over seeds, [`comparison`]
//! sets two of them against each other with [`statistics`], [`heuristic`] is [W22]'s. [`report`]
//! puts [`tables`] and [`figures`] together and writes them as [`html`], [`markdown`] and
//! [`export`] say.

pub mod comparison;
pub mod export;
pub mod figures;
pub mod heuristic;
pub mod html;
pub mod markdown;
pub mod plain;
pub mod plan;
pub mod report;
pub mod results;
pub mod samples;
pub mod statistics;
pub mod table;
pub mod tables;
