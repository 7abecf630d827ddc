//! Finds the targets that a reload takes from hops to a direct connection.
//!
//! Rules overlap, so comparing them one by one would say nothing about the targets. Instead one example of each pattern
//! that either configuration names is routed by both. An example stands for its pattern; a narrower pattern has its own.

use std::{collections::BTreeSet, num::NonZeroU16};

use mooltiroute_hops::{Authority, Host};

use crate::{
    router::{HostPattern, Query, Rule, RuleParts},
    state::generation::Generation,
};

/// Returns the patterns of targets that `old` sends through hops and `new` sends direct, each with its chain in `old`.
pub(super) fn targets_that_go_direct(old: &Generation, new: &Generation) -> Vec<String> {
    let rules = old.rules().iter().chain(new.rules());
    let found: BTreeSet<String> = rules
        .flat_map(examples)
        .take(EXAMPLES_MAX)
        .filter_map(|(name, target)| {
            // A target that either configuration has no route for can't have moved from hops to direct.
            let query = Query { target: &target };
            let (before, after) = (old.way(&query)?.chain, new.way(&query)?.chain);
            let is_direct_now = !before.hops().is_empty() && after.hops().is_empty();
            is_direct_now.then(|| format!("{name} (chain {})", before.name()))
        })
        .collect();
    // One line of the log has to hold them.
    let more = found.len().saturating_sub(SHOWN_MAX);
    let mut shown: Vec<String> = found.into_iter().take(SHOWN_MAX).collect();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown
}

/// Returns an example for each pattern of `rule`, with the name of the pattern.
fn examples(rule: &Rule) -> impl Iterator<Item = (String, Authority)> {
    let RuleParts { hosts: patterns, ports } = rule.parts();
    let mut hosts: Vec<(String, Host)> = Vec::new();
    for pattern in patterns {
        // The example is a name below the suffix, with a label that no narrower pattern is likely to have.
        let host = match pattern {
            HostPattern::Name(name) => Some(Host::Name(name.clone())),
            HostPattern::Suffix(suffix) => format!("{EXAMPLE_LABEL}.{suffix}").parse().ok(),
            HostPattern::Network(network) => Some(Host::Address(network.network())),
        };
        hosts.extend(host.map(|host| (pattern.to_string(), host)));
    }
    if patterns.is_empty() {
        hosts.push(("any other host".into(), Host::Name(EXAMPLE_HOST.into())));
    }
    // Not every port can be tried. Most requests are for these two.
    let has_ports = !ports.is_empty();
    let ports = if has_ports { ports.to_vec() } else { vec![443, 80] };
    hosts.into_iter().flat_map(move |(name, host)| {
        let ports: Vec<NonZeroU16> = ports.iter().copied().filter_map(NonZeroU16::new).collect();
        ports.into_iter().map(move |port| {
            let name = if has_ports { format!("{name} port {port}") } else { name.clone() };
            (name, Authority::new(host.clone(), port))
        })
    })
}

/// A name that no rule is likely to have.
const EXAMPLE_HOST: &str = "mooltiroute.invalid";
const EXAMPLE_LABEL: &str = "mooltiroute";
/// Routing is fast, but a configuration may have a hundred thousand patterns.
const EXAMPLES_MAX: usize = 20_000;
/// As many as anyone reads.
const SHOWN_MAX: usize = 10;
