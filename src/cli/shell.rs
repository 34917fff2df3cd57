//! Commands that people are told to type.

/// This program with `words` behind it, as a shell reads them.
pub(super) fn line(words: &[&str]) -> String {
    let program = std::env::args().next().unwrap_or("covalign".to_owned());
    let words = [&[&*program], words].concat();
    // What has a NUL cannot be quoted, and no word of a command line has one.
    let quoted = words
        .iter()
        .map(|&word| shlex::try_quote(word).unwrap_or(word.into()));
    quoted.collect::<Vec<_>>().join(" ")
}

/// This command as it was given, with `--resume`.
pub(super) fn resumed() -> String {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if !words.iter().any(|word| word == "--resume") {
        words.push("--resume".to_owned());
    }
    line(&words.iter().map(String::as_str).collect::<Vec<_>>())
}
