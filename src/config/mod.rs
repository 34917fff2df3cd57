//! YAML to structs, defaults, overrides, errors that name the key.

pub mod yaml;
