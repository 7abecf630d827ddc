//! Guesses what was meant by a setting that is unknown or has a wrong value.

mod budgets;
mod conditions;
mod files;
mod keys;
mod missing;
mod named_entries;
mod sizes;
mod swallowed;
mod unknown_key;
mod unknown_section;
mod values;

use mooltiroute_hops::{Fault, Key, KeyPath};
use serde_yaml::Value;

use crate::config::{
    report::{
        foreign_variable, host_pattern,
        known_keys::{is_near_a_key, key_without_colon},
        problem::is_word,
        proxy_url::{
            ONE_HOP_FOR_EACH, listed_instead, mended_address, scheme_instead, settings_instead,
            several_instead,
        },
    },
    yaml::{
        suspicious_value::{SuspiciousValue, look_alike},
        tree::{File, Tree},
    },
};

impl Tree {
    /// Returns what is odd about the way the value at `path` is written.
    pub(super) fn suspicious_value(&self, path: &KeyPath) -> Option<SuspiciousValue> {
        let path = &*self.written(path);
        self.file_of(path).and_then(|file| file.suspicious_value(path))
    }

    /// Returns the likely reason for an invalid value at `path`, or what to write instead.
    pub(super) fn advice(&self, path: &KeyPath, fault: &Fault) -> Option<String> {
        // One piece of advice is given, and the most certain comes first. An odd way of writing explains a
        // wrong value better than the value itself: it was cut or changed before it got here.
        if let Some(suspicious_value) = self.suspicious_value(path) {
            return Some(format!("{suspicious_value}; {}", suspicious_value.help()));
        }
        if let Some(why) = self.swallowed(path) {
            return Some(why.to_owned());
        }
        match fault {
            Fault::File(_) => return self.file_instead(path),
            Fault::MissingKey(key) => {
                return self.missing_instead(path, key);
            }
            _ => {}
        }
        let text = self.value(path).and_then(Value::as_str);
        let is_address = matches!(path.keys(), [.., Key::Name(key)] if key == "address");
        if let Some(text) = text.filter(|_| is_address) {
            let is_hidden = self.is_hidden(path);
            // People copy URLs and lines of lists from other programs.
            let help = settings_instead(text, is_hidden)
                .or_else(|| listed_instead(text, is_hidden))
                .or_else(|| several_instead(text).map(str::to_owned))
                .or_else(|| scheme_instead(text, is_hidden))
                .or_else(|| mended_address(text, is_hidden));
            if help.is_some() {
                return help;
            }
        }
        if is_address && self.value(path).is_some_and(Value::is_sequence) {
            return Some(ONE_HOP_FOR_EACH.to_owned());
        }
        if let Some(help) = self.value_instead(path, fault) {
            return Some(help);
        }
        if let Some((name, help)) = text.and_then(look_alike) {
            return Some(format!("it has {name}; {help}"));
        }
        if let Fault::WrongType { expected, .. } = fault
            && let Some(help) = self.other_type(path, expected, text)
        {
            return Some(help);
        }
        // The templates of `kind: rotating` have names in braces of their own.
        let is_template = self.sibling(path, "kind").and_then(Value::as_str) == Some("rotating");
        let written = text.filter(|_| !self.is_from_elsewhere(path));
        let written = written.filter(|text| !(is_template && text.contains('{')));
        written
            .and_then(|text| foreign_variable::instead(path.last_name()?, text))
            .or_else(|| self.empty_partner(path))
    }

    /// Returns what to write if a mapping or a list is expected at `path` and `text` is there.
    fn other_type(&self, path: &KeyPath, expected: &str, text: Option<&str>) -> Option<String> {
        // `expected` is the sentence of a visitor, and these are the beginnings by which ours ask for a list
        // or a mapping.
        if expected.starts_with("a list")
            && let Some(text) = text
        {
            if text.starts_with('-') {
                return Some("write a space after each `-` of the list".to_owned());
            }
            // The list of `NO_PROXY`, in one text.
            if path.last_name() == Some("hosts")
                && text.contains(',')
                && let Some(help) = host_pattern::list_instead(text, !self.is_hidden(path))
            {
                return Some(help);
            }
            if let Some(words) = several_words(text).filter(|_| !self.is_hidden(path)) {
                return Some(format!("write it as a list, `[{}]`", words.join(", ")));
            }
            return Some(match self.shown(path).filter(|text| is_word(text)) {
                Some(word) => format!("write it as a list, `[{word}]`"),
                None if text.contains(',') => "write it as a list, in `[ ]`".to_owned(),
                None => "write it as a list of one, in `[ ]`".to_owned(),
            });
        }
        if expected.starts_with("a text") && self.value(path).is_some_and(is_template) {
            return Some(
                "a text that begins with `{` or `[` is written in quotes, as in `username: \"{user}-session-{session}\"`"
                    .to_owned(),
            );
        }
        if !expected.starts_with("a mapping") {
            return None;
        }
        if let Some(key) = text.and_then(key_without_colon) {
            return Some(missing_colon(key));
        }
        // `username:joe` without a blank is one text and no key.
        let key = text?.split_once(':').map(|(key, _)| key).filter(|key| is_word(key))?;
        // If all keys are listed, another word is not a key; people write `NAME:PASSWORD` there.
        let is_key = expected.contains(&format!("`{key}`")) || expected.contains("such as");
        Some(match is_key {
            true => "write a space after the colon of a key".into(),
            false => format!("write {EXAMPLE_AUTH}"),
        })
    }

    /// Returns whether a chain is called `name`.
    fn has_chain(&self, name: &str) -> bool {
        name == "direct" || self.value(&KeyPath::of(["chains", name])).is_some()
    }

    /// Returns the value of `key` beside `path`.
    fn sibling(&self, path: &KeyPath, key: &str) -> Option<&Value> {
        let (_, above) = path.keys().split_last()?;
        self.value(&KeyPath::from(above.to_vec()).then(Key::Name(key.to_owned())))
    }

    /// Returns whether the value at `path` must not be shown, since a variable has a part in it, an alias shares it, or it
    /// could be the end of a secret.
    pub(in crate::config) fn is_hidden(&self, path: &KeyPath) -> bool {
        self.is_from_elsewhere(path) || self.hides(path)
    }

    /// Returns whether a variable has a part in the value at `path`, or an alias shares it.
    pub(in crate::config) fn is_from_elsewhere(&self, path: &KeyPath) -> bool {
        let written = &*self.written(path);
        let is_shared = self.file_of(written).is_some_and(|file| file.shares(written));
        is_shared || self.variables.contains_key(path)
    }

    /// Returns the first values that are written in an odd way.
    pub(in crate::config) fn suspicious_values(&self) -> Vec<(KeyPath, SuspiciousValue)> {
        let mut found: Vec<_> = self.files.iter().flat_map(File::suspicious_values).collect();
        // A later file may have the value that counts.
        found.retain(|(path, suspicious_value)| {
            self.suspicious_value(path) == Some(*suspicious_value)
        });
        found.dedup();
        found
    }
}

/// Returns whether `name` is a key of this program or of another one, or nearly so.
pub(in crate::config::yaml) fn is_public_key(name: &str) -> bool {
    is_near_a_key(name) || keys::is_listed(name)
}

/// Returns whether `value` is what YAML makes of a template without quotes, such as `{user}` or `[{session}]`.
fn is_template(value: &Value) -> bool {
    match value {
        Value::Mapping(keys) => !keys.is_empty() && keys.values().all(Value::is_null),
        Value::Sequence(list) => list.iter().any(|item| item.is_mapping() && is_template(item)),
        _ => false,
    }
}

/// Returns the names that `text` has with arrows, commas or words between them, as in `office -> trio`.
fn several_words(text: &str) -> Option<Vec<&str>> {
    let is_between = |one: char| one.is_whitespace() || ",;|>→".contains(one);
    let words: Vec<&str> = text
        .split(is_between)
        .filter(|word| !word.is_empty() && !["-", "=", "--", "then", "and"].contains(word))
        .collect();
    (words.len() > 1 && words.iter().all(|word| is_word(word))).then_some(words)
}

fn missing_colon(key: &str) -> String {
    format!("write a colon and a space after `{key}`, as in `{key}: VALUE`")
}

/// An example of the credentials of clients.
const EXAMPLE_AUTH: &str = "`auth: { username: NAME, password: \"${PASSWORD}\" }`";

/// The helpers that the tests of several kinds of advice share.
#[cfg(test)]
mod testing {
    use serde_yaml::Value;

    #[track_caller]
    pub(super) fn check(instead: Option<String>, expected: &str) {
        assert_eq!(instead.unwrap_or_default(), expected);
    }

    pub(super) fn yaml(text: &str) -> Value {
        serde_yaml::from_str(text).unwrap()
    }
}
