//! Resolves every name to the thing that it names, or lists every problem.

mod askers;
mod budgets;
mod chains;
mod hops;
mod interfaces;
mod listen;
mod misnamed;
mod origins;
mod replaced;
mod routes;
mod self_loops;
mod sent_headers;
mod shown;
mod unused;

use std::{
    collections::{BTreeSet, HashMap},
    hash::RandomState,
    path::PathBuf,
    sync::Arc,
};

use mooltiroute_hops::{BuildContext, Fault, InvalidSetting, Key, KeyPath, Registry, credentials};
use serde::de::DeserializeOwned;

use crate::network::Network;

use crate::config::{
    Auth, Config, Environment, Limits, Loader, Log, Outline, Overridden, Problem, Protocol,
    ServerConfig, Shadowed, Timeouts, raw,
    report::{
        first_problems::Found,
        problem::{NAME_CHARS_MAX, is_name},
        suggest::nearest,
    },
    units::Period,
    yaml::{file::Part, interpolate::Invalid, tree::Tree},
};

/// Reads one section after the other, and continues after an invalid one to report every problem.
pub(crate) struct Resolver<'a> {
    tree: &'a mut Tree,
    registry: &'a Registry,
    environment: &'a Environment,
    /// The context that each hop is built in.
    context: BuildContext<'a>,
    hasher: &'a RandomState,
    /// The facts that decide the conditions of hops.
    network: &'a Network,
    /// Whether all files were read, so that a missing name is really missing.
    is_complete: bool,
    /// The settings with a variable that could not be put in. Nothing more is said about them.
    failed: BTreeSet<KeyPath>,
    /// Hashes of files that settings name, by the mapping that holds the settings.
    files: Vec<(KeyPath, u64)>,
    /// For each hop that may choose other hops, the names of those.
    holds: HashMap<Arc<str>, Vec<Arc<str>>>,
    /// Whether hops get placeholders for variables that are not set. They describe themselves, and can't be used.
    pub(crate) fills_in_hops: bool,
    /// Whether keys that are indented too little or too much are read as if they were indented correctly.
    pub(crate) mends: bool,
    pub(crate) problems: Found,
    warnings: Found,
}

/// The names of a section, or `None` if they can't be known.
type Names = Option<Vec<String>>;

impl<'a> Resolver<'a> {
    pub(crate) fn new(loader: &'a Loader, tree: &'a mut Tree, is_complete: bool) -> Self {
        let Loader { source, registry, environment, hasher, network, .. } = loader;
        Self {
            tree,
            registry,
            environment,
            hasher,
            network,
            context: BuildContext::new(source.directory()).with_hasher(hasher.clone()),
            is_complete,
            failed: BTreeSet::new(),
            files: Vec::new(),
            holds: HashMap::new(),
            fills_in_hops: false,
            mends: false,
            problems: Found::default(),
            warnings: Found::default(),
        }
    }

    /// Builds the configuration. It is valid only if no problem was found.
    pub(crate) fn resolve(&mut self) -> Config {
        let misplaced = self.tree.indent_keys(self.mends);
        self.problems.append(misplaced);
        self.check_sections();
        // Variables are put in before any section is read, since each may have some. A scalar that is still a template
        // would be reported as a wrong type.
        self.interpolate();
        let server = self.server();
        let timeouts = self.timeouts();
        let limits = self.limits();
        // Hops are built with these limits, so both sections are read before them.
        let context = self.context.another().with_head_bytes_max(limits.header_bytes);
        self.context = context.with_handshake(timeouts.handshake);
        let log = self.section::<raw::RawLog>("log");
        let log = Log { level: log.level, format: log.format, access: log.access };
        // Each of these three refers to the one before it by index.
        let (hops, hop_names) = self.hops();
        let (chains, chain_names) = self.chains(&hops, &hop_names);
        self.check_budgets(&hops, &chains, &chain_names);
        self.check_askers(&hops, &chains, &chain_names);
        let routes = self.routes(&chains, &chain_names);
        self.warn_of_unused(&hops, &chains, &routes);
        self.warn_of_oddities();
        self.warn_of_mixed_hops();
        self.warn_of_self_loops(&hops, &server.listen);
        let replaced = self.replaced();
        // The meaning of a configuration is more than its YAML. A new password in a `password_file` and a
        // condition that comes true are changes too, and without them a reload would find nothing to do.
        let mut outline = Outline::of(self.tree, self.hasher);
        self.files.drain(..).for_each(|(path, content)| outline.add_files(&path, content));
        for hop in hops.iter().filter(|hop| hop.condition.is_some()) {
            outline.add_outcome(&KeyPath::of(["hops", &hop.name, "enabled"]), hop.is_enabled);
        }
        let warnings = std::mem::take(&mut self.warnings).into_problems().0;
        let overridden = Overridden::all(self.tree, self.hasher);
        let shadowed = Shadowed::all(self.tree, self.hasher);
        Config {
            server,
            timeouts,
            limits,
            log,
            hops,
            chains,
            routes,
            outline,
            overridden,
            warnings,
            replaced,
            shadowed,
            has_variables: self.tree.has_variables(),
            written: None,
        }
    }

    /// Returns the files beside the YAML that settings name.
    pub(crate) fn named_files(&self) -> Vec<PathBuf> {
        self.context.named_files()
    }

    fn check_sections(&mut self) {
        let is_unknown = |name: &&str| !raw::SECTIONS.contains(name) && !name.starts_with("x-");
        let unknown: Vec<_> = self.tree.sections().filter(is_unknown).map(str::to_owned).collect();
        for name in unknown {
            if !self.problems.skips() {
                self.problems.push(self.tree.unknown_key(&KeyPath::of([&*name]), &raw::SECTIONS));
            }
            // References to it are correct, so they are no further problems.
            self.tree.adopt_section(&name);
        }
    }

    /// Puts variables in everywhere. Only a disabled hop may have variables that are not set.
    fn interpolate(&mut self) {
        // Hops are completed one by one: whether an unset variable is a problem depends on the `enabled` of
        // its hop, which may itself come from a variable.
        for section in raw::SECTIONS.iter().filter(|section| **section != "hops") {
            self.interpolate_at(&KeyPath::of([section]), true);
        }
        for name in self.tree.names(&KeyPath::of(["hops"])).unwrap_or_default() {
            let hop = KeyPath::of(["hops", &name]);
            let enabled = hop.clone().then(Key::Name("enabled".into()));
            // Written out, so that the outline is the same for an omitted key and for its default value.
            self.tree.assume(&hop, "enabled", true);
            self.interpolate_at(&enabled, true);
            // A hop that a condition may switch on needs its variables already now. If `enabled` can't be
            // read, that is the one problem to report.
            let may_be_enabled = self.tree.settings(&enabled).is_some_and(|settings| {
                !matches!(settings.read(), Ok(raw::Enabled::Switch(false)) | Err(_))
            });
            self.interpolate_at(&hop, may_be_enabled);
        }
    }

    fn interpolate_at(&mut self, path: &KeyPath, must_be_set: bool) {
        for (path, invalid) in self.tree.interpolate(path, self.environment) {
            if self.fills_in_hops && path.below(&KeyPath::of(["hops"])).is_some() {
                let placeholders = self.environment.clone().with_placeholders();
                if self.tree.interpolate(&path, &placeholders).is_empty() {
                    continue;
                }
            }
            // `hops.NAME.enabled` is visited a second time as a part of its hop.
            let is_new = self.failed.insert(path.clone());
            let is_problem = must_be_set || !matches!(invalid, Invalid::Unset(_));
            if is_new && is_problem && !self.problems.skips() {
                self.problems.push(self.tree.invalid_variable(&path, &invalid));
            }
        }
    }

    fn server(&mut self) -> ServerConfig {
        let raw::RawServer { listen, protocols, workers, auth, via, upgrades } =
            self.section("server");
        // Whether `auth` is written is enough here. If it is invalid, the operator meant to have it, and that
        // problem is reported instead of an open listener.
        let listen = self.listeners(listen.0, auth.is_some());
        let auth = auth.and_then(|auth| self.auth(auth));
        let via = via.filter(|via| via != "none");
        let is_pseudonym = |via: &str| via.is_ascii() && is_name(via);
        if via.as_deref().is_some_and(|via| !is_pseudonym(via)) {
            let path = KeyPath::of(["server", "via"]);
            self.invalid(
                &path,
                "can't be the name in `Via` fields; write `none`, or a name of letters, digits, `-`, `_` and `.`",
            );
        }
        let credentials = self.credentials(&KeyPath::of(["server", "auth"]), true);
        let upgrades = self.upgrades(upgrades);
        self.protocols(&protocols);
        let via = via.map(String::into_boxed_str);
        ServerConfig { listen, protocols, workers, auth, credentials, via, upgrades }
    }

    /// Checks that `server.protocols` names at least one protocol, and none twice.
    fn protocols(&mut self, protocols: &[Protocol]) {
        let path = KeyPath::of(["server", "protocols"]);
        if protocols.is_empty() {
            self.invalid(&path, "is empty; write at least one of `http`, `socks5` and `socks4a`");
        }
        for (index, protocol) in protocols.iter().enumerate() {
            if protocols[..index].contains(protocol) {
                let path = path.clone().then(Key::Index(index));
                self.invalid(&path, format!("`{protocol}` is listed twice"));
            }
        }
    }

    /// Checks the protocols of `server.upgrades`, each a token that may stand in an `Upgrade` field (RFC 9110 §7.8).
    fn upgrades(&mut self, protocols: Vec<String>) -> Vec<Box<str>> {
        for (index, protocol) in protocols.iter().enumerate() {
            let message = if protocol.eq_ignore_ascii_case("h2c") {
                "is HTTP/2, which is never passed on; remove it"
            } else if !is_protocol(protocol) {
                "is not a protocol; write its name, such as `websocket`"
            } else {
                continue;
            };
            let path = KeyPath::of(["server", "upgrades"]).then(Key::Index(index));
            self.invalid(&path, message);
        }
        protocols.into_iter().map(String::into_boxed_str).collect()
    }

    fn auth(&mut self, raw: raw::RawAuth) -> Option<Auth> {
        let raw::RawAuth { username, password, password_file } = raw;
        let (path, context) = (KeyPath::of(["server", "auth"]), self.context());
        let from_file = password_file.as_deref();
        let auth = credentials::password(password, from_file, Some(&username), &context)
            .and_then(|password| password.ok_or(InvalidSetting::missing("password")))
            .and_then(|password| {
                credentials::basic(&username, &password)?;
                // Anybody who reaches the listener could guess it. An empty variable is a problem of its own.
                for (key, value) in [("username", &username), ("password", &password)] {
                    let place = path.clone().then(Key::Name(key.into()));
                    if value.expose().is_empty() && self.tree.variables(&place).is_empty() {
                        return Err(
                            InvalidSetting::new(key, NO_CREDENTIAL).with_help(LEAVE_AUTH_OUT)
                        );
                    }
                }
                Ok(Auth { username, password })
            });
        // A new content of `password_file` is a change, although the YAML stays the same.
        if let Some(files) = context.fingerprint() {
            self.files.push((path.clone(), files));
        }
        for warning in context.warnings() {
            let warning = self.tree.invalid(&path, &warning);
            self.warnings.push(warning);
        }
        auth.map_err(|invalid| self.report(&path, &[invalid])).ok()
    }

    fn context(&self) -> BuildContext<'a> {
        self.context.another()
    }

    fn timeouts(&mut self) -> Timeouts {
        let raw = self.section::<raw::RawTimeouts>("timeouts");
        let limit = |Period(period): Period| Some(period).filter(|period| !period.is_zero());
        // With `0s`, each of these would cut connections that are in order. `drain: 0s` cuts at once on
        // purpose, and for the others `0s` means no limit.
        for (key, Period(period)) in [
            ("header", raw.header),
            ("connect", raw.connect),
            ("handshake", raw.handshake),
            ("half_closed", raw.half_closed),
        ] {
            if period.is_zero() {
                self.invalid(&KeyPath::of(["timeouts", key]), "must be longer than `0s`");
            }
        }
        Timeouts {
            header: raw.header.0,
            connect: raw.connect.0,
            handshake: raw.handshake.0,
            response: limit(raw.response),
            stall: limit(raw.stall),
            half_closed: raw.half_closed.0,
            drain: raw.drain.0,
            idle: limit(raw.idle),
        }
    }

    fn limits(&mut self) -> Limits {
        let raw = self.section::<raw::RawLimits>("limits");
        if raw.connections == 0 {
            self.invalid(&KeyPath::of(["limits", "connections"]), "must be at least 1");
        }
        if !(1 << 10..=1 << 20).contains(&raw.header_bytes.0) {
            let path = KeyPath::of(["limits", "header_bytes"]);
            self.invalid(&path, "must be from `1KiB` to `1MiB`");
        }
        if !(20..=10_000).contains(&raw.header_fields) {
            let path = KeyPath::of(["limits", "header_fields"]);
            self.invalid(&path, "must be from 20 to 10000");
        }
        Limits {
            connections: raw.connections,
            header_bytes: raw.header_bytes.0,
            header_fields: raw.header_fields,
        }
    }

    /// Reads the section `name`. Returns its defaults if it is missing or invalid.
    fn section<T: DeserializeOwned + Default>(&mut self, name: &str) -> T {
        self.read(&KeyPath::of([name])).unwrap_or_default()
    }

    /// Reads the value at `path`. Returns `None` if there is none, or if it is invalid, which is then reported.
    fn read<T: DeserializeOwned>(&mut self, path: &KeyPath) -> Option<T> {
        match self.tree.settings(path)?.read() {
            Ok(value) => Some(value),
            Err(invalid) => {
                self.report(path, &invalid);
                None
            }
        }
    }

    fn report(&mut self, above: &KeyPath, invalid: &[InvalidSetting]) {
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

    fn invalid(&mut self, path: &KeyPath, message: impl Into<String>) {
        if !self.failed.contains(path) && !self.problems.skips() {
            self.problems.push(self.tree.problem(path, Part::Value, "value", message));
        }
    }

    /// Returns the names below `path`. They contain no secret, so they can be shown and logged.
    fn names(&mut self, path: &KeyPath) -> Names {
        let names = match self.tree.names(path) {
            Ok(names) => names,
            Err(problems) => {
                self.problems.append(problems);
                return None;
            }
        };
        // Later messages and the log quote names, so a name that could be a secret must be refused here.
        for name in &names {
            if !is_name(name) && !self.problems.skips() {
                let message = format!(
                    "a name has letters, digits, `-`, `_` and `.`, and at most {NAME_CHARS_MAX} of them"
                );
                let path = path.clone().then(Key::Name(name.clone()));
                self.problems.push(self.tree.problem(&path, Part::Key, "name", message));
            }
        }
        self.is_complete.then_some(names)
    }

    /// Builds the problem that the text at `place` names none of `known`.
    fn unknown_name(&self, path: &KeyPath, place: &KeyPath, noun: &str, known: &[&str]) -> Problem {
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
        // `Problem::new` hides keys that are no names, as it does for every other problem.
        let path = Problem::new(path, code, "").path;
        Problem { path, ..problem }.with_suggestion(near)
    }
}

/// Returns whether the advice `help` says to write `key`.
fn asks_for(help: &str, key: &str) -> bool {
    let is_key = |quote: &str| help.contains(&format!("{quote}{key}:"));
    is_key("`") || is_key("{ ") || help.contains(&format!("`{key}`"))
}

/// Returns whether `text` is the name of a protocol, with or without a version (RFC 9110 §7.8).
fn is_protocol(text: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_token = |part: &str| !part.is_empty() && part.bytes().all(is_token_byte);
    text.split('/').count() <= 2 && text.split('/').all(is_token)
}

/// Lists some of the names.
fn some_of(names: &[impl AsRef<str>]) -> String {
    let some: Vec<&str> = names.iter().take(KNOWN_MAX).map(AsRef::as_ref).collect();
    some.join(", ") + if names.len() > KNOWN_MAX { ", …" } else { "" }
}

const NO_CREDENTIAL: &str = "is empty, so the proxy would let in clients that know nothing";
const LEAVE_AUTH_OUT: &str =
    "write what clients have to send; leave `auth` out if they need no credentials";
/// The number of names that are listed.
const KNOWN_MAX: usize = 20;
