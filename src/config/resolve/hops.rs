//! The hops of a configuration, built.

use std::hash::BuildHasher as _;

use mooltiroute_hops::{Key, KeyPath};

use super::{Names, Part, Resolver};
use crate::config::{NamedHop, outline};

impl Resolver<'_> {
    /// The hops, sorted by name, and their names.
    pub(super) fn hops(&mut self) -> (Vec<NamedHop>, Names) {
        let names = self.names(&KeyPath::of(["hops"]));
        let mut written = self.tree.names(&KeyPath::of(["hops"])).unwrap_or_default();
        written.sort();
        (written.iter().map(|name| self.hop(name)).collect(), names)
    }

    /// A hop that is at fault is still a name one may use.
    fn hop(&mut self, name: &str) -> NamedHop {
        let path = KeyPath::of(["hops", name]);
        let below = |key: &str| path.clone().then(Key::Name(key.to_owned()));
        let mut named = NamedHop {
            name: name.into(),
            kind: String::new(),
            is_enabled: true,
            credentials: Vec::new(),
            fingerprint: 0,
            hop: None,
        };
        let Some(mut settings) = self.tree.settings_without(&path, &["kind", "enabled"]) else {
            self.invalid(&path, "expected a mapping of the hop's `kind` and its settings");
            return named;
        };
        named.is_enabled = self.read(&below("enabled")).unwrap_or(true);
        named.fingerprint = outline::hash_without(self.tree, &path, "enabled", self.hasher);
        named.credentials = self.credentials(&path);
        let Some(kind) = self.kind(&path) else { return named };
        named.kind.clone_from(&kind);
        let Some(kind) = self.registry.kind(&kind) else { return named };
        let failed = self.failed.range(path.clone()..).map_while(|failed| failed.below(&path));
        let unknown: Vec<_> = failed.collect();
        let context = self.context();
        let built = if unknown.is_empty() {
            kind.build(&settings, &context).map(Some)
        } else {
            // Without them it can't be built, but the rest can be checked.
            for path in &unknown {
                settings.forget(path);
            }
            Err(kind.check(&settings))
        };
        if let Some(files) = context.fingerprint() {
            named.fingerprint = self.hasher.hash_one((named.fingerprint, files));
            self.files.push((path.clone(), files));
        }
        match built {
            Ok(hop) => named.hop = hop,
            Err(invalid) => self.report(&path, &invalid),
        }
        named
    }

    /// What is written as the kind of the hop at `path`, which may be none that there is.
    fn kind(&mut self, path: &KeyPath) -> Option<String> {
        let kind = path.clone().then(Key::Name("kind".into()));
        let known: Vec<_> = self.registry.names().collect();
        if self.failed.contains(&kind) {
            return None;
        }
        if self.tree.settings(&kind).is_none() {
            if self.is_complete && !self.problems.skips() {
                let message =
                    format!("the key `kind` is missing; known kinds: {}", known.join(", "));
                let mut problem = self.tree.problem(path, Part::Key, "missing-key", message);
                let type_ = path.clone().then(Key::Name("type".into()));
                if self.tree.value(&type_).is_some() {
                    problem.help = Some("write `kind` in place of `type`".into());
                }
                self.problems.push(problem);
            }
            return None;
        }
        let name = self.read::<String>(&kind)?;
        if !known.contains(&name.as_str()) && !self.problems.skips() {
            let problem = self.unknown_name(&kind, &kind, "kind", &known);
            self.problems.push(problem);
        }
        Some(name)
    }
}
