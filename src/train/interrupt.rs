//! Ctrl-C and SIGTERM: the loop saves and stops; a second one stops at once.

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Catches the signals from now on. One process of `several` gets Ctrl-C from the terminal and SIGTERM
/// from its launcher, which kills by itself what does not end: a second one stops nothing.
pub fn install(several: bool) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || {
        if ASKED.swap(true, Ordering::SeqCst) && !several {
            std::process::exit(130);
        }
    })
}

/// Whether somebody asked to stop.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}
