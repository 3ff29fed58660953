//! What can go wrong.

use std::path::PathBuf;

/// An error of this crate. Texts name the thing, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A weight is missing, left over, or has another shape; or a file can't be read.
    #[error(transparent)]
    Weights(#[from] turbo_weights::Error),
    /// A configuration asks for something these networks don't do.
    #[error("{}: `{key}` is {value}; supported: {supported}", file.display())]
    Config {
        /// The JSON file.
        file: PathBuf,
        /// The key, as it stands in the file.
        key: String,
        /// The value found, as JSON.
        value: String,
        /// What could stand there instead.
        supported: String,
    },
    /// An argument has the wrong size or lies outside its range.
    #[error("{what}: expected {expected}, found {found}")]
    Argument {
        /// The argument.
        what: &'static str,
        /// Sizes or range that are right.
        expected: String,
        /// What came.
        found: String,
    },
    /// The device doesn't exist, or this build can't use it.
    #[error("{0}")]
    Device(String),
    /// A result holds NaN or infinity.
    #[error("{what}: {count} of {total} values are NaN or infinite; try --dtype f32")]
    NotFinite {
        /// What was computed.
        what: &'static str,
        /// How many values are not finite.
        count: usize,
        /// How many values there are.
        total: usize,
    },
    /// candle failed, for example for lack of memory on the device.
    // What follows the first line is a backtrace.
    #[error("candle: {}", .0.to_string().lines().next().unwrap_or_default())]
    Candle(#[from] candle_core::Error),
}

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Argument`].
    #[allow(clippy::needless_pass_by_value)] // so that callers write `format!(..)` and numbers alike
    pub(crate) fn argument(
        what: &'static str,
        expected: impl ToString,
        found: impl ToString,
    ) -> Self {
        Self::Argument {
            what,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

/// Checks the length of a slice that stands for a tensor.
pub(crate) fn expect_len(what: &'static str, values: &[f32], shape: &[usize]) -> Result<()> {
    let expected: usize = shape.iter().product();
    if values.len() == expected {
        return Ok(());
    }
    let shape = format!("{expected} values (shape {shape:?})");
    Err(Error::argument(what, shape, values.len()))
}

/// Checks that every value is finite.
///
/// # Errors
/// [`Error::NotFinite`] with the number of values that are not.
pub fn expect_finite(what: &'static str, values: &[f32]) -> Result<()> {
    let count = values.iter().filter(|v| !v.is_finite()).count();
    if count == 0 {
        return Ok(());
    }
    let total = values.len();
    Err(Error::NotFinite { what, count, total })
}
