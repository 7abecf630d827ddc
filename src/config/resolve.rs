//! Resolves every name to the thing that it names, or lists every problem.

mod askers;
mod budgets;
mod chains;
mod hops;
mod interfaces;
mod limits;
mod listen;
mod misnamed;
mod origins;
mod problems;
mod replaced;
mod routes;
mod self_loops;
mod sent_headers;
mod server;
mod shown_settings;
mod unused;

use std::{
    collections::{BTreeSet, HashMap},
    hash::RandomState,
    path::PathBuf,
    sync::Arc,
};

use mooltiroute_hops::{BuildContext, FileContents, Key, KeyPath, Registry};
use serde::de::DeserializeOwned;

use crate::network::Network;

use crate::config::{
    Config, Environment, Loader, Log, Outline, Overridden, Shadowed, raw,
    report::{
        first_problems::Found,
        problem::{NAME_CHARS_MAX, is_name},
    },
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
    /// The variables of everything but hops that are switched off.
    pub(crate) used_variables: BTreeSet<String>,
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
            used_variables: BTreeSet::new(),
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
        self.warn_of_suspicious_values();
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

    /// Uses `contents` for files that settings name. What is not in there is read.
    pub(crate) fn use_contents(&mut self, contents: FileContents) {
        self.context = self.context.another().with_contents(contents);
    }

    /// Returns the contents of the files that were read.
    pub(crate) fn contents(&self) -> FileContents {
        self.context.contents()
    }

    fn check_sections(&mut self) {
        let is_unknown = |name: &&str| !raw::SECTIONS.contains(name) && !name.starts_with("x-");
        let unknown: Vec<_> = self.tree.sections().filter(is_unknown).map(str::to_owned).collect();
        for name in unknown {
            if !self.problems.skips() {
                self.problems.push(self.tree.unknown_key(&KeyPath::of([&*name]), &raw::SECTIONS));
            }
            // References to it are correct, so they are not further problems.
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
        let invalid = self.tree.interpolate(path, self.environment);
        if must_be_set {
            self.used_variables.extend(self.tree.variables_at_and_below(path));
        }
        for (path, invalid) in invalid {
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

    fn context(&self) -> BuildContext<'a> {
        self.context.another()
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
}
