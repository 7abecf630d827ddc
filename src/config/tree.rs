//! The files of a configuration, merged into one tree that knows where each part is written.

use std::{collections::HashSet, fmt};

use mooltiroute_hops::{Fault, InvalidSetting, Key, KeyPath, Settings};
use serde_yaml::{Mapping, Value};

use super::{
    file::{File, Part},
    interpolate::{Invalid, interpolate},
    problem::{Problem, Problems, is_name},
    raw,
    source::{Environment, Text},
    suggest::nearest,
};

/// All that is written, and where.
#[derive(Default)]
pub(super) struct Tree {
    root: Mapping,
    files: Vec<File>,
    /// What came from a variable, and must not be shown.
    interpolated: HashSet<KeyPath>,
    /// What came from the command line, and stands in no file.
    overridden: HashSet<KeyPath>,
}

impl Tree {
    /// Reads and merges `texts`, in their order; with it come the problems of those that had to be left out.
    pub(super) fn new(texts: Vec<Text>) -> (Self, Vec<Problem>) {
        let (mut tree, mut problems) = (Self::default(), Vec::new());
        let mut room = NODES_MAX;
        for text in texts {
            let name = text.name.clone();
            match File::read(text, room) {
                Ok((file, value)) => {
                    room = room.saturating_sub(count(&value));
                    tree.files.push(file);
                    match value {
                        Value::Null => {}
                        Value::Mapping(sections) => tree.merge(sections),
                        _ => {
                            let message =
                                format!("{name}: expected a mapping of sections, such as `hops:`");
                            problems.push(Problem::new(&KeyPath::default(), "type", message));
                        }
                    }
                }
                Err(faults) => problems.extend(faults),
            }
        }
        (tree, problems)
    }

    fn merge(&mut self, sections: Mapping) {
        for (name, section) in sections {
            // A section whose lines are all comments says nothing.
            let is_known = name.as_str().is_some_and(|name| raw::SECTIONS.contains(&name));
            if !(is_known && section.is_null()) {
                merge(self.root.entry(name).or_insert(Value::Null), section);
            }
        }
    }

    /// The value at `path`.
    pub(super) fn value(&self, path: &KeyPath) -> Option<&Value> {
        let [Key::Name(first), below @ ..] = path.keys() else { return None };
        below.iter().try_fold(self.root.get(first.as_str())?, |value, key| match key {
            Key::Name(name) => value.as_mapping()?.get(name.as_str()),
            Key::Index(index) => value.as_sequence()?.get(*index),
        })
    }

    /// What stands at `path`, to be read.
    pub(super) fn settings(&self, path: &KeyPath) -> Option<Settings> {
        self.value(path).and_then(|value| settings(value.clone()))
    }

    /// What stands at `path`, without the keys that are not the kind's own.
    pub(super) fn settings_without(&self, path: &KeyPath, keys: &[&str]) -> Option<Settings> {
        let mut mapping = self.value(path)?.as_mapping()?.clone();
        mapping.retain(|key, _| !key.as_str().is_some_and(|key| keys.contains(&key)));
        settings(Value::Mapping(mapping))
    }

    /// The text at `path`, as far as it may be shown: no variable had a part in it.
    pub(super) fn shown(&self, path: &KeyPath) -> Option<&str> {
        let text = self.value(path)?.as_str()?;
        (is_name(text) && !self.interpolated.contains(path)).then_some(text)
    }

    /// The keys of the mapping at `path`, in written order; nothing where there is none.
    pub(super) fn names(&self, path: &KeyPath) -> Result<Vec<String>, Vec<Problem>> {
        let mapping = match self.value(path) {
            None => return Ok(Vec::new()),
            Some(Value::Mapping(mapping)) => mapping,
            Some(other) => {
                return Err(vec![self.problem(
                    path,
                    Part::Value,
                    "type",
                    format!("expected a mapping, found {}", kind_of(other)),
                )]);
            }
        };
        let (mut names, mut problems) = (Vec::new(), Vec::new());
        for key in mapping.keys() {
            match key.as_str() {
                Some(name) => names.push(name.to_owned()),
                None => {
                    let written = serde_yaml::to_string(key).unwrap_or_default();
                    let path = path.clone().then(Key::Name(written.trim().to_owned()));
                    let message = "a name must be a text; write it in quotes";
                    problems.push(self.problem(&path, Part::Key, "type", message));
                }
            }
        }
        if problems.is_empty() { Ok(names) } else { Err(problems) }
    }

    /// The names at the top.
    pub(super) fn sections(&self) -> impl Iterator<Item = &str> {
        self.root.keys().filter_map(Value::as_str)
    }

    /// How long the list at `path` is; zero where there is none.
    pub(super) fn length(&self, path: &KeyPath) -> Result<usize, Problems> {
        match self.value(path) {
            None => Ok(0),
            Some(Value::Sequence(list)) => Ok(list.len()),
            Some(other) => Err(self
                .problem(
                    path,
                    Part::Value,
                    "type",
                    format!("expected a list, found {}", kind_of(other)),
                )
                .into()),
        }
    }

    /// Puts what the command line says in the place of what is written.
    pub(super) fn set(&mut self, path: KeyPath, value: impl Into<Value>) {
        let Some((Key::Name(last), above)) = path.keys().split_last() else { return };
        let mut mapping = &mut self.root;
        for key in above {
            let Key::Name(name) = key else { return };
            let inner = mapping.entry(name.as_str().into());
            match inner.or_insert_with(|| Value::Mapping(Mapping::new())) {
                Value::Mapping(inner) => mapping = inner,
                // What is no mapping is a problem that is found elsewhere.
                _ => return,
            }
        }
        mapping.insert(last.as_str().into(), value.into());
        self.overridden.insert(path);
    }

    /// Writes a default out, where the mapping at `path` has no such key.
    pub(super) fn assume(&mut self, path: &KeyPath, key: &str, value: impl Into<Value>) {
        if let Some(Value::Mapping(mapping)) = self.value_mut(path) {
            mapping.entry(key.into()).or_insert_with(|| value.into());
        }
    }

    /// Puts variables into everything at `path`.
    ///
    /// # Errors
    /// The paths of the values that could not be completed, and why. Those values are left as they are.
    pub(super) fn interpolate(
        &mut self,
        path: &KeyPath,
        environment: &Environment,
    ) -> Vec<(KeyPath, Invalid)> {
        let mut invalid = Vec::new();
        // The value is taken out, so that the tree can note what changes.
        let Some(mut value) = self.value_mut(path).map(std::mem::take) else { return invalid };
        self.interpolate_value(&mut value, path, environment, &mut invalid);
        if let Some(place) = self.value_mut(path) {
            *place = value;
        }
        invalid
    }

    fn interpolate_value(
        &mut self,
        value: &mut Value,
        path: &KeyPath,
        environment: &Environment,
        invalid: &mut Vec<(KeyPath, Invalid)>,
    ) {
        match value {
            Value::String(text) => match interpolate(text, |name| environment.variable(name)) {
                Ok(Some(done)) => {
                    *text = done;
                    self.interpolated.insert(path.clone());
                }
                Ok(None) => {}
                Err(error) => invalid.push((path.clone(), error)),
            },
            Value::Sequence(list) => {
                for (index, value) in list.iter_mut().enumerate() {
                    let path = path.clone().then(Key::Index(index));
                    self.interpolate_value(value, &path, environment, invalid);
                }
            }
            Value::Mapping(mapping) => {
                for (key, value) in mapping.iter_mut() {
                    let name = key.as_str().unwrap_or_default();
                    let path = path.clone().then(Key::Name(name.to_owned()));
                    self.interpolate_value(value, &path, environment, invalid);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Tagged(_) => {}
        }
    }

    fn value_mut(&mut self, path: &KeyPath) -> Option<&mut Value> {
        let [Key::Name(first), below @ ..] = path.keys() else { return None };
        below.iter().try_fold(self.root.get_mut(first.as_str())?, |value, key| match key {
            Key::Name(name) => value.as_mapping_mut()?.get_mut(name.as_str()),
            Key::Index(index) => value.as_sequence_mut()?.get_mut(*index),
        })
    }

    /// A problem with `part` of what stands at `path`.
    pub(super) fn problem(
        &self,
        path: &KeyPath,
        part: Part,
        code: &'static str,
        message: impl Into<String>,
    ) -> Problem {
        let problem = Problem::new(path, code, message);
        // What the command line says stands in no file.
        if self.overridden.contains(path) {
            return problem;
        }
        // The last file that has the whole path is the one whose value holds.
        let file = self.files.iter().max_by_key(|file| file.depth(path));
        match file.and_then(|file| file.locate(path, part)) {
            Some((place, excerpt)) if !path.keys().is_empty() => {
                Problem { place: Some(place), excerpt, ..problem }
            }
            _ => problem,
        }
    }

    /// What is wrong with the settings at `above`, in an operator's words.
    pub(super) fn invalid(&self, above: &KeyPath, invalid: &InvalidSetting) -> Problem {
        let path = above.clone().join(invalid.path());
        let (part, code, message, suggestion) = match invalid.fault() {
            Fault::UnknownKey { known } => {
                // Those two are read before the kind reads the rest.
                let is_hop = above.keys().len() == 2 && invalid.path().keys().len() == 1;
                let common: &[&str] = if is_hop { &["kind", "enabled"] } else { &[] };
                return self.unknown_key(&path, &[common, known].concat());
            }
            Fault::UnknownValue { known } => {
                let written = self.shown(&path);
                let message = match written {
                    Some(text) => {
                        format!("unknown value `{text}`; known values: {}", known.join(", "))
                    }
                    None => format!("unknown value; known values: {}", known.join(", ")),
                };
                let suggestion = written.and_then(|text| nearest(text, known.iter().copied()));
                (Part::Value, "unknown-value", message, suggestion)
            }
            Fault::MissingKey(key) => {
                (Part::Key, "missing-key", format!("the key `{key}` is missing"), None)
            }
            Fault::WrongType { .. } => (Part::Value, "type", invalid.to_string(), None),
            _ => (Part::Value, "value", invalid.to_string(), None),
        };
        let problem = self.problem(&path, part, code, message);
        Problem { help: suggestion.map(|name| format!("did you mean `{name}`?")), ..problem }
    }

    /// That the key at `path` is none of `known`.
    pub(super) fn unknown_key(&self, path: &KeyPath, known: &[&str]) -> Problem {
        let name = match path.keys().last() {
            Some(Key::Name(name)) => name.as_str(),
            _ => "",
        };
        let message = format!("unknown key; known keys: {}", known.join(", "));
        let mut problem = self.problem(path, Part::Key, "unknown-key", message);
        problem.help =
            nearest(name, known.iter().copied()).map(|name| format!("did you mean `{name}`?"));
        // In `{ password: a,b }` the second half of the password has become a key without a value.
        if self.value(path).is_none_or(Value::is_null) {
            let above = path.keys()[..path.keys().len() - 1].to_vec();
            problem.path = KeyPath::from(above).then(Key::Name("…".into()));
            problem
                .help
                .get_or_insert_with(|| "write a text with a comma or a colon in quotes".into());
        }
        problem
    }

    /// That a variable can't be put in at `path`.
    pub(super) fn invalid_variable(&self, path: &KeyPath, invalid: &Invalid) -> Problem {
        let problem = self.problem(path, Part::Value, "variable", invalid.to_string());
        match invalid {
            Invalid::Unset(name) => problem.with_help(format!(
                "set it where the program is started, or write `${{{name}:-default}}`"
            )),
            Invalid::Unclosed | Invalid::Name => {
                problem.with_help("write `$${` for a literal `${`")
            }
            Invalid::NotUnicode(_) | Invalid::TooLong => problem,
        }
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.files.iter().map(File::name);
        f.debug_list().entries(files).finish()
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Tagged(_) => "a YAML tag",
    }
}

fn settings(value: Value) -> Option<Settings> {
    serde_yaml::from_value(value).ok()
}

/// Mappings merge key by key; anything else takes the place of what was there.
fn merge(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Mapping(old), Value::Mapping(new)) => {
            for (key, value) in new {
                match old.get_mut(&key) {
                    Some(old) => merge(old, value),
                    None => {
                        old.insert(key, value);
                    }
                }
            }
        }
        (old, new) => *old = new,
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Sequence(list) => 1 + list.iter().map(count).sum::<usize>(),
        Value::Mapping(mapping) => {
            1 + mapping.values().map(|value| 1 + count(value)).sum::<usize>()
        }
        _ => 1,
    }
}

/// Keys and values of all files together, with their aliases expanded.
const NODES_MAX: usize = 100_000;
