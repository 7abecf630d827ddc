//! Advice on hops and chains that are not written as `NAME: …`, or have no settings.

use mooltiroute_hops::{Key, KeyPath};
use serde_yaml::Value;

use crate::config::{
    report::{
        known_keys::{key_without_colon, space_after_colon},
        problem::{is_name, is_word},
        proxy_url::settings_instead,
    },
    yaml::tree::{File, Tree, advice::missing_colon},
};

impl Tree {
    /// Returns advice for a value at `hops.NAME` that is not a mapping.
    pub(in crate::config) fn advice_on_hop(&self, path: &KeyPath) -> Option<String> {
        let Some(Key::Name(name)) = path.keys().last() else { return None };
        if HOP_KEYS.contains(&name.as_str()) {
            return Some(format!("the name of the hop is missing: {EXAMPLE_HOP}"));
        }
        if self.value(path).is_some_and(Value::is_null) {
            let is_whole = |file: &&File| file.depth(path) == Some(path.keys().len());
            return Some(match self.files.iter().filter(is_whole).count() {
                0 | 1 => format!("write {EXAMPLE_HOP}"),
                _ => format!(
                    "to leave the hop out of its chains, write `{}: {{ enabled: false }}`",
                    shown_name(name)
                ),
            });
        }
        if let Some(is_on) = self.value(path).and_then(switch) {
            let name = shown_name(name);
            return Some(format!("write `{name}: {{ enabled: {is_on} }}`"));
        }
        let text = self.value(path).and_then(Value::as_str)?;
        if let Some(help) = space_after_colon(text, &HOP_KEYS) {
            return Some(help);
        }
        if let Some(key) = key_without_colon(text) {
            return Some(missing_colon(key));
        }
        match settings_instead(text, self.is_hidden(path)) {
            Some(help) => {
                Some(format!("{help}, each indented below `{name}:`", name = shown_name(name)))
            }
            None => Some(format!("write {EXAMPLE_HOP}")),
        }
    }

    /// Returns how to write a list of hops or chains as the mapping that is expected at `path`.
    pub(in crate::config::yaml::tree) fn names_instead(
        &self,
        path: &KeyPath,
        value: &Value,
    ) -> Option<String> {
        let [Key::Name(section)] = path.keys() else { return None };
        let first = value.as_sequence()?.first()?;
        let name_at = path.clone().then(Key::Index(0)).then(Key::Name("name".into()));
        let name = self.shown(&name_at).filter(|name| is_word(name)).unwrap_or("NAME");
        let example = match &**section {
            "hops" if first.is_mapping() => {
                format!("hops: {{ {name}: {{ kind: http-connect, address: \"HOST:PORT\" }} }}")
            }
            "chains" if first.is_mapping() => format!("chains: {{ {name}: [HOP] }}"),
            "chains" if first.is_string() => "chains: { default: [HOP] }".to_owned(),
            _ => return None,
        };
        Some(match first.is_mapping() {
            true => format!("write the name as a key, without a `-` before it: `{example}`"),
            false => format!("write the name of the chain before its hops: `{example}`"),
        })
    }
}

/// Returns whether `value` is a word for a hop that is on, or for one that is off.
fn switch(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(is_on) => Some(*is_on),
        Value::String(text) => match &*text.to_ascii_lowercase() {
            "on" | "yes" | "enabled" => Some(true),
            "off" | "no" | "disabled" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn shown_name(name: &str) -> &str {
    if is_name(name) { name } else { "NAME" }
}

/// The keys of hops that are written without the name of the hop.
pub(super) const HOP_KEYS: [&str; 14] = [
    "kind",
    "enabled",
    "on_leave",
    "budget",
    "rotate_after",
    "address",
    "username",
    "password",
    "password_file",
    "nt_hash",
    "tls",
    "members",
    "members_from",
    "pick",
];

pub(super) const EXAMPLE_HOP: &str = "`hops: { NAME: { kind: http-connect, address: \"HOST:PORT\" } }` and `chains: { default: [NAME] }`";
