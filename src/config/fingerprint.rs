//! A fingerprint of a configuration, which tells what an edit changes without holding a value.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{BuildHasher, RandomState},
};

use mooltiroute_hops::{Key, KeyPath};
use serde_yaml::Value;

use crate::config::yaml::tree::Tree;

/// The keys of a configuration, with a keyed hash of each value. Two outlines by one [`Loader`](super::Loader) are
/// equal if their configurations mean the same.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Outline(pub(crate) BTreeMap<String, u64>);

impl Outline {
    /// Returns the paths of the settings that differ in `new`. Many below one key are reported as that key.
    pub fn changes(&self, new: &Self) -> Vec<String> {
        let keys: BTreeSet<&String> = self.0.keys().chain(new.0.keys()).collect();
        let changed: Vec<&str> = keys
            .into_iter()
            .filter(|key| self.0.get(*key) != new.0.get(*key))
            .map(String::as_str)
            .collect();
        let shortened = |depth| -> Vec<String> {
            let short = changed.iter().map(|path| shorten(path, depth).to_owned());
            short.collect::<BTreeSet<_>>().into_iter().collect()
        };
        // Reports the deepest paths that are few enough to read, or else the sections.
        (1..=DEPTH_MAX)
            .rev()
            .map(shortened)
            .find(|few| few.len() <= FEW)
            .unwrap_or_else(|| shortened(1))
    }

    /// Returns the outline of a tree that is complete: merged, interpolated, with defaults and overrides applied.
    pub(crate) fn of(tree: &Tree, hasher: &RandomState) -> Self {
        let mut outline = Self::default();
        // A section `x-…` holds anchors. What they stand for counts at each alias that uses it.
        for name in tree.sections().filter(|name| !name.starts_with("x-")) {
            let path = KeyPath::of([name]);
            if let Some(value) = tree.value(&path) {
                outline.insert(path, value, hasher);
            }
        }
        outline
    }

    /// Adds a hash of the files that the settings below `path` name.
    pub(crate) fn add_files(&mut self, path: &KeyPath, content: u64) {
        // A mapping with settings has no entry of its own so far.
        self.0.insert(path.to_string(), content);
    }

    /// Adds the outcome of the condition at `path`, so that another one is a change.
    pub(crate) fn add_outcome(&mut self, path: &KeyPath, is_on: bool) {
        // A mapping has no entry of its own so far.
        self.0.insert(path.to_string(), u64::from(is_on));
    }

    fn insert(&mut self, path: KeyPath, value: &Value, hasher: &RandomState) {
        match value {
            // Only leaves are entered, so that a change is reported by the path of the setting. An empty
            // mapping is a leaf, or writing and removing it would be no change.
            Value::Mapping(mapping) if !mapping.is_empty() => {
                for (key, value) in mapping {
                    let name = key.as_str().unwrap_or_default().to_owned();
                    self.insert(path.clone().then(Key::Name(name)), value, hasher);
                }
            }
            value => {
                self.0.insert(path.to_string(), hash(value, hasher));
            }
        }
    }
}

/// A setting of the command line, and a hash of the value that the files have for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    /// The path of the setting.
    pub path: String,
    /// The option of the command line, such as `--no-corporate`.
    pub option: &'static str,
    pub(crate) beneath: u64,
}

impl Overridden {
    /// Lists every setting of the command line.
    pub(crate) fn all(tree: &Tree, hasher: &RandomState) -> Vec<Self> {
        let overridden = |(path, option, value): &(KeyPath, &'static str, Value)| Self {
            path: path.to_string(),
            option,
            beneath: hash(value, hasher),
        };
        tree.beneath().iter().map(overridden).collect()
    }
}

impl fmt::Debug for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Returns a hash of the mapping at `path` without `keys`.
pub(crate) fn hash_without(
    tree: &Tree,
    path: &KeyPath,
    keys: &[&str],
    hasher: &RandomState,
) -> u64 {
    let mut value = tree.value(path).cloned().unwrap_or_default();
    if let Value::Mapping(mapping) = &mut value {
        for key in keys {
            mapping.remove(key);
        }
    }
    hash(&value, hasher)
}

/// Hashes a value. A number and a text that spells it are read alike, so they have the same hash.
fn hash(value: &Value, hasher: &RandomState) -> u64 {
    match value {
        Value::Null => hasher.hash_one(()),
        Value::Bool(value) => hasher.hash_one(value.to_string()),
        Value::Number(number) => hasher.hash_one(number.to_string()),
        Value::String(text) => hasher.hash_one(text),
        Value::Sequence(list) => {
            hasher.hash_one(list.iter().map(|value| hash(value, hasher)).collect::<Vec<_>>())
        }
        Value::Mapping(mapping) => {
            // The order of keys has no meaning, so the entries are hashed as a set.
            let entry = |(key, value)| (hash(key, hasher), hash(value, hasher));
            hasher.hash_one(mapping.iter().map(entry).collect::<BTreeSet<_>>())
        }
        Value::Tagged(tagged) => {
            hasher.hash_one((tagged.tag.to_string(), hash(&tagged.value, hasher)))
        }
    }
}

fn shorten(path: &str, depth: usize) -> &str {
    let end = path.match_indices('.').nth(depth - 1).map_or(path.len(), |(end, _)| end);
    &path[..end]
}

const FEW: usize = 8;
const DEPTH_MAX: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(entries: impl IntoIterator<Item = (String, u64)>) -> Outline {
        Outline(entries.into_iter().collect())
    }

    #[test]
    fn what_changed_came_or_went_is_named() {
        let entry = |key: &str, hash| (key.to_owned(), hash);
        let old = outline([entry("hops.a.enabled", 1), entry("log.level", 2), entry("x", 3)]);
        let new = outline([entry("hops.a.enabled", 9), entry("log.format", 2), entry("x", 3)]);
        assert_eq!(old.changes(&new), ["hops.a.enabled", "log.format", "log.level"]);
        assert!(old.changes(&old).is_empty());
    }

    #[test]
    fn many_changes_are_named_by_what_they_are_part_of() {
        let hops = |count| outline((0..count).map(|n| (format!("hops.a{}.key{n}", n % 3), n)));
        assert_eq!(outline([]).changes(&hops(30)), ["hops.a0", "hops.a1", "hops.a2"]);
        let many = outline((0..30).map(|n| (format!("hops.a{n}.kind"), n)));
        assert_eq!(outline([]).changes(&many), ["hops"]);
    }
}
