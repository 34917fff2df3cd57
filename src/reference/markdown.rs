//! `docs/reference.md`.

use std::fmt::Write;

use serde_yaml::Value;

use super::keys::{sections, Key, Section};
use super::Kind;

const HEAD: &str = "# Reference

Every key of the files that covalign reads. `covalign config reference` writes this page from the
doc comments in `src/config`, `src/task`, `src/suite` and `src/simulate`, and from the examples in
`src/reference/examples`: change those, not the page.

`--set training.epochs=5` sets a key of a training config or a simulation by its path. Relative paths
start where covalign is called; a suite's `base` starts at the suite's file, and a task's files in its
folder under `data`. An unknown key is an error. `covalign config check FILE` says what is wrong with a
file and prints it with every key; `covalign config schema` prints the JSON Schema for editors.
";

/// The whole page.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for kind in Kind::ALL {
        let examples = examples(kind);
        for section in sections(&kind.schema()) {
            let _ = write!(page, "\n{}", table(kind, &section, &examples));
        }
    }
    page
}

/// The documents of a kind's examples.
pub fn examples(kind: Kind) -> Vec<Value> {
    use serde::Deserialize;
    let documents = serde_yaml::Deserializer::from_str(kind.examples());
    documents
        .filter_map(|document| Value::deserialize(document).ok())
        .collect()
}

fn table(kind: Kind, section: &Section, examples: &[Value]) -> String {
    let title = kind.title();
    let heading = match section.path.as_str() {
        "" => format!("## {}{}", title[..1].to_uppercase(), &title[1..]),
        _ => format!("### {title}: `{}`", section.name()),
    };
    let mut text = format!("{heading}\n\n");
    if !section.meaning.is_empty() {
        let _ = write!(text, "{}\n\n", section.meaning);
    }
    text += "| Key | Type | Default | Meaning | Example |\n|---|---|---|---|---|\n";
    for key in &section.keys {
        let cells = [
            format!("`{}`", key.name),
            kind_of(kind, key),
            default(key),
            meaning(key),
            example(section, &key.name, examples)
                .map_or(String::new(), |value| format!("`{value}`")),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

fn kind_of(kind: Kind, key: &Key) -> String {
    let links = key.below.iter().map(|name| {
        let link = format!("{} {name}", kind.title()).replace(' ', "-");
        let link: String = link
            .chars()
            .filter(|c| c.is_alphanumeric() || "-_".contains(*c))
            .collect();
        format!("[`{name}`](#{})", link.to_lowercase())
    });
    let links: Vec<String> = links.collect();
    if links.is_empty() {
        return key.kind.clone();
    }
    let keys = format!("keys: {}", links.join(", "));
    match key.kind.strip_suffix("keys") {
        Some(others) => format!("{others}{keys}"),
        None => key.kind.replacen("keys", &keys, 1),
    }
}

fn default(key: &Key) -> String {
    match &key.default {
        Some(value) if !value.is_null() => match value.as_str() {
            Some("") => String::new(),
            Some(text) => format!("`{text}`"),
            None => format!("`{value}`"),
        },
        _ if key.required => "must be given".into(),
        _ => String::new(),
    }
}

fn meaning(key: &Key) -> String {
    let mut text = key.meaning.clone();
    for (word, meaning) in &key.words {
        text += &match meaning.as_str() {
            "" => format!("<br>`{word}`"),
            meaning => format!("<br>`{word}`: {meaning}"),
        };
    }
    text
}

/// What stands at a key in the first example that has it, on one line.
pub fn example(section: &Section, key: &str, examples: &[Value]) -> Option<String> {
    let path = section.path.split('.').filter(|step| !step.is_empty());
    let path: Vec<&str> = path.map(|step| step.trim_end_matches("[]")).collect();
    let of_kind = |example: &&Value| {
        let kind = find(example, &[&path[..], &["kind"]].concat());
        let kind = kind.and_then(Value::as_str).unwrap_or_default();
        section.kinds.is_empty() || section.kinds.iter().any(|own| own == kind)
    };
    let steps = [&path[..], &[key]].concat();
    let mut examples = examples.iter().filter(of_kind);
    examples.find_map(|example| find(example, &steps)).map(flow)
}

/// What stands at a path; where a list is on the way, in the first of its entries that has it.
fn find<'a>(tree: &'a Value, steps: &[&str]) -> Option<&'a Value> {
    match (tree, steps.split_first()) {
        (tree, None) => Some(tree),
        (Value::Sequence(list), _) => list.iter().find_map(|entry| find(entry, steps)),
        (tree, Some((step, rest))) => find(tree.get(step)?, rest),
    }
}

/// YAML on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Sequence(list) => {
            let list: Vec<String> = list.iter().map(flow).collect();
            format!("[{}]", list.join(", "))
        }
        Value::Mapping(map) => {
            let pairs = map.iter();
            let pairs: Vec<String> = pairs
                .map(|(key, value)| format!("{}: {}", flow(key), flow(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        scalar => {
            let text = serde_yaml::to_string(scalar).unwrap_or_default();
            text.trim_end().to_owned()
        }
    }
}
