/// Why a scheduler could not be built.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// A key holds something of the wrong type.
    #[error("{place}: {key}: expected {expected}, found {found}")]
    Type {
        /// `scheduler_config.json`, or `scheduler_set` for a key set over it.
        place: &'static str,
        /// The key.
        key: String,
        /// What may stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A key holds a value that the class does not have.
    #[error("{place}: {key}: {found} is not supported, expected {expected}")]
    Unsupported {
        /// `scheduler_config.json`, or `scheduler_set` for a key set over it.
        place: &'static str,
        /// The key.
        key: String,
        /// What is supported.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A key was set that the class does not read.
    #[error("scheduler_set: {key:?}: {class} has no such key; it has {}", known.join(", "))]
    UnknownKey {
        /// The key.
        key: String,
        /// diffusers' name of the class.
        class: &'static str,
        /// What the class reads.
        known: Vec<&'static str>,
    },
    /// There is no class of this name.
    #[error("scheduler: {found:?} is not known, expected one of {}", known.join(", "))]
    UnknownClass {
        /// What was asked for.
        found: String,
        /// The short names.
        known: Vec<&'static str>,
    },
    /// Two things that the class does not have together.
    #[error("{class}: {what}")]
    Combination {
        /// diffusers' name of the class.
        class: &'static str,
        /// What was found and what to do.
        what: String,
    },
    /// The number of steps is zero or more than the class can take.
    #[error("expected 1 to {max} steps, found {found}")]
    Steps {
        /// The most.
        max: usize,
        /// What was asked for.
        found: usize,
    },
}
