//! Covariance similarity between tasks, and advice on which to train together.

pub mod advice;
pub mod evidence;
pub mod features;
pub mod heat_map;
pub mod similarity;
pub mod statistics;
pub mod tried;
