//! The files of a configuration, merged into one tree that knows the place of each part.

mod advice;
mod indented;
mod report;
mod split_items;
mod variables;

use std::{collections::HashMap, fmt, sync::Arc};

use mooltiroute_hops::{Key, KeyPath, Settings, name_of_value};
use serde_yaml::{Mapping, Value};

pub(in crate::config::yaml) use self::advice::is_public_key;
pub(in crate::config) use self::report::COMMON_KEYS;
use crate::config::{
    raw,
    report::{
        first_problems::Found,
        problem::{Problem, Problems},
    },
    source::Text,
    yaml::{
        file::{File, Part},
        spans::ExpandedSize,
    },
};

/// The merged settings of all files, with the place of each.
#[derive(Default)]
pub(crate) struct Tree {
    root: Mapping,
    files: Vec<File>,
    /// The variables in each value that has some, and so must not be shown.
    variables: HashMap<KeyPath, Vec<String>>,
    /// The length of all texts with variables.
    expanded: usize,
    /// The values from the command line, by option. They are in no file.
    overridden: HashMap<KeyPath, &'static str>,
    /// The values in the files that these override, if any.
    beneath: Vec<(KeyPath, &'static str, Value)>,
    /// The first values of earlier files that later ones have replaced.
    replaced: Vec<ReplacedValue>,
    /// The keys that are not where they belong: the paths at which they are now, and those at which they are written.
    moved: Vec<(KeyPath, KeyPath)>,
}

/// A value of one file that a later file has replaced.
pub(crate) struct ReplacedValue {
    pub(crate) path: KeyPath,
    /// The earlier file.
    pub(crate) file: Arc<str>,
    pub(crate) value: Value,
    /// Whether the later value is another one.
    pub(crate) differs: bool,
}

impl Tree {
    /// Reads and merges `texts`, in their order; with it come the problems of those that had to be left out.
    pub(crate) fn new(texts: Vec<Text>) -> (Self, Found) {
        let (mut tree, mut problems) = (Self::default(), Found::default());
        // The files share one limit. A file that can't be read is left out, and the others still report their
        // problems.
        let mut room = ExpandedSize { nodes: NODES_MAX, bytes: EXPANDED_BYTES_MAX };
        for text in texts {
            match File::read(text, room) {
                Ok((file, value)) => {
                    room = room.minus(size(&value));
                    tree.files.push(file);
                    match value {
                        Value::Null => {}
                        Value::Mapping(sections) => tree.merge(sections),
                        _ => {
                            // The file is in the list already, since its problem needs a place.
                            problems.extend(tree.files.last().map(File::no_sections));
                        }
                    }
                }
                Err(faults) => problems.append(faults),
            }
        }
        (tree, problems)
    }

    /// Merges the sections of the last file into those of the files before it.
    fn merge(&mut self, sections: Mapping) {
        let known = self.replaced.len();
        for (name, section) in sections {
            // A section whose lines are all comments must not erase the one of an earlier file.
            let is_known = name.as_str().is_some_and(|name| raw::SECTIONS.contains(&name));
            if !(is_known && section.is_null()) {
                let path = key_path(&KeyPath::default(), &name);
                let old = self.root.entry(name).or_insert(Value::Null);
                merge(old, section, &path, &mut self.replaced);
            }
        }
        let earlier = self.files.split_last().map_or(&[][..], |(_, earlier)| earlier);
        for replaced in &mut self.replaced[known..] {
            let depth = Some(replaced.path.keys().len());
            let file = earlier.iter().rev().find(|file| file.depth(&replaced.path) == depth);
            if let Some(file) = file {
                replaced.file = Arc::clone(file.name());
            }
        }
    }

    /// Returns the value at `path`.
    pub(crate) fn value(&self, path: &KeyPath) -> Option<&Value> {
        let [Key::Name(first), below @ ..] = path.keys() else { return None };
        below.iter().try_fold(self.root.get(first.as_str())?, |value, key| match key {
            Key::Name(name) => value.as_mapping()?.get(name.as_str()),
            Key::Index(index) => value.as_sequence()?.get(*index),
        })
    }

    /// Returns the settings at `path`.
    pub(crate) fn settings(&self, path: &KeyPath) -> Option<Settings> {
        self.value(path).and_then(|value| settings(value.clone()))
    }

    /// Returns the settings at `path` without the keys that are not the kind's own.
    pub(crate) fn settings_without(&self, path: &KeyPath, keys: &[&str]) -> Option<Settings> {
        let mut mapping = self.value(path)?.as_mapping()?.clone();
        mapping.retain(|key, _| !key.as_str().is_some_and(|key| keys.contains(&key)));
        settings(Value::Mapping(mapping))
    }

    /// Returns the keys of the mapping at `path`, in written order. Without a mapping there are none.
    pub(crate) fn names(&self, path: &KeyPath) -> Result<Vec<String>, Found> {
        let mapping = match self.value(path) {
            None => return Ok(Vec::new()),
            Some(Value::Mapping(mapping)) => mapping,
            Some(other) => {
                let message = format!("expected a mapping, found {}", name_of_value(other));
                let problem = self.problem(path, Part::Value, "type", message);
                if let Some(help) = self.names_instead(path, other) {
                    return Err(problem.with_help(help).into());
                }
                let example = match path.keys() {
                    [Key::Name(section)] if section == "hops" => "NAME: { kind: KIND }",
                    [Key::Name(section)] if section == "chains" => "NAME: [HOP]",
                    _ => return Err(problem.into()),
                };
                return Err(problem
                    .with_help(format!("write names as keys, such as `{example}`"))
                    .into());
            }
        };
        let (mut names, mut problems) = (Vec::new(), Found::default());
        for key in mapping.keys() {
            match key.as_str() {
                Some(name) => names.push(name.to_owned()),
                None if problems.skips() => {}
                None => {
                    // YAML reads `1:` or `true:` as a key that is not a text. The key is written out again only as a
                    // part of the path, which hides it if it does not look like a name.
                    let written = serde_yaml::to_string(key).unwrap_or_default();
                    let path = path.clone().then(Key::Name(written.trim().to_owned()));
                    let message = "a name must be a text; write it in quotes";
                    problems.push(self.problem(&path, Part::Key, "type", message));
                }
            }
        }
        if problems.is_empty() { Ok(names) } else { Err(problems) }
    }

    /// Returns the names at the top.
    pub(crate) fn sections(&self) -> impl Iterator<Item = &str> {
        self.root.keys().filter_map(Value::as_str)
    }

    /// Returns the list at `path`, if the value there is one.
    pub(crate) fn list(&self, path: &KeyPath) -> Option<&[Value]> {
        self.value(path)?.as_sequence().map(Vec::as_slice)
    }

    /// Returns the length of the list at `path`; zero if nothing is written there.
    ///
    /// # Errors
    ///
    /// Says that a list is expected if there is another value.
    pub(crate) fn length(&self, path: &KeyPath) -> Result<usize, Problems> {
        match self.value(path) {
            None => Ok(0),
            Some(Value::Sequence(list)) => Ok(list.len()),
            Some(other) => {
                let message = format!("expected a list, found {}", name_of_value(other));
                let problem = self.problem(path, Part::Value, "type", message);
                let help = "write a list, such as `- { hosts: [HOST], chain: CHAIN }`";
                Err(problem.with_help(help).into())
            }
        }
    }

    /// Puts what `option` of the command line says in place of what is written.
    pub(crate) fn set(&mut self, path: KeyPath, option: &'static str, value: impl Into<Value>) {
        let Some((Key::Name(last), above)) = path.keys().split_last() else { return };
        let mut mapping = &mut self.root;
        for key in above {
            let Key::Name(name) = key else { return };
            let inner = mapping.entry(name.as_str().into());
            match inner.or_insert_with(|| Value::Mapping(Mapping::new())) {
                Value::Mapping(inner) => mapping = inner,
                // Another value is a mistake in the file, which is reported when the section is read.
                _ => return,
            }
        }
        let beneath = mapping.insert(last.as_str().into(), value.into());
        // If two options are for one setting, only the first one has seen the value of the files.
        if self.overridden.insert(path.clone(), option).is_none() {
            self.beneath.push((path, option, beneath.unwrap_or_default()));
        }
    }

    /// Returns the settings that the command line has, with the option and with what the files say.
    pub(crate) fn beneath(&self) -> &[(KeyPath, &'static str, Value)] {
        &self.beneath
    }

    /// Returns the first values of earlier files that later ones have replaced, perhaps by equal ones.
    pub(crate) fn replaced(&self) -> &[ReplacedValue] {
        &self.replaced
    }

    /// Adds a default to the mapping at `path` if it has no such key.
    pub(crate) fn assume(&mut self, path: &KeyPath, key: &str, value: impl Into<Value>) {
        if let Some(Value::Mapping(mapping)) = self.value_mut(path) {
            mapping.entry(key.into()).or_insert_with(|| value.into());
        }
    }

    fn value_mut(&mut self, path: &KeyPath) -> Option<&mut Value> {
        let [Key::Name(first), below @ ..] = path.keys() else { return None };
        below.iter().try_fold(self.root.get_mut(first.as_str())?, |value, key| match key {
            Key::Name(name) => value.as_mapping_mut()?.get_mut(name.as_str()),
            Key::Index(index) => value.as_sequence_mut()?.get_mut(*index),
        })
    }
}

impl Drop for Tree {
    /// Wipes what came from files and variables; what of it is a credential has become a `Secret` by now.
    fn drop(&mut self) {
        for section in std::mem::take(&mut self.root).into_values() {
            drop(settings(section));
        }
        for ReplacedValue { value, .. } in std::mem::take(&mut self.replaced) {
            // Only a mapping becomes settings, which wipe what they hold.
            drop(settings(Value::Mapping(Mapping::from_iter([(Value::Null, value)]))));
        }
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.files.iter().map(File::name);
        f.debug_list().entries(files).finish()
    }
}

fn settings(value: Value) -> Option<Settings> {
    serde_yaml::from_value(value).ok()
}

/// Merges mappings key by key. Any other value replaces the old one, which is added to `replaced`.
fn merge(old: &mut Value, new: Value, path: &KeyPath, replaced: &mut Vec<ReplacedValue>) {
    match (old, new) {
        (Value::Mapping(old), Value::Mapping(new)) => {
            for (key, value) in new {
                let path = key_path(path, &key);
                match old.get_mut(&key) {
                    Some(old) => merge(old, value, &path, replaced),
                    None => {
                        old.insert(key, value);
                    }
                }
            }
        }
        (old, new) => {
            let differs = *old != new;
            let value = std::mem::replace(old, new);
            if !value.is_null() && replaced.len() < REPLACED_MAX {
                let (path, file) = (path.clone(), Arc::default());
                replaced.push(ReplacedValue { path, file, value, differs });
            }
        }
    }
}

fn key_path(above: &KeyPath, key: &Value) -> KeyPath {
    above.clone().then(Key::Name(key.as_str().unwrap_or_default().to_owned()))
}

/// Returns the size of `value`, counted as in `spans`: a key counts as well.
fn size(value: &Value) -> ExpandedSize {
    match value {
        Value::String(text) => ExpandedSize { nodes: 1, bytes: text.len() },
        Value::Sequence(list) => list.iter().map(size).fold(ExpandedSize::NODE, ExpandedSize::plus),
        Value::Mapping(mapping) => mapping
            .iter()
            .map(|(key, value)| size(key).plus(size(value)))
            .fold(ExpandedSize::NODE, ExpandedSize::plus),
        _ => ExpandedSize::NODE,
    }
}

/// Keys and values of all files together, with their aliases expanded.
pub(in crate::config::yaml) const NODES_MAX: usize = 80_000;

/// The texts of all files together, with their aliases expanded. Without aliases they can't be longer than the files.
pub(in crate::config::yaml) const EXPANDED_BYTES_MAX: usize = 2 << 20;

/// More replaced values than this are not kept.
const REPLACED_MAX: usize = 1000;
