//! Signals that ask a run to stop: the loop saves and stops. A second Ctrl-C stops at once.
//!
//! Ctrl-C, a terminal that goes, and what schedulers send ahead of the end: SIGTERM, SIGUSR1.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::flag;

static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Catches the signals from now on. One process of `several` gets Ctrl-C from the terminal and SIGTERM
/// from its launcher, which kills by itself what does not end: a second one stops nothing.
///
/// # Errors
/// Where the system does not let them be caught.
pub fn install(several: bool) -> io::Result<()> {
    if !several {
        // Before the flag is set: by the second one. The process ends there and then, without the
        // exit handlers of libraries whose threads still compute.
        flag::register_conditional_shutdown(SIGINT, 130, ASKED.clone())?;
    }
    for signal in [SIGINT, SIGTERM, SIGUSR1] {
        flag::register(signal, ASKED.clone())?;
    }
    // `nohup` lets a process outlive its terminal.
    if !ignored(SIGHUP) {
        flag::register(SIGHUP, ASKED.clone())?;
    }
    Ok(())
}

/// A file that grows beyond `ulimit -f` is an error of that write, not the silent end of the process.
pub fn outlive_full_files() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// Whether somebody asked to stop.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Whether whoever started this process made it deaf to a signal.
fn ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
