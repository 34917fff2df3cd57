//! The map in `src/lib.rs` is true: each room uses only rooms above it, and no two files use each
//! other, directly or in a circle.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Files of the library by module path, as `train::step::optimizer`, without their unit tests and
/// comments.
fn modules() -> BTreeMap<String, String> {
    fn visit(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let below = match prefix {
                "" => stem.clone(),
                prefix => format!("{prefix}::{stem}"),
            };
            if path.is_dir() {
                visit(&path, &below, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = if stem == "mod" { prefix } else { &below };
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
                let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
                found.insert(name.to_owned(), code.collect::<Vec<_>>().join("\n"));
            }
        }
    }
    let mut found = BTreeMap::new();
    visit(&common::root().join("src"), "", &mut found);
    found.remove("lib");
    found.remove("main");
    found
}

/// Paths that `code`, the file of module `module`, names from `crate::` or `super::`.
fn named(module: &str, code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for root in ["crate::", "super::"] {
        for (at, _) in code.match_indices(root) {
            let mut prefix: Vec<&str> = match root {
                "crate::" => Vec::new(),
                _ => module.split("::").collect(),
            };
            if root == "super::" {
                prefix.pop();
            }
            expand(&prefix.join("::"), &code[at + root.len()..], &mut paths);
        }
    }
    // A `use` of a module below; `pub use` only gives a name another address.
    for line in code.lines().filter_map(|line| line.strip_prefix("use ")) {
        expand(module, line, &mut paths);
    }
    paths
}

/// The paths of a use tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(prefix: &str, tree: &str, out: &mut Vec<String>) {
    let join = |word: &str| match prefix {
        "" => word.to_owned(),
        prefix => format!("{prefix}::{word}"),
    };
    if let Some(inner) = tree.strip_prefix('{') {
        let (mut depth, mut from) = (0, 0);
        for (at, letter) in inner.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    expand(prefix, inner[from..at].trim(), out);
                    from = at + 1;
                    if letter == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let word_letter = |c: char| c.is_alphanumeric() || c == '_';
    let end = tree.find(|c| !word_letter(c)).unwrap_or(tree.len());
    let (word, rest) = tree.split_at(end);
    match rest.strip_prefix("::") {
        Some(rest) if !word.is_empty() => expand(&join(word), rest, out),
        _ => out.push(join(word)),
    }
}

/// What each module uses, by the longest module that a path begins with.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let modules = modules();
    let module_of = |path: &str| {
        let mut path = path;
        loop {
            if modules.contains_key(path) {
                return Some(path.to_owned());
            }
            path = path.rsplit_once("::")?.0;
        }
    };
    let of = |(name, code): (&String, &String)| {
        let paths = named(name, code);
        let mut used: BTreeSet<String> = paths.iter().filter_map(|p| module_of(p)).collect();
        used.remove(name);
        (name.clone(), used)
    };
    modules.iter().map(of).collect()
}

#[test]
fn each_room_uses_only_rooms_above_it_in_the_map() {
    let map = std::fs::read_to_string(common::root().join("src/lib.rs")).unwrap();
    let rooms: Vec<&str> = map
        .lines()
        .filter_map(|line| line.strip_prefix("//! - [`")?.split('`').next())
        .collect();
    let declared = map.lines().filter(|line| line.starts_with("pub mod "));
    assert_eq!(rooms.len(), declared.count(), "the map has every room once");
    let place = |module: &str| {
        let room = module.split("::").next().unwrap();
        let place = rooms.iter().position(|r| *r == room);
        place.unwrap_or_else(|| panic!("{room} is not on the map"))
    };
    let uses = uses();
    assert!(uses["train::trainer"].contains("train::step::learner"));
    for (module, used) in &uses {
        for other in used {
            assert!(place(other) <= place(module), "{module} uses {other}");
        }
    }
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut uses = uses();
    // What uses nothing that is left, or is used by nothing that is left, stands in no circle.
    while let Some(free) = uses
        .iter()
        .find(|(name, used)| {
            let ends = used.iter().all(|other| !uses.contains_key(other));
            ends || !uses.values().any(|used| used.contains(*name))
        })
        .map(|(name, _)| name.clone())
    {
        uses.remove(&free);
    }
    let left: Vec<&String> = uses.keys().collect();
    assert!(uses.is_empty(), "in circles, or between two: {left:?}");
}
