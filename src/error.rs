//! Which failures are the user's to mend.
//!
//! Everything travels as `anyhow::Error`; two marker types decide the exit code. A message is one
//! line: what is wrong, where (`file:line` or a config key), what to do.

use std::fmt;

/// Wrong use or wrong input: the command ends with exit code 2.
#[derive(Debug)]
pub struct InputError(pub String);

/// Stopped by Ctrl-C after saving what there was: the command ends with exit code 130.
#[derive(Debug)]
pub struct Interrupted(pub String);

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InputError {}
impl std::error::Error for Interrupted {}

/// An `anyhow::Error` that ends the command with exit code 2; takes what `format!` takes.
#[macro_export]
macro_rules! input_error {
    ($($arg:tt)*) => { anyhow::Error::new($crate::error::InputError(format!($($arg)*))) };
}

/// Returns an [`input_error!`].
#[macro_export]
macro_rules! bail_input {
    ($($arg:tt)*) => { return Err($crate::input_error!($($arg)*)) };
}

/// The exit code that an error asks for: 2 for [`InputError`], 130 for [`Interrupted`], else 1.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.chain().any(|e| e.is::<InputError>()) {
        2
    } else if error.chain().any(|e| e.is::<Interrupted>()) {
        130
    } else {
        1
    }
}

/// The error's whole chain on one line, without libtorch's C++ stack trace.
pub fn one_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let text = text.split("Exception raised from").next().unwrap_or("");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What an I/O error means for the person who reads it; `path` is what was being read or written.
pub fn io_error(path: &std::path::Path, error: std::io::Error) -> anyhow::Error {
    use std::io::ErrorKind::*;
    let path = path.display();
    match error.kind() {
        NotFound => input_error!("{path}: no such file or folder"),
        PermissionDenied => input_error!("{path}: permission denied"),
        StorageFull => input_error!("{path}: no space left on the disk; free some and try again"),
        _ => anyhow::anyhow!("{path}: {error}"),
    }
}
