//! `scheduler_config.json`: which class, and its keys.

use crate::class::{Class, by_class_name, by_name, class_names};
use crate::keys::{FILE, Keys};
use crate::{Error, Result, Steps};
use serde_json::{Map, Value};

/// What other programs name a schedule by.
const NAMING_KEYS: &[&str] = &[
    "algorithm_type",
    "solver_order",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "use_lu_lambdas",
];

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

    /// The keys, for a class to read.
    pub(crate) fn keys(&self, class: &Class) -> Keys<'_> {
        Keys::new(&self.file, &self.set, class.diffusers, class.preset)
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
        let mut keys = self.keys(class);
        // Whatever comes of it: what counts is which keys are read.
        let _ = (class.build)(&mut keys, &Steps::count(1));
        for key in NAMING_KEYS {
            let stated = self.file.get(*key).filter(|value| {
                !matches!(value, Value::Null | Value::Bool(false)) && keys.is_known(key)
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

#[cfg(test)]
mod tests;
