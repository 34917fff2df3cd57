//! YAML to structs, with errors that name the file, the line and the key.

use std::fmt;

use anyhow::Result;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::Deserializer;
use serde_path_to_error::{Error, Segment};
use serde_yaml::Value;

use crate::{bail_input, input_error};

/// Reads `text`; `source` (a file's name) opens the message of an error:
/// ``FILE:LINE: key `training.lerning_rate`: unknown key; did you mean `learning_rate`?``
pub fn from_str<T: DeserializeOwned>(text: &str, source: &str) -> Result<T> {
    check_bounds(text, source)?;
    serde_path_to_error::deserialize(serde_yaml::Deserializer::from_str(text))
        .map_err(|e| explain(e, source))
}

/// The most bytes that a file may have, and the deepest that it may nest: a reader of YAML takes
/// minutes and gigabytes for some texts above them.
const MOST_BYTES: usize = 4 << 20;
const MOST_DEPTH: usize = 100;

/// Whether a text is one that a person could have written, by its size and its nesting.
///
/// # Errors
/// An input error, with the line where it nests too deep.
pub fn check_bounds(text: &str, source: &str) -> Result<()> {
    if text.len() > MOST_BYTES {
        bail_input!(
            "{source}: {} MB of YAML; a file that covalign reads has less than {} MB",
            text.len() >> 20,
            MOST_BYTES >> 20
        );
    }
    // Brackets in quotes and comments count too, but hardly come to so many at once.
    let mut open = 0usize;
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start_matches(['-', '?', ' ', '\t']).len();
        for byte in line.bytes() {
            match byte {
                b'[' | b'{' => open += 1,
                b']' | b'}' => open = open.saturating_sub(1),
                _ => (),
            }
            if open > MOST_DEPTH || indent > 4 * MOST_DEPTH {
                bail_input!(
                    "{source}:{}: nested too deep; no key of covalign's lies below {MOST_DEPTH} \
                     others",
                    number + 1
                );
            }
        }
    }
    Ok(())
}

/// As [`from_str`] for a tree that was read before, and has no lines any more.
pub fn from_value<T: DeserializeOwned>(value: Value, source: &str) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|e| explain(e, source))
}

/// As [`from_str`], with all that is wrong instead of the first: what is wrong is taken out, and the
/// rest read again.
///
/// # Errors
/// Input errors, at least one, in the order of their discovery.
pub fn from_str_all<T: DeserializeOwned>(
    text: &str,
    source: &str,
) -> Result<T, Vec<anyhow::Error>> {
    let first = match from_str(text, source) {
        Ok(read) => return Ok(read),
        Err(first) => first,
    };
    let mut errors = vec![first];
    let Ok(mut tree) = serde_yaml::from_str::<Value>(text) else {
        return Err(errors);
    };
    // The first is found again, and named without its line.
    let mut again = true;
    let mut taken = Vec::new();
    while let Err(error) = serde_path_to_error::deserialize::<_, T>(tree.clone()) {
        let segments: Vec<Segment> = error.path().iter().cloned().collect();
        let message = error.inner().to_string();
        // What was taken out is missing now.
        if taken
            .iter()
            .any(|key| message.contains(&format!("missing field `{key}`")))
        {
            break;
        }
        if !std::mem::take(&mut again) {
            let place = match line_of(text, &segments) {
                Some(line) => format!("{source}:{line}"),
                None => source.to_owned(),
            };
            errors.push(explain(error, &place));
        }
        match take_out(&mut tree, &segments) {
            Some(key) => taken.push(key),
            None => break,
        }
    }
    Err(errors)
}

/// Removes the key that a path ends with, or the one whose list it goes into; its name, where it was
/// there.
fn take_out(tree: &mut Value, path: &[Segment]) -> Option<String> {
    let (last, above) = match path {
        [above @ .., Segment::Map { key }] => (key, above),
        [above @ .., _] => return take_out(tree, above),
        [] => return None,
    };
    let mut place = tree;
    for segment in above {
        let below = match segment {
            Segment::Map { key } => place.get_mut(key.as_str()),
            Segment::Seq { index } => place.get_mut(*index),
            Segment::Enum { .. } | Segment::Unknown => Some(place),
        };
        place = below?;
    }
    let map = place.as_mapping_mut()?;
    map.remove(last.as_str()).map(|_| last.clone())
}

/// The line of the value at a path, from 1.
fn line_of(text: &str, path: &[Segment]) -> Option<usize> {
    let found = Place(path).deserialize(serde_yaml::Deserializer::from_str(text));
    found.err()?.location().map(|at| at.line())
}

/// Goes down a path and fails where it ends: serde_yaml says at which line.
struct Place<'a>(&'a [Segment]);

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("nothing")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Segment::Map { key: wanted }, below)) = self.0.split_first() else {
            return Err(A::Error::custom("here"));
        };
        while let Some(key) = map.next_key::<Value>()? {
            match key.as_str() == Some(wanted.as_str()) {
                true => return map.next_value_seed(Place(below)),
                false => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((Segment::Seq { index }, below)) = self.0.split_first() else {
            return Err(A::Error::custom("here"));
        };
        for _ in 0..*index {
            list.next_element::<IgnoredAny>()?;
        }
        list.next_element_seed(Place(below)).map(drop)
    }
}

fn explain(error: Error<serde_yaml::Error>, source: &str) -> anyhow::Error {
    let path = error.path().to_string();
    let (message, location) = (error.inner().to_string(), error.inner().location());
    let message = &in_words(without_place(&message, &path));
    let parts = unknown(message);
    let place = location.map_or(source.to_string(), |l| format!("{source}:{}", l.line()));
    match parts {
        Some((key, known)) => {
            let parent = path
                .strip_suffix(key)
                .unwrap_or(&path)
                .trim_end_matches('.');
            let shown = match parent {
                "" | "." => key.to_string(),
                parent => format!("{parent}.{key}"),
            };
            let what = if message.starts_with("unknown variant") {
                format!(
                    "key `{}`: unknown value `{key}`",
                    path.trim_end_matches(".?")
                )
            } else {
                format!("key `{shown}`: unknown key `{key}`")
            };
            input_error!("{place}: {what}; {}", suggest(key, &known))
        }
        None if matches!(path.as_str(), "." | "" | "?") => input_error!("{place}: {message}"),
        None => input_error!("{place}: key `{path}`: {message}"),
    }
}

/// serde's message with the type that it expected in words instead of Rust's.
pub fn in_words(message: &str) -> String {
    let Some((what, expected)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let wanted = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative is wanted",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number is wanted",
        "f32" | "f64" => "a number is wanted",
        "a boolean" => "true or false is wanted",
        "a sequence" => "a list is wanted",
        "a map" => "keys with values are wanted",
        other if other.starts_with("struct ") => "keys with values are wanted",
        _ => return message.to_owned(),
    };
    format!(
        "{}; {wanted}",
        what.replace("invalid type: map", "invalid type: keys with values")
    )
}

/// serde_yaml's message without the path in front and "at line 3 column 5" behind.
fn without_place<'a>(message: &'a str, path: &str) -> &'a str {
    let message = message.split(" at line ").next().unwrap_or(message);
    message
        .strip_prefix(path)
        .and_then(|m| m.strip_prefix(": "))
        .unwrap_or(message)
}

/// The offending name of serde's "unknown field `x`, expected one of `a`, `b`", and the known ones.
fn unknown(message: &str) -> Option<(&str, Vec<&str>)> {
    let start = ["unknown field `", "unknown variant `"]
        .iter()
        .find_map(|mark| message.find(mark).map(|at| at + mark.len()))?;
    let mut quoted = message[start..].split('`');
    let name = quoted.next()?;
    Some((name, quoted.skip(1).step_by(2).collect()))
}

/// "did you mean `a`?", or all the known names when none is near.
pub fn suggest(name: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|k| {
            (
                strsim::damerau_levenshtein(&name.to_lowercase(), &k.to_lowercase()),
                k,
            )
        })
        .min();
    match nearest {
        Some((distance, k)) if distance <= 2.max(name.len() / 3) => format!("did you mean `{k}`?"),
        Some(_) => format!("known are {}", list(known)),
        None => "none is known here".to_string(),
    }
}

/// `a`, `b`, `c`, as errors show names.
pub fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Root {
        #[serde(default)]
        seed: u64,
        #[serde(default)]
        method: Option<Method>,
        training: Option<Training>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Training {
        learning_rate: f64,
        epochs: Option<u32>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Method {
        Single,
        Aligned,
    }

    fn message(text: &str) -> String {
        let error = from_str::<Root>(text, "a.yaml").expect_err(text);
        assert_eq!(crate::error::exit_code(&error), 2);
        error.to_string()
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest_known_key() {
        assert_eq!(
            message("seed: 1\ntraining:\n  epochs: 1\n  lerning_rate: 1\n"),
            "a.yaml:4: key `training.lerning_rate`: unknown key `lerning_rate`; \
             did you mean `learning_rate`?"
        );
        assert_eq!(
            message("# sed\nsed: 1\n"),
            "a.yaml:2: key `sed`: unknown key `sed`; did you mean `seed`?"
        );
        assert_eq!(
            message("training: {learning_rate: 1, horizontal: 2}\n"),
            "a.yaml:1: key `training.horizontal`: unknown key `horizontal`; \
             known are `learning_rate`, `epochs`"
        );
    }

    #[test]
    fn a_wrong_type_or_value_names_its_key_and_line() {
        assert_eq!(
            message("seed: 1\ntraining:\n  learning_rate: fast\n"),
            "a.yaml:3: key `training.learning_rate`: invalid type: string \"fast\"; a number is \
             wanted"
        );
        assert_eq!(
            message("seed: 1\nmethod: alined\n"),
            "a.yaml:2: key `method`: unknown value `alined`; did you mean `aligned`?"
        );
        assert!(message("training: {}\n").contains("key `training`: missing field `learning_rate`"));
    }

    #[test]
    fn broken_yaml_names_its_line() {
        let text = message("seed: 1\n\tmethod: single\n");
        assert!(text.starts_with("a.yaml:2: "), "{text}");
    }

    #[test]
    fn a_tree_without_lines_names_its_key() {
        let value: Value = serde_yaml::from_str("training: {learning_rate: [1]}").expect("YAML");
        let error = from_value::<Root>(value, "--set x").expect_err("a list");
        assert!(error
            .to_string()
            .starts_with("--set x: key `training.learning_rate`: invalid type"));
    }
}
