//! What runs say: samples, comparisons, tables, figures.
//!
//! [`read`] reads back what a folder's runs gave: a suite's, by its plan, or [`plain`] run folders,
//! as [`results`]. [`samples`] gathers cells over seeds, [`comparison`] sets two of them against each
//! other with [`statistics`], [`heuristic`] is [W22]'s. [`sections`] puts [`tables`] and [`figures`]
//! together as a [`page`], which [`write`](mod@write) writes as [`html`], [`markdown`] and [`export`]
//! say.

pub mod comparison;
pub mod export;
pub mod figures;
pub mod heuristic;
pub mod html;
pub mod markdown;
pub mod page;
pub mod plain;
pub mod read;
pub mod results;
pub mod samples;
pub mod sections;
pub mod statistics;
pub mod table;
pub mod tables;
pub mod write;
