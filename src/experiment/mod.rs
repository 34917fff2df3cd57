//! A grid of runs, its results, its report.
//!
//! A study is one YAML file ([`mod@file`]). [`build`] makes a [`plan`] of it: the runs to train, each
//! once, and the cells of the study's tables that they fill. [`work`] trains them in a [`folder`],
//! which any number of processes may share.
//!
//! [`seen`] says which scored rows it also trains on. [`results`] reads back what the runs gave (or
//! [`plain`], where no suite planned them), [`samples`] gathers cells over seeds, [`comparison`] sets
//! two of them against each other with [`statistics`], [`heuristic`] is [W22]'s. [`report`] puts
//! [`tables`] and [`figures`] together and writes them as [`html`], [`markdown`] and [`export`] say.

pub mod build;
pub mod child;
pub mod comparison;
pub mod compose;
pub mod estimate;
pub mod export;
pub mod figures;
pub mod file;
pub mod folder;
pub mod grid;
pub mod heuristic;
pub mod html;
pub mod markdown;
pub mod names;
pub mod plain;
pub mod plan;
pub mod report;
pub mod results;
pub mod rows;
pub mod samples;
pub mod seen;
pub mod statistics;
pub mod table;
pub mod tables;
pub mod work;
