//! The words about a configuration for the log and for the verdict.

use std::path::Path;

use tracing::{debug, info, warn};

use crate::{
    config::{Config, source::EMPTY_HELP},
    control::verdict::ToldProblem,
};

/// Logs the warnings about a configuration that takes effect, and how its chains travel: those that go direct at
/// `info`, all others at `debug`.
pub(crate) fn announce(config: &Config) {
    for warning in &config.warnings {
        warn!("{}", warning.brief());
    }
    for replaced in &config.replaced {
        debug!("{}", replaced.brief());
    }
    // An option goes before the files, so an edit of `enabled` would seem to be ignored.
    for hop in &config.hops {
        if let Some(option) = config.switched_by_option(&hop.name) {
            info!(hop = %hop.name, option, enabled = hop.is_enabled, "switched by an option");
        }
    }
    // The first one is `direct`, which says so itself.
    for chain in config.chains.iter().skip(1) {
        let hops = chain.hops.iter().filter_map(|index| config.hops.get(*index));
        let names: Vec<&str> = hops.map(|hop| &*hop.name).collect();
        if !names.is_empty() {
            debug!(chain = %chain.name, hops = names.join(", "), "goes through hops");
        } else if chain.switched_off.is_empty() {
            // If hops are switched off, a warning has said so.
            info!(chain = %chain.name, "this chain has no hop, so it goes direct");
        }
    }
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
