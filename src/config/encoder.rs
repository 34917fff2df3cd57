//! `encoder:`, the module that all tasks share: a pretrained BERT by its name, a small module over word
//! embeddings or a network over images by its keys.

use std::borrow::Cow;
use std::fmt;

use anyhow::Result;
use schemars::{json_schema, JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_yaml::Value;

use super::images::ImageModule;
use super::words::WordModule;

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
        match self {
            EncoderChoice::Pretrained(_) => Ok(()),
            EncoderChoice::Words(module) => module.validate(place),
            EncoderChoice::Images(module) => module.validate(place),
        }
    }
}

/// What people and results call it; of two modules that differ, the names do.
impl fmt::Display for EncoderChoice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            EncoderChoice::Pretrained(name) => f.write_str(name),
            EncoderChoice::Words(module) => module.fmt(f),
            EncoderChoice::Images(module) => module.fmt(f),
        }
    }
}

impl From<&str> for EncoderChoice {
    fn from(name: &str) -> Self {
        EncoderChoice::Pretrained(name.to_owned())
    }
}

impl JsonSchema for EncoderChoice {
    fn schema_name() -> Cow<'static, str> {
        "EncoderChoice".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                {"type": "string", "title": "a name or folder"},
                generator.subschema_for::<WordModule>(),
                generator.subschema_for::<ImageModule>(),
            ]
        })
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
