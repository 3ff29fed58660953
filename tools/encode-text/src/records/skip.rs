//! Records whose pictures are there already.

use super::record::Record;
use turbo_cli::{Names, Pattern, Result};
use turbo_wire::{keys, rows};

/// Looks for pictures under the names that `to-png` gives them.
pub(crate) struct Existing(Names);

impl Existing {
    /// Reads the pattern.
    pub(crate) fn new(pattern: &str) -> Result<Self> {
        let pattern = Pattern::parse(pattern, "--skip-existing")?;
        Ok(Self(Names::new(pattern)))
    }

    /// Whether all of a record's pictures are there. `first` is the number of the first, from 0.
    ///
    /// # Errors
    /// A picture has no name, or that of another one: `to-png` would refuse it too, but would not if that other one
    /// stood for it.
    pub(crate) fn holds(&mut self, record: &Record, first: u64, images: u64) -> Result<bool> {
        let id = record.metadata.get(keys::ID);
        let counted = !record.metadata.contains_key(keys::PICTURE_INDEX);
        for image in 0..images {
            let id = id.map(|id| rows::id(id, image));
            let number = first.saturating_add(image).saturating_add(1);
            let path = self.0.next(number, counted, id.as_deref())?;
            if !path.is_file() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
