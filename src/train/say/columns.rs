//! A config as the columns of TensorBoard's HParams page.
//!
//! TensorBoard shows the columns that one run of a folder has for all of them, so that every run has a
//! column for every key, whether it is set or not.

use std::collections::BTreeMap;

use anyhow::Result;
use schemars::generate::SchemaSettings;
use serde_json::Value as Schema;
use serde_yaml::Value;

use crate::config::Config;
use crate::telemetry::tensorboard::{Column, HParam, Kind};

/// What people look for first. TensorBoard has the others in alphabetical order.
const FIRST: [&str; 3] = ["method", "tasks", "training.seed"];

/// A column for every key.
pub fn columns(config: &Config) -> Result<Vec<Column>> {
    let mut values = BTreeMap::new();
    flatten("", &serde_yaml::to_value(config)?, &mut values);
    let schema = SchemaSettings::draft07().into_generator();
    let schema = Schema::from(schema.into_root_schema_for::<Config>());
    let mut kinds = Vec::new();
    leaves(&schema, &schema, "", &mut kinds);
    // Keys that are names, as the tasks of `turned`.
    let known = |name: &String| kinds.iter().any(|(known, _)| known == name);
    let named = values.iter().filter(|(name, _)| !known(name));
    let named: Vec<_> = named.map(|(n, value)| (n.clone(), value.kind())).collect();
    kinds.extend(named);
    let column = |(name, kind): (String, Kind)| Column {
        first: FIRST.contains(&name.as_str()),
        value: values.get(&name).map(|value| match kind {
            Kind::Text => HParam::Text(value.to_string()),
            _ => value.clone(),
        }),
        name,
        kind,
    };
    Ok(kinds.into_iter().map(column).collect())
}

/// The leaves of a YAML tree under dotted names.
fn flatten(prefix: &str, value: &Value, out: &mut BTreeMap<String, HParam>) {
    let leaf = match value {
        Value::Mapping(map) => {
            for (key, value) in map {
                let key = key.as_str().unwrap_or_default();
                flatten(&dotted(prefix, key), value, out);
            }
            return;
        }
        Value::Sequence(items) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            HParam::Text(words.join(" "))
        }
        Value::Number(number) => HParam::Number(number.as_f64().unwrap_or(f64::NAN)),
        Value::Bool(flag) => HParam::Bool(*flag),
        Value::String(text) => HParam::Text(text.clone()),
        Value::Null | Value::Tagged(_) => return,
    };
    out.insert(prefix.to_owned(), leaf);
}

/// The keys below `schema` that hold one value or a list, with what may stand there.
fn leaves(root: &Schema, schema: &Schema, prefix: &str, out: &mut Vec<(String, Kind)>) {
    let mut kind = None;
    for schema in alternatives(root, schema) {
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            leaves(root, inner, &dotted(prefix, key), out);
        }
        for one in types(schema) {
            kind = match (kind, one) {
                (None, one) => Some(one),
                (Some(kind), one) if kind == one => Some(kind),
                _ => Some(Kind::Text),
            };
        }
    }
    let Some(kind) = kind else { return };
    // Several kinds of keys may have one of the same name.
    match out.iter_mut().find(|(name, _)| name == prefix) {
        Some((_, known)) if *known != kind => *known = Kind::Text,
        Some(_) => {}
        None => out.push((prefix.to_owned(), kind)),
    }
}

/// What a schema points to; of several that may hold each.
fn alternatives<'a>(root: &'a Schema, schema: &'a Schema) -> Vec<&'a Schema> {
    let pointed = schema["$ref"].as_str().and_then(|to| to.strip_prefix('#'));
    let pointed = pointed.and_then(|pointer| root.pointer(pointer));
    let lists = ["allOf", "anyOf", "oneOf"].map(|key| schema[key].as_array());
    let inner = pointed.into_iter();
    let inner = inner.chain(lists.into_iter().flatten().flatten());
    let inner: Vec<&Schema> = inner.flat_map(|inner| alternatives(root, inner)).collect();
    match inner.is_empty() {
        true => vec![schema],
        false => inner,
    }
}

fn types(schema: &Schema) -> impl Iterator<Item = Kind> + '_ {
    let list = schema["type"].as_array().into_iter().flatten();
    let names = list.chain([&schema["type"]]).filter_map(Schema::as_str);
    names.filter_map(|name| match name {
        "boolean" => Some(Kind::Bool),
        "integer" | "number" => Some(Kind::Number),
        "string" | "array" => Some(Kind::Text),
        _ => None,
    })
}

fn dotted(prefix: &str, key: &str) -> String {
    match prefix {
        "" => key.to_owned(),
        prefix => format!("{prefix}.{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(columns: &'a [Column], name: &str) -> &'a Column {
        columns.iter().find(|column| column.name == name).unwrap()
    }

    #[test]
    fn every_key_has_a_column() {
        let config = Config {
            tasks: vec!["CoLA".into(), "RTE".into()],
            turned: [("RTE".to_owned(), 45.0)].into(),
            ..Config::default()
        };
        let columns = columns(&config).unwrap();
        let value = |name: &str| find(&columns, name).value.clone();
        let text = |text: &str| Some(HParam::Text(text.into()));
        assert_eq!(value("tasks"), text("CoLA RTE"));
        assert_eq!(value("training.batch_size"), Some(HParam::Number(32.0)));
        assert_eq!(value("turned.RTE"), Some(HParam::Number(45.0)));
        // Set by nobody, or a key of other kinds of encoders.
        let unset = find(&columns, "training.max_steps");
        assert_eq!((unset.kind, &unset.value), (Kind::Number, &None));
        assert_eq!(value("encoder.layers"), None);
        // A rank is a number or `full`.
        assert_eq!(value("alignment.rank"), text("full"));
        let first = columns.iter().filter(|column| column.first).count();
        assert_eq!(first, FIRST.len());
        let mut names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
