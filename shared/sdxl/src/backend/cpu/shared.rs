//! Values that tensors share. A network makes thousands of them a step, so the memory of their counts is used again.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Makes values to be shared. The counts of values that are gone wait here for the next ones.
#[derive(Debug)]
pub(super) struct Counts<T>(Arc<Mutex<Vec<Arc<Option<T>>>>>);

impl<T> Counts<T> {
    fn free(&self) -> MutexGuard<'_, Vec<Arc<Option<T>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A value to be shared.
    pub(super) fn share(&self, value: T) -> Shared<T> {
        let mut count = self.free().pop().unwrap_or_default();
        *Arc::get_mut(&mut count).expect("nobody holds one that is free") = Some(value);
        Shared {
            count: Some(count),
            counts: self.clone(),
        }
    }
}

impl<T> Default for Counts<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Counts<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A value that clones share, as an [`Arc`]'s do.
#[derive(Debug)]
pub(super) struct Shared<T> {
    /// Count and value are there until the value is taken out, or dropped.
    count: Option<Arc<Option<T>>>,
    counts: Counts<T>,
}

impl<T> Shared<T> {
    /// The value, where no clone holds it.
    pub(super) fn try_unwrap(mut self) -> Result<T, Self> {
        let alone = self.count.as_mut().and_then(Arc::get_mut);
        alone.and_then(Option::take).ok_or(self)
    }

    /// Another value from the same counts.
    pub(super) fn another(&self, value: T) -> Self {
        self.counts.share(value)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        let value = self.count.as_deref().and_then(Option::as_ref);
        value.expect("there until dropped")
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self {
            count: self.count.clone(),
            counts: self.counts.clone(),
        }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if let Some(mut count) = self.count.take()
            && let Some(value) = Arc::get_mut(&mut count)
        {
            *value = None;
            self.counts.free().push(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_holder_takes_the_value_out() {
        let counts = Counts::default();
        let one = counts.share("value".to_owned());
        let two = one.clone();
        let one = one.try_unwrap().expect_err("two hold it");
        drop(two);
        assert_eq!(one.try_unwrap().expect("one holds it"), "value");
    }

    #[test]
    fn counts_are_used_again_and_values_are_dropped() {
        let (counts, value) = (Counts::default(), Arc::new(()));
        let one = counts.share(value.clone());
        let two = (one.clone(), counts.share(value.clone()));
        drop(one);
        assert_eq!((counts.free().len(), Arc::strong_count(&value)), (0, 3));
        drop(two);
        assert_eq!((counts.free().len(), Arc::strong_count(&value)), (2, 1));
        let _three = counts.share(value);
        assert_eq!(counts.free().len(), 1);
    }
}
