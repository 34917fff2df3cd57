//! Standard output and standard error, written without a panic.
//!
//! A reader that has enough (`| head`, `| grep -q`) is no failure: what would still be printed is
//! dropped, and the command goes on to its own exit code. Any other failure (a full disk) is kept
//! for the command's end. `println!` panics on both; clippy refuses it in this crate.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

use anyhow::{bail, Result};

/// What went wrong first.
static FAILURE: OnceLock<io::Error> = OnceLock::new();

/// Prints a line on standard output; takes what `println!` takes.
macro_rules! say {
    ($($arg:tt)*) => { $crate::cli::out::line(format_args!($($arg)*)) };
}

/// Prints a line on standard error; takes what `eprintln!` takes.
macro_rules! complain {
    ($($arg:tt)*) => { $crate::cli::out::error_line(format_args!($($arg)*)) };
}

pub(crate) use {complain, say};

/// Prints a line on standard output.
pub fn line(text: Arguments) {
    print(format!("{text}\n").as_bytes());
}

/// Prints on standard output.
pub fn print(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    keep(out.write_all(bytes).and_then(|()| out.flush()));
}

/// Prints a line on standard error; where that cannot be written there is nobody to tell.
pub fn error_line(text: Arguments) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Keeps what printing failed with.
pub fn keep(printed: io::Result<()>) {
    if let Err(error) = printed {
        let _ = FAILURE.set(error);
    }
}

/// Whether nobody can be told anything any more on standard output.
pub fn closed() -> bool {
    FAILURE.get().is_some()
}

/// At a command's end: whether everything that was printed was written, or its reader had enough.
pub fn finish() -> Result<()> {
    match FAILURE.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => bail!("standard output: {error}"),
        _ => Ok(()),
    }
}
