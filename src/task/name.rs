//! What a task may be called.
//!
//! The name is a folder of the run's best weights, a file of its task files, a part of TensorBoard's
//! tags and of the names of variables: it is one component of a path on every system, and has no dot.

use anyhow::Result;

use crate::bail_input;

/// The longest name, in bytes: what is put before and behind it fits into a file's name too.
const LONGEST: usize = 100;

/// Checks a name; `place` opens the error's message.
///
/// # Errors
/// Input errors for anything but letters, digits, spaces, `-`, `_` and `+`, a letter or a digit first.
pub fn check(name: &str, place: &str) -> Result<()> {
    let inside = |c: char| c.is_alphanumeric() || "-_+ ".contains(c);
    let first = name.chars().next();
    let wrong = match first {
        None => "it is empty".to_owned(),
        Some(_) if name.len() > LONGEST => {
            format!("it is longer than {LONGEST} bytes")
        }
        Some(first) if !first.is_alphanumeric() => {
            format!("it begins with {first:?}, not with a letter or a digit")
        }
        Some(_) if name.ends_with(' ') => "it ends with a space".to_owned(),
        Some(_) => match name.chars().find(|&c| !inside(c)) {
            None => return Ok(()),
            Some(c) => format!("it has {c:?}; letters, digits, spaces, `-`, `_` and `+` are fine"),
        },
    };
    let shown: String = name.chars().take(LONGEST).collect();
    bail_input!(
        "{place}: {shown:?} cannot name a task: {wrong}; set `name:` in the task's file to another"
    )
}

/// Whether two names are one on a file system that does not tell upper from lower case.
pub fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}
