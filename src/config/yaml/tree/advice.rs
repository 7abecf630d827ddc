//! Guesses what was meant by a setting that is unknown or has a wrong value.

mod budgets;
mod conditions;
mod files;
mod keys;
mod missing;
mod sizes;
mod swallowed;
mod values;

use mooltiroute_hops::{Fault, Key, KeyPath};
use serde_yaml::{Mapping, Value};

use crate::config::{
    raw,
    report::{
        foreign_variable,
        known_keys::{OF_SECTIONS, is_near_a_key, key_without_colon, space_after_colon},
        problem::{is_name, is_word},
        proxy_url::{
            ONE_HOP_FOR_EACH, listed_instead, mended_address, scheme_instead, settings_instead,
            several_instead,
        },
        suggest::{nearest, same_name},
    },
    yaml::{
        oddity::{Oddity, look_alike},
        tree::{File, Tree},
    },
};

impl Tree {
    /// Returns what is odd about the way the value at `path` is written.
    pub(super) fn oddity(&self, path: &KeyPath) -> Option<Oddity> {
        let path = &*self.written(path);
        self.file_of(path).and_then(|file| file.oddity(path))
    }

    /// Returns the likely reason for an invalid value at `path`, or what to write instead.
    pub(super) fn advice(&self, path: &KeyPath, fault: &Fault) -> Option<String> {
        // One piece of advice is given, and the most certain comes first. An odd way of writing explains a
        // wrong value better than the value itself: it was cut or changed before it got here.
        if let Some(oddity) = self.oddity(path) {
            return Some(format!("{oddity}; {}", oddity.help()));
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

    /// Returns what to do about a key at `path` that is none of `known`, if no known key is near it.
    pub(super) fn advice_on_key(&self, path: &KeyPath, known: &[&str]) -> Option<String> {
        let Some((Key::Name(name), above)) = path.keys().split_last() else { return None };
        if let Some(help) = dotted(name, known) {
            return Some(help);
        }
        if above.is_empty()
            && let Some(help) = self.advice_on_section(path, name)
        {
            return Some(help);
        }
        if !above.is_empty() && raw::SECTIONS.contains(&name.as_str()) {
            return keys::instead(above, name, known).map(str::to_owned).or_else(|| {
                Some(format!("write `{name}:` without indentation; it is a section of its own"))
            });
        }
        let is_account = matches!(above, [Key::Name(server), Key::Name(auth)] if server == "server" && auth == "auth");
        self.specific_key(path, above, name, known)
            .or_else(|| keys::instead(above, name, known).map(|help| self.with_port(path, help)))
            .or_else(|| of_another_section(above, name))
            .or_else(|| {
                let is_account = is_account && nearest(name, known.iter().copied()).is_none();
                is_account.then(|| keys::ONE_ACCOUNT_HERE.to_owned())
            })
    }

    /// Returns what to write instead of keys whose values say more than their names.
    fn specific_key(
        &self,
        path: &KeyPath,
        above: &[Key],
        name: &str,
        known: &[&str],
    ) -> Option<String> {
        let value = self.value(path)?;
        match above {
            [Key::Name(section), _] if section == "hops" => match (name, value) {
                ("disabled" | "disable", Value::Bool(is_off)) => {
                    Some(format!("write `enabled: {}`", !is_off))
                }
                ("tls", _) if known.contains(&"members") => {
                    Some("write `tls` in the members that need it".to_owned())
                }
                ("tls", _) if known.contains(&"address") => Some(
                    "leave it out: this kind of hop never speaks TLS to its proxy. TLS with targets (`https://`) passes through \
                     it unchanged"
                        .to_owned(),
                ),
                ("active" | "enable", Value::Bool(is_on)) => {
                    Some(format!("write `enabled: {is_on}`"))
                }
                ("pick" | "balance" | "strategy" | "policy" | "algorithm", Value::String(text)) => {
                    let pick = same_name(text, PICKS)?;
                    let is_pool =
                        self.sibling(path, "kind").and_then(Value::as_str) == Some("pool");
                    is_pool.then(|| format!("write `pick: {pick}`"))
                }
                (
                    "url" | "uri" | "proxy" | "addr" | "endpoint" | "server" | "host",
                    Value::String(text),
                ) if known.contains(&"address") => settings_instead(text, self.is_hidden(path)),
                _ => None,
            },
            [Key::Name(section), Key::Index(_)] if section == "routes" => {
                if let Some(help) = self.route_for_everything(path, name, value) {
                    return Some(help);
                }
                let is_hop_key = ["via", "hop", "proxy", "use", "outbound", "upstream", "action"]
                    .contains(&name);
                let written = self.shown(path).filter(|_| is_hop_key)?;
                let is_in = |section: &str| self.value(&KeyPath::of([section, written])).is_some();
                if written.eq_ignore_ascii_case("direct") {
                    Some("write `chain: direct`".to_owned())
                } else if is_in("chains") {
                    Some(format!("write `chain: {written}`"))
                } else if is_in("hops") {
                    Some(format!(
                        "write `chain: {written}`, and `{written}: [{written}]` below `chains:`"
                    ))
                } else {
                    None
                }
            }
            _ => None,
        }
    }

    /// Returns how to write a route for everything, if the key `name` at `path` is to make one.
    fn route_for_everything(&self, path: &KeyPath, name: &str, value: &Value) -> Option<String> {
        let everything = ["*", "all", "any", "everything", "default"];
        let is_match = ["match", "hosts", "host", "domain", "domains"].contains(&name)
            && (value.as_bool() == Some(true)
                || value.as_str().is_some_and(|text| everything.contains(&text)));
        if !is_match && !keys::means_everything(name) {
            return None;
        }
        // The chain is written beside the key, or is the value of it.
        let (_, above) = path.keys().split_last()?;
        let beside = KeyPath::from(above.to_vec()).then(Key::Name("chain".to_owned()));
        let mut chains = [&beside, path].into_iter().filter_map(|place| self.shown(place));
        let chain = chains.find(|chain| self.has_chain(chain)).unwrap_or("CHAIN");
        Some(keys::FOR_EVERYTHING.replace("CHAIN", chain))
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

    /// Puts a port number that is written at `path` into the advice, if there is one and it may be shown.
    fn with_port(&self, path: &KeyPath, help: &str) -> String {
        let port = self.value(path).and_then(Value::as_u64).filter(|_| !self.is_hidden(path));
        match port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0) {
            Some(port) if !help.contains("HOST:PORT") => help.replace("PORT", &port.to_string()),
            _ => help.to_owned(),
        }
    }

    /// Returns where a part of the configuration belongs that is at the top as `name`.
    fn advice_on_section(&self, path: &KeyPath, name: &str) -> Option<String> {
        // The value decides before the name: hops and chains are recognised by what is in them, whatever they
        // are called.
        let shown = if is_word(name) { name } else { "NAME" };
        let value = self.value(path)?;
        let has = |key: &str| value.as_mapping().is_some_and(|mapping| mapping.contains_key(key));
        if has("kind") || (has("address") && has("username")) {
            return Some(format!("indent `{shown}:` and its lines below `hops:`"));
        }
        let is_section = |key: &Value| key.as_str().is_some_and(|key| raw::SECTIONS.contains(&key));
        let holds_sections =
            |mapping: &Mapping| !mapping.is_empty() && mapping.keys().all(is_section);
        if value.as_mapping().is_some_and(holds_sections) {
            return Some(format!("remove `{shown}:`, and begin the sections in the first column"));
        }
        let hops = self.names(&KeyPath::of(["hops"])).unwrap_or_default();
        let names_a_hop =
            |item: &Value| item.as_str().is_some_and(|item| hops.iter().any(|hop| hop == item));
        let is_chain = value.as_sequence().is_some_and(|list| list.iter().any(names_a_hop));
        // Without a chain `default`, a chain of another name would be one that no request takes.
        let has_default = self.value(&KeyPath::of(["chains", "default"])).is_some();
        if is_chain && name != "default" && keys::is_listed(name) && !has_default {
            return Some("write the hops as a chain: `chains: { default: [HOP, HOP] }`".to_owned());
        }
        if is_chain || name == "default" || has("warm") {
            return Some(format!("indent `{shown}:` below `chains:`"));
        }
        // A key of a section that was written without the section, or not indented below it.
        // Some programs begin each key with a capital letter.
        let lower = name.to_ascii_lowercase();
        let belongs = OF_SECTIONS.iter().find(|(_, keys)| keys.contains(&&*lower));
        if let Some((section, _)) = belongs {
            return Some(format!("write `{lower}` below `{section}`"));
        }
        if HOP_KEYS.contains(&&*lower) {
            let example = match &*lower {
                "members" | "members_from" | "pick" => EXAMPLE_POOL,
                _ => EXAMPLE_HOP,
            };
            return Some(format!(
                "`{lower}` belongs to a hop: write it below the hop's name, as in {example}"
            ));
        }
        for section in ["hops", "chains"] {
            let names = self.names(&KeyPath::of([section])).unwrap_or_default();
            if names.iter().any(|known| known == name) {
                return Some(format!("write it below `{section}:`, indented by two spaces"));
            }
        }
        None
    }

    /// Returns advice for a value at `hops.NAME` that is no mapping.
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
    pub(super) fn names_instead(&self, path: &KeyPath, value: &Value) -> Option<String> {
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
    pub(in crate::config) fn oddities(&self) -> Vec<(KeyPath, Oddity)> {
        let mut found: Vec<_> = self.files.iter().flat_map(File::oddities).collect();
        // A later file may have the value that counts.
        found.retain(|(path, oddity)| self.oddity(path) == Some(*oddity));
        found.dedup();
        found
    }
}

/// Returns how to write `name`, several keys with dots between them, of which the first is in `known`.
fn dotted(name: &str, known: &[&str]) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let is_clear =
        parts.len() > 1 && known.contains(&parts[0]) && parts.iter().all(|part| is_word(part));
    is_clear.then(|| {
        let (open, close) = (parts.join(": { "), " }".repeat(parts.len() - 1));
        format!("a dot joins no keys: write each one below the one before it, as in `{open}: VALUE{close}`")
    })
}

/// Returns the section that has the key `name`, which is written in another section or in a hop.
fn of_another_section(above: &[Key], name: &str) -> Option<String> {
    let inside = above.first().and_then(Key::name)?;
    let is_place = above.len() == 1 || (inside == "hops" && above.len() == 2);
    // These mean something in hops as well.
    let is_clear = !(inside == "hops" && ["auth", "via"].contains(&name));
    let has = |(section, keys): &&(&str, &[&str])| *section != inside && keys.contains(&name);
    let (section, _) = OF_SECTIONS.iter().find(has).filter(|_| is_place && is_clear)?;
    Some(format!("write `{name}` below `{section}:`, outside of `{inside}`"))
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
const HOP_KEYS: [&str; 14] = [
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

/// The values of `pick` of a pool.
const PICKS: &[&str] = &["failover", "round-robin", "random", "sticky", "least-used"];

/// An example of the credentials of clients.
const EXAMPLE_AUTH: &str = "`auth: { username: NAME, password: \"${PASSWORD}\" }`";

const EXAMPLE_POOL: &str =
    "`hops: { NAME: { kind: pool, members: [HOP, HOP] } }` and `chains: { default: [NAME] }`";

const EXAMPLE_HOP: &str = "`hops: { NAME: { kind: http-connect, address: \"HOST:PORT\" } }` and `chains: { default: [NAME] }`";

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
