//! Mends keys that are indented too little or too much.

use std::borrow::Cow;

use mooltiroute_hops::{Key, KeyPath};
use serde_yaml::{Mapping, Value};

use crate::config::{
    Problem,
    report::{first_problems::Found, known_keys::OF_HOP},
    yaml::{
        file::{File, Part},
        indentation::{Indentation, Misplaced, MisplacedInWords, shown},
        tree::Tree,
    },
};

impl Tree {
    /// Returns whether there are keys that may be meant to be elsewhere.
    pub(in crate::config) fn is_mendable(&self) -> bool {
        let misplaced = self.files.iter().flat_map(File::misplaced);
        misplaced.into_iter().any(|one| one.indentation != Indentation::BesideEmpty)
            || self.has_split_items()
    }

    /// Moves each group of such keys into its mapping, and returns one problem for each group. The rest of the configuration is
    /// then checked as it was meant. Without `mends_all`, keys are moved only if there is no doubt about their mapping.
    pub(in crate::config) fn indent_keys(&mut self, mends_all: bool) -> Found {
        let mut problems = Found::default();
        let misplaced: Vec<_> = self.files.iter().flat_map(File::misplaced).collect();
        let is_certain = |one: &Misplaced| one.indentation == Indentation::BesideEmpty;
        for misplaced in misplaced.into_iter().filter(|one| mends_all || is_certain(one)) {
            // Described before the move, which changes the paths.
            let problem = self.misplaced(&misplaced);
            let Misplaced { from, to, keys, .. } = &misplaced;
            if self.move_keys(from, to, keys) && !problems.skips() {
                problems.push(problem);
            }
        }
        if mends_all {
            problems.append(self.join_items());
        }
        for chain in self.chains_among_hops() {
            let path = KeyPath::of(["hops", &chain]);
            let message = "is a chain, and is written below `hops`";
            let problem = self.problem(&path, Part::Key, "indentation", message);
            let moved = self.move_keys(
                &KeyPath::of(["hops"]),
                &KeyPath::of(["chains"]),
                std::slice::from_ref(&chain),
            );
            if moved && !problems.skips() {
                let help = format!("write `{}: [HOP]` below `chains:`", shown(&chain));
                problems.push(problem.with_help(help));
            }
        }
        problems
    }

    /// Moves the unknown section `name` below `hops` or `chains` if it is a hop or a chain.
    pub(in crate::config) fn adopt_section(&mut self, name: &str) {
        let section = match self.value(&KeyPath::of([name])) {
            Some(Value::Mapping(mapping)) if mapping.contains_key("kind") => "hops",
            Some(Value::Sequence(list)) if list.iter().all(Value::is_string) => {
                let hops = self.names(&KeyPath::of(["hops"])).unwrap_or_default();
                let is_hop = |item: &Value| hops.iter().any(|hop| item.as_str() == Some(hop));
                if name != "default" && !list.iter().any(is_hop) {
                    return;
                }
                "chains"
            }
            _ => return,
        };
        self.move_keys(&KeyPath::default(), &KeyPath::of([section]), &[name.to_owned()]);
    }

    /// Returns the path at which the setting at `path` is written: another one if its key was moved.
    pub(super) fn written<'a>(&self, path: &'a KeyPath) -> Cow<'a, KeyPath> {
        let moved = self.moved.iter().rev();
        let found = moved.filter_map(|(to, from)| Some(from.clone().join(&path.below(to)?))).next();
        found.map_or(Cow::Borrowed(path), Cow::Owned)
    }

    /// Builds the problem for `misplaced`.
    fn misplaced(&self, misplaced: &Misplaced) -> Problem {
        let MisplacedInWords { at, message, help } = misplaced.in_words();
        self.problem(&at, Part::Key, "indentation", message).with_help(help)
    }

    /// Returns the names below `hops` that are chains: lists of hops.
    fn chains_among_hops(&self) -> Vec<String> {
        let Some(Value::Mapping(hops)) = self.root.get("hops") else { return Vec::new() };
        let is_hop = |item: &Value| hops.get(item).is_some_and(Value::is_mapping);
        let is_chain = |value: &Value| {
            value.as_sequence().is_some_and(|list| !list.is_empty() && list.iter().all(is_hop))
        };
        let chains = hops.iter().filter(|(_, value)| is_chain(value));
        let names = chains.filter_map(|(name, _)| name.as_str());
        names.filter(|name| !OF_HOP.contains(name)).map(str::to_owned).collect()
    }

    /// Moves `keys` from the mapping at `from` to the one at `to`. Returns whether that has none of them, and so the keys were
    /// moved.
    fn move_keys(&mut self, from: &KeyPath, to: &KeyPath, keys: &[String]) -> bool {
        let is_free = match self.mapping(to) {
            Some(mapping) => !keys.iter().any(|key| mapping.contains_key(key.as_str())),
            None => self.value(to).is_none_or(Value::is_null),
        };
        let has_all = |mapping: &Mapping| keys.iter().all(|key| mapping.contains_key(key.as_str()));
        if !is_free || !self.mapping(from).is_some_and(has_all) {
            return false;
        }
        let mut taken = Vec::new();
        if let Some(mapping) = self.mapping_mut(from) {
            taken.extend(keys.iter().filter_map(|key| mapping.remove_entry(key.as_str())));
        }
        // A key without a value gets a mapping, and so does a section that is not written.
        if self.mapping(to).is_none()
            && let Some((Key::Name(last), around)) = to.keys().split_last()
            && let Some(around) = self.mapping_mut(&KeyPath::from(around.to_vec()))
        {
            around.insert(last.as_str().into(), Value::Mapping(Mapping::new()));
        }
        let Some(mapping) = self.mapping_mut(to) else { return false };
        mapping.extend(taken);
        for key in keys {
            let key = Key::Name(key.clone());
            self.moved.push((to.clone().then(key.clone()), from.clone().then(key)));
        }
        true
    }

    /// Returns the mapping at `path`. The one at the empty path has the sections.
    fn mapping(&self, path: &KeyPath) -> Option<&Mapping> {
        if path.keys().is_empty() { Some(&self.root) } else { self.value(path)?.as_mapping() }
    }

    fn mapping_mut(&mut self, path: &KeyPath) -> Option<&mut Mapping> {
        match path.keys().is_empty() {
            true => Some(&mut self.root),
            false => self.value_mut(path)?.as_mapping_mut(),
        }
    }
}
