//! Explains why a key has no value although something is written after it.

use mooltiroute_hops::{Key, KeyPath};
use serde_yaml::Value;

use crate::config::yaml::tree::Tree;

impl Tree {
    /// Says why the key at `path` has no value although something is written after it.
    pub(in crate::config::yaml::tree) fn swallowed(&self, path: &KeyPath) -> Option<&'static str> {
        let path = &*self.written(path);
        Some(match self.file_of(path)?.swallowed(path)? {
            '#' => "`#` begins a comment; write the value in quotes",
            '!' => "`!` begins a YAML tag; a text that begins with it is written in single quotes",
            _ => "`&` begins an anchor; a text that begins with it is written in single quotes",
        })
    }

    /// Returns whether the value at `path` has a tag.
    pub(in crate::config::yaml::tree) fn is_tagged(&self, path: &KeyPath) -> bool {
        matches!(self.value(path), Some(Value::Tagged(_)))
    }

    /// Says why the other half of a login at `path` has no value.
    pub(super) fn empty_partner(&self, path: &KeyPath) -> Option<String> {
        let Some((Key::Name(name), above)) = path.keys().split_last() else { return None };
        let (_, partners) = PARTNERS.iter().find(|(key, _)| key == name)?;
        partners.iter().find_map(|partner| {
            let path = KeyPath::from(above.to_vec()).then(Key::Name((*partner).to_owned()));
            Some(format!("`{partner}` has no value: {}", self.swallowed(&path)?))
        })
    }
}

/// The keys without which another key is a mistake.
const PARTNERS: [(&str, &[&str]); 3] = [
    ("username", &["password", "password_file", "nt_hash"]),
    ("password", &["username"]),
    ("auth", &["username", "password", "password_file", "nt_hash"]),
];
