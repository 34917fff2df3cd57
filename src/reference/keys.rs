//! A JSON Schema as lists of keys.

use serde_json::Value;

/// The keys that lie together.
#[derive(Debug)]
pub struct Section {
    /// Where they lie, as `training`, `experiments[]`; empty at the top.
    pub path: String,
    /// Where several kinds of keys may lie there: the words of `kind` that these belong to.
    pub kinds: Vec<String>,
    pub meaning: String,
    pub keys: Vec<Key>,
}

/// A key.
#[derive(Debug)]
pub struct Key {
    pub name: String,
    pub required: bool,
    /// What may stand there, in words.
    pub kind: String,
    /// The words that may stand there, each with its meaning.
    pub words: Vec<(String, String)>,
    pub default: Option<Value>,
    /// Empty where nobody has written it down.
    pub meaning: String,
    /// The sections with the keys below it; several, where keys of several kinds may lie there.
    pub below: Vec<String>,
}

impl Section {
    /// The path, and of several kinds which these are.
    pub fn name(&self) -> String {
        name(&self.path, &self.kinds)
    }
}

fn name(path: &str, kinds: &[String]) -> String {
    match kinds.is_empty() {
        true => path.to_owned(),
        false => format!("{path} of {}", kinds.join(", ")),
    }
}

/// The sections of a schema; keys that can lie at several places come once.
pub fn sections(root: &Value) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut known = vec![(resolve(root, root), String::new(), Vec::new())];
    let mut next = 0;
    while let Some((object, path, kinds)) = known.get(next).cloned() {
        let mut keys = Vec::new();
        let required = object["required"].as_array();
        for (key, schema) in object["properties"].as_object().into_iter().flatten() {
            let list = resolve(root, schema).get("items").is_some();
            let dot = if path.is_empty() { "" } else { "." };
            let below = format!("{path}{dot}{key}{}", if list { "[]" } else { "" });
            let objects = objects_in(root, schema);
            let mut names = Vec::new();
            for &inner in &objects {
                let seen = known
                    .iter()
                    .position(|(seen, ..)| std::ptr::eq(*seen, inner));
                let at = seen.unwrap_or(known.len());
                if seen.is_none() {
                    let kinds = match objects.len() {
                        1 => Vec::new(),
                        _ => kinds_of(root, inner),
                    };
                    known.push((inner, below.clone(), kinds));
                }
                let (_, path, kinds) = &known[at];
                names.push(name(path, kinds));
            }
            keys.push(Key {
                name: key.clone(),
                required: required.is_some_and(|names| names.contains(&key.as_str().into())),
                kind: kind(root, schema),
                words: words_of(root, schema),
                // That of a group of keys is in its own section.
                default: schema.get("default").filter(|d| !d.is_object()).cloned(),
                meaning: meaning(root, schema),
                below: names,
            });
        }
        sections.push(Section {
            path,
            kinds,
            meaning: meaning(root, object),
            keys,
        });
        next += 1;
    }
    sections
}

/// A schema itself, where it points to one.
pub fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let pointed = schema["$ref"].as_str().and_then(|to| to.strip_prefix('#'));
    match (pointed, schema["allOf"].as_array()) {
        (Some(pointer), _) => root.pointer(pointer).unwrap_or(schema),
        (None, Some(all)) if all.len() == 1 => resolve(root, &all[0]),
        _ => schema,
    }
}

/// The keys that can lie below a key, itself or in its list; several, where it is one kind of keys or
/// another.
pub fn objects_in<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let schema = resolve(root, schema);
    // What has a title of its own is said in words.
    if schema.get("properties").is_some() && schema.get("title").is_none() {
        return vec![schema];
    }
    let items = schema.get("items").into_iter();
    let inner = items.chain(alternatives(schema));
    let mut objects: Vec<&Value> = Vec::new();
    for object in inner.flat_map(|schema| objects_in(root, schema)) {
        if !objects.iter().any(|seen| std::ptr::eq(*seen, object)) {
            objects.push(object);
        }
    }
    objects
}

/// The words that an object's `kind` may be.
fn kinds_of(root: &Value, object: &Value) -> Vec<String> {
    let words = words_of(root, &object["properties"]["kind"]);
    words.into_iter().map(|(word, _)| word).collect()
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    let of = |key: &str| schema[key].as_array().into_iter().flatten();
    of("anyOf").chain(of("oneOf"))
}

fn meaning(root: &Value, schema: &Value) -> String {
    let own = schema["description"].as_str();
    let text = own.or_else(|| resolve(root, schema)["description"].as_str());
    text.unwrap_or_default().to_owned()
}

/// The words of an enumeration, with what they mean.
pub fn words_of(root: &Value, schema: &Value) -> Vec<(String, String)> {
    let mut words = Vec::new();
    collect_words(root, schema, &mut words);
    words
}

fn collect_words(root: &Value, schema: &Value, words: &mut Vec<(String, String)>) {
    let schema = resolve(root, schema);
    if schema.get("title").is_some() {
        return;
    }
    let text = schema["description"].as_str().unwrap_or_default();
    if let Some(word) = schema["const"].as_str() {
        words.push((word.to_owned(), text.to_owned()));
    }
    for word in schema["enum"].as_array().into_iter().flatten() {
        words.extend(word.as_str().map(|word| (word.to_owned(), String::new())));
    }
    let items = schema.get("items").into_iter();
    for inner in items.chain(alternatives(schema)) {
        // Keys have sections of their own.
        if objects_in(root, inner).is_empty() {
            collect_words(root, inner, words);
        }
    }
}

/// What may stand at a schema's place, in words.
pub fn kind(root: &Value, schema: &Value) -> String {
    let schema = resolve(root, schema);
    if let Some(title) = schema["title"].as_str() {
        return title.to_owned();
    }
    if schema.get("const").is_some() || schema.get("enum").is_some() {
        return "word".into();
    }
    if schema["type"] == "null" {
        return String::new();
    }
    let mut kinds: Vec<String> = Vec::new();
    let mut add = |kind: String| {
        if !kind.is_empty() && !kinds.contains(&kind) {
            kinds.push(kind);
        }
    };
    alternatives(schema).for_each(|inner| add(kind(root, inner)));
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        other => Vec::from_iter(other.as_str()),
    };
    for name in types {
        add(match name {
            "null" => String::new(),
            "integer" => "whole number".into(),
            "number" => "number".into(),
            "string" => "text".into(),
            "boolean" => "`true` or `false`".into(),
            "array" => match &schema["items"] {
                Value::Null => "list".into(),
                items => format!("list: {}", kind(root, items)),
            },
            _ => match &schema["additionalProperties"] {
                inner @ Value::Object(keys) if !keys.is_empty() => {
                    format!("by name: {}", kind(root, inner))
                }
                Value::Object(_) | Value::Bool(true) => "by name: anything".into(),
                _ => "keys".into(),
            },
        });
    }
    match kinds.is_empty() {
        true => "anything".into(),
        false => kinds.join(", or "),
    }
}
