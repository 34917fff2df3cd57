//! Progress on stderr: a bar on a terminal, plain lines elsewhere.

use std::io::{stderr, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

static HUSHED: AtomicBool = AtomicBool::new(false);

/// Has this process say nothing of its progress from now on: another one does.
pub fn hush() {
    HUSHED.store(true, Ordering::Relaxed);
}

/// Prints a line on stderr where there is no bar.
pub fn say(line: &str) {
    if HUSHED.load(Ordering::Relaxed) {
        return;
    }
    // A stderr that nobody reads any more is no reason to stop a run.
    writeln!(stderr(), "{line}").ok();
}

/// A bar that is drawn only when stderr is a terminal. It can be shared between threads.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Training steps: `label ━━━━ 120/804 message ETA`.
    pub fn new(total_steps: u64, label: &str) -> Progress {
        let template = "{prefix} {bar:24} {pos}/{len}  {wide_msg} ETA {eta}";
        Progress::styled(Some(total_steps), label, template)
    }

    /// A count of things, such as rows being tokenised.
    pub fn counter(total: u64, label: &str) -> Progress {
        let template = "{prefix} {bar:24} {human_pos}/{human_len}  {per_sec} ETA {eta}";
        Progress::styled(Some(total), label, template)
    }

    /// A count of bytes, such as a download, whose total may be unknown.
    pub fn bytes(total: Option<u64>, label: &str) -> Progress {
        let template = match total {
            Some(_) => "{prefix} {bar:24} {bytes}/{total_bytes}  {bytes_per_sec} ETA {eta}",
            None => "{prefix} {spinner} {bytes}  {bytes_per_sec}",
        };
        Progress::styled(total, label, template)
    }

    fn styled(total: Option<u64>, label: &str, template: &str) -> Progress {
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━━╌");
        // At most ten times a second; hidden by indicatif when stderr is no terminal.
        let target = match HUSHED.load(Ordering::Relaxed) {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr_with_hz(10),
        };
        let bar = ProgressBar::with_draw_target(total, target)
            .with_style(style)
            .with_prefix(label.to_owned());
        Progress { bar }
    }

    /// Where a resumed run or download starts from; the rate and ETA count from here.
    pub fn starting_at(self, position: u64) -> Progress {
        self.bar.set_position(position);
        self.bar.reset_eta();
        self
    }

    /// Moves to `step` and shows `message`, such as a task's loss and the tokens per second.
    pub fn at(&self, step: u64, message: impl Into<String>) {
        self.bar.set_message(message.into());
        self.bar.set_position(step);
    }

    pub fn position(&self) -> u64 {
        self.bar.position()
    }

    /// Moves on by `count`.
    pub fn add(&self, count: u64) {
        self.bar.inc(count);
    }

    /// Prints a line on stderr, above the bar when there is one.
    pub fn note(&self, line: &str) {
        if stderr().is_terminal() {
            self.bar.suspend(|| say(line));
        } else {
            say(line);
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
