//! Which failures are the user's to mend.
//!
//! Everything travels as `anyhow::Error`; two marker types decide the exit code. A message is one
//! line: what is wrong, where (`file:line` or a config key), what to do.

pub(crate) mod panics;
mod torch;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use torch::{caught, is_out_of_memory, shortened};

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

/// The most that a text file that people write, or a list of metrics, may have.
const MOST_TEXT: u64 = 256 << 20;
/// The longest line that an error is.
const MOST_LINE: usize = 4000;

/// The error's whole chain on one line, of libtorch's part what its user needs.
pub fn one_line(error: &anyhow::Error) -> String {
    let text = torch::shortened(&format!("{error:#}"));
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // A hostile name would fill the terminal, and hide what is wrong with it.
    match line.chars().count() > MOST_LINE {
        true => {
            let head: String = line.chars().take(MOST_LINE / 2).collect();
            let tail: Vec<char> = line.chars().rev().take(MOST_LINE / 2).collect();
            format!("{head} … {}", tail.iter().rev().collect::<String>())
        }
        false => line,
    }
}

/// What fails while a run is under way is no wrong use: the exit code is 1.
pub fn while_running(error: anyhow::Error) -> anyhow::Error {
    match error.chain().any(|e| e.is::<InputError>()) {
        true => anyhow::anyhow!("{error:#}"),
        false => error,
    }
}

/// The bytes of a file of at most `most`.
///
/// # Errors
/// Input errors where it cannot be read or has more.
pub fn read_bounded(path: &Path, most: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| io_error(path, e))?;
    let read = file.take(most + 1).read_to_end(&mut bytes);
    read.map_err(|e| io_error(path, e))?;
    match bytes.len() as u64 > most {
        true => Err(input_error!(
            "{}: more than {} MB, which no such file has; is it the right one?",
            path.display(),
            most >> 20
        )),
        false => Ok(bytes),
    }
}

/// A text file that a person wrote.
///
/// # Errors
/// Input errors where it cannot be read, or is not UTF-8: then with the line.
pub fn read_text(path: &Path) -> anyhow::Result<String> {
    let bytes = read_bounded(path, MOST_TEXT)?;
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
        StorageFull => {
            anyhow::anyhow!("{path}: no space left on the disk; free some and try again")
        }
        QuotaExceeded => anyhow::anyhow!("{path}: your quota on this disk is used up"),
        FileTooLarge => anyhow::anyhow!(
            "{path}: the file would be larger than `ulimit -f` or the disk's format allows"
        ),
        ReadOnlyFilesystem => input_error!("{path}: the file system can only be read"),
        IsADirectory => input_error!("{path}: a folder; a file is wanted"),
        NotADirectory => input_error!("{path}: a part of this path is a file, no folder"),
        InvalidData => input_error!("{path}: not UTF-8; save the file as UTF-8"),
        // As names that are too long or hold a NUL.
        InvalidInput | InvalidFilename => input_error!("{path}: {error}"),
        _ => anyhow::anyhow!("{path}: {error}"),
    }
}
