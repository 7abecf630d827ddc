//! Advice on a key that is missing, if something else is written in its place.

use mooltiroute_hops::{Key, KeyPath};

use crate::config::yaml::tree::Tree;

impl Tree {
    /// Returns what to write if the mapping at `path` lacks `key`.
    pub(super) fn missing_instead(&self, path: &KeyPath, key: &str) -> Option<String> {
        self.kind_instead(path)
            .or_else(|| self.when_instead(path))
            .or_else(|| self.user_instead(path, key))
            .or_else(|| self.example_of(path, key))
    }

    /// Returns an example of `key`, which must be written at `path`.
    fn example_of(&self, path: &KeyPath, key: &str) -> Option<String> {
        let names: Vec<&str> =
            path.keys().iter().map(|key| key.name().unwrap_or_default()).collect();
        let example = match (&*names, key) {
            (["hops", _, "budget"], "per") => {
                "write `per: month`, or `hour`, `day` or `week` in place of `month`, as in `budget: { bytes: 5GiB, per: month }`"
            }
            (["hops", _, "budget"], "bytes") => {
                "write a size, as in `budget: { bytes: 5GiB, per: month }`"
            }
            (["routes", _], "chain") => {
                "write `chain: NAME`, with the name of a chain, or `chain: direct`"
            }
            (["chains", _], "hops") => "write `hops: [HOP]`, with the hops in the order of travel",
            (["hops", _, "budget", "then"], "chain") => "write `then: { chain: CHAIN }`",
            (["server", "auth"], _) => {
                "write both, as in `auth: { username: NAME, password: \"${PASSWORD}\" }`"
            }
            ([.., "tls"], "cert" | "key") => "write both, as in `tls: { cert: FILE, key: FILE }`",
            (["hops", ..], "members") => {
                "write `members: [HOP, HOP]`, or `members_from: { file: FILE }` for a list of proxies"
            }
            (["hops", ..], "address") => "write `address: \"HOST:PORT\"`",
            (["hops", _], "url") => {
                "write `url: URL`, with the address of the PAC file, or `file: FILE`"
            }
            (["hops", ..], "user" | "pass") => "write `user: NAME` and `pass: \"${PASSWORD}\"`",
            (["hops", ..], "username" | "password") => {
                "write `username: NAME` and `password: \"${PASSWORD}\"`"
            }
            _ => return None,
        };
        Some(example.to_owned())
    }

    /// Returns what to write for a hop at `path` that has the name of its account as a template.
    fn user_instead(&self, path: &KeyPath, key: &str) -> Option<String> {
        let hop = self.value(path)?.as_mapping()?;
        let is_rotating = hop.get("kind")?.as_str() == Some("rotating");
        (is_rotating && ["user", "pass"].contains(&key) && hop.contains_key("username")).then(|| {
            "the login of the account is `user: NAME` and `pass: \"${PASSWORD}\"`; `username` is a template, as in `username: \
             \"{user}[-session-{session}]\"`"
                .to_owned()
        })
    }

    /// Returns the kind to write for the hop at `path`, if its address is that of a provider with a kind of its own.
    fn kind_instead(&self, path: &KeyPath) -> Option<String> {
        let text = |key: &str| self.value(&path.clone().then(Key::Name(key.to_owned())))?.as_str();
        let address = text("address")?.to_ascii_lowercase();
        let host = address.split(':').next()?;
        let is_webshare = host == "webshare.io" || host.ends_with(".webshare.io");
        (is_webshare && text("kind") == Some("rotating")).then(|| {
            "this is the gateway of Webshare: write `kind: webshare`, with `username` and `password`".to_owned()
        })
    }

    /// Returns what to write for an `enabled` at `path` that has a condition in place of `when`.
    fn when_instead(&self, path: &KeyPath) -> Option<String> {
        let condition = self.value(path)?.as_mapping()?;
        let is_enabled = path.last_name() == Some("enabled") && !condition.is_empty();
        is_enabled.then(|| {
            "write `when:` and the condition below it: `enabled: { when: { … } }`".to_owned()
        })
    }
}
