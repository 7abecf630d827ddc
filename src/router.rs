//! Finds the rule for a request: the first in written order that applies.
//!
//! Rules are found by look-up. For each host pattern, [`Router`] keeps the rules that name it, by port. If a rule has a condition
//! that can't be looked up, the condition is evaluated before the rule is chosen.

mod bypass;
mod covering;
mod pattern;
mod rule;

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use mooltiroute_hops::Host;

pub(crate) use self::{
    bypass::bypassed_hosts,
    pattern::InvalidPattern,
    rule::{Condition, RuleParts},
};
pub use self::{
    pattern::HostPattern,
    rule::{Query, Rule},
};

/// A table of rules. The cost of a look-up depends on the target's name, not on the number of rules.
#[derive(Clone, Debug, Default)]
pub struct Router {
    index: HostIndex,
    /// The conditions of each rule that the index does not cover.
    unindexed: Vec<Vec<Condition>>,
}

/// The rules by the host patterns that they name.
#[derive(Clone, Debug, Default)]
struct HostIndex {
    any: Candidates,
    names: HashMap<Box<[u8]>, Candidates>,
    suffixes: HashMap<Box<[u8]>, Candidates>,
    /// The number of labels of the longest key of `suffixes`. It bounds the cost of a hostile name.
    labels_max: usize,
    v4: Networks<u32>,
    v6: Networks<u128>,
}

/// The networks of one address family, by the length of their prefix.
type Networks<A> = Vec<(u8, HashMap<A, Candidates>)>;

/// The rules that name one pattern, in written order, by port.
#[derive(Clone, Debug, Default)]
struct Candidates {
    any_port: Vec<Candidate>,
    /// Sorted by port, then in written order.
    ports: Vec<(u16, Candidate)>,
}

/// A rule that may apply.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    rule: usize,
    /// Whether the look-up alone decides. Then no later candidate can be reached.
    is_certain: bool,
}

impl Router {
    /// Builds the table of `rules`, whose order decides.
    pub fn new<'a>(rules: impl Iterator<Item = &'a Rule>) -> Self {
        let mut router = Self::default();
        for (index, rule) in rules.enumerate() {
            // The look-up covers hosts and ports. Other conditions are evaluated only for the few rules that it finds.
            let unindexed: Vec<Condition> = rule.unindexed().cloned().collect();
            let candidate = Candidate { rule: index, is_certain: unindexed.is_empty() };
            router.index.add(candidate, rule);
            router.unindexed.push(unindexed);
        }
        router.index.sort();
        router
    }

    /// Returns the index of the first rule that applies to `query`.
    pub fn find(&self, query: &Query<'_>) -> Option<usize> {
        let port = Some(query.target.port());
        let accepts = |rule: usize| {
            let conditions = self.unindexed.get(rule).map_or(&[][..], Vec::as_slice);
            conditions.iter().all(|condition| condition.holds(query))
        };
        let found = |candidates: &Candidates| candidates.find(port, &accepts);
        // Rules for every host are kept separately. The lower number wins.
        first(self.index.find(query.target.host(), &found), found(&self.index.any))
    }
}

impl HostIndex {
    fn add(&mut self, candidate: Candidate, rule: &Rule) {
        // A rule with several hosts is added to each of them, with the same number.
        if rule.hosts().is_empty() {
            self.any.add(candidate, rule.ports());
        }
        for host in rule.hosts() {
            self.candidates(host).add(candidate, rule.ports());
        }
    }

    /// Prepares the look-ups. Must be called after the last [`add`](Self::add).
    fn sort(&mut self) {
        let v4 = self.v4.iter_mut().flat_map(|(_, networks)| networks.values_mut());
        let v6 = self.v6.iter_mut().flat_map(|(_, networks)| networks.values_mut());
        let names = self.names.values_mut().chain(self.suffixes.values_mut());
        names.chain(v4).chain(v6).chain([&mut self.any]).for_each(Candidates::sort);
    }

    /// Returns the lowest index that `find` returns for a pattern that matches `host`.
    fn find(&self, host: &Host, find: &impl Fn(&Candidates) -> Option<usize>) -> Option<usize> {
        match host {
            Host::Name(name) => self.find_name(name, find),
            // A client must not evade a rule by writing an IPv4 address in the form of IPv6.
            Host::Address(address) => match address.to_canonical() {
                IpAddr::V4(address) => {
                    find_network(self.v4.iter(), |prefix| mask_v4(address, prefix), find)
                }
                IpAddr::V6(address) => {
                    find_network(self.v6.iter(), |prefix| mask_v6(address, prefix), find)
                }
            },
        }
    }

    /// Looks up the name, and then each suffix of it that could be a key, beginning with the shortest.
    fn find_name(&self, name: &str, find: &impl Fn(&Candidates) -> Option<usize>) -> Option<usize> {
        // Case (RFC 4343) and a final dot don't matter. The copy is on the stack, so a look-up allocates nothing.
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut buffer = [0; pattern::NAME_BYTES_MAX];
        // A name that does not fit can't have been parsed, and matches nothing.
        let lower = buffer.get_mut(..name.len())?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        let lower = &*lower;
        let mut found = self.names.get(lower).and_then(find);
        // From the right, and no further than the longest pattern, so that a name with a hundred labels takes no more
        // look-ups.
        let dots = lower.iter().enumerate().rev().filter(|(_, byte)| **byte == b'.');
        for (dot, _) in dots.take(self.labels_max) {
            found = first(found, self.suffixes.get(&lower[dot + 1..]).and_then(find));
        }
        found
    }

    fn candidates(&mut self, host: &HostPattern) -> &mut Candidates {
        match host {
            HostPattern::Name(name) => self.names.entry(name.as_bytes().into()).or_default(),
            HostPattern::Suffix(suffix) => {
                self.labels_max = self.labels_max.max(suffix.split('.').count());
                self.suffixes.entry(suffix.as_bytes().into()).or_default()
            }
            HostPattern::Network(IpNet::V4(network)) => {
                let prefix = network.prefix_len();
                of_prefix(&mut self.v4, prefix).entry(mask_v4(network.addr(), prefix)).or_default()
            }
            HostPattern::Network(IpNet::V6(network)) => {
                let prefix = network.prefix_len();
                of_prefix(&mut self.v6, prefix).entry(mask_v6(network.addr(), prefix)).or_default()
            }
        }
    }
}

impl Candidates {
    /// Adds a rule that comes after all those added before.
    fn add(&mut self, candidate: Candidate, ports: &[u16]) {
        // Candidates after a certain one for every port can never be found.
        if ports.is_empty() && self.any_port.last().is_none_or(|last| !last.is_certain) {
            self.any_port.push(candidate);
        }
        self.ports.extend(ports.iter().map(|port| (*port, candidate)));
    }

    /// Sorts by port, and drops the candidates after a certain one for the same port.
    fn sort(&mut self) {
        // The sort is stable, so the rules for one port stay in written order.
        self.ports.sort_by_key(|(port, _)| *port);
        self.ports
            .dedup_by(|(port, _), (before, candidate)| port == before && candidate.is_certain);
    }

    /// Returns the first rule for `port`, or for every port if `port` is `None`, that `accepts` takes.
    fn find(&self, port: Option<u16>, accepts: &impl Fn(usize) -> bool) -> Option<usize> {
        let accepted = |candidate: &Candidate| {
            (candidate.is_certain || accepts(candidate.rule)).then_some(candidate.rule)
        };
        // Between a rule for this port and one for every port, the lower number wins and not the narrower rule.
        let by_port = port.and_then(|port| {
            let begin = self.ports.partition_point(|(at, _)| *at < port);
            let of_port = self.ports[begin..].iter().take_while(|(at, _)| *at == port);
            of_port.map(|(_, candidate)| candidate).find_map(accepted)
        });
        first(by_port, self.any_port.iter().find_map(accepted))
    }
}

fn find_network<'a, A: Eq + Hash + 'a>(
    networks: impl Iterator<Item = &'a (u8, HashMap<A, Candidates>)>,
    mask: impl Fn(u8) -> A,
    find: &impl Fn(&Candidates) -> Option<usize>,
) -> Option<usize> {
    // All lengths of prefixes are tried, since the first rule wins and not the longest prefix.
    networks.filter_map(|(prefix, networks)| find(networks.get(&mask(*prefix))?)).min()
}

fn of_prefix<A>(networks: &mut Networks<A>, prefix: u8) -> &mut HashMap<A, Candidates> {
    let position = match networks.binary_search_by_key(&prefix, |(prefix, _)| *prefix) {
        Ok(position) => position,
        Err(position) => {
            networks.insert(position, (prefix, HashMap::new()));
            position
        }
    };
    &mut networks[position].1
}

fn mask_v4(address: Ipv4Addr, prefix: u8) -> u32 {
    address.to_bits() & u32::MAX.checked_shl(u32::BITS - u32::from(prefix)).unwrap_or(0)
}

fn mask_v6(address: Ipv6Addr, prefix: u8) -> u128 {
    address.to_bits() & u128::MAX.checked_shl(u128::BITS - u32::from(prefix)).unwrap_or(0)
}

/// Returns the lower of two indices.
fn first(one: Option<usize>, other: Option<usize>) -> Option<usize> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use mooltiroute_hops::Authority;

    fn rule(hosts: &[&str], ports: &[u16]) -> Rule {
        let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
        Rule::new(hosts, ports.to_vec())
    }

    #[track_caller]
    fn check(rules: &[Rule], cases: &[(&str, Option<usize>)]) {
        let router = Router::new(rules.iter());
        for (target, expected) in cases {
            assert_eq!(
                router.find(&Query { target: &target.parse().unwrap() }),
                *expected,
                "{target}"
            );
        }
    }

    #[test]
    fn names_match_exactly_without_case_or_final_dot() {
        check(
            &[rule(&["Example.COM."], &[])],
            &[
                ("example.com:443", Some(0)),
                ("EXAMPLE.com.:1", Some(0)),
                ("www.example.com:443", None),
                ("example.co:443", None),
            ],
        );
    }

    #[test]
    fn a_suffix_matches_below_it_at_any_depth_and_not_itself() {
        check(
            &[rule(&["*.corp.example"], &[]), rule(&["*.a.b.corp.example"], &[])],
            &[
                ("a.corp.example:1", Some(0)),
                ("x.a.b.CORP.example.:1", Some(0)),
                ("corp.example:1", None),
                ("xcorp.example:1", None),
            ],
        );
        check(&[rule(&["*.a.b.c.d"], &[])], &[("x.a.b.c.d:1", Some(0)), ("x.y.b.c.d:1", None)]);
    }

    #[test]
    fn networks_hold_addresses_of_their_family() {
        check(
            &[
                rule(&["10.0.0.0/8", "::1"], &[]),
                rule(&["[2001:db8::]/32", "192.0.2.7"], &[]),
                rule(&["0.0.0.0/0"], &[25]),
            ],
            &[
                ("10.255.0.1:1", Some(0)),
                ("[::ffff:10.1.2.3]:1", Some(0)),
                ("[::1]:1", Some(0)),
                ("[2001:db8:1::2]:1", Some(1)),
                ("192.0.2.7:1", Some(1)),
                ("192.0.2.8:1", None),
                ("192.0.2.8:25", Some(2)),
                ("[2001:db9::]:25", None),
            ],
        );
    }

    #[test]
    fn the_first_in_written_order_wins() {
        check(
            &[
                rule(&["*.example.com"], &[443, 8443]),
                rule(&["www.example.com"], &[]),
                rule(&["*.www.example.com", "*.example.com"], &[443]),
                rule(&[], &[80]),
                rule(&["*.example.com"], &[]),
                rule(&[], &[]),
                rule(&["last.example"], &[]),
            ],
            &[
                ("www.example.com:443", Some(0)),
                ("www.example.com:80", Some(1)),
                ("a.www.example.com:443", Some(0)),
                ("b.example.com:80", Some(3)),
                ("b.example.com:81", Some(4)),
                ("last.example:81", Some(5)),
                ("127.0.0.1:81", Some(5)),
            ],
        );
    }

    #[test]
    fn no_rule_matches_nothing() {
        check(&[], &[("example.com:443", None), ("127.0.0.1:1", None)]);
    }

    /// Evaluates one rule after the other. The router must find the same one.
    fn find_slowly(rules: &[Rule], query: &Query<'_>) -> Option<usize> {
        rules.iter().position(|rule| rule.applies(query).is_ok())
    }

    const HOST: &str =
        "(\\*\\.)?([ab]\\.){0,3}[ab]|10\\.[01]\\.0\\.0/16|10\\.0\\.0\\.[01]|::1|10\\.0\\.0\\.0/7";
    const TARGET: &str = "(([abAB]\\.){0,4}[ab]|[19][01]\\.[01]\\.0\\.[01]|\\[::1\\]|\\[::ffff:10\\.0\\.0\\.1\\]):[123]";

    proptest! {
        #[test]
        fn the_router_agrees_with_a_linear_search(
            rules in prop::collection::vec((prop::collection::vec(HOST, 0..3), prop::collection::vec(1_u16..4, 0..3)), 0..8),
            targets in prop::collection::vec(TARGET, 1..20),
        ) {
            let rules: Vec<Rule> = rules
                .iter()
                .map(|(hosts, ports)| {
                    Rule::new(hosts.iter().filter_map(|host| host.parse().ok()).collect(), ports.clone())
                })
                .collect();
            let router = Router::new(rules.iter());
            for target in targets {
                let target: Authority = target.parse().unwrap();
                let query = Query { target: &target };
                prop_assert_eq!(router.find(&query), find_slowly(&rules, &query), "{}", target);
            }
        }
    }
}
