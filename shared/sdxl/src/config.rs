//! Reading a component's `config.json`: every value is understood or refused by name.

use crate::{Error, Result};
use serde::{Deserialize as _, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::path::Path;

/// The JSON configuration of one component, with the file it came from for messages.
#[derive(Clone, Copy, Debug)]
pub struct ConfigFile<'a> {
    path: &'a Path,
    values: &'a Map<String, Value>,
}

impl<'a> ConfigFile<'a> {
    /// Wraps what was read from `path`.
    ///
    /// # Errors
    /// The JSON is not an object.
    pub fn new(path: &'a Path, json: &'a Value) -> Result<Self> {
        let Some(values) = json.as_object() else {
            return Err(Error::argument(
                "config.json",
                "a JSON object",
                format!("{json} in {}", path.display()),
            ));
        };
        Ok(Self { path, values })
    }

    /// The value of `key`. JSON null counts as missing.
    fn value(&self, key: &str) -> Option<&'a Value> {
        self.values.get(key).filter(|v| !v.is_null())
    }

    /// The error that says `key`'s value can't be used.
    pub(crate) fn refuse(&self, key: &str, supported: impl Into<String>) -> Error {
        Error::Config {
            file: self.path.to_owned(),
            key: key.to_owned(),
            value: self
                .values
                .get(key)
                .map_or_else(|| "missing".to_owned(), Value::to_string),
            supported: supported.into(),
        }
    }

    /// The value of `key` as a `T`, or nothing when it is missing or null.
    pub(crate) fn optional<T: DeserializeOwned>(
        &self,
        key: &str,
        supported: &str,
    ) -> Result<Option<T>> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => T::deserialize(value)
                .map(Some)
                .map_err(|_| self.refuse(key, supported)),
        }
    }

    /// The value of `key` as a `T`; missing or null is an error.
    pub(crate) fn required<T: DeserializeOwned>(&self, key: &str, supported: &str) -> Result<T> {
        self.optional(key, supported)?
            .ok_or_else(|| self.refuse(key, supported))
    }

    /// A whole number of at least 1; missing is an error.
    pub(crate) fn count(&self, key: &str) -> Result<usize> {
        let supported = "a whole number from 1";
        match self.required(key, supported)? {
            0 => Err(self.refuse(key, supported)),
            n => Ok(n),
        }
    }

    /// Numbers of at least 1, a list of `len`, or one number that stands for all; `default` where missing.
    pub(crate) fn counts(
        &self,
        key: &str,
        len: usize,
        default: Option<usize>,
    ) -> Result<Vec<usize>> {
        let supported = format!("a whole number from 1, or a list of {len} of them");
        let counts = match (self.value(key), default) {
            (None, Some(n)) => vec![n; len],
            (Some(value @ Value::Number(_)), _) => {
                let n = usize::deserialize(value).map_err(|_| self.refuse(key, &*supported))?;
                vec![n; len]
            }
            (Some(Value::Array(_)), _) => self.required::<Vec<usize>>(key, &supported)?,
            _ => return Err(self.refuse(key, supported)),
        };
        if counts.len() != len || counts.contains(&0) {
            return Err(self.refuse(key, supported));
        }
        Ok(counts)
    }

    /// Whether the key is there and not null.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Whether the key has this text.
    pub(crate) fn is(&self, key: &str, text: &str) -> bool {
        self.value(key).and_then(Value::as_str) == Some(text)
    }

    /// Refuses any value but those in `allowed`; a missing key or null passes, as diffusers' default.
    pub(crate) fn only(&self, key: &str, allowed: &[Value]) -> Result<()> {
        let Some(value) = self.value(key) else {
            return Ok(());
        };
        let same = |a: &Value| {
            a == value || a.as_f64().is_some_and(|a| Some(a) == value.as_f64()) // 1 is 1.0
        };
        if allowed.iter().any(same) {
            return Ok(());
        }
        let mut supported: Vec<_> = allowed.iter().map(Value::to_string).collect();
        supported.push("null".to_owned());
        Err(self.refuse(key, supported.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_that_is_not_supported_is_named() {
        let json = json!({"act_fn": "mish", "scale": 1.0, "heads": [5, 0], "layers": -1});
        let config = ConfigFile::new(Path::new("unet/config.json"), &json).unwrap();
        let message = config.only("act_fn", &["silu".into()]).unwrap_err();
        assert_eq!(
            message.to_string(),
            "unet/config.json: `act_fn` is \"mish\"; supported: \"silu\", null"
        );
        assert!(config.only("scale", &[1.into()]).is_ok());
        assert!(config.only("absent", &[]).is_ok());
        assert!(config.counts("heads", 2, None).is_err());
        assert!(config.count("layers").is_err());
        assert_eq!(config.counts("absent", 2, Some(3)).unwrap(), [3, 3]);
        let message = config.count("absent").unwrap_err().to_string();
        assert!(message.contains("`absent` is missing"), "{message}");
    }
}
