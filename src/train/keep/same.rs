//! Whether a resumed run is the one that was begun: what makes its scores must be the same.

use std::fmt;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use super::made_of::{Computed, Content, EncoderContent, Machine, MadeOf, TaskContent};
use super::run_folder::RunFolder;
use crate::bail_input;
use crate::config::{Config, Training};

/// Something that is not as it was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// A config key, or what was read.
    pub what: String,
    pub was: String,
    pub is: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} was {}, is {}", self.what, self.was, self.is)
    }
}

/// What is said of a run whose record is missing.
pub const UNRECORDED: &str =
    "resumed without made_of.json: an older version began the run, and whether \
     data, task files, encoder and arithmetic are still the same is not known";

/// What is said of differences that move scores by rounding alone.
pub fn doubts(rounding: &[Difference]) -> Vec<String> {
    let found: Vec<String> = rounding.iter().map(Difference::to_string).collect();
    let doubt = || {
        format!(
            "resumed not as begun ({}): scores stay comparable, but are not the same bit for bit",
            found.join("; ")
        )
    };
    (!found.is_empty()).then(doubt).into_iter().collect()
}

/// Refuses a config whose scores are not those of the run's own. Without a record of what paths
/// named and `auto` came to, these must be the same too.
pub fn check_config(config: &Config, folder: &RunFolder, recorded: bool) -> Result<()> {
    let counts = |config: &Config| match recorded {
        true => config.of_score(),
        false => Config {
            checkpoints: Default::default(),
            training: Training {
                threads: None,
                ..config.training.clone()
            },
            ..config.clone()
        },
    };
    let saved = Config::load(&folder.config(), &[])?;
    let (was, is) = (counts(&saved), counts(config));
    let mut found = Vec::new();
    leaves(
        "",
        &serde_json::to_value(was)?,
        &serde_json::to_value(is)?,
        &mut found,
    );
    refuse(&folder.config(), &found)
}

/// Refuses what was read and is another than that of the run that was begun.
pub fn check_content(was: &Content, is: &Content, folder: &RunFolder) -> Result<()> {
    refuse(&folder.made_of(), &of_content(was, is))
}

/// Refuses to train together on what was read and is another than what the `first` process has.
pub fn check_processes(first: &Content, own: &Content) -> Result<()> {
    let found: Vec<String> = of_content(first, own)
        .iter()
        .map(Difference::to_string)
        .collect();
    if !found.is_empty() {
        bail_input!(
            "the first process has other data, tasks or encoder: {}; give all the same files",
            found.join("; ")
        );
    }
    Ok(())
}

/// As [`check_content`], also for what is computed in. What remains moves scores by rounding alone.
pub fn check(was: &MadeOf, is: &MadeOf, folder: &RunFolder) -> Result<Vec<Difference>> {
    let mut found = of_content(&was.content, &is.content);
    found.extend(of_arithmetic(&was.arithmetic, &is.arithmetic));
    refuse(&folder.made_of(), &found)?;
    of_machine(&was.machine, &is.machine)
}

/// What products are computed in, that was another.
pub fn of_arithmetic(then: &Computed, now: &Computed) -> Vec<Difference> {
    let mut found = Vec::new();
    for (what, was, is) in [
        ("training.precision", &then.precision, &now.precision),
        ("training.device", &then.device, &now.device),
        ("engine", &then.engine, &now.engine),
        (
            "the library of matrix products",
            &then.products,
            &now.products,
        ),
    ] {
        differ(what, was, is, &mut found);
    }
    found
}

/// What moves scores by rounding alone.
pub fn of_machine(was: &Machine, is: &Machine) -> Result<Vec<Difference>> {
    let mut rounding = Vec::new();
    leaves(
        "",
        &serde_json::to_value(was)?,
        &serde_json::to_value(is)?,
        &mut rounding,
    );
    Ok(rounding)
}

fn refuse(record: &Path, found: &[Difference]) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let found: Vec<String> = found.iter().map(Difference::to_string).collect();
    bail_input!(
        "{}: --resume goes on with the run that was begun, but this is another: {}; give what it \
         was begun with, or start a new run with another --out",
        record.display(),
        found.join("; ")
    )
}

/// What was read and is another now.
pub fn of_content(was: &Content, is: &Content) -> Vec<Difference> {
    let mut found = Vec::new();
    for (was, is) in [
        (&was.tasks, &is.tasks),
        (&was.deduplicated_with, &is.deduplicated_with),
    ] {
        for name in was
            .keys()
            .chain(is.keys().filter(|n| !was.contains_key(*n)))
        {
            match (was.get(name), is.get(name)) {
                (Some(was), Some(is)) => of_task(name, was, is, &mut found),
                (was, _) => {
                    let there = |yes| if yes { "there" } else { "not there" };
                    let (was, is) = (there(was.is_some()), there(was.is_none()));
                    differ(&format!("task {name}"), was, is, &mut found);
                }
            }
        }
    }
    of_encoder(&was.encoder, &is.encoder, &mut found);
    // A run that was started from may be gone: checkpoints have what came from it.
    if let (Some(was), Some(is)) = (&was.start, &is.start) {
        for (what, was, is) in [
            ("encoder", &was.encoder, &is.encoder),
            ("heads", &was.heads, &is.heads),
        ] {
            let what = format!("the {what} of the run that it starts from (sha256)");
            differ(&what, was, is, &mut found);
        }
    }
    found
}

fn of_task(name: &str, was: &TaskContent, is: &TaskContent, found: &mut Vec<Difference>) {
    let task = format!("task {name}: ");
    leaves(&task, &was.definition, &is.definition, found);
    let splits = was.files.keys().chain(is.files.keys());
    let mut splits: Vec<&String> = splits.collect();
    splits.sort();
    splits.dedup();
    for split in splits {
        let images = |content: &TaskContent| content.images.get(split).cloned();
        let images = [was, is].map(|content| images(content).unwrap_or("none".into()));
        let what = format!("{task}the images of {split} rows (sha256)");
        differ(&what, &images[0], &images[1], found);
        let of = |content: &TaskContent| content.files.get(split).cloned().unwrap_or_default();
        let (was, is) = (of(was), of(is));
        let count = |files: usize| format!("{files} files");
        let what = format!("{task}{split}");
        differ(&what, &count(was.len()), &count(is.len()), found);
        for (was, is) in was.iter().zip(&is) {
            let what = format!("{task}{split} rows in {}", is.file);
            differ(&format!("{what} (sha256)"), &was.sha256, &is.sha256, found);
            leaves(&format!("{what}, "), &was.read_as, &is.read_as, found);
            let ids = |sha256: &Option<String>| sha256.clone().unwrap_or("none".into());
            differ(
                &format!("{what}, its list of ids (sha256)"),
                &ids(&was.ids_sha256),
                &ids(&is.ids_sha256),
                found,
            );
        }
    }
}

fn of_encoder(was: &EncoderContent, is: &EncoderContent, found: &mut Vec<Difference>) {
    let weights = "the encoder's weights (sha256)";
    differ(weights, &was.weights, &is.weights, found);
    leaves("the encoder's ", &was.config, &is.config, found);
    if was.tokenizer != is.tokenizer {
        let changed = is.tokenizer_files.iter().filter(|(name, sha256)| {
            // Files that came or went change it too.
            was.tokenizer_files.get(*name) != Some(sha256)
        });
        let changed: Vec<&str> = changed.map(|(name, _)| name.as_str()).collect();
        let what = match changed.is_empty() {
            true => "the encoder's tokenizer".to_owned(),
            false => format!("the encoder's tokenizer ({})", changed.join(", ")),
        };
        differ(&what, &was.tokenizer, &is.tokenizer, found);
    }
}

/// Notes `what`, where it was another.
pub fn differ(what: &str, was: &str, is: &str, found: &mut Vec<Difference>) {
    if was != is {
        found.push(Difference {
            what: what.to_owned(),
            was: short(was),
            is: short(is),
        });
    }
}

/// The first digits of a checksum tell it from another.
fn short(text: &str) -> String {
    let digest = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match digest {
        true => format!("{}…", &text[..12]),
        false => text.to_owned(),
    }
}

/// The leaves of two trees that differ, under `prefix` and their dotted keys; a list is a leaf.
fn leaves(prefix: &str, was: &Value, is: &Value, found: &mut Vec<Difference>) {
    let nothing = Value::Null;
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => {
            let added = is.keys().filter(|key| !was.contains_key(*key));
            for key in was.keys().chain(added) {
                let (a, b) = (was.get(key), is.get(key));
                let (a, b) = (a.unwrap_or(&nothing), b.unwrap_or(&nothing));
                let deeper = a.is_object() && b.is_object();
                let name = format!("{prefix}{key}{}", if deeper { "." } else { "" });
                leaves(&name, a, b, found);
            }
        }
        (was, is) => {
            let text = |value: &Value| match value {
                Value::Null => "not given".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            differ(prefix, &text(was), &text(is), found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[test]
    fn differences_name_the_key_with_both_values_and_nothing_else() {
        let was =
            json!({"training": {"seed": 42, "epochs": 3.0}, "tasks": ["A", "B"], "x": {"y": 1}});
        let is = json!({"training": {"epochs": 3.0, "seed": 7}, "tasks": ["B", "A"], "z": true});
        let mut found = Vec::new();
        leaves("", &was, &is, &mut found);
        let lines: Vec<String> = found.iter().map(Difference::to_string).collect();
        assert_eq!(
            lines,
            [
                "training.seed was 42, is 7",
                r#"tasks was ["A","B"], is ["B","A"]"#,
                r#"x was {"y":1}, is not given"#,
                "z was not given, is true",
            ]
        );
    }

    #[test]
    fn whatever_was_read_and_is_another_is_named() {
        let file =
            json!({"file": "a.tsv", "sha256": "1", "read_as": {"share": 1}, "ids_sha256": "1"});
        let task =
            json!({"definition": {"cut": 1}, "files": {"dev": [file]}, "images": {"dev": "1"}});
        let whole = json!({
            "tasks": {"A": &task},
            "deduplicated_with": {"B": &task},
            "encoder": {"weights": "1", "config": {"layers": 1}, "tokenizer": "1",
                "tokenizer_files": {"vocab.txt": "1"}},
            "start": {"encoder": "1", "heads": "1"},
        });
        let content = |value: &Value| Content::deserialize(value).unwrap();
        assert_eq!(of_content(&content(&whole), &content(&whole)), []);
        for (place, expected) in [
            ("/tasks/A/definition/cut", "task A: cut"),
            (
                "/tasks/A/files/dev/0/sha256",
                "task A: dev rows in a.tsv (sha256)",
            ),
            (
                "/tasks/A/files/dev/0/read_as/share",
                "task A: dev rows in a.tsv, share",
            ),
            (
                "/tasks/A/files/dev/0/ids_sha256",
                "task A: dev rows in a.tsv, its list of ids (sha256)",
            ),
            (
                "/tasks/A/images/dev",
                "task A: the images of dev rows (sha256)",
            ),
            (
                "/deduplicated_with/B/images/dev",
                "task B: the images of dev rows (sha256)",
            ),
            ("/encoder/weights", "the encoder's weights (sha256)"),
            ("/encoder/config/layers", "the encoder's layers"),
            ("/encoder/tokenizer", "the encoder's tokenizer"),
            (
                "/start/encoder",
                "the encoder of the run that it starts from (sha256)",
            ),
            (
                "/start/heads",
                "the heads of the run that it starts from (sha256)",
            ),
        ] {
            let mut other = whole.clone();
            let value = other.pointer_mut(place).unwrap();
            *value = if value.is_number() {
                2.into()
            } else {
                "2".into()
            };
            let found = of_content(&content(&whole), &content(&other));
            let named: Vec<&str> = found.iter().map(|found| found.what.as_str()).collect();
            assert_eq!(named, [expected]);
        }
        let mut other = whole.clone();
        other["tasks"]["A"]["files"]["dev"] = json!([]);
        let found = of_content(&content(&whole), &content(&other));
        assert_eq!(found[0].to_string(), "task A: dev was 1 files, is 0 files");
    }
}
