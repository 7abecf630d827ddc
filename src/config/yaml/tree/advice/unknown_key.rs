//! Advice on a key that is unknown in its place.

use mooltiroute_hops::{Key, KeyPath};
use serde_yaml::Value;

use crate::config::{
    raw,
    report::{
        known_keys::OF_SECTIONS,
        problem::is_word,
        proxy_url::settings_instead,
        suggest::{nearest, same_name},
    },
    yaml::tree::{Tree, advice::keys},
};

impl Tree {
    /// Returns what to do about a key at `path` that is none of `known`, if no known key is near it.
    pub(in crate::config::yaml::tree) fn advice_on_key(
        &self,
        path: &KeyPath,
        known: &[&str],
    ) -> Option<String> {
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
                ("user" | "pass" | "pass_file", _)
                    if known.contains(&"username")
                        && !known.contains(&"user")
                        && self.has_template(path, name) =>
                {
                    let more = match known.contains(&"session") {
                        true => ", and let `session: rotate` or `sessions: by-client` add what follows it",
                        false => "",
                    };
                    Some(format!(
                        "`user`, `pass` and a template as `username` belong to `kind: rotating`; for this kind, write the username \
                         itself as `username` and the password as `password`{more}"
                    ))
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

    /// Returns whether the hop that has the unknown key `name` at `path` is written as one of `kind: rotating`: with an account
    /// and a template.
    fn has_template(&self, path: &KeyPath, name: &str) -> bool {
        let username = self.sibling(path, "username").and_then(Value::as_str);
        let is_account = name == "user" || self.sibling(path, "user").is_some();
        username.is_some_and(|text| is_account || text.contains('{'))
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

    /// Puts a port number that is written at `path` into the advice, if there is one and it may be shown.
    fn with_port(&self, path: &KeyPath, help: &str) -> String {
        let port = self.value(path).and_then(Value::as_u64).filter(|_| !self.is_hidden(path));
        match port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0) {
            Some(port) if !help.contains("HOST:PORT") => help.replace("PORT", &port.to_string()),
            _ => help.to_owned(),
        }
    }
}

/// Returns how to write `name` if it is several keys with dots between them, and the first of them is in `known`.
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

/// The values of `pick` of a pool.
const PICKS: &[&str] = &["failover", "round-robin", "random", "sticky", "least-used"];
