//! Reports invalid settings and unknown names, each mistake once.

use mooltiroute_hops::{Fault, InvalidSetting, Key, KeyPath};

use crate::config::{Problem, report::suggest::nearest, resolve::Resolver, yaml::file::Part};

impl Resolver<'_> {
    pub(super) fn report(&mut self, above: &KeyPath, invalid: &[InvalidSetting]) {
        let mut advised = Vec::<(KeyPath, String)>::new();
        // Keys that are unknown come first, since one of them may be meant as a key that is missing.
        let is_unknown = |one: &&InvalidSetting| matches!(one.fault(), Fault::UnknownKey { .. });
        let (unknown, others): (Vec<_>, Vec<_>) = invalid.iter().partition(is_unknown);
        for invalid in unknown.into_iter().chain(others) {
            let path = above.clone().join(invalid.path());
            let is_noise = match invalid.fault() {
                // The key may be in the file that could not be read.
                Fault::MissingKey(_) => !self.is_complete,
                // The key itself is wrong here, whatever has become of its value.
                Fault::UnknownKey { .. } => false,
                // The value still is the text with `${…}`, and that its variable failed has been reported.
                _ => self.failed.contains(&path),
            };
            if is_noise || self.problems.skips() {
                continue;
            }
            let problem = self.tree.invalid(above, invalid);
            let mapping = |path: &KeyPath| {
                let keys = path.keys().split_last().map_or(&[][..], |(_, above)| above);
                KeyPath::from(keys.to_vec())
            };
            // One mistake is one problem: the same advice for a second key beside it says nothing new, and a missing
            // key that was just asked for neither.
            let is_said = match invalid.fault() {
                Fault::UnknownKey { .. } => advised.iter().any(|(place, help)| {
                    *place == mapping(&path) && problem.help.as_ref() == Some(help)
                }),
                Fault::MissingKey(key) => {
                    // If another kind is meant, the keys of this one are not needed.
                    let settles =
                        |help: &str| asks_for(help, key) || help.contains("write `kind: ");
                    advised.iter().any(|(place, help)| *place == path && settles(help))
                }
                _ => false,
            };
            if let (Fault::UnknownKey { .. }, Some(help)) = (invalid.fault(), &problem.help) {
                advised.push((mapping(&path), help.clone()));
            }
            if !is_said {
                self.problems.push(problem);
            }
        }
    }

    pub(super) fn invalid(&mut self, path: &KeyPath, message: impl Into<String>) {
        if !self.failed.contains(path) && !self.problems.skips() {
            self.problems.push(self.tree.problem(path, Part::Value, "value", message));
        }
    }

    /// Builds the problem that the text at `place` names none of `known`.
    pub(super) fn unknown_name(
        &self,
        path: &KeyPath,
        place: &KeyPath,
        noun: &str,
        known: &[&str],
    ) -> Problem {
        // A hop without a credential, such as a pool, has no text that could be the end of one. All the same, a word there
        // is shown only if it looks like a name that was meant: people also write a login among the members.
        let shown = self.tree.shown(place);
        let word = shown.or_else(|| self.tree.word_without_credential(place));
        // A suggestion for a text that must not be shown would tell most of it.
        let near = word.and_then(|name| nearest(name, known.iter().copied()));
        let shown = shown.or(word.filter(|_| near.is_some()));
        let written = shown
            .map_or_else(|| format!("unknown {noun}"), |name| format!("unknown {noun} `{name}`"));
        let message = match known {
            // A pool may be the only hop, and holds others.
            [] => {
                let is_in_hop = place.keys().first().and_then(Key::name) == Some("hops");
                let other = if is_in_hop { "other " } else { "" };
                format!("{written}; no {other}{noun} is written below `{noun}s:`")
            }
            _ => format!("{written}; known {noun}s: {}", some_of(known)),
        };
        let code = match noun {
            "kind" => "unknown-kind",
            "hop" => "unknown-hop",
            _ => "unknown-chain",
        };
        let problem = self.tree.problem(place, Part::Value, code, message);
        // `Problem::new` hides keys that are not names, as it does for every other problem.
        let path = Problem::new(path, code, "").path;
        Problem { path, ..problem }.with_suggestion(near)
    }
}

/// Returns whether the advice `help` says to write `key`.
fn asks_for(help: &str, key: &str) -> bool {
    let is_key = |quote: &str| help.contains(&format!("{quote}{key}:"));
    is_key("`") || is_key("{ ") || help.contains(&format!("`{key}`"))
}

/// Lists some of the names.
pub(super) fn some_of(names: &[impl AsRef<str>]) -> String {
    let some: Vec<&str> = names.iter().take(KNOWN_MAX).map(AsRef::as_ref).collect();
    some.join(", ") + if names.len() > KNOWN_MAX { ", …" } else { "" }
}

/// The number of names that are listed.
const KNOWN_MAX: usize = 20;
