//! Lists the settings of hops that may be shown.

use std::{fmt::Write as _, sync::Arc};

use mooltiroute_hops::{Country, Key, KeyPath};
use serde_yaml::Value;

use crate::duration;

use crate::config::{
    Consequence, Credential, NamedHop, ShownSetting, report::problem::is_name, resolve::Resolver,
};

impl Resolver<'_> {
    /// Returns the settings of the hop at `path` that are written and that its kind allows to be shown.
    ///
    /// Left out are values that may still be secret: one from a variable, one that an alias shares, and an item of a list
    /// that may be a misplaced credential, unless it is the code of a country.
    pub(crate) fn shown_settings(
        &self,
        path: &KeyPath,
        kind: &str,
        hop: &NamedHop,
    ) -> Arc<[ShownSetting]> {
        let Some(kind) = self.registry.kind(kind) else { return Arc::default() };
        let shown = kind.shown().iter().filter_map(|key| {
            let path = path.clone().then(Key::Name((*key).to_owned()));
            let value = self.value_in_words(&path).or_else(|| self.own_value(&path))?;
            Some(ShownSetting { key, value })
        });
        // Those that a hop of any kind may have.
        let below = |keys: &[&str]| {
            let keys = keys.iter().map(|key| Key::Name((*key).to_owned()));
            self.value_in_words(&keys.fold(path.clone(), KeyPath::then))
        };
        // A time is not a secret, even if it comes from a variable or follows a credential in the same line.
        let rotate_after = hop.rotate_after.map(|age| {
            let path = path.clone().then(Key::Name("rotate_after".to_owned()));
            let value = self.value_in_words(&path).or_else(|| self.own_value(&path));
            let value = value.unwrap_or_else(|| duration::in_words(age));
            ShownSetting { key: "rotate_after", value }
        });
        let headers = self.header_names(path).map(|value| ShownSetting { key: "headers", value });
        let budget = hop.budget.as_ref().and_then(|budget| {
            let then = match &budget.then {
                Consequence::Refuse => "refuse".to_owned(),
                Consequence::Chain(name) => format!("chain {name}"),
            };
            let value = format!("{} per {}, then {then}", below(&["budget", "bytes"])?, budget.per);
            Some(ShownSetting { key: "budget", value })
        });
        shown.chain(headers).chain(rotate_after).chain(budget).collect()
    }

    /// Returns the names of the header fields that the hop at `path` is sent. Their values may be secrets.
    fn header_names(&self, path: &KeyPath) -> Option<String> {
        let names = self.tree.names(&path.clone().then(Key::Name("headers".into()))).ok()?;
        let names: Vec<_> = names.into_iter().filter(|name| is_name(name)).collect();
        let more = names.len().saturating_sub(ITEMS_MAX);
        let text = names[..names.len() - more].join(", ");
        match (names.is_empty(), more) {
            (true, _) => None,
            (false, 0) => Some(text),
            (false, more) => Some(format!("{text} and {more} more")),
        }
    }

    /// Returns the value of a setting that its kind allows to be shown, if it stands behind a credential in the same line.
    ///
    /// The rest of an unquoted credential with a comma has no key of this kind before it, so the value is not part of
    /// one.
    fn own_value(&self, path: &KeyPath) -> Option<String> {
        let open = |path: &KeyPath| {
            let text = self.tree.value(path)?.as_str()?;
            (is_name(text) && !self.tree.is_from_elsewhere(path)).then(|| text.to_owned())
        };
        if let Some(text) = open(path) {
            return Some(text);
        }
        // An item of a list has no key of its own. A code of two letters is not a credential.
        let list = self.tree.value(path)?.as_sequence()?;
        let codes = (0..list.len()).map(|index| {
            let code = open(&path.clone().then(Key::Index(index)))?;
            code.parse::<Country>().is_ok().then_some(code)
        });
        let codes: Vec<_> = codes.collect::<Option<_>>()?;
        let more = codes.len().saturating_sub(ITEMS_MAX);
        let text = codes[..codes.len() - more].join(", ");
        Some(if more == 0 { text } else { format!("{text} and {more} more") })
    }

    fn value_in_words(&self, path: &KeyPath) -> Option<String> {
        Some(match self.tree.value(path)? {
            Value::Bool(value) => value.to_string(),
            Value::Number(value) => value.to_string(),
            Value::String(text) => {
                // The name of a hop may be shown even behind a credential in the same line: it is written
                // elsewhere too.
                let is_known = self.is_known(path, text) && !self.tree.is_from_elsewhere(path);
                let shown = if is_known { Some(&**text) } else { self.tree.shown(path) };
                shown?.to_owned()
            }
            Value::Sequence(list) if list.is_empty() => "none".to_owned(),
            Value::Sequence(list) => {
                let mut words = String::new();
                for index in 0..list.len().min(ITEMS_MAX) {
                    let item = self.value_in_words(&path.clone().then(Key::Index(index)))?;
                    let comma = if index == 0 { "" } else { ", " };
                    let _ = write!(words, "{comma}{item}");
                }
                if list.len() > ITEMS_MAX {
                    let _ = write!(words, " and {} more", list.len() - ITEMS_MAX);
                }
                words
            }
            Value::Mapping(_) if path.keys().last().and_then(Key::name) == Some("tls") => {
                self.tls_in_words(path)
            }
            // A member of a pool that is written out. Its address or else its kind stands for all of it.
            Value::Mapping(_) => {
                let of = |key: &str| {
                    let path = path.clone().then(Key::Name(key.to_owned()));
                    let text = self.tree.value(&path)?.as_str()?;
                    let is_address = text.parse::<mooltiroute_hops::Authority>().is_ok();
                    let is_kind = key == "kind" && self.registry.kind(text).is_some();
                    let is_shown = is_kind || (is_address && !self.tree.is_hidden(&path));
                    is_shown.then(|| text.to_owned())
                };
                of("address").or_else(|| of("kind"))?
            }
            Value::Null | Value::Tagged(_) => return None,
        })
    }
}

impl Resolver<'_> {
    /// Describes the mapping of a hop's `tls` at `path`: the file that is trusted, and the name that is expected.
    fn tls_in_words(&self, path: &KeyPath) -> String {
        let below = |key: &str| path.clone().then(Key::Name(key.to_owned()));
        let (ca, server_name) = (below("ca"), below("server_name"));
        let ca_in_words = match self.tree.shown_file(&ca) {
            Some(file) => format!("ca {file}"),
            None => "a ca of its own".to_owned(),
        };
        let name = self.tree.shown(&server_name).map(|name| format!("server_name {name}"));
        let name_in_words = name.unwrap_or_else(|| "a server_name of its own".to_owned());
        let words: Vec<_> = [(ca, ca_in_words), (server_name, name_in_words)]
            .into_iter()
            .filter(|(path, _)| self.tree.value(path).is_some())
            .map(|(_, words)| words)
            .collect();
        if words.is_empty() { "true".to_owned() } else { format!("with {}", words.join(", ")) }
    }

    /// Returns whether `text`, which is at `path` in a hop, is the name of a hop, or a value of a hop without credentials.
    fn is_known(&self, path: &KeyPath, text: &str) -> bool {
        let [section, hop, ..] = path.keys() else { return false };
        // If a hop has no credentials, none of its values can be the end of one. Items of a list are
        // excepted, since a list of members may have a misplaced password in it.
        let is_hop = self.tree.value(&KeyPath::of(["hops", text])).is_some();
        let hop = KeyPath::from(vec![section.clone(), hop.clone()]);
        let names = self.tree.names(&hop).unwrap_or_default();
        let is_open = !names.iter().any(|name| Credential::is_named_so(name));
        is_hop || (is_open && is_name(text) && matches!(path.keys().last(), Some(Key::Name(_))))
    }
}

/// More items of a list are counted and not shown.
const ITEMS_MAX: usize = 12;
