//! Which failures are the user's to mend.
//!
//! Everything travels as `anyhow::Error`; two marker types decide the exit code. A message is one
//! line: what is wrong, where (`file:line` or a config key), what to do.

mod torch;

use std::fmt;
use std::path::Path;

pub use torch::{caught, shortened};

/// Wrong use or wrong input: the command ends with exit code 2.
#[derive(Debug)]
pub struct InputError(pub String);

/// Stopped by Ctrl-C after saving what there was: the command ends with exit code 130.
#[derive(Debug)]
pub struct Interrupted(pub String);

/// Another process of the run has said what went wrong: the command ends with this exit code and says
/// nothing.
#[derive(Debug)]
pub struct Said(pub u8);

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

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("another process has said what went wrong")
    }
}

impl std::error::Error for InputError {}
impl std::error::Error for Interrupted {}
impl std::error::Error for Said {}

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
        error.downcast_ref().map_or(1, |Said(code)| *code)
    }
}

/// The error's whole chain on one line, of libtorch's part what its user needs.
pub fn one_line(error: &anyhow::Error) -> String {
    let text = torch::shortened(&format!("{error:#}"));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text file that a person wrote.
///
/// # Errors
/// Input errors where it cannot be read, or is not UTF-8: then with the line.
pub fn read_text(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).map_err(|e| io_error(path, e))?;
    String::from_utf8(bytes).map_err(|error| {
        let (valid, rest) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
        let (path, byte) = (path.display(), rest[0]);
        input_error!("{path}:{line}: not UTF-8 (byte 0x{byte:02X}); save the file as UTF-8")
    })
}

/// What an I/O error means for the person who reads it; `path` is what was being read or written.
pub fn io_error(path: &Path, error: std::io::Error) -> anyhow::Error {
    use std::io::ErrorKind::*;
    let path = path.display();
    match error.kind() {
        NotFound => input_error!("{path}: no such file or folder"),
        PermissionDenied => input_error!("{path}: permission denied"),
        StorageFull => input_error!("{path}: no space left on the disk; free some and try again"),
        ReadOnlyFilesystem => input_error!("{path}: the file system can only be read"),
        IsADirectory => input_error!("{path}: a folder; a file is wanted"),
        NotADirectory => input_error!("{path}: a part of this path is a file, no folder"),
        InvalidData => input_error!("{path}: not UTF-8; save the file as UTF-8"),
        // As names that are too long or hold a NUL.
        InvalidInput | InvalidFilename => input_error!("{path}: {error}"),
        _ => anyhow::anyhow!("{path}: {error}"),
    }
}
