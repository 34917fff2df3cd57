//! A file with every key that it may have: those that nobody has set are comments.

use serde_json::Value as Schema;
use serde_yaml::{Mapping, Value};

use super::keys::{kind, objects_in, words_of};

/// `tree` as YAML, with a comment for each key of `schema` that it does not have.
pub fn resolved(schema: &Schema, tree: &Value) -> String {
    let mut text = String::new();
    write(schema, schema, tree, 0, &mut text);
    text
}

fn write(root: &Schema, object: &Schema, tree: &Value, indent: usize, text: &mut String) {
    let margin = " ".repeat(indent);
    let known = object["properties"].as_object();
    for (name, schema) in known.into_iter().flatten() {
        let value = tree.get(name).filter(|value| !value.is_null());
        match (value, object_of(root, schema, value)) {
            (Some(value @ Value::Mapping(map)), Some(inner)) if !map.is_empty() => {
                *text += &format!("{margin}{name}:\n");
                write(root, inner, value, indent + 2, text);
            }
            (Some(value), _) => *text += &lines(name, value, &margin),
            (None, _) => *text += &format!("{margin}# {name}: {}\n", unset(root, schema)),
        }
    }
}

/// The keys that may lie below a key; of several kinds those of which `value` has the most.
fn object_of<'a>(
    root: &'a Schema,
    schema: &'a Schema,
    value: Option<&Value>,
) -> Option<&'a Schema> {
    let own = |object: &&Schema| {
        let known = object["properties"].as_object().into_iter().flatten();
        let own = |(name, _): &(&String, _)| value.is_some_and(|tree| tree.get(name).is_some());
        known.filter(own).count()
    };
    objects_in(root, schema).into_iter().max_by_key(own)
}

/// What a key that nobody has set is, or may be.
fn unset(root: &Schema, schema: &Schema) -> String {
    let default = schema.get("default");
    let default = default.filter(|value| value.is_boolean() || value.is_number());
    let words = words_of(root, schema);
    match (default, words.is_empty()) {
        (Some(value), _) => value.to_string(),
        (None, true) => kind(root, schema),
        (None, false) => {
            let words: Vec<String> = words.into_iter().map(|(word, _)| word).collect();
            words.join(" | ")
        }
    }
}

/// `name: value`, behind a margin.
fn lines(name: &str, value: &Value, margin: &str) -> String {
    let one = Mapping::from_iter([(Value::from(name), value.clone())]);
    let yaml = serde_yaml::to_string(&one).unwrap_or_default();
    let lines = yaml.lines();
    lines.map(|line| format!("{margin}{line}\n")).collect()
}
