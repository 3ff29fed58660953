//! `scheduler_config.json`: which class, and its keys.

use crate::class::{Class, by_class_name, by_name, class_names};
use crate::{Error, Result, Steps};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The file's name, as errors say it.
const FILE: &str = "scheduler_config.json";
/// What other programs name a schedule by.
const NAMING_KEYS: &[&str] = &[
    "algorithm_type",
    "solver_order",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "use_lu_lambdas",
];
/// What was set over the file, as errors say it.
const SET: &str = "scheduler_set";

/// A checkpoint's `scheduler_config.json`, with the class that is taken and the keys that are set over it.
///
/// Another class than the file's takes from it what diffusers' `from_config` takes: every key that the class knows
/// and the file states; the class's own default stands for the others.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerConfig {
    /// None where the file names one that is not here.
    class: Option<&'static Class>,
    file: Map<String, Value>,
    set: Map<String, Value>,
}

impl SchedulerConfig {
    /// From the content of `scheduler_config.json`. A file that names no class is one of
    /// `EulerAncestralDiscreteScheduler`, SDXL Turbo's.
    ///
    /// # Errors
    /// [`Error::Type`] where it is no object. All else is looked at when the scheduler is built, so that a file of a
    /// class that is not here serves for another.
    pub fn from_json(config: &Value) -> Result<Self> {
        let Value::Object(file) = config else {
            return Err(Error::Type {
                place: FILE,
                key: "content".to_owned(),
                expected: "an object",
                found: config.to_string(),
            });
        };
        let mut file = file.clone();
        // diffusers lists here what was not stated when the file was saved.
        if let Some(Value::Array(defaults)) = file.remove("_use_default_values") {
            for key in defaults.iter().filter_map(Value::as_str) {
                file.remove(key);
            }
        }
        let class = match file.get("_class_name") {
            None => by_class_name("EulerAncestralDiscreteScheduler"),
            Some(name) => name.as_str().and_then(by_class_name),
        };
        Ok(Self {
            class,
            file,
            set: Map::new(),
        })
    }

    /// Takes another class: `euler`, or `EulerDiscreteScheduler`. What was set stays set.
    ///
    /// # Errors
    /// [`Error::UnknownClass`], listing the names.
    pub fn with_class(mut self, name: &str) -> Result<Self> {
        self.class = Some(by_name(name)?);
        Ok(self)
    }

    /// Sets a key over the file's, by diffusers' name. Whether the class has it is seen when it is built.
    #[must_use]
    pub fn with_key(mut self, key: &str, value: Value) -> Self {
        self.set.insert(key.to_owned(), value);
        self
    }

    /// Without the keys that were set.
    #[must_use]
    pub fn without_keys(mut self) -> Self {
        self.set.clear();
        self
    }

    /// The class.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the file names one that is not here and none was taken instead.
    pub(crate) fn class(&self) -> Result<&'static Class> {
        self.class.ok_or_else(|| Error::Unsupported {
            place: FILE,
            key: "_class_name".to_owned(),
            expected: class_names().join(" or "),
            found: self.file["_class_name"].to_string(),
        })
    }

    /// The short name of the class, such as `euler-ancestral`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the file names one that is not here and none was taken instead.
    pub fn name(&self) -> Result<&'static str> {
        Ok(self.class()?.name)
    }

    /// diffusers' name of the class, such as `EulerAncestralDiscreteScheduler`.
    ///
    /// # Errors
    /// As for [`Self::name`].
    pub fn class_name(&self) -> Result<&'static str> {
        Ok(self.class()?.diffusers)
    }

    /// Whether this is the class of a name of either kind.
    pub fn is(&self, name: &str) -> bool {
        self.class
            .is_some_and(|class| class.name == name || class.diffusers == name)
    }

    /// The keys that tell how it differs from its class over the file: those that were set, what the short name
    /// stands for, and what programs name a schedule by (the algorithm, the curve of sigmas). Set over the same file,
    /// they give the same scheduler.
    pub fn telling_keys(&self) -> Map<String, Value> {
        let mut telling = self.set.clone();
        let Some(class) = self.class else {
            return telling;
        };
        if let Some((key, value)) = class.preset {
            telling.entry(key).or_insert_with(|| value.into());
        }
        let mut keys = Keys::new(self, class);
        // Whatever comes of it: what counts is which keys are read.
        let _ = (class.build)(&mut keys, &Steps::count(1));
        for key in NAMING_KEYS {
            let stated = self.file.get(*key).filter(|value| {
                !matches!(value, Value::Null | Value::Bool(false)) && keys.known.contains(key)
            });
            if let Some(value) = stated {
                telling.entry(*key).or_insert_with(|| value.clone());
            }
        }
        telling
    }

    /// What stands under a key, as it was set or as the file has it.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.set.get(key).or_else(|| self.file.get(key))
    }
}

/// The keys of a configuration, as a class reads them: each with its type and its default at the place of its use.
pub(crate) struct Keys<'a> {
    config: &'a SchedulerConfig,
    class: &'static Class,
    /// Every key that was asked for, in this order.
    known: Vec<&'static str>,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(config: &'a SchedulerConfig, class: &'static Class) -> Self {
        Self {
            config,
            class,
            known: Vec::new(),
        }
    }

    /// diffusers' name of the class.
    pub(crate) fn class(&self) -> &'static str {
        self.class.diffusers
    }

    /// The value under `key`, and where it stands; null stands for nothing.
    fn get(&mut self, key: &'static str) -> Option<(&'static str, &'a Value)> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let set = self.config.set.get(key).map(|value| (SET, value));
        let preset = self.class.preset;
        let value = set.or_else(|| match preset {
            Some((preset, _)) if preset == key => None,
            _ => self.config.file.get(key).map(|value| (FILE, value)),
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
        let preset = self.class.preset;
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
            .config
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

#[cfg(test)]
mod tests;
