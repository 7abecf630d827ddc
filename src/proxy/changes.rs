//! Describes the changes of a reload for the log.

use std::time::Duration;

use crate::config::{Config, Outline, Overridden, Shadowed};

/// Returns the path of a changed setting, with its new value if that is one which is never secret.
pub(super) fn with_new_value(path: &str, config: &Config) -> String {
    match new_value(path, config) {
        Some(value) => format!("{path}={value}"),
        None => path.to_owned(),
    }
}

/// Returns the new value of the setting at `path`, if it was read into a type that can hold no secret: a switch, the name of a
/// level, a number.
fn new_value(path: &str, config: &Config) -> Option<String> {
    // A list of what is shown and not of what is hidden, so that a new setting is hidden until it is added here.
    let Config { timeouts, limits, log, hops, .. } = config;
    let duration = |period: Duration| Some(humantime::format_duration(period).to_string());
    match path {
        "log.level" => Some(log.level.to_string()),
        "log.format" => Some(log.format.to_string()),
        "log.access" => Some(on_or_off(log.access).to_owned()),
        "limits.connections" => Some(limits.connections.to_string()),
        "limits.header_bytes" => Some(limits.header_bytes.to_string()),
        "timeouts.header" => duration(timeouts.header),
        "timeouts.connect" => duration(timeouts.connect),
        "timeouts.handshake" => duration(timeouts.handshake),
        "timeouts.half_closed" => duration(timeouts.half_closed),
        "timeouts.drain" => duration(timeouts.drain),
        "timeouts.idle" => duration(timeouts.idle.unwrap_or_default()),
        _ => {
            let name = path.strip_prefix("hops.")?.strip_suffix(".enabled")?;
            let hop = hops.iter().find(|hop| &*hop.name == name)?;
            Some(on_or_off(hop.is_enabled).to_owned())
        }
    }
}

fn on_or_off(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

/// Returns the settings that were edited in the files to no effect, since an option of the command line has them.
pub(super) fn edited_in_vain<'a>(
    old: &'a [Overridden],
    new: &'a [Overridden],
) -> impl Iterator<Item = &'a Overridden> {
    new.iter().filter(|setting| old.iter().any(|old| old.path == setting.path && old != *setting))
}

/// Returns the settings that were edited in a file to no effect, since a later file has them. `before` and `after` are the
/// outlines without and with the edit.
pub(super) fn edited_beneath<'a>(
    old: &'a [Shadowed],
    new: &'a [Shadowed],
    before: &Outline,
    after: &Outline,
) -> Vec<&'a Shadowed> {
    let is_edit = |setting: &&Shadowed| match old.iter().find(|old| setting.is_same_setting(old)) {
        Some(old) => old.value != setting.value,
        // If the later file is the one that has it now, the value in force is another one.
        None => !before.differs_at(&setting.path, after),
    };
    let written = new.iter().filter(|setting| setting.differs).filter(is_edit);
    // A line that was taken out.
    let is_removed = |setting: &&Shadowed| {
        !new.iter().any(|new| new.is_same_setting(setting))
            && !before.differs_at(&setting.path, after)
    };
    let removed = old.iter().filter(|setting| setting.differs).filter(is_removed);
    written.chain(removed).take(EDITS_MAX).collect()
}

/// More edits of one save are not reported.
const EDITS_MAX: usize = 8;
