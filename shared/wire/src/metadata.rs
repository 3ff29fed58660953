//! Reading and writing metadata.

use std::str::FromStr;

use crate::keys::Metadata;
use crate::settings::Setting;
use crate::{Error, Result};

/// The value of a setting.
///
/// # Errors
/// [`Error::Setting`].
pub fn read<T: FromStr>(metadata: &Metadata, key: &'static str) -> Result<Option<T>> {
    let Some(text) = metadata.get(key) else {
        return Ok(None);
    };
    let setting = Setting::of(key).ok_or(Error::Order("no setting has this key"))?;
    let error = |wrong| Error::Setting { key, wrong };
    let normal = setting.of_text(text).map_err(error)?;
    match normal.parse() {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(error(setting.value.wrong(&format!("{text:?}"), text))),
    }
}

/// Writes the entries that have a value, and leaves alone what stands under the keys of the others.
pub fn write<'a>(
    metadata: &mut Metadata,
    entries: impl IntoIterator<Item = (&'a str, Option<String>)>,
) {
    let present = entries
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    metadata.extend(present);
}

/// The value of [`PRODUCER`](crate::keys::PRODUCER) for a tool of this project: its name and version.
pub fn producer(tool: &str) -> String {
    // All its packages have one version.
    format!("{tool} {}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;

    #[test]
    fn a_setting_takes_what_a_record_takes() {
        let metadata = |value: &str| Metadata::from([("steps".to_owned(), value.to_owned())]);
        assert_eq!(
            read::<usize>(&metadata("4.0"), keys::STEPS).unwrap(),
            Some(4)
        );
        assert_eq!(read::<usize>(&Metadata::new(), keys::STEPS).unwrap(), None);
        assert_eq!(
            read::<usize>(&metadata("null"), keys::STEPS)
                .unwrap_err()
                .to_string(),
            "metadata: steps: expected a whole number from 1, found \"null\""
        );
    }

    #[test]
    fn what_has_no_value_stays_as_it_is() {
        let mut metadata = Metadata::from([("id".to_owned(), "fox".to_owned())]);
        write(
            &mut metadata,
            [(keys::ID, None), (keys::SEED, Some("7".to_owned()))],
        );
        assert_eq!(metadata[keys::ID], "fox");
        assert_eq!(metadata[keys::SEED], "7");
    }
}
