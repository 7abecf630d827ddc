//! The hosts that clients may reach without the proxy.

use std::sync::Arc;

use ipnet::IpNet;

use super::{HostPattern, Rule, RuleParts};

/// Returns the entries of `no_proxy`: hosts that every route sends direct, whatever the port.
///
/// Programs disagree on how far an entry reaches. For most of them `example.com` stands for all names below it too, for
/// some `.example.com` stands for `example.com` itself. So a name becomes an entry only if it goes direct together with
/// everything below it; else a program could go around a hop that the configuration asks for. Python's requests compares
/// the ends of names without a dot between them, so `example.com` also stands for `my-example.com` and `localhost` for
/// `api.localhost`. An entry is left out if the configuration sends such a host through a hop. A host that is left out
/// still goes direct, by way of the proxy.
///
/// `routes` are the rules in written order, each with whether its chain is written without hops.
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
    // RFC 6761 section 6.3: names below `localhost` are this machine too, and no program asks a proxy for them.
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

/// Returns whether every target of `pattern` goes direct. The first route that matches decides, so a route through hops
/// that takes only some of the targets, or some of their ports, is enough for a no.
fn goes_direct(pattern: &HostPattern, routes: &[(&Rule, bool)]) -> bool {
    // In the order in which the proxy tries them, until one decides for all of the pattern.
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
