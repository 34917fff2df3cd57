//! A study: its file, its plan, its runs done.
//!
//! A study is one YAML file ([`mod@file`]). [`build`] makes a [`plan`] of it: the runs to train, each
//! once, with the config that [`compose`] puts together, and the cells of the study's tables that
//! they fill. [`estimate`] says how long that takes, [`seen`] which scored rows it also trains on.
//! [`work`] trains the runs in a [`folder`], which any number of processes may share.

pub mod build;
pub mod check;
pub mod child;
pub mod compose;
pub mod estimate;
pub mod file;
pub mod folder;
pub mod grid;
pub mod names;
pub mod plan;
pub mod rows;
pub mod seen;
pub mod work;
