//! TEMP
use anyhow::Result;
use serde::de::DeserializeOwned;
pub fn from_str<T: DeserializeOwned>(text: &str, source: &str) -> Result<T> {
    serde_yaml::from_str(text).map_err(|e| crate::input_error!("{source}: {e}"))
}
pub fn from_value<T: DeserializeOwned>(value: serde_yaml::Value, source: &str) -> Result<T> {
    serde_yaml::from_value(value).map_err(|e| crate::input_error!("{source}: {e}"))
}
