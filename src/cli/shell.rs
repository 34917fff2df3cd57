//! Commands that people are told to type.

use std::borrow::Cow;
use std::path::Path;

/// This program with `words` behind it, as a shell reads them.
pub(super) fn line(words: &[&str]) -> String {
    let program = std::env::args().next().unwrap_or("covalign".to_owned());
    let words = [&[&*program], words].concat();
    words.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// A path as a shell reads it.
pub(super) fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy()).into_owned()
}

/// What has a NUL cannot be quoted, and no word of a command line has one.
fn quoted(word: &str) -> Cow<'_, str> {
    shlex::try_quote(word).unwrap_or(word.into())
}

/// This command as it was given, with `--resume`.
pub(super) fn resumed() -> String {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if !words.iter().any(|word| word == "--resume") {
        words.push("--resume".to_owned());
    }
    line(&words.iter().map(String::as_str).collect::<Vec<_>>())
}
