//! `encoder:`, the module that all tasks share: a pretrained BERT by its name, a small module over word
//! embeddings or a network over images by its keys.

use std::fmt;

use anyhow::Result;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_yaml::Value;

use super::images::ImageModule;
use crate::bail_input;

/// The module that all tasks share.
#[derive(Debug, Clone, PartialEq)]
pub enum EncoderChoice {
    /// A BERT: a name that `covalign encoder fetch` knows, or a folder.
    Pretrained(String),
    /// A module over word embeddings, from a random start.
    Words(WordModule),
    /// A network over images.
    Images(ImageModule),
}

/// What a module over word embeddings is made of (Wu, Zhang, Ré, ICLR 2020, have all three).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModuleKind {
    /// A recurrent network (Hochreiter and Schmidhuber 1997).
    Lstm,
    /// Windows of words, the largest answer of each filter over a row (Kim 2014).
    Cnn,
    /// Layers with ReLU on the mean of a row's embeddings.
    Mlp,
}

/// What an LSTM's states of a row come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// The state where the reading ends: behind the last word, of a backward reading the first.
    #[default]
    Last,
    /// The largest over the row, of each unit.
    Max,
    Mean,
}

/// A small module over word embeddings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordModule {
    pub kind: ModuleKind,
    /// Units of a layer and direction; filters of each window.
    #[serde(default = "hundred")]
    pub width: i64,
    /// Layers one above the other: `lstm` and `mlp`.
    #[serde(default = "one")]
    pub layers: i64,
    /// `lstm`: also from the row's end to its start.
    #[serde(default)]
    pub bidirectional: bool,
    /// `lstm`: what a row's states come to.
    #[serde(default)]
    pub pool: Pool,
    /// `cnn`: words in each window.
    #[serde(default = "kim")]
    pub windows: Vec<i64>,
    /// Share of the values that are dropped between layers, and by default before the heads.
    #[serde(default)]
    pub dropout: f64,
    /// Where words and their vectors come from: an encoder's name or folder, or a text file with a
    /// word and its vector on each line, as GloVe and word2vec have.
    pub embeddings: String,
    /// Random vectors of this width for those words, in place of what is known of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_width: Option<i64>,
    /// Whether the vectors are learned too.
    #[serde(default)]
    pub train_embeddings: bool,
}

fn hundred() -> i64 {
    100
}

fn one() -> i64 {
    1
}

fn kim() -> Vec<i64> {
    vec![3, 4, 5]
}

impl ModuleKind {
    /// The name in a config.
    pub fn name(self) -> &'static str {
        match self {
            ModuleKind::Lstm => "lstm",
            ModuleKind::Cnn => "cnn",
            ModuleKind::Mlp => "mlp",
        }
    }
}

impl EncoderChoice {
    pub fn words(&self) -> Option<&WordModule> {
        match self {
            EncoderChoice::Words(module) => Some(module),
            _ => None,
        }
    }

    pub fn images(&self) -> Option<&ImageModule> {
        match self {
            EncoderChoice::Images(module) => Some(module),
            _ => None,
        }
    }

    /// What its rows are counted in.
    pub fn unit(&self) -> &'static str {
        match self {
            EncoderChoice::Images(_) => "images",
            _ => "tokens",
        }
    }

    /// Where it comes from: the name, folder or file of an encoder, of word vectors or of weights.
    pub fn source(&self) -> &str {
        match self {
            EncoderChoice::Pretrained(name) => name,
            EncoderChoice::Words(module) => &module.embeddings,
            EncoderChoice::Images(module) => &module.weights,
        }
    }

    /// The same with another [`EncoderChoice::source`].
    pub fn with_source(self, source: String) -> EncoderChoice {
        match self {
            EncoderChoice::Pretrained(_) => EncoderChoice::Pretrained(source),
            EncoderChoice::Words(module) => EncoderChoice::Words(WordModule {
                embeddings: source,
                ..module
            }),
            EncoderChoice::Images(module) => EncoderChoice::Images(ImageModule {
                weights: source,
                ..module
            }),
        }
    }

    /// # Errors
    /// An input error that names the key.
    pub(super) fn validate(&self, place: &str) -> Result<()> {
        let module = match self {
            EncoderChoice::Pretrained(_) => return Ok(()),
            EncoderChoice::Images(module) => return module.validate(place),
            EncoderChoice::Words(module) => module,
        };
        let size = |n: i64| (1..=1 << 16).contains(&n);
        let is = |kind| module.kind == kind;
        let rules = [
            (size(module.width), "width", "must lie from 1 to 65536"),
            (
                (1..=64).contains(&module.layers),
                "layers",
                "must lie from 1 to 64",
            ),
            (
                module.embedding_width.is_none_or(size),
                "embedding_width",
                "must lie from 1 to 65536",
            ),
            (
                (0.0..1.0).contains(&module.dropout),
                "dropout",
                "must lie in [0, 1)",
            ),
            (
                !module.windows.is_empty() && module.windows.iter().all(|w| (1..=64).contains(w)),
                "windows",
                "must name at least one window of 1 to 64 words",
            ),
            (
                is(ModuleKind::Cnn) || module.windows == kim(),
                "windows",
                "are a `cnn`'s",
            ),
            (
                !is(ModuleKind::Cnn) || module.layers == 1,
                "layers",
                "are those of `lstm` and `mlp`; a `cnn` has one",
            ),
            (
                is(ModuleKind::Lstm) || !module.bidirectional,
                "bidirectional",
                "is an `lstm`'s",
            ),
            (
                is(ModuleKind::Lstm) || module.pool == Pool::default(),
                "pool",
                "is an `lstm`'s",
            ),
        ];
        for (holds, key, demand) in rules {
            if !holds {
                bail_input!("{place}: key `encoder.{key}` {demand}");
            }
        }
        Ok(())
    }
}

/// What people and results call it; of two modules that differ, the names do.
impl fmt::Display for EncoderChoice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let module = match self {
            EncoderChoice::Pretrained(name) => return f.write_str(name),
            EncoderChoice::Images(module) => return module.fmt(f),
            EncoderChoice::Words(module) => module,
        };
        let WordModule {
            kind,
            width,
            layers,
            bidirectional,
            pool,
            windows,
            dropout,
            embeddings,
            embedding_width,
            train_embeddings,
        } = module;
        write!(f, "{} {width}", kind.name())?;
        if *layers > 1 {
            write!(f, " x {layers}")?;
        }
        match kind {
            ModuleKind::Lstm if *bidirectional => write!(f, ", both ways")?,
            ModuleKind::Cnn => write!(f, ", windows {windows:?}")?,
            _ => {}
        }
        match pool {
            Pool::Last => {}
            Pool::Max => write!(f, ", max")?,
            Pool::Mean => write!(f, ", mean")?,
        }
        if *dropout > 0.0 {
            write!(f, ", dropout {dropout}")?;
        }
        let learned = if *train_embeddings {
            "trained"
        } else {
            "frozen"
        };
        match embedding_width {
            Some(n) => write!(
                f,
                ", {learned} random vectors {n} for words of {embeddings}"
            ),
            None => write!(f, ", {learned} vectors of {embeddings}"),
        }
    }
}

impl From<&str> for EncoderChoice {
    fn from(name: &str) -> Self {
        EncoderChoice::Pretrained(name.to_owned())
    }
}

impl Serialize for EncoderChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            EncoderChoice::Pretrained(name) => serializer.serialize_str(name),
            EncoderChoice::Words(module) => module.serialize(serializer),
            EncoderChoice::Images(module) => module.serialize(serializer),
        }
    }
}

/// All kinds that have keys.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Lstm,
    Cnn,
    Mlp,
    Densenet121,
}

impl<'de> Deserialize<'de> for EncoderChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choice;

        impl<'de> Visitor<'de> for Choice {
            type Value = EncoderChoice;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an encoder's name or folder, or keys that begin with `kind`")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<EncoderChoice, E> {
                Ok(EncoderChoice::Pretrained(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut keys: A) -> Result<EncoderChoice, A::Error> {
                let mut read = Vec::new();
                let mut kind = None;
                while let Some(key) = keys.next_key::<String>()? {
                    if key == "kind" {
                        let own: Kind = keys.next_value()?;
                        let name = serde_yaml::to_value(own).map_err(A::Error::custom)?;
                        read.push((key, name));
                        kind = Some(own);
                        break;
                    }
                    read.push((key, keys.next_value()?));
                }
                let kind = kind.ok_or_else(|| A::Error::missing_field("kind"))?;
                let keys = MapAccessDeserializer::new(Again {
                    read: read.into_iter(),
                    value: None,
                    keys,
                });
                Ok(match kind {
                    Kind::Densenet121 => EncoderChoice::Images(ImageModule::deserialize(keys)?),
                    _ => EncoderChoice::Words(WordModule::deserialize(keys)?),
                })
            }
        }

        deserializer.deserialize_any(Choice)
    }
}

/// Keys once more, from those that were read to find the kind; the others come from where they are,
/// and so do their lines in errors.
struct Again<A> {
    read: std::vec::IntoIter<(String, Value)>,
    /// Of the last key that was read before.
    value: Option<Value>,
    keys: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Again<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        match self.read.next() {
            Some((key, value)) => {
                self.value = Some(value);
                seed.deserialize(key.into_deserializer()).map(Some)
            }
            None => self.keys.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        match self.value.take() {
            Some(value) => seed.deserialize(value).map_err(A::Error::custom),
            None => self.keys.next_value_seed(seed),
        }
    }
}
