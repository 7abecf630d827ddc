//! The hosts that clients may reach without the proxy.

use std::sync::Arc;

use ipnet::IpNet;

use super::{HostPattern, Rule, RuleParts};

/// Returns the entries of `no_proxy`: hosts that every route sends direct, whatever the port.
///
/// Programs disagree about the meaning of an entry. For most of them, `example.com` includes all names below it. For some,
/// `.example.com` includes `example.com`. So a name becomes an entry only if it and everything below it goes direct. Otherwise
/// a program could bypass a hop that the configuration demands. Python's requests compares the ends of names without regard
/// to dots, so `example.com` includes `my-example.com`, and `localhost` includes `api.localhost`. An entry is left out if the
/// configuration sends such a host through a hop. Clients then use the proxy for it, which still goes direct.
///
/// `routes` are the rules in written order, each with a flag that is set if its chain is written without hops.
pub(crate) fn bypassed_hosts(routes: &[(&Rule, bool)]) -> Vec<String> {
    let mut entries = Vec::new();
    let direct = routes.iter().filter(|(_, is_direct)| *is_direct);
    for pattern in direct.flat_map(|(rule, _)| rule.parts().hosts) {
        let (entry, reach) = match pattern {
            HostPattern::Name(name) | HostPattern::Suffix(name) => (name.to_string(), below(name)),
            HostPattern::Network(_) => (pattern.to_string(), vec![pattern.clone()]),
        };
        let is_safe = reach.iter().all(|reached| goes_direct(reached, routes))
            && !ends_a_name_of_a_hop(&entry, routes);
        if is_safe && !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    entries
}

/// Returns the patterns that an entry for `name` may stand for.
fn below(name: &Arc<str>) -> Vec<HostPattern> {
    let exact = HostPattern::Name(name.clone());
    // RFC 6761 §6.3: names below `localhost` also mean this machine, and no program asks a proxy for them.
    if &**name == "localhost" {
        return vec![exact];
    }
    vec![exact, HostPattern::Suffix(name.clone())]
}

/// Returns whether `entry` is the end of a name that a route sends through hops.
fn ends_a_name_of_a_hop(entry: &str, routes: &[(&Rule, bool)]) -> bool {
    let through_hops = routes.iter().filter(|(_, is_direct)| !is_direct);
    through_hops.flat_map(|(rule, _)| rule.parts().hosts).any(|pattern| match pattern {
        HostPattern::Name(name) | HostPattern::Suffix(name) => {
            name.ends_with(entry) && !goes_direct(pattern, routes)
        }
        HostPattern::Network(_) => false,
    })
}

/// Returns whether every target of `pattern` goes direct. Since the first matching route decides, this is false as soon as a
/// route through hops takes some of the targets or of their ports.
fn goes_direct(pattern: &HostPattern, routes: &[(&Rule, bool)]) -> bool {
    // In the order of the proxy, until one route decides for the whole pattern.
    for (rule, is_direct) in routes {
        let RuleParts { hosts, ports } = rule.parts();
        if *is_direct {
            let is_all = hosts.is_empty() || hosts.iter().any(|wider| covers(wider, pattern));
            if is_all && ports.is_empty() {
                return true;
            }
        } else if hosts.is_empty() || hosts.iter().any(|other| overlap(other, pattern)) {
            return false;
        }
    }
    false
}

fn overlap(one: &HostPattern, other: &HostPattern) -> bool {
    covers(one, other) || covers(other, one)
}

/// Returns whether `wider` matches every host that `pattern` matches.
fn covers(wider: &HostPattern, pattern: &HostPattern) -> bool {
    match (wider, pattern) {
        (HostPattern::Name(wider), HostPattern::Name(name)) => wider == name,
        (HostPattern::Suffix(wider), HostPattern::Name(name)) => is_below(name, wider),
        (HostPattern::Suffix(wider), HostPattern::Suffix(suffix)) => {
            wider == suffix || is_below(suffix, wider)
        }
        (HostPattern::Network(IpNet::V4(wider)), HostPattern::Network(IpNet::V4(network))) => {
            wider.contains(network)
        }
        (HostPattern::Network(IpNet::V6(wider)), HostPattern::Network(IpNet::V6(network))) => {
            wider.contains(network)
        }
        _ => false,
    }
}

fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'))
}
