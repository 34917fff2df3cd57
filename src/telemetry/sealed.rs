//! JSON files that carry their own checksum, so that one that was damaged or edited is not believed.
//!
//! The last key, `sealed`, is the sha256 of all before it, written without spaces.

use std::path::Path;

use anyhow::Result;
use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::atomic;
use crate::{bail_input, input_error};

/// The key of a whole file's checksum.
pub const SEAL: &str = "sealed";

/// `value`, a map, as indented JSON with its seal.
pub fn text(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut value = serde_json::to_value(value)?;
    seal(&mut value, SEAL);
    let mut text = serde_json::to_vec_pretty(&value)?;
    text.push(b'\n');
    Ok(text)
}

/// Puts the checksum of a map under `key`, its last.
pub fn seal(value: &mut Value, key: &str) {
    let seal = digest(value);
    if let Some(map) = value.as_object_mut() {
        map.insert(key.to_owned(), seal.into());
    }
}

/// Takes the checksum under `key` out of a map again: whether it is that of the rest. None where there was
/// none.
pub fn unseal(value: &mut Value, key: &str) -> Option<bool> {
    let seal = value.as_object_mut()?.remove(key)?;
    Some(seal == digest(value))
}

/// Writes `value` with its seal, atomically.
pub fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    atomic::write(path, &text(value)?)
}

/// Reads what [`text`] made; `path` names it in errors. What older versions wrote has no seal.
///
/// # Errors
/// Input errors where it is no such JSON, where its seal is another's, and, without a seal, where it
/// holds a key that nobody wrote: a seal whose name was damaged.
pub fn parse<T: DeserializeOwned + Serialize>(text: &str, path: &Path) -> Result<T> {
    let shown = path.display();
    let mut value: Value = serde_json::from_str(text)
        .map_err(|e| input_error!("{shown}: damaged: not readable as JSON: {e}"))?;
    let fits = unseal(&mut value, SEAL);
    if fits == Some(false) {
        bail_input!(
            "{shown}: damaged, or edited: its content is not that of its checksum (the key \
             `{SEAL}`)"
        );
    }
    let read: T = serde_path_to_error::deserialize(&value)
        .map_err(|e| input_error!("{shown}: key `{}`: {}", e.path(), e.inner()))?;
    if fits.is_none() {
        let known = serde_json::to_value(&read)?;
        let unknown = value.as_object().into_iter().flatten();
        let mut unknown =
            unknown.filter(|(key, value)| known.get(key).is_none() && !value.is_null());
        if let Some((key, _)) = unknown.next() {
            bail_input!("{shown}: damaged, or of a newer covalign: nobody knows its key `{key}`");
        }
    }
    Ok(read)
}

fn digest(value: &Value) -> String {
    format!("{:x}", Sha256::digest(value.to_string()))
}
