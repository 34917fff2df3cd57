//! Values that a config writes as a word: `20x`, `0.1 epochs`, `full`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::{json_schema, JsonSchema, Schema, SchemaGenerator};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The task of a name that is a task's or one of its labels', `TASK/LABEL`.
pub fn task_of(name: &str) -> &str {
    name.split_once('/').map_or(name, |(task, _)| task)
}

/// A learning rate, absolute or as a multiple of the encoder's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    Absolute(f64),
    Relative(f64),
}

impl Rate {
    /// The rate beside an encoder's of `base`.
    pub fn resolve(self, base: f64) -> f64 {
        match self {
            Rate::Absolute(rate) => rate,
            Rate::Relative(factor) => factor * base,
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Rate::Absolute(rate) => write!(f, "{rate:e}"),
            Rate::Relative(factor) => write!(f, "{factor:?}x"),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no learning rate; write 1e-4, or 20x the encoder's");
        let (number, relative) = match text.strip_suffix('x') {
            Some(number) => (number, true),
            None => (text, false),
        };
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        if !(number >= 0.0 && number.is_finite()) {
            return Err(wrong());
        }
        Ok(if relative {
            Rate::Relative(number)
        } else {
            Rate::Absolute(number)
        })
    }
}

/// How often something happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Interval {
    Steps(u64),
    Epochs(f64),
}

impl Interval {
    /// In optimiser steps, at least 1.
    pub fn steps(self, steps_per_epoch: f64) -> u64 {
        match self {
            Interval::Steps(steps) => steps,
            Interval::Epochs(epochs) => (epochs * steps_per_epoch).round().max(1.0) as u64,
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Interval::Steps(steps) => write!(f, "{steps} steps"),
            Interval::Epochs(epochs) => write!(f, "{epochs} epochs"),
        }
    }
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no interval; write `1 epoch` or `500 steps`");
        let mut words = text.split_whitespace();
        let number = words.next().ok_or_else(wrong)?;
        let interval = match words.next() {
            None | Some("step" | "steps") => Interval::Steps(number.parse().map_err(|_| wrong())?),
            Some("epoch" | "epochs") => Interval::Epochs(number.parse().map_err(|_| wrong())?),
            Some(_) => return Err(wrong()),
        };
        match interval {
            Interval::Steps(steps) if steps > 0 => Ok(interval),
            Interval::Epochs(epochs) if epochs > 0.0 && epochs.is_finite() => Ok(interval),
            _ => Err(wrong()),
        }
    }
}

/// The rank of R − I.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    Full,
    Low(i64),
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Rank::Full => f.write_str("full"),
            Rank::Low(rank) => write!(f, "{rank}"),
        }
    }
}

impl FromStr for Rank {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(rank) if rank > 0 => Ok(Rank::Low(rank)),
            _ if text == "full" => Ok(Rank::Full),
            _ => Err(format!(
                "`{text}` is no rank; write `full` or a number above 0"
            )),
        }
    }
}

/// Among how many batches rows are sorted by length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LengthWindow {
    /// 1 where the engine packs rows, else `small`; a run's own config says which.
    #[default]
    Auto,
    /// Few enough that chance still decides which rows share a batch: a sixteenth of the batches
    /// that are drawn together, and at most 8.
    Small,
    /// So many.
    Batches(usize),
}

impl LengthWindow {
    /// Of `drawn` batches, how many are sorted together; 1 sorts nothing.
    pub fn of(self, drawn: usize) -> usize {
        match self {
            LengthWindow::Auto | LengthWindow::Small => (drawn / 16).clamp(1, 8),
            LengthWindow::Batches(batches) => batches,
        }
    }

    /// What it comes to where rows are packed or padded.
    pub fn settled(self, packs: bool) -> LengthWindow {
        match self {
            LengthWindow::Auto if packs => LengthWindow::Batches(1),
            LengthWindow::Auto => LengthWindow::Small,
            other => other,
        }
    }
}

impl FromStr for LengthWindow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("auto", _) => Ok(LengthWindow::Auto),
            ("small", _) => Ok(LengthWindow::Small),
            (_, Ok(batches)) if batches > 0 => Ok(LengthWindow::Batches(batches)),
            _ => Err(format!(
                "`{text}` is no window; write `auto`, `small` or a number of batches above 0"
            )),
        }
    }
}

impl Serialize for LengthWindow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            LengthWindow::Auto => serializer.serialize_str("auto"),
            LengthWindow::Small => serializer.serialize_str("small"),
            LengthWindow::Batches(batches) => serializer.serialize_u64(*batches as u64),
        }
    }
}

impl<'de> Deserialize<'de> for LengthWindow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Word(std::marker::PhantomData))
    }
}

/// Whose dev and test texts may not be among a task's training rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "`true`, `false`, or a list of tasks")]
pub enum Deduplicate {
    /// The run's other tasks', or nobody's.
    Switch(bool),
    /// The run's other tasks' and those of the tasks that are named.
    With(Vec<String>),
}

impl Deduplicate {
    pub fn is_on(&self) -> bool {
        *self != Deduplicate::Switch(false)
    }

    /// The tasks that are named, by name or file.
    pub fn named(&self) -> &[String] {
        match self {
            Deduplicate::Switch(_) => &[],
            Deduplicate::With(tasks) => tasks,
        }
    }
}

/// How many training rows a task may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum RowLimit {
    /// So many of each task.
    Each(usize),
    /// So many of the tasks that are named, all of the others.
    Named(BTreeMap<String, usize>),
}

impl RowLimit {
    /// The most rows of the task called `task`, where there is a limit.
    pub fn of(&self, task: &str) -> Option<usize> {
        match self {
            RowLimit::Each(rows) => Some(*rows),
            RowLimit::Named(rows) => rows.get(task).copied(),
        }
    }

    /// The limit over the tasks that `keep` names; none where it names no task then.
    pub fn only(self, keep: impl Fn(&str) -> bool) -> Option<RowLimit> {
        let RowLimit::Named(rows) = self else {
            return Some(self);
        };
        let rows: BTreeMap<_, _> = rows.into_iter().filter(|(task, _)| keep(task)).collect();
        (!rows.is_empty()).then_some(RowLimit::Named(rows))
    }
}

// By hand, so that an error says more than "matches no variant".
impl<'de> Deserialize<'de> for RowLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Limit;
        impl<'de> Visitor<'de> for Limit {
            type Value = RowLimit;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number of rows above 0, or a number for each task")
            }

            fn visit_u64<E: Error>(self, rows: u64) -> Result<RowLimit, E> {
                match usize::try_from(rows) {
                    Ok(rows) if rows > 0 => Ok(RowLimit::Each(rows)),
                    _ => Err(E::custom("must be above 0")),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RowLimit, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                let rows: BTreeMap<String, std::num::NonZeroUsize> = Deserialize::deserialize(map)?;
                let rows = rows.into_iter().map(|(task, rows)| (task, rows.get()));
                Ok(RowLimit::Named(rows.collect()))
            }
        }
        deserializer.deserialize_any(Limit)
    }
}

/// A value's JSON Schema; `title` says in documents what may stand there.
macro_rules! schema {
    ($kind:ty, $name:literal, $schema:tt) => {
        impl JsonSchema for $kind {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

schema!(Rate, "Rate", {
    "title": "number, or a multiple such as `20x`",
    "type": ["number", "string"],
    "minimum": 0,
    "pattern": r"^[0-9.eE+-]+ *x?$"
});
schema!(Interval, "Interval", {
    "title": "`N steps` or `X epochs`",
    "type": ["integer", "string"],
    "minimum": 1,
    "pattern": r"^[0-9.eE+-]+( +(steps?|epochs?))?$"
});
schema!(Rank, "Rank", {
    "title": "`full`, or a whole number",
    "anyOf": [{"const": "full"}, {"type": "integer", "minimum": 1}]
});
schema!(LengthWindow, "LengthWindow", {
    "title": "`auto`, `small`, or a whole number",
    "anyOf": [{"enum": ["auto", "small"]}, {"type": "integer", "minimum": 1}]
});
schema!(RowLimit, "RowLimit", {
    "title": "whole number, or one for each task",
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}}
    ]
});

/// Reads a word or a number through [`FromStr`].
struct Word<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = String>> Visitor<'_> for Word<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a word or a number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.trim().parse().map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

macro_rules! as_word {
    ($($kind:ty),*) => {$(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Word(std::marker::PhantomData))
            }
        }

        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

as_word!(Rate, Interval, Rank);
