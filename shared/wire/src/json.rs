//! The JSON of a header, read without losing what a map type would hide.
//!
//! The safetensors crate reads the header into hash maps, where the last of two equal names wins.
//! Here the entries are kept as they stand, so that duplicates can be refused.

use std::collections::BTreeSet;
use std::fmt;

use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::quote::clip;
use crate::{Error, Metadata};

/// The key under which safetensors keeps the metadata.
pub(crate) const METADATA: &str = "__metadata__";

/// A header's entries: metadata, and tensors in the order in which they stand.
pub(crate) struct RawHeader {
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<(String, TensorInfo)>,
}

impl RawHeader {
    /// Reads the header's JSON, whose first byte is known to be `{`; whitespace may follow it.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(json).map_err(Error::HeaderUtf8)?;
        let entries: Entries = serde_json::from_str(text).map_err(|error| json_error(&error))?;

        let mut names = BTreeSet::new();
        for (name, _) in &entries.tensors {
            if !names.insert(name.as_str()) {
                return Err(Error::DuplicateTensor { name: clip(name) });
            }
        }
        if entries.metadata.len() > 1 {
            return Err(Error::DuplicateTensor {
                name: METADATA.to_owned(),
            });
        }

        let mut metadata = Metadata::new();
        for (key, value) in entries.metadata.into_iter().flatten().flat_map(|map| map.0) {
            let Value::String(value) = value else {
                return Err(Error::MetadataType {
                    key: clip(&key),
                    found: type_name(&value),
                });
            };
            if metadata.contains_key(&key) {
                return Err(Error::DuplicateKey { key: clip(&key) });
            }
            metadata.insert(key, value);
        }
        Ok(Self {
            metadata,
            tensors: entries.tensors,
        })
    }

    /// The header's length as 8 bytes, its JSON, and spaces up to a multiple of 8.
    ///
    /// Equal headers give equal bytes: the metadata is sorted, and nothing else is left open.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; 8];
        serde_json::to_writer(&mut bytes, self).map_err(|error| json_error(&error))?;
        bytes.resize(bytes.len().next_multiple_of(8), b' ');
        let length = bytes.len() as u64 - 8;
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        Ok(bytes)
    }
}

impl Serialize for RawHeader {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + self.tensors.len()))?;
        map.serialize_entry(METADATA, &self.metadata)?;
        for (name, info) in &self.tensors {
            map.serialize_entry(name, info)?;
        }
        map.end()
    }
}

/// The parser's text may repeat a piece of the input, which is not fit for a terminal as it is.
fn json_error(error: &serde_json::Error) -> Error {
    const LONGEST: usize = 400;
    let whole = error.to_string();
    let mut text = String::new();
    for c in whole.chars().take(LONGEST) {
        if c == ' ' || c.is_ascii_graphic() {
            text.push(c);
        } else {
            text.extend(c.escape_debug());
        }
    }
    if whole.chars().nth(LONGEST).is_some() {
        text.push_str("...");
    }
    Error::HeaderJson { text }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// All entries of the header, duplicates included. `metadata` has one element for each time that
/// `__metadata__` stands there; safetensors takes `null` for none.
#[derive(Default)]
struct Entries {
    metadata: Vec<Option<Pairs>>,
    tensors: Vec<(String, TensorInfo)>,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Entries::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA {
                        entries.metadata.push(map.next_value()?);
                    } else {
                        let info: Info = map.next_value().map_err(|error| {
                            A::Error::custom(format_args!("tensor {:?}: {error}", clip(&name)))
                        })?;
                        entries.tensors.push((name, info.into()));
                    }
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_map(EntriesVisitor)
    }
}

/// A [`TensorInfo`] beside which other keys may stand. Their values are read before they are dropped, as safetensors
/// does: a number that no float holds, or lists nested without end, are refused by both.
#[derive(serde::Deserialize)]
struct Info {
    dtype: Dtype,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
    #[serde(flatten)]
    _others: IgnoredAny,
}

impl From<Info> for TensorInfo {
    fn from(info: Info) -> Self {
        Self {
            dtype: info.dtype,
            shape: info.shape,
            data_offsets: info.data_offsets,
        }
    }
}

/// The pairs of a JSON object, duplicates included.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;

        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of metadata")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor)
    }
}
