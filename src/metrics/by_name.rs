//! Counts of things that have names in the configuration.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use super::lock;

/// The counts of things that have names in the configuration.
#[derive(Debug)]
pub(crate) struct ByName<T>(Mutex<BTreeMap<Arc<str>, Arc<T>>>);

impl<T: Default> ByName<T> {
    /// Returns the counts under `name`, which begin at zero when it is new.
    pub(crate) fn of(&self, name: &Arc<str>) -> Arc<T> {
        let mut known = lock(&self.0);
        if known.len() >= NAMES_MAX && !known.contains_key(name) {
            // Names that no generation uses any more are removed, or endless edits could fill the memory.
            known.retain(|_, counts| Arc::strong_count(counts) > 1);
        }
        Arc::clone(known.entry(Arc::clone(name)).or_default())
    }

    /// Returns all counts with their names, in alphabetical order.
    pub(crate) fn all(&self) -> Vec<(Arc<str>, Arc<T>)> {
        let known = lock(&self.0);
        known.iter().map(|(name, counts)| (Arc::clone(name), Arc::clone(counts))).collect()
    }
}

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// More names than any configuration has.
pub(super) const NAMES_MAX: usize = 10_000;
