//! Settings that no kind has read yet, and the problems that they can have.

mod invalid;
mod key_path;
mod node;

use std::fmt;

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_yaml::{
    Mapping, Value,
    value::{Tag, TaggedValue},
};
use zeroize::Zeroize as _;

use self::node::Node;
pub use self::{
    invalid::{Fault, InvalidSetting, InvalidSettings},
    key_path::{Key, KeyPath},
    node::name_of_value,
};

/// A part of the configuration that no kind has read yet. `Debug` shows the names in it and no value.
#[derive(Clone, Default, PartialEq, Hash)]
pub struct Settings(Value);

impl Settings {
    /// Reads the settings as a `T`. A text is read as a number or a boolean if one is expected, since it may come
    /// from a variable.
    ///
    /// # Errors
    /// All problems: an invalid part is left out, and the rest is still read. The list is empty if nothing is wrong except
    /// that a setting was [forgotten](Self::forget).
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Vec<InvalidSetting>> {
        // serde stops at the first error, but an operator wants all of them. So each invalid part is marked as left
        // out in a copy, and the rest is read again, until the reading succeeds or nothing more can be left out.
        let mut problems = Vec::new();
        let mut rest = None;
        loop {
            // The copy is made at the first problem only, so valid settings are read in one pass without it.
            let invalid = match T::deserialize(Node(&rest.as_ref().unwrap_or(self).0)) {
                Ok(value) if rest.is_none() => return Ok(value),
                Ok(_) => return Err(problems),
                Err(invalid) => invalid,
            };
            let rest = rest.get_or_insert_with(|| self.clone());
            let is_new = match &invalid.fault {
                // serde also reports a key as missing if it was left out after an earlier problem.
                Fault::MissingKey(key) => {
                    let missing = invalid.path.clone().then(Key::Name((*key).to_owned()));
                    !find(&rest.0, &missing.0).is_some_and(is_left_out)
                }
                // A problem of a mapping as a whole may only follow from a part that was left out.
                Fault::Other(message) => {
                    // The variable without a value was reported already.
                    message != FORGOTTEN
                        && !find(&rest.0, &invalid.path.0).is_some_and(holds_left_out)
                }
                _ => true,
            };
            // A problem of the settings as a whole has an empty path. Nothing can be left out then, so it is the last one.
            let is_left_out = replace(&mut rest.0, &invalid.path.0, LEFT_OUT);
            if is_new {
                problems.push(invalid);
            }
            if !is_left_out || problems.len() >= PROBLEMS_MAX {
                return Err(problems);
            }
        }
    }

    /// Takes the value of `key` out. Returns `None` if this is not a mapping with such a key.
    pub fn take(&mut self, key: &str) -> Option<Self> {
        self.0.as_mapping_mut()?.remove(key).map(Self)
    }

    /// Marks the value at `path` as unknown, such as one from a variable that is not set. It can't be read, but is not
    /// reported either.
    pub fn forget(&mut self, path: &KeyPath) {
        replace(&mut self.0, &path.0, FORGOTTEN);
    }
}

impl Drop for Settings {
    /// Wipes all texts, since some are credentials. Those that were read are in a [`Secret`](crate::Secret) by now.
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            self.0.as_mapping().into_iter().flat_map(Mapping::keys).filter_map(Value::as_str);
        f.debug_set().entries(names).finish()
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Sequence(list) => list.iter_mut().for_each(wipe),
        // A mapping does not let its keys be changed, so these stay.
        Value::Mapping(mapping) => mapping.values_mut().for_each(wipe),
        Value::Tagged(tagged) => wipe(&mut tagged.value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Replaces the value at `path` by `tag`. Returns `false` if there is no such value, or if `path` is empty.
fn replace(value: &mut Value, path: &[Key], tag: &str) -> bool {
    let [key, below @ ..] = path else { return false };
    let inner = match (key, value) {
        (Key::Name(name), Value::Mapping(mapping)) => mapping.get_mut(name.as_str()),
        (Key::Index(index), Value::Sequence(list)) => list.get_mut(*index),
        _ => None,
    };
    match inner {
        // It is not removed, so that list items keep their indices and later problems have the paths that the operator sees.
        Some(inner) if below.is_empty() => {
            // It may be a password, and nothing wipes it later.
            wipe(inner);
            *inner =
                Value::Tagged(Box::new(TaggedValue { tag: Tag::new(tag), value: Value::Null }));
            true
        }
        Some(inner) => replace(inner, below, tag),
        None => false,
    }
}

fn find<'a>(value: &'a Value, path: &[Key]) -> Option<&'a Value> {
    let [key, below @ ..] = path else { return Some(value) };
    let inner = match key {
        Key::Name(name) => value.as_mapping()?.get(name.as_str())?,
        Key::Index(index) => value.as_sequence()?.get(*index)?,
    };
    find(inner, below)
}

/// Returns whether a part of `value` was left out, at any depth.
fn holds_left_out(value: &Value) -> bool {
    let is_or_holds = |part: &Value| is_left_out(part) || holds_left_out(part);
    match value {
        Value::Mapping(mapping) => mapping.values().any(is_or_holds),
        Value::Sequence(list) => list.iter().any(is_or_holds),
        _ => false,
    }
}

fn is_left_out(value: &Value) -> bool {
    matches!(value, Value::Tagged(tagged) if tagged.tag == LEFT_OUT)
}

/// Marks of replaced values. They contain a space, so no tag in a file can be equal to them.
const LEFT_OUT: &str = "left out";
const FORGOTTEN: &str = "not known";

/// Problems beyond this number are not collected.
const PROBLEMS_MAX: usize = 250;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Sample {
        name: String,
        #[serde(default)]
        port: Option<u16>,
        #[serde(default)]
        flag: bool,
        #[serde(default)]
        inner: BTreeMap<String, Inner>,
        #[serde(default)]
        list: Vec<u8>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Inner {
        level: Level,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Level {
        Low,
        High,
    }

    fn read(yaml: &str) -> Result<Sample, Vec<String>> {
        let settings: Settings = serde_yaml::from_str(yaml).unwrap();
        settings.read::<Sample>().map_err(|problems| {
            problems.iter().map(|problem| format!("{}: {problem}", problem.path())).collect()
        })
    }

    #[track_caller]
    fn check(yaml: &str, expected: &[&str]) {
        assert_eq!(read(yaml).unwrap_err(), expected, "{yaml}");
    }

    #[test]
    fn a_text_from_a_variable_is_a_number_or_a_boolean() {
        let sample = read("{name: a, port: '8080', flag: 'true'}").unwrap();
        assert_eq!((sample.port, sample.flag), (Some(8080), true));
    }

    #[test]
    fn every_problem_is_found_with_its_path() {
        check(
            "{nme: a}",
            &[
                "nme: no such setting; known are `name`, `port`, `flag`, `inner`, `list`",
                ": the setting `name` is missing",
            ],
        );
        check(
            "{name: 5, port: 70000, flag: maybe, list: [1, x, 3, 300]}",
            &[
                "name: expected a text, found a number",
                "port: expected a whole number from 0 to 65535, found a number out of range",
                "flag: expected `true` or `false`, found a text",
                "list[1]: expected a whole number from 0 to 255, found a text",
                "list[3]: expected a whole number from 0 to 255, found a number out of range",
            ],
        );
        check(
            "{name: a, inner: {x: {level: middle}, y: {level: low, l: 1}, z: {}}}",
            &[
                "inner.x.level: no such value; known are `low`, `high`",
                "inner.y.l: no such setting; known are `level`",
                "inner.z: the setting `level` is missing",
            ],
        );
        check("[1]", &[": expected a mapping, found a list"]);
        check("{name: a, 5: b}", &[": a key here must be a text; write it in quotes"]);
        check("{name: !secret hunter2}", &["name: a YAML tag has no meaning here; remove it"]);
    }

    #[test]
    fn what_is_forgotten_is_neither_wrong_nor_missing() {
        let mut settings: Settings = serde_yaml::from_str("{name: a, port: x, l: 1}").unwrap();
        settings.forget(&KeyPath::of(["name"]));
        // The name of a key is known, even if its value is not.
        settings.forget(&KeyPath::of(["l"]));
        let problems = settings.read::<Sample>().unwrap_err();
        let paths: Vec<_> = problems.iter().map(|problem| problem.path().to_string()).collect();
        assert_eq!(paths, ["port", "l"]);
    }

    #[test]
    fn what_is_forgotten_stays_so_in_settings_that_another_reads() {
        let mut settings: Settings = serde_yaml::from_str("{x: {name: a, port: b, l: 1}}").unwrap();
        settings.forget(&KeyPath(vec![Key::Name("x".into()), Key::Name("name".into())]));
        let read = settings.read::<BTreeMap<String, Settings>>().unwrap();
        let problems = read["x"].read::<Sample>().unwrap_err();
        let paths: Vec<_> = problems.iter().map(|problem| problem.path().to_string()).collect();
        assert_eq!(paths, ["port", "l"]);
    }

    #[test]
    fn no_problem_quotes_a_value() {
        for yaml in
            ["{name: [hunter2]}", "{name: a, port: hunter2}", "{name: a, flag: hunter2}", "hunter2"]
        {
            assert!(!read(yaml).unwrap_err().concat().contains("hunter2"), "{yaml}");
        }
    }

    #[test]
    fn debug_shows_names_only() {
        let settings: Settings = serde_yaml::from_str("{name: hunter2}").unwrap();
        assert_eq!(format!("{settings:?}"), r#"{"name"}"#);
    }
}
