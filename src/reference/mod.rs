//! What people may write: every key of the files that covalign reads, with its meaning.
//!
//! One source: the doc comments of the structs that read the files. From them come the JSON Schema
//! that editors use, `docs/reference.md` (with the examples beside this file), and the resolved file
//! that `covalign config check` prints.

pub mod keys;
pub mod markdown;
pub mod resolved;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::config::Config;
use crate::simulate::config::SimulateConfig;
use crate::suite::file::SuiteFile;
use crate::task::TaskFile;

/// A kind of file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A training config
    #[default]
    Train,
    /// A task
    Task,
    /// A study
    Suite,
    /// A config of synthetic studies
    Simulate,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Train, Kind::Task, Kind::Suite, Kind::Simulate];

    /// What such a file is called.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Train => "training config",
            Kind::Task => "task",
            Kind::Suite => "suite",
            Kind::Simulate => "simulation",
        }
    }

    /// The kind whose keys a file has the most of; where several have as many, the first.
    pub fn of(tree: &serde_yaml::Value) -> Kind {
        let known = |kind: &Kind| {
            let schema = kind.schema();
            let keys = tree.as_mapping().into_iter().flatten();
            let keys = keys.filter_map(|(key, _)| key.as_str());
            keys.filter(|key| schema["properties"].get(key).is_some())
                .count()
        };
        let [mut best, rest @ ..] = Kind::ALL;
        for kind in rest {
            if known(&kind) > known(&best) {
                best = kind;
            }
        }
        best
    }

    /// The JSON Schema (draft 7, which editors know best) of such a file.
    pub fn schema(self) -> Value {
        let generator = SchemaSettings::draft07().into_generator();
        let schema = match self {
            Kind::Train => generator.into_root_schema_for::<Config>(),
            Kind::Task => generator.into_root_schema_for::<TaskFile>(),
            Kind::Suite => generator.into_root_schema_for::<SuiteFile>(),
            Kind::Simulate => generator.into_root_schema_for::<SimulateConfig>(),
        };
        let mut schema = Value::from(schema);
        schema["title"] = format!("covalign {}", self.title()).into();
        join_lines(&mut schema);
        schema
    }

    /// Files of the kind, one YAML document each, that have every key between them.
    pub fn examples(self) -> &'static str {
        match self {
            Kind::Train => include_str!("examples/train.yaml"),
            Kind::Task => include_str!("examples/task.yaml"),
            Kind::Suite => include_str!("examples/suite.yaml"),
            Kind::Simulate => include_str!("examples/simulate.yaml"),
        }
    }
}

/// A doc comment's lines are the source's, not the reader's.
fn join_lines(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            for (key, value) in keys {
                match value {
                    Value::String(text) if key == "description" => {
                        *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                    }
                    value => join_lines(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(join_lines),
        _ => {}
    }
}
