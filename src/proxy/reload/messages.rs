//! The words about a configuration for the log and for the verdict.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
};

use tracing::{debug, info, warn};

use crate::{
    config::{Config, source::EMPTY_HELP},
    control::verdict::ToldProblem,
};

/// The lines that the log has about the configuration in force, so that a reload for the network adds only new ones.
#[derive(Debug, Default)]
pub(crate) struct Announced {
    /// Hashes, since a line is only compared.
    lines: HashSet<u64>,
    /// How many warnings are as they were in the configuration before.
    pub(super) known_warnings: usize,
}

impl Announced {
    /// Adds `line`, and returns whether it is not among those of `last`.
    fn is_new(&mut self, line: &str, last: &Self) -> bool {
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        let hash = hasher.finish();
        self.lines.insert(hash);
        !last.lines.contains(&hash)
    }

    /// Adds the warning `line`, and returns whether it must be logged.
    pub(super) fn is_new_warning(&mut self, line: &str, last: &Self) -> bool {
        let is_new = self.is_new(line, last);
        self.known_warnings += usize::from(!is_new);
        is_new
    }
}

/// Logs the warnings about a configuration that takes effect, and how its chains travel: those that go direct at
/// `info`, all others at `debug`. Leaves out the warnings and the lines at `info` that are in `last`.
pub(crate) fn announce(config: &Config, last: &Announced) -> Announced {
    let mut announced = Announced::default();
    for warning in brief_warnings(config) {
        if announced.is_new_warning(&warning, last) {
            warn!("{warning}");
        }
    }
    for replaced in &config.replaced {
        debug!("{}", replaced.brief());
    }
    // An option goes before the files, so an edit of `enabled` would seem to be ignored.
    for hop in &config.hops {
        let option = config.switched_by_option(&hop.name);
        let is_new = |option: &&str| {
            let line = format!("{} {option} {}", hop.name, hop.is_enabled);
            announced.is_new(&line, last)
        };
        if let Some(option) = option.filter(is_new) {
            info!(hop = %hop.name, option, enabled = hop.is_enabled, "switched by an option");
        }
    }
    // The first one is `direct`, which says so itself.
    for chain in config.chains.iter().skip(1) {
        let hops = chain.hops.iter().filter_map(|index| config.hops.get(*index));
        let names: Vec<&str> = hops.map(|hop| &*hop.name).collect();
        if !names.is_empty() {
            debug!(chain = %chain.name, hops = names.join(", "), "this chain goes through hops");
        } else if chain.switched_off.is_empty()
            && announced.is_new(&format!("{} direct", chain.name), last)
        {
            // If hops are switched off, a warning has said so.
            info!(chain = %chain.name, "this chain has no hop, so it goes direct");
        }
    }
    announced
}

/// Describes a file that has lost its content. Without its settings, targets might go direct.
pub(super) fn emptied(file: &Path) -> ToldProblem {
    ToldProblem::line(format!(
        "{}: this file was emptied; {EMPTY_HELP}. To send everything direct, write `chains: {{ default: [] }}`",
        file.display()
    ))
}

/// Returns notes on the values that later files replace, one line each.
pub(super) fn notes_on_replaced(config: &Config) -> Vec<String> {
    config.replaced.iter().map(|replaced| replaced.brief().to_string()).collect()
}

/// Returns the warnings about `config`, one line each.
pub(super) fn brief_warnings(config: &Config) -> Vec<String> {
    config.warnings.iter().map(|warning| warning.brief().to_string()).collect()
}
