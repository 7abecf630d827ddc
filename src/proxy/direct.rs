//! Finds the targets that a reload takes from hops to a direct connection.
//!
//! Rules overlap, so comparing them one by one would say nothing about the targets. Instead one example of each pattern
//! that either configuration names is routed by both. An example stands for its pattern; a narrower pattern has its own.

use std::{collections::BTreeMap, num::NonZeroU16, time::SystemTime};

use mooltiroute_hops::{Authority, Host};

use crate::{
    config::Config,
    router::{HostPattern, Query, Router, Rule, RuleParts},
    state::{
        generation::Generation,
        shared::{DirectTarget, WentDirect},
    },
};

/// Returns the targets that `old` sends through hops and `new` sends direct.
pub(super) fn targets_that_go_direct(old: &Generation, new: &Generation) -> Vec<DirectTarget> {
    let rules = old.rules().iter().chain(new.rules());
    let found: BTreeMap<String, Authority> = rules
        .flat_map(examples)
        .take(EXAMPLES_MAX)
        .filter_map(|(name, target)| {
            // A target that either configuration has no route for can't have moved from hops to direct.
            let query = Query { target: &target };
            let (before, after) = (old.way(&query)?.chain, new.way(&query)?.chain);
            let is_direct_now = !before.hops().is_empty() && after.hops().is_empty();
            is_direct_now.then(|| (format!("{name} (chain {})", before.name()), target))
        })
        .collect();
    found.into_iter().map(|(shown, example)| DirectTarget { shown, example }).collect()
}

/// Returns whether `new` would send a target direct that `old` sends through hops.
pub(super) fn would_go_direct(old: &Generation, new: &Config) -> bool {
    let router = Router::new(new.routes.iter().map(|route| &route.rule));
    let is_direct = |query: &Query<'_>| {
        let route = router.find(query).and_then(|index| new.routes.get(index));
        let chain = route.and_then(|route| new.chains.get(route.chain));
        chain.is_some_and(|chain| chain.hops.is_empty())
    };
    let rules = old.rules().iter().chain(new.routes.iter().map(|route| &route.rule));
    rules.flat_map(examples).take(EXAMPLES_MAX).any(|(_, target)| {
        let query = Query { target: &target };
        let before = old.way(&query);
        before.is_some_and(|way| !way.chain.hops().is_empty()) && is_direct(&query)
    })
}

/// Warns that `targets` go direct, which went through hops before.
pub(super) fn direct_now(targets: &[DirectTarget]) -> String {
    let targets = DirectTarget::in_words(targets).join(", ");
    format!("targets that went through hops go direct now: {targets}")
}

/// Returns what `before` becomes when `new` takes effect, which takes the targets of `found` from their hops. Targets
/// that go through hops again, or have no route any more, are forgotten.
pub(super) fn direct_since(
    before: Option<&WentDirect>,
    found: Vec<DirectTarget>,
    new: &Generation,
) -> Option<WentDirect> {
    let is_direct = |target: &&DirectTarget| {
        let way = new.way(&Query { target: &target.example });
        way.is_some_and(|way| way.chain.hops().is_empty())
    };
    let known = before.map_or(&[][..], |before| &before.targets);
    let mut targets: Vec<_> = known.iter().filter(is_direct).cloned().collect();
    let at =
        before.filter(|_| !targets.is_empty()).map_or_else(SystemTime::now, |before| before.at);
    let is_news = |one: &DirectTarget| known.iter().all(|known| known.shown != one.shown);
    targets.extend(found.into_iter().filter(is_news));
    (!targets.is_empty()).then_some(WentDirect { at, targets })
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
