//! Advice on a key that is missing, if something else is written in its place.

use mooltiroute_hops::{Key, KeyPath};

use crate::config::yaml::tree::Tree;

impl Tree {
    /// Returns what to write if the mapping at `path` lacks `key`.
    pub(super) fn missing_instead(&self, path: &KeyPath, key: &str) -> Option<String> {
        self.kind_instead(path)
            .or_else(|| self.when_instead(path))
            .or_else(|| self.user_instead(path, key))
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
