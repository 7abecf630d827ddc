//! A fingerprint of a configuration, which tells what an edit changes without holding a value.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use mooltiroute_hops::{Key, KeyPath};
use serde_yaml::Value;

use crate::config::{
    Place, Problem,
    yaml::{file::Part, tree::Tree},
};

/// The keys of a configuration, with a keyed hash of each value. Two outlines by one [`Loader`](super::Loader) are
/// equal if their configurations mean the same.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Outline(pub(crate) BTreeMap<KeyPath, u64>);

impl Outline {
    /// Returns the paths of the settings that differ in `new`. Many below one key are reported as that key.
    pub fn changes(&self, new: &Self) -> Vec<String> {
        let changed = self.changed_paths(new);
        let shortened = |depth| -> Vec<String> {
            // By keys and not by the text, since a name may have dots.
            let short = changed.iter().map(|path| &path.keys()[..path.keys().len().min(depth)]);
            let short: BTreeSet<&[Key]> = short.collect();
            short.into_iter().map(|keys| KeyPath::from(keys.to_vec()).to_string()).collect()
        };
        // Reports the deepest paths that are few enough to read, or else the sections.
        (1..=DEPTH_MAX)
            .rev()
            .map(shortened)
            .find(|few| few.len() <= FEW)
            .unwrap_or_else(|| shortened(1))
    }

    /// Returns whether the setting at `path`, one above it or one below it differs in `new`.
    pub(crate) fn differs_at(&self, path: &KeyPath, new: &Self) -> bool {
        let changed = self.changed_paths(new);
        changed.iter().any(|one| one.below(path).is_some() || path.below(one).is_some())
    }

    fn changed_paths<'a>(&'a self, new: &'a Self) -> Vec<&'a KeyPath> {
        let paths: BTreeSet<&KeyPath> = self.0.keys().chain(new.0.keys()).collect();
        paths.into_iter().filter(|path| self.0.get(*path) != new.0.get(*path)).collect()
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
        self.0.insert(path.clone(), content);
    }

    /// Adds the outcome of the condition at `path`, so that another one is a change.
    pub(crate) fn add_outcome(&mut self, path: &KeyPath, is_on: bool) {
        // A mapping has no entry of its own so far.
        self.0.insert(path.clone(), u64::from(is_on));
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
                self.0.insert(path, hash(value, hasher));
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

/// A setting of one file that a later file has too, and a hash of the earlier value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadowed {
    /// The path of the setting.
    pub path: KeyPath,
    /// The earlier file, whose value has no effect.
    pub file: Arc<str>,
    /// The place of the value in force.
    pub by: Place,
    /// Whether the two values differ.
    pub differs: bool,
    pub(crate) value: u64,
}

impl Shadowed {
    /// Lists every setting that several files have.
    pub(crate) fn all(tree: &Tree, hasher: &RandomState) -> Vec<Self> {
        let shadowed = tree.replaced().iter().filter_map(|replaced| {
            let by = tree.place(&replaced.path, Part::Key)?;
            Some(Self {
                path: replaced.path.clone(),
                file: Arc::clone(&replaced.file),
                by,
                differs: replaced.differs,
                value: hash(&replaced.value, hasher),
            })
        });
        // A section `x-…` holds anchors, whose keys may be any text.
        shadowed.filter(|one| Problem::new(&one.path, "replaced", "").path == one.path).collect()
    }

    /// Returns whether `other` is the setting of the same file.
    pub(crate) fn is_same_setting(&self, other: &Self) -> bool {
        self.path == other.path && self.file == other.file
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

const FEW: usize = 8;
const DEPTH_MAX: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(entries: impl IntoIterator<Item = (String, u64)>) -> Outline {
        let path = |text: &str| {
            let names = text.split('.').map(|name| Key::Name(name.replace('_', ".")));
            KeyPath::from(names.collect::<Vec<_>>())
        };
        Outline(entries.into_iter().map(|(text, hash)| (path(&text), hash)).collect())
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

    #[test]
    fn a_name_with_dots_is_never_cut() {
        // `_` stands for a dot in a name.
        let hops = |count| outline((0..count).map(|n| (format!("hops.a{}_b_c.key{n}", n % 2), n)));
        assert_eq!(outline([]).changes(&hops(30)), ["hops.a0.b.c", "hops.a1.b.c"]);
        let deep = outline([("hops.x_api_corp_example_com_y.enabled".to_owned(), 1)]);
        assert_eq!(outline([]).changes(&deep), ["hops.x.api.corp.example.com.y.enabled"]);
        let chain = outline((0..9).map(|n| (format!("chains.a_b.k{n}"), n)));
        assert_eq!(outline([]).changes(&chain), ["chains.a.b"]);
    }

    #[test]
    fn a_setting_differs_with_what_is_above_and_below_it() {
        let (old, new) = (outline([("a.b.c".to_owned(), 1)]), outline([("a.b.c".to_owned(), 2)]));
        for (path, differs) in [
            (KeyPath::of(["a", "b", "c", "d"]), true),
            (KeyPath::of(["a"]), true),
            (KeyPath::of(["a", "x"]), false),
        ] {
            assert_eq!(old.differs_at(&path, &new), differs, "{path}");
        }
    }
}
