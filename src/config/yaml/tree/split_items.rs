//! Joins entries of a list that were meant to be a single one.
//!
//! With a `-` before each key, as in `- hosts: [a.test]` and `- chain: direct` on two lines, one route becomes two, and each
//! lacks what the other one has.

use mooltiroute_hops::{Key, KeyPath};
use serde_yaml::{Mapping, Value};

use crate::config::{
    report::{first_problems::Found, known_keys::OF_HOP},
    yaml::{file::Part, tree::Tree},
};

impl Tree {
    /// Returns whether a list has entries that may have been meant to be a single one.
    pub(super) fn has_split_items(&self) -> bool {
        self.lists().iter().any(|list| self.split_item(list).is_some())
    }

    /// Joins such entries, and returns one problem for each.
    pub(super) fn join_items(&mut self) -> Found {
        let mut problems = Found::default();
        for list in self.lists() {
            while let Some(index) = self.split_item(&list) {
                let at = list.clone().then(Key::Index(index));
                let message = "this entry continues the previous one";
                let problem = self.problem(&at, Part::Value, "split-entry", message);
                let help = "remove the `-`, and begin the line in the column of the key above it";
                if !problems.skips() {
                    problems.push(problem.with_help(help));
                }
                self.join(&list, index);
            }
        }
        problems
    }

    /// Returns the paths of the lists whose entries are mappings with known keys.
    fn lists(&self) -> Vec<KeyPath> {
        let hops = self.root.get("hops").and_then(Value::as_mapping);
        let names = hops.into_iter().flat_map(Mapping::keys).filter_map(Value::as_str);
        let members = names.map(|name| KeyPath::of(["hops", name, "members"]));
        std::iter::once(KeyPath::of(["routes"])).chain(members).collect()
    }

    /// Returns the index of the first entry of `list` that continues the previous one.
    fn split_item(&self, list: &KeyPath) -> Option<usize> {
        let items = self.value(list)?.as_sequence()?;
        let is_route = list.keys().len() == 1;
        let continues = |first: &Mapping, second: &Mapping| {
            let has = |mapping: &Mapping, key: &str| mapping.contains_key(key);
            let is_hop_key = |key: &Value| key.as_str().is_some_and(|key| OF_HOP.contains(&key));
            let is_rest = match is_route {
                true => !has(first, "chain") && has(second, "chain") && second.len() == 1,
                false => {
                    has(first, "kind") && !has(second, "kind") && second.keys().all(is_hop_key)
                }
            };
            is_rest && !second.is_empty() && !second.keys().any(|key| first.contains_key(key))
        };
        // In brackets, there is no `-` to remove.
        let line = |index: usize| {
            let item = list.clone().then(Key::Index(index));
            self.place(&item, Part::Value).map(|place| place.line)
        };
        let mut pairs = items.windows(2).zip(1..);
        let found = pairs.find(|(pair, index)| match pair {
            [Value::Mapping(first), Value::Mapping(second)] => {
                continues(first, second) && line(index - 1) < line(*index)
            }
            _ => false,
        });
        found.map(|(_, index)| index)
    }

    /// Puts the keys of the entry at `index` into the previous one.
    fn join(&mut self, list: &KeyPath, index: usize) {
        let Some(Value::Sequence(items)) = self.value_mut(list) else { return };
        let Value::Mapping(second) = items.remove(index) else { return };
        let count = items.len();
        let at = |index: usize| list.clone().then(Key::Index(index));
        let keys: Vec<_> = second.keys().filter_map(Value::as_str).map(str::to_owned).collect();
        if let Some(Value::Mapping(first)) = items.get_mut(index - 1) {
            first.extend(second);
        }
        // The keys are paths after this move, and the values are paths before it.
        let later =
            (index..count).map(|index| (at(index), self.written(&at(index + 1)).into_owned()));
        let joined = keys.into_iter().map(|key| {
            let key = Key::Name(key);
            let written = at(index).then(key.clone());
            (at(index - 1).then(key), self.written(&written).into_owned())
        });
        let moved: Vec<_> = later.chain(joined).collect();
        self.moved.extend(moved);
    }
}
