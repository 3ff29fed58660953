//! A configuration's keys, as a class reads them.

use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The file's name, as errors say it.
pub(crate) const FILE: &str = "scheduler_config.json";
/// What was set over the file, as errors say it.
const SET: &str = "scheduler_set";

/// The keys of a configuration, as a class reads them: each with its type and its default at the place of its use.
pub(crate) struct Keys<'a> {
    file: &'a Map<String, Value>,
    set: &'a Map<String, Value>,
    /// diffusers' name of the class.
    class: &'static str,
    /// A key that stands for the class, with its value, whatever the file says.
    preset: Option<(&'static str, &'static str)>,
    /// Every key that was asked for, in this order.
    known: Vec<&'static str>,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(
        file: &'a Map<String, Value>,
        set: &'a Map<String, Value>,
        class: &'static str,
        preset: Option<(&'static str, &'static str)>,
    ) -> Self {
        Self {
            file,
            set,
            class,
            preset,
            known: Vec::new(),
        }
    }

    /// diffusers' name of the class.
    pub(crate) fn class(&self) -> &'static str {
        self.class
    }

    /// Whether the class asked for this key.
    pub(crate) fn is_known(&self, key: &str) -> bool {
        self.known.contains(&key)
    }

    /// The value under `key`, and where it stands; null stands for nothing.
    fn get(&mut self, key: &'static str) -> Option<(&'static str, &'a Value)> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let set = self.set.get(key).map(|value| (SET, value));
        let preset = self.preset;
        let value = set.or_else(|| match preset {
            Some((preset, _)) if preset == key => None,
            _ => self.file.get(key).map(|value| (FILE, value)),
        });
        value.filter(|(_, value)| !value.is_null())
    }

    fn typed<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>> {
        let Some((place, value)) = self.get(key) else {
            return Ok(None);
        };
        T::deserialize(value).map(Some).map_err(|_| Error::Type {
            place,
            key: key.to_owned(),
            expected,
            found: value.to_string(),
        })
    }

    pub(crate) fn bool(&mut self, key: &'static str, default: bool) -> Result<bool> {
        Ok(self.typed(key, "true or false")?.unwrap_or(default))
    }

    pub(crate) fn count(&mut self, key: &'static str, default: usize) -> Result<usize> {
        Ok(self.typed(key, "a whole number")?.unwrap_or(default))
    }

    /// A whole number from `range`.
    pub(crate) fn count_in(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<usize>,
        default: usize,
    ) -> Result<usize> {
        let count = self.count(key, default)?;
        if range.contains(&count) {
            return Ok(count);
        }
        Err(self.unsupported(key, format!("{} to {}", range.start(), range.end())))
    }

    pub(crate) fn number(&mut self, key: &'static str, default: f64) -> Result<f64> {
        Ok(self.optional_number(key)?.unwrap_or(default))
    }

    pub(crate) fn optional_number(&mut self, key: &'static str) -> Result<Option<f64>> {
        self.typed(key, "a number")
    }

    pub(crate) fn numbers(&mut self, key: &'static str) -> Result<Option<Vec<f64>>> {
        self.typed(key, "null or a list of numbers")
    }

    pub(crate) fn counts(&mut self, key: &'static str) -> Result<Vec<usize>> {
        Ok(self
            .typed(key, "a list of whole numbers")?
            .unwrap_or_default())
    }

    /// A word that stands under a key.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<&'a str> {
        self.get(key).and_then(|(_, value)| value.as_str())
    }

    /// Refuses anything but null under a key that means something which is not here.
    pub(crate) fn refuse(&mut self, key: &'static str) -> Result<()> {
        match self.get(key) {
            None => Ok(()),
            Some(_) => Err(self.unsupported(key, "null".to_owned())),
        }
    }

    /// Refuses a variance that the network learned beside its output: SDXL's has none.
    pub(crate) fn refuse_learned_variance(&mut self) -> Result<()> {
        match self.text("variance_type") {
            Some("learned" | "learned_range") => {
                Err(self.unsupported("variance_type", "null".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        known: &[(&str, T)],
        default: &str,
    ) -> Result<T> {
        let preset = self.preset;
        let default = preset
            .filter(|preset| preset.0 == key)
            .map_or(default, |preset| preset.1);
        let word = match self.get(key) {
            None => Some(default),
            Some((_, value)) => value.as_str(),
        };
        let found = known.iter().find(|(known, _)| word == Some(known));
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let words: Vec<_> = known
                .iter()
                .map(|(word, _)| format!("\"{word}\""))
                .collect();
            self.unsupported(key, words.join(" or "))
        })
    }

    /// Refuses what stands under a key.
    pub(crate) fn unsupported(&mut self, key: &'static str, expected: String) -> Error {
        let (place, found) = self
            .get(key)
            .map_or((FILE, "null".to_owned()), |(place, value)| {
                (place, value.to_string())
            });
        Error::Unsupported {
            place,
            key: key.to_owned(),
            expected,
            found,
        }
    }

    /// Refuses two things together.
    pub(crate) fn combination(&self, what: impl Into<String>) -> Error {
        Error::Combination {
            class: self.class(),
            what: what.into(),
        }
    }

    /// Refuses keys that were set and that the class did not ask for. To be called when all were read.
    pub(crate) fn finish(mut self) -> Result<()> {
        match self
            .set
            .keys()
            .find(|key| !self.known.contains(&key.as_str()))
        {
            None => Ok(()),
            Some(key) => {
                self.known.sort_unstable();
                Err(Error::UnknownKey {
                    key: key.clone(),
                    class: self.class(),
                    known: self.known,
                })
            }
        }
    }
}
