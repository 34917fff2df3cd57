//! A grid of runs, its results, its report.
//!
//! A study is one YAML file ([`mod@file`]). [`build`] makes a [`plan`] of it: the runs to train, each
//! once, and the cells of the study's tables that they fill. [`work`] trains them in a
//! [`folder`], which any number of processes may share.

pub mod build;
pub mod child;
pub mod compose;
pub mod estimate;
pub mod file;
pub mod folder;
pub mod grid;
pub mod names;
pub mod plan;
pub mod rows;
pub mod work;
