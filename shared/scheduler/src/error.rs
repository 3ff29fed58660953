/// Why a scheduler could not be built or used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// A key of `scheduler_config.json` holds something of the wrong type.
    #[error("scheduler_config.json: {key}: expected {expected}, found {found}")]
    Type {
        /// The key.
        key: &'static str,
        /// What may stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A key of `scheduler_config.json` holds a value that this crate does not compute.
    #[error("scheduler_config.json: {key}: {found} is not supported, expected {expected}")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// What is supported.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// The number of steps is zero or more than the model was trained on.
    #[error("expected 1 to {max} steps, found {found}")]
    Steps {
        /// `num_train_timesteps`.
        max: usize,
        /// What was asked for.
        found: usize,
    },
}
