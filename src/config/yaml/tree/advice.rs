//! Guesses what was meant by a setting that is unknown or has a wrong value.

use mooltiroute_hops::{Fault, Key, KeyPath};
use serde_yaml::Value;

use crate::config::{
    report::{
        problem::{is_name, is_word},
        proxy_url::settings_instead,
    },
    yaml::{
        oddity::{Oddity, look_alike},
        tree::{File, Tree},
    },
};

impl Tree {
    /// Returns what is odd about the way the value at `path` is written.
    pub(super) fn oddity(&self, path: &KeyPath) -> Option<Oddity> {
        self.file_of(path).and_then(|file| file.oddity(path))
    }

    /// Returns the likely reason for an invalid value at `path`, or what to write instead.
    pub(super) fn advice(&self, path: &KeyPath, fault: &Fault) -> Option<String> {
        if let Some(oddity) = self.oddity(path) {
            return Some(format!("{oddity}; {}", oddity.help()));
        }
        let text = self.value(path).and_then(Value::as_str);
        let is_address = matches!(path.keys(), [.., Key::Name(key)] if key == "address");
        if is_address
            && let Some(help) = text.and_then(|text| settings_instead(text, self.is_hidden(path)))
        {
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
        self.empty_sibling(path)
    }

    /// Returns what to write if a mapping or a list is expected at `path` and `text` is there.
    fn other_type(&self, path: &KeyPath, expected: &str, text: Option<&str>) -> Option<String> {
        if expected.starts_with("a list")
            && let Some(text) = text
        {
            return Some(match self.shown(path).filter(|text| is_word(text)) {
                Some(word) => format!("write it as a list, `[{word}]`"),
                None if text.contains(',') => "write it as a list, in `[ ]`".to_owned(),
                None => "write it as a list of one, in `[ ]`".to_owned(),
            });
        }
        if !expected.starts_with("a mapping") {
            return None;
        }
        let key = text?.split_once(':').map(|(key, _)| key).filter(|key| is_word(key))?;
        // If all keys are listed, another word is not a key; people write `NAME:PASSWORD` there.
        let is_key = expected.contains(&format!("`{key}`")) || expected.contains("such as");
        Some(match is_key {
            true => "write a space after the colon of a key".into(),
            false => format!("write {EXAMPLE_AUTH}"),
        })
    }

    /// Says that a key beside `path` has no value, as if a `#` began it.
    fn empty_sibling(&self, path: &KeyPath) -> Option<String> {
        let (_, above) = path.keys().split_last()?;
        if !matches!(above.first(), Some(Key::Name(section)) if ["hops", "server"].contains(&section.as_str()))
        {
            return None;
        }
        let siblings = self.value(&KeyPath::from(above.to_vec()))?.as_mapping()?;
        let mut empty = siblings.iter().filter(|(_, value)| value.is_null());
        let name = empty.find_map(|(key, _)| key.as_str().filter(|name| is_word(name)))?;
        Some(format!("`{name}` has no value here; write one that begins with `#` in quotes"))
    }

    /// Returns what to do about a key at `path` that is none of `known`, if no known key is near it.
    pub(super) fn advice_on_key(&self, path: &KeyPath, known: &[&str]) -> Option<String> {
        let Some((Key::Name(name), above)) = path.keys().split_last() else { return None };
        match above {
            [] => self.advice_on_section(path, name),
            [Key::Name(section), ..] if section == "hops" => {
                let (_, help, needs) =
                    OF_OTHERS.iter().find(|(keys, ..)| keys.contains(&name.as_str()))?;
                let is_possible = needs.is_empty() || known.contains(needs);
                is_possible.then(|| (*help).to_owned())
            }
            _ => None,
        }
    }

    /// Returns where a part of the configuration belongs that is at the top as `name`.
    fn advice_on_section(&self, path: &KeyPath, name: &str) -> Option<String> {
        let shown = if is_word(name) { name } else { "NAME" };
        let value = self.value(path)?;
        let has = |key: &str| value.as_mapping().is_some_and(|mapping| mapping.contains_key(key));
        if has("kind") || (has("address") && has("username")) {
            return Some(format!("indent `{shown}:` and its lines below `hops:`"));
        }
        let hops = self.names(&KeyPath::of(["hops"])).unwrap_or_default();
        let names_a_hop =
            |item: &Value| item.as_str().is_some_and(|item| hops.iter().any(|hop| hop == item));
        let is_chain = value.as_sequence().is_some_and(|list| list.iter().any(names_a_hop));
        if is_chain || name == "default" || has("warm") {
            return Some(format!("indent `{shown}:` below `chains:`"));
        }
        if ["proxy", "proxies", "upstream", "upstreams", "parent"].contains(&name)
            || ["http_proxy", "https_proxy", "all_proxy"].contains(&&*name.to_ascii_lowercase())
        {
            return Some(format!("write a proxy as a hop, and a chain through it: {EXAMPLE_HOP}"));
        }
        let belongs = SECTIONS_OF_KEYS.iter().find(|(_, keys)| keys.contains(&name));
        if let Some((section, _)) = belongs {
            return Some(format!("write `{name}` below `{section}`"));
        }
        if ["no_proxy", "bypass", "exceptions"].contains(&&*name.to_ascii_lowercase()) {
            return Some(
                "write a route: `routes: [{ hosts: [HOST], chain: direct }, { chain: default }]`"
                    .into(),
            );
        }
        HOP_KEYS.contains(&name).then(|| {
            format!("this key belongs to a hop: write it below the hop's name, as in {EXAMPLE_HOP}")
        })
    }

    /// Returns advice for a value at `hops.NAME` that is no mapping.
    pub(in crate::config) fn advice_on_hop(&self, path: &KeyPath) -> Option<String> {
        let Some(Key::Name(name)) = path.keys().last() else { return None };
        if HOP_KEYS.contains(&name.as_str()) {
            return Some(format!("the name of the hop is missing: {EXAMPLE_HOP}"));
        }
        let text = self.value(path).and_then(Value::as_str)?;
        match settings_instead(text, self.is_hidden(path)) {
            Some(help) => {
                Some(format!("{help}, each indented below `{name}:`", name = shown_name(name)))
            }
            None => Some(format!("write {EXAMPLE_HOP}")),
        }
    }

    /// Returns whether the value at `path` must not be shown, since a variable has a part in it, an alias shares it, or it
    /// could be the end of a secret.
    pub(in crate::config) fn is_hidden(&self, path: &KeyPath) -> bool {
        self.is_from_elsewhere(path) || self.hides(path)
    }

    /// Returns whether a variable has a part in the value at `path`, or an alias shares it.
    pub(in crate::config) fn is_from_elsewhere(&self, path: &KeyPath) -> bool {
        let is_shared = self.file_of(path).is_some_and(|file| file.shares(path));
        is_shared || self.variables.contains_key(path)
    }

    /// Returns the first values that are written in an odd way.
    pub(in crate::config) fn oddities(&self) -> Vec<(KeyPath, Oddity)> {
        let mut found: Vec<_> = self.files.iter().flat_map(File::oddities).collect();
        // A later file may have the value that counts.
        found.retain(|(path, oddity)| self.oddity(path) == Some(*oddity));
        found.dedup();
        found
    }
}

fn shown_name(name: &str) -> &str {
    if is_name(name) { name } else { "NAME" }
}

/// The keys that people write at the top, by the section that has them.
const SECTIONS_OF_KEYS: [(&str, &[&str]); 4] = [
    ("server", &["listen", "auth", "via", "upgrades", "protocols", "workers"]),
    (
        "timeouts",
        &["header", "connect", "handshake", "response", "stall", "idle", "half_closed", "drain"],
    ),
    ("limits", &["connections", "header_bytes", "header_fields"]),
    ("log", &["level", "format", "access"]),
];

/// The keys of hops that are written without the name of the hop.
const HOP_KEYS: [&str; 8] =
    ["kind", "enabled", "address", "username", "password", "password_file", "tls", "members"];

/// Keys of other programs, with the advice, and the key that a kind must have for it.
const OF_OTHERS: [(&[&str], &str, &str); 5] = [
    (
        &["domain", "workgroup", "ntdomain"],
        "write the domain into the username, as in `username: 'DOMAIN\\NAME'`",
        "username",
    ),
    (&["ssl", "https", "secure"], "write `tls: true`", "tls"),
    (
        &["ca", "cafile", "cacert", "verify", "insecure", "skip_verify", "certificate"],
        "certificates are always checked; write the authority to trust as `tls: { ca: FILE }`",
        "tls",
    ),
    (
        &["scheme", "protocol", "proxy_type"],
        "the `kind` says it: `http-connect` for an HTTP proxy, with `tls: true` for an HTTPS one, or `socks5`",
        "",
    ),
    (
        &["hosts", "no_proxy", "bypass", "domains", "ports_allowed"],
        "a route says which hosts take which chain: `routes: [{ hosts: [HOST], chain: CHAIN }, { chain: default }]`",
        "",
    ),
];

/// How the credentials of clients are written.
const EXAMPLE_AUTH: &str = "`auth: { username: NAME, password: \"${PASSWORD}\" }`";

const EXAMPLE_HOP: &str = "`hops: { NAME: { kind: http-connect, address: \"HOST:PORT\" } }` and `chains: { default: [NAME] }`";
