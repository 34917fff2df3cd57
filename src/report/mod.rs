//! What runs say: samples, comparisons, tables, figures.
//!
//! [`read`] reads back what a folder's runs gave: a suite's, by its plan, or [`plain`] run folders,
//! as [`results`]. [`variants`] keeps apart what differs in more than the seed, [`groups`] gathers the
//! cells of the rest over seeds as [`samples`], [`comparison`] sets two of them against each other
//! with [`statistics`](crate::analysis::statistics), [`contrasts`] an arm against its base over all sets
//! of tasks, which [`answer`] puts into words; [`heuristic`] is [W22]'s. [`sections`] puts
//! [`tables`] and [`figures`] together as a [`page`], which [`write`](mod@write) writes as [`html`],
//! [`markdown`], [`latex`] and [`export`] say.

pub mod answer;
pub mod comparison;
pub mod contrasts;
pub mod export;
pub mod figures;
pub mod groups;
pub mod heuristic;
pub mod html;
pub mod latex;
pub mod markdown;
pub mod page;
pub mod plain;
pub mod read;
pub mod results;
pub mod samples;
pub mod sections;
pub mod table;
pub mod tables;
pub mod variants;
pub mod way;
pub mod write;
