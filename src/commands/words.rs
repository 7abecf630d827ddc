//! A configuration's parts, in words for people.

use crate::config::{Chain, Config, Credential, Route};

/// The way that a chain takes, in words.
pub(super) fn path(chain: &Chain, config: &Config) -> String {
    let hops: Vec<&str> = chain.hops.iter().map(|hop| &*config.hops[*hop].name).collect();
    let mut words = if hops.is_empty() { "direct".to_owned() } else { hops.join(", then ") };
    if !chain.switched_off.is_empty() {
        words += &format!(" (switched off: {})", chain.switched_off.join(", "));
    }
    if chain.warm > 0 {
        words += &format!(", {} warm", chain.warm);
    }
    words
}

/// A route: its number, its targets, its chain, its place.
pub(super) fn route(index: usize, route: &Route, config: &Config) -> String {
    let chain = &config.chains[route.chain].name;
    let place = route.place.as_ref().map(|place| format!("  ({place})"));
    format!("{}. {} -> {chain}{}", index + 1, targets(route), place.unwrap_or_default())
}

/// The targets that a route is for, in words.
fn targets(route: &Route) -> String {
    let hosts: Vec<String> = route.rule.hosts.iter().map(ToString::to_string).collect();
    let ports: Vec<String> = route.rule.ports.iter().map(ToString::to_string).collect();
    match (hosts.is_empty(), ports.is_empty()) {
        (true, true) => "everything".to_owned(),
        (true, false) => format!("every host on port {}", ports.join(", ")),
        (false, true) => hosts.join(", "),
        (false, false) => format!("{} on port {}", hosts.join(", "), ports.join(", ")),
    }
}

/// Where credentials come from, in words, with a comma before each.
pub(super) fn credentials(credentials: &[Credential]) -> String {
    credentials.iter().map(|credential| format!(", {credential}")).collect()
}
