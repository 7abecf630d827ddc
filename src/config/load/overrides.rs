//! The command line's settings, which override the files.

use mooltiroute_hops::{Key, KeyPath};

use super::Loader;
use crate::config::{
    Level, ListenAddress, LogFormat, Problem, report::suggest::nearest, yaml::tree::Tree,
};

/// The command line's settings. They override the files at every load.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Replaces `server.listen`, unless empty.
    pub listen: Vec<ListenAddress>,
    /// Hops to leave out.
    pub disable: Vec<String>,
    /// Hops to enable.
    pub enable: Vec<String>,
    /// Leaves out the hop `corporate`, if there is one.
    pub no_corporate: bool,
    /// Replaces `log.level`.
    pub log_level: Option<Level>,
    /// Replaces `log.format`.
    pub log_format: Option<LogFormat>,
}

impl Loader {
    pub(super) fn apply_overrides(&self, tree: &mut Tree) {
        let Overrides { listen, log_level, log_format, .. } = &self.overrides;
        if !listen.is_empty() {
            let listen: Vec<String> = listen.iter().map(ListenAddress::to_string).collect();
            tree.set(KeyPath::of(["server", "listen"]), "--listen", listen);
        }
        if let Some(level) = log_level {
            tree.set(KeyPath::of(["log", "level"]), "--log-level", level.name());
        }
        if let Some(format) = log_format {
            tree.set(KeyPath::of(["log", "format"]), "--log-format", format.name());
        }
        // Only hops that exist are switched. For another name, `set` would create a hop; it is reported
        // later.
        let known = tree.names(&KeyPath::of(["hops"])).unwrap_or_default();
        for (name, option, is_enabled) in self.toggles() {
            if known.iter().any(|known| known == name) {
                let path = KeyPath::of(["hops", name]);
                tree.set(path.then(Key::Name("enabled".into())), option, is_enabled);
            }
        }
    }

    /// Returns the hops that the command line switches, with the option and whether it enables them.
    fn toggles(&self) -> impl Iterator<Item = (&str, &'static str, bool)> {
        let Overrides { disable, enable, no_corporate, .. } = &self.overrides;
        let enable = enable.iter().map(|name| (name.as_str(), "--enable", true));
        let disable = disable.iter().map(|name| (name.as_str(), "--disable", false));
        let corporate = no_corporate.then_some((CORPORATE, "--no-corporate", false));
        enable.chain(disable).chain(corporate)
    }

    pub(super) fn misused_options(&self, tree: &Tree) -> Vec<Problem> {
        let Ok(known) = tree.names(&KeyPath::of(["hops"])) else { return Vec::new() };
        let problem = |message| Problem::new(&KeyPath::default(), "option", message);
        let mut problems = Vec::new();
        for (name, option, is_enabled) in self.toggles() {
            // `--no-corporate` asks for nothing if there is no such hop.
            if !known.iter().any(|known| known == name) && option != "--no-corporate" {
                let problem = problem(format!("{option} {name}: no hop is called `{name}`"));
                let near = nearest(name, known.iter().map(String::as_str));
                problems.push(problem.with_suggestion(near));
            } else if !is_enabled && self.overrides.enable.iter().any(|enabled| enabled == name) {
                problems
                    .push(problem(format!("{option}: `--enable {name}` asks for the opposite")));
            }
        }
        problems
    }
}

const CORPORATE: &str = "corporate";
