//! Which rule applies to a target: the first in written order that matches.

mod covering;
mod mismatch;
mod pattern;

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use mooltiroute_hops::{Authority, Host};

pub(crate) use self::mismatch::Mismatch;
pub use self::pattern::HostPattern;

/// What a target must be for a route to apply to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// One of these; empty: any host.
    pub hosts: Vec<HostPattern>,
    /// One of these; empty: any port.
    pub ports: Vec<u16>,
}

/// Finds the rule for a target. The cost of a lookup hangs on the target's name, not on the number of rules.
#[derive(Clone, Debug, Default)]
pub struct Router {
    any: Candidates,
    names: HashMap<Box<[u8]>, Candidates>,
    suffixes: HashMap<Box<[u8]>, Candidates>,
    /// How many labels the longest of `suffixes` has, so that a hostile name costs no more than an ordinary one.
    labels_max: usize,
    v4: Networks<u32>,
    v6: Networks<u128>,
}

/// The networks of one address family, by the length of their prefix.
type Networks<A> = Vec<(u8, HashMap<A, Candidates>)>;

/// The rules of one pattern. Of two that want the same port only the first can ever apply, so only it is kept.
#[derive(Clone, Debug, Default)]
struct Candidates {
    any_port: Option<usize>,
    /// Sorted by port.
    ports: Vec<(u16, usize)>,
}

impl Router {
    /// A router for `rules`, whose order decides.
    pub fn new<'a>(rules: impl Iterator<Item = &'a Rule>) -> Self {
        let mut router = Self::default();
        for (index, rule) in rules.enumerate() {
            if rule.hosts.is_empty() {
                router.any.add(index, &rule.ports);
            }
            for host in &rule.hosts {
                router.candidates(host).add(index, &rule.ports);
            }
        }
        let networks = router.v4.iter_mut().flat_map(|(_, networks)| networks.values_mut());
        let networks =
            networks.chain(router.v6.iter_mut().flat_map(|(_, networks)| networks.values_mut()));
        let names = router.names.values_mut().chain(router.suffixes.values_mut());
        names.chain(networks).chain([&mut router.any]).for_each(Candidates::sort);
        router
    }

    /// The index of the first rule that matches `target`.
    pub fn find(&self, target: &Authority) -> Option<usize> {
        let port = Some(target.port());
        let by_host = match target.host() {
            Host::Name(name) => self.find_name(name, port),
            Host::Address(address) => match address.to_canonical() {
                IpAddr::V4(address) => {
                    find_network(self.v4.iter(), port, |prefix| mask_v4(address, prefix))
                }
                IpAddr::V6(address) => {
                    find_network(self.v6.iter(), port, |prefix| mask_v6(address, prefix))
                }
            },
        };
        first(by_host, self.any.find(port))
    }

    fn find_name(&self, name: &str, port: Option<u16>) -> Option<usize> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut buffer = [0; pattern::NAME_BYTES_MAX];
        // A name that does not fit can't have been parsed, and matches nothing.
        let lower = buffer.get_mut(..name.len())?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        let lower = &*lower;
        let mut found = self.names.get(lower).and_then(|candidates| candidates.find(port));
        let dots = lower.iter().enumerate().rev().filter(|(_, byte)| **byte == b'.');
        for (dot, _) in dots.take(self.labels_max) {
            let candidates = self.suffixes.get(&lower[dot + 1..]);
            found = first(found, candidates.and_then(|candidates| candidates.find(port)));
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
    fn add(&mut self, rule: usize, ports: &[u16]) {
        if ports.is_empty() {
            self.any_port.get_or_insert(rule);
        }
        self.ports.extend(ports.iter().map(|port| (*port, rule)));
    }

    /// To be called once all are added.
    fn sort(&mut self) {
        self.ports.sort_by_key(|(port, _)| *port);
        self.ports.dedup_by_key(|(port, _)| *port);
    }

    /// The first rule for `port`, or for every port.
    fn find(&self, port: Option<u16>) -> Option<usize> {
        let position =
            port.and_then(|port| self.ports.binary_search_by_key(&port, |(port, _)| *port).ok());
        first(position.map(|position| self.ports[position].1), self.any_port)
    }
}

fn find_network<'a, A: Eq + Hash + 'a>(
    networks: impl Iterator<Item = &'a (u8, HashMap<A, Candidates>)>,
    port: Option<u16>,
    mask: impl Fn(u8) -> A,
) -> Option<usize> {
    networks.filter_map(|(prefix, networks)| networks.get(&mask(*prefix))?.find(port)).min()
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

/// The lower of two indices, where there are any.
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

    fn rule(hosts: &[&str], ports: &[u16]) -> Rule {
        let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
        Rule { hosts, ports: ports.to_vec() }
    }

    #[track_caller]
    fn check(rules: &[Rule], cases: &[(&str, Option<usize>)]) {
        let router = Router::new(rules.iter());
        for (target, expected) in cases {
            assert_eq!(router.find(&target.parse().unwrap()), *expected, "{target}");
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

    /// What the router must find, said slowly.
    fn find_slowly(rules: &[Rule], target: &Authority) -> Option<usize> {
        rules.iter().position(|rule| {
            (rule.ports.is_empty() || rule.ports.contains(&target.port()))
                && (rule.hosts.is_empty()
                    || rule.hosts.iter().any(|host| host.matches(target.host())))
        })
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
                .map(|(hosts, ports)| Rule {
                    hosts: hosts.iter().filter_map(|host| host.parse().ok()).collect(),
                    ports: ports.clone(),
                })
                .collect();
            let router = Router::new(rules.iter());
            for target in targets {
                let target: Authority = target.parse().unwrap();
                prop_assert_eq!(router.find(&target), find_slowly(&rules, &target), "{}", target);
            }
        }
    }
}
