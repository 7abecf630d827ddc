//! Reads the hops, and builds them.

mod build;
mod kind;
mod siblings;
mod unresolved;

use std::{hash::BuildHasher as _, sync::Arc};

use mooltiroute_hops::{Key, KeyPath, Kind, Settings};

use crate::config::resolve::{Names, Part, Resolver};
use crate::config::{NamedHop, OnLeave, Problem, fingerprint, raw, yaml::tree::COMMON_KEYS};

/// A hop that is not built yet.
struct HopPlan {
    index: usize,
    path: KeyPath,
    kind: Kind,
    settings: Settings,
    /// Whether all its variables are set. If not, it can't be built, but its settings can be checked.
    is_whole: bool,
}

impl Resolver<'_> {
    /// Returns the hops, sorted by name, and their names.
    pub(crate) fn hops(&mut self) -> (Vec<NamedHop>, Names) {
        let names = self.names(&KeyPath::of(["hops"]));
        let mut written = self.tree.names(&KeyPath::of(["hops"])).unwrap_or_default();
        written.sort();
        let mut hops = Vec::with_capacity(written.len());
        let mut plans = Vec::with_capacity(written.len());
        for (index, name) in written.iter().enumerate() {
            let (hop, plan) = self.hop(index, name);
            hops.push(hop);
            plans.extend(plan);
        }
        self.build(&mut hops, plans, &names);
        // A hop that is enabled and missing without any problem would be left out of its chains, and requests
        // would silently go around it. This catches a kind that fails without a reason.
        if let Some(hop) = hops.iter().find(|hop| hop.is_enabled && hop.hop.is_none())
            && self.problems.is_empty()
        {
            self.invalid(&KeyPath::of(["hops", &hop.name]), "can't be built, and does not say why");
        }
        (hops, names)
    }

    /// Reads a hop. An invalid hop still defines its name.
    fn hop(&mut self, index: usize, name: &str) -> (NamedHop, Option<HopPlan>) {
        let path = KeyPath::of(["hops", name]);
        let below = |key: &str| path.clone().then(Key::Name(key.to_owned()));
        let mut named = NamedHop {
            name: name.into(),
            kind: String::new(),
            is_enabled: true,
            settings: Arc::default(),
            condition: None,
            depends_on: Vec::new(),
            on_leave: OnLeave::default(),
            credentials: Vec::new(),
            budget: None,
            rotate_after: None,
            fingerprint: 0,
            has_all_members_off: false,
            url: None,
            hop: None,
        };
        let Some(mut settings) = self.tree.settings_without(&path, &COMMON_KEYS) else {
            if !self.failed.contains(&path) && !self.problems.skips() {
                let message = "expected a mapping of the hop's `kind` and its settings";
                let problem = self.tree.problem(&path, Part::Value, "value", message);
                let help = self.tree.advice_on_hop(&path);
                self.problems.push(Problem { help, ..problem });
            }
            return (named, None);
        };
        named.budget = self.budget(&below("budget"));
        named.rotate_after = self.rotate_after(&below("rotate_after"));
        match self.read(&below("enabled")) {
            Some(raw::Enabled::When(condition)) => {
                self.warn_of_interface_patterns(&below("enabled"));
                named.is_enabled = self.network.is_on(&condition);
                let condition = Arc::new(condition);
                named.depends_on.push(Arc::clone(&condition));
                named.condition = Some(condition);
            }
            Some(raw::Enabled::Switch(is_on)) => named.is_enabled = is_on,
            None => {}
        }
        named.on_leave = self.read(&below("on_leave")).unwrap_or_default();
        // What these say is kept outside the hop, which stays as it is when they change.
        let keys = ["enabled", "on_leave", "budget"];
        let written = fingerprint::hash_without(self.tree, &path, &keys, self.hasher);
        // The limits of a hop's answer are a part of the hop, though they are written elsewhere.
        let limits = (self.context.head_bytes_max(), self.context.handshake());
        named.fingerprint = self.hasher.hash_one((written, limits));
        named.credentials = self.credentials(&path, named.is_enabled || named.condition.is_some());
        self.warn_of_sent_headers(name);
        let Some(kind) = self.kind(&path) else { return (named, None) };
        named.kind.clone_from(&kind);
        named.settings = self.shown_settings(&path, &kind, &named);
        let Some(kind) = self.registry.kind(&kind) else { return (named, None) };
        // The set is sorted, so the failures below this hop are one range of it. Forgotten values count as
        // unknown instead of missing, and building the hop then tells what else is wrong with it.
        let failed = self.failed.range(path.clone()..).map_while(|failed| failed.below(&path));
        let unknown: Vec<_> = failed.collect();
        unknown.iter().for_each(|path| settings.forget(path));
        let is_whole = unknown.is_empty();
        (named, Some(HopPlan { index, path, kind, settings, is_whole }))
    }
}
