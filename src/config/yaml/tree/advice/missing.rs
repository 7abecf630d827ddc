//! Advice on a key that is missing, if something else is written in its place.

use mooltiroute_hops::{Key, KeyPath};

use crate::config::yaml::tree::Tree;

impl Tree {
    /// Returns what to write if the mapping at `path` lacks `key`.
    pub(super) fn missing_instead(&self, path: &KeyPath, key: &str) -> Option<String> {
        self.kind_instead(path)
            .or_else(|| self.pool_instead(path).map(str::to_owned))
            .or_else(|| self.when_instead(path))
            .or_else(|| self.user_instead(path, key))
            .or_else(|| of_budget(path, key).map(str::to_owned))
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

    /// Returns the kind to write for the hop at `path`, if it has members like a pool.
    fn pool_instead(&self, path: &KeyPath) -> Option<&'static str> {
        let hop = self.value(path)?.as_mapping()?;
        let has_members = hop.contains_key("members") || hop.contains_key("members_from");
        (has_members && path.keys().first()?.name() == Some("hops"))
            .then_some("a hop with `members` is of `kind: pool`")
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

/// Returns what to write for a budget at `path` that lacks `key`.
fn of_budget(path: &KeyPath, key: &str) -> Option<&'static str> {
    let is_budget = path.last_name() == Some("budget");
    Some(match key {
        "per" if is_budget => "write `per: month` beside it, or `hour`, `day` or `week`",
        "bytes" if is_budget => "write its size, as in `bytes: 5GiB`, or `bytes: 5000000000`",
        _ => return None,
    })
}
