//! What a row's label says, and the texts that say it in files.

use std::borrow::Cow;
use std::collections::BTreeSet;

use schemars::{json_schema, JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapDeserializer;
use serde::de::{Error, MapAccess, SeqAccess};
use serde::{Deserialize, Deserializer, Serialize};
use serde_yaml::Value;

/// The most labels of which any may hold; see [`Label::Set`].
pub const MOST_LABELS: usize = 128;

/// The most labels of which one holds; far above those of any task that BERT is fine-tuned on.
pub const MOST_CLASSES: usize = 1 << 16;

/// What a task predicts.
#[derive(Debug, Clone, PartialEq)]
pub enum Labels {
    /// One of these, in the order of a submission.
    Classes(Classes),
    /// A real number; predictions are clipped to the range.
    Range { min: f64, max: f64 },
    /// Any of these at once, or none: multi-label data.
    AnyOf(AnyOf),
}

/// Labels of which a row has one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Classes {
    pub names: Vec<String>,
    /// What the files have for each, where that is not its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said: Option<Vec<String>>,
}

impl Classes {
    /// The class that a file's text says; `normalize` looks through case and blanks around it.
    pub fn find(&self, text: &str, normalize: bool) -> Option<usize> {
        let said = self.said.as_ref().unwrap_or(&self.names);
        match normalize {
            true => {
                let text = normalized(text);
                said.iter().position(|name| normalized(name) == text)
            }
            false => said.iter().position(|name| name == text),
        }
    }
}

/// A label without what people vary in writing it: case, blanks around it.
pub fn normalized(label: &str) -> String {
    label.trim().to_lowercase()
}

/// Labels of which a row has none, one or several.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct AnyOf {
    /// Named as in the files, in the order of the outputs.
    #[serde(rename = "any_of")]
    #[schemars(with = "Vec<Scalar>")]
    pub names: Vec<String>,
    /// What stands between labels that are listed in one column.
    #[schemars(default = "bar")]
    pub separator: String,
    /// What such a list is where no label holds, as ChestX-ray14's `No Finding`; else it is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub none: Option<String>,
    /// Labels in the files that are none of the task's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default, with = "Vec<Scalar>")]
    pub ignore: Vec<String>,
}

/// A label as YAML may take it: `1` and `true` are labels too.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum Scalar {
    Text(String),
    Number(f64),
    Switch(bool),
}

fn bar() -> String {
    "|".to_owned()
}

/// What a row's label says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Label {
    /// A class's number, from 0 in the task's order, or the value.
    Number(f32),
    /// Which labels hold: bit i is that of label i.
    Set(u128),
}

impl Label {
    /// The class's number or the value; of a set nothing.
    pub fn number(self) -> Option<f32> {
        match self {
            Label::Number(number) => Some(number),
            Label::Set(_) => None,
        }
    }

    /// Whether the label at `index` of a set holds.
    pub fn holds(self, index: usize) -> bool {
        matches!(self, Label::Set(bits) if bits >> index & 1 == 1)
    }
}

impl AnyOf {
    /// The set that a column's list says.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn listed(&self, text: &str) -> Result<Label, String> {
        let empty = match &self.none {
            Some(none) => text.trim() == none,
            None => text.trim().is_empty(),
        };
        match empty {
            true => Ok(Label::Set(0)),
            false => self.set(text.split(&self.separator).map(str::trim)),
        }
    }

    /// The set of the labels of these names.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn set<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<Label, String> {
        let mut bits = 0u128;
        for name in names.filter(|name| !self.ignore.iter().any(|other| other == name)) {
            let index = self.names.iter().position(|known| known == name);
            let index = index.ok_or_else(|| format!("unknown label `{name}`"))?;
            if bits >> index & 1 == 1 {
                return Err(format!("the label `{name}` twice"));
            }
            bits |= 1 << index;
        }
        Ok(Label::Set(bits))
    }

    /// The set that a column for each label says, in the order of the names.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn marked<'a>(&self, marks: impl Iterator<Item = &'a str>) -> Result<Label, String> {
        let mut bits = 0u128;
        for (index, (mark, name)) in marks.zip(&self.names).enumerate() {
            let holds = match mark.trim().to_ascii_lowercase().as_str() {
                "1" | "1.0" | "true" => true,
                "0" | "0.0" | "false" => false,
                _ => return Err(format!("label {name}: `{mark}` is neither 0 nor 1")),
            };
            bits |= u128::from(holds) << index;
        }
        Ok(Label::Set(bits))
    }

    /// The labels that hold, as a column would list them.
    pub fn list(&self, holds: impl Fn(usize) -> bool) -> String {
        let names = (0..self.names.len()).filter(|&index| holds(index));
        let names: Vec<&str> = names.map(|index| self.names[index].as_str()).collect();
        match (&self.none, names.is_empty()) {
            (Some(none), true) => none.clone(),
            _ => names.join(&self.separator),
        }
    }
}

impl JsonSchema for Labels {
    fn schema_name() -> Cow<'static, str> {
        "Labels".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                {"type": "array", "items": {"type": ["string", "number", "boolean"]}, "minItems": 2},
                {
                    "title": "names of what the files have, `{0: negative, 1: positive}`",
                    "type": "object",
                    "additionalProperties": {"type": ["string", "number", "boolean"]},
                    "not": {"anyOf": [{"required": ["min"]}, {"required": ["any_of"]}]}
                },
                {
                    "title": "a range, `{min: …, max: …}`",
                    "type": "object",
                    "properties": {"min": {"type": "number"}, "max": {"type": "number"}},
                    "required": ["min", "max"],
                    "additionalProperties": false
                },
                generator.subschema_for::<AnyOf>(),
            ]
        })
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// The keys of both kinds, so that an unknown one is told with all that are known.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            min: Option<f64>,
            max: Option<f64>,
            any_of: Option<Vec<String>>,
            separator: Option<String>,
            none: Option<String>,
            ignore: Option<Vec<String>>,
        }
        const KEYS: [&str; 6] = ["min", "max", "any_of", "separator", "none", "ignore"];
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Labels;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str(
                    "a list of labels, `{0: negative, 1: positive}`, `{min: …, max: …}` or \
                     `{any_of: […]}`",
                )
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Labels, A::Error> {
                let mut names = Vec::new();
                // As text, whatever YAML takes it for: `True` and `1.0` stay as they are spelled.
                while let Some(name) = seq.next_element::<String>()? {
                    names.push(name);
                }
                Ok(Labels::Classes(Classes { names, said: None }))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut given: Vec<(String, Value)> = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    given.push(entry);
                }
                let known = |(key, value): &(String, Value)| {
                    KEYS.contains(&key.as_str()) || value.is_sequence() || value.is_mapping()
                };
                if !given.is_empty() && !given.iter().any(known) {
                    let name = |value| String::deserialize(value).map_err(A::Error::custom);
                    let (said, names): (Vec<_>, Vec<_>) = given.into_iter().unzip();
                    let names = names.into_iter().map(name).collect::<Result<_, _>>()?;
                    let said = Some(said);
                    return Ok(Labels::Classes(Classes { names, said }));
                }
                let given = MapDeserializer::new(given.into_iter());
                let keys = Keys::deserialize(given).map_err(A::Error::custom)?;
                match keys {
                    Keys {
                        min: Some(min),
                        max: Some(max),
                        any_of: None,
                        separator: None,
                        none: None,
                        ignore: None,
                    } => Ok(Labels::Range { min, max }),
                    Keys {
                        min: None,
                        max: None,
                        any_of: Some(names),
                        separator,
                        none,
                        ignore,
                    } => Ok(Labels::AnyOf(AnyOf {
                        names,
                        separator: separator.unwrap_or_else(bar),
                        none,
                        ignore: ignore.unwrap_or_default(),
                    })),
                    _ => Err(A::Error::custom(
                        "needs `min` and `max`, or `any_of` with `separator`, `none` and `ignore` \
                         where they are wanted",
                    )),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Labels {
    /// The names of classes, or of labels of which any may hold; none of a range.
    pub fn names(&self) -> &[String] {
        match self {
            Labels::Classes(Classes { names, .. }) | Labels::AnyOf(AnyOf { names, .. }) => names,
            Labels::Range { .. } => &[],
        }
    }

    /// What is wrong with these labels, where something is.
    pub(super) fn fault(&self) -> Option<String> {
        match self {
            Labels::Classes(Classes { names, .. }) if names.len() < 2 => {
                Some("needs at least two labels, or `{min: …, max: …}`, `{any_of: […]}`".into())
            }
            Labels::Classes(Classes { names, .. }) if names.len() > MOST_CLASSES => Some(format!(
                "at most {MOST_CLASSES} labels, not {}",
                names.len()
            )),
            Labels::Classes(Classes { names, said }) => {
                name_fault(names).or_else(|| name_fault(said.as_deref().unwrap_or_default()))
            }
            Labels::Range { min, max } if !(min < max && max - min < f64::INFINITY) => {
                Some(format!("{min} to {max} is not a range"))
            }
            Labels::Range { .. } => None,
            Labels::AnyOf(AnyOf {
                names,
                separator,
                none,
                ignore,
            }) => {
                let separated = |name: &&String| name.contains(separator.as_str());
                match names.len() {
                    0 => return Some("`any_of` needs at least one label".into()),
                    1..=MOST_LABELS => {}
                    n => {
                        return Some(format!(
                            "`any_of` takes up to {MOST_LABELS} labels, not {n}"
                        ))
                    }
                }
                if separator.is_empty() || separator.contains(['\n', '\r']) {
                    return Some(format!("{separator:?} cannot be a separator"));
                }
                if let Some(name) = names.iter().find(separated) {
                    let what = "which separates labels: give another `separator`";
                    return Some(format!("`{name}` has `{separator}` in it, {what}"));
                }
                if let Some(none) = none.as_ref().filter(|none| names.contains(none)) {
                    return Some(format!("`none: {none}` is one of the labels"));
                }
                if let Some(name) = ignore.iter().find(|name| names.contains(name)) {
                    return Some(format!("`ignore` names `{name}`, one of the labels"));
                }
                let odd = |name: &&String| name.trim() != *name || name.contains('/');
                if let Some(name) = names.iter().chain(none).find(odd) {
                    let what = "has a `/` in it, or blanks around it";
                    return Some(format!("{name:?} {what}"));
                }
                name_fault(names)
            }
        }
    }
}

fn name_fault(names: &[String]) -> Option<String> {
    let mut seen = BTreeSet::new();
    if let Some(name) = names.iter().find(|name| !seen.insert(*name)) {
        return Some(format!("has `{name}` twice"));
    }
    let odd = |name: &&String| name.is_empty() || name.contains(['\t', '\n', '\r']);
    let name = names.iter().find(odd)?;
    let what = "cannot be a label: files have one word or a few in a line";
    Some(format!("{name:?} {what}"))
}
