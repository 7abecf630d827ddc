//! Which rules can never apply, as those before them are for all of their targets.

use ipnet::IpNet;

use super::{HostPattern, Router, Rule, find_network, mask_v4, mask_v6};

impl Router {
    /// The rules that take all targets of the rule at `index` before it can, if they do: the last one of them.
    pub fn covering(&self, index: usize, rule: &Rule) -> Option<usize> {
        let ports = ports(rule);
        let is_before = |found: Option<usize>| found.filter(|found| *found < index);
        let mut last = None;
        for port in ports {
            // Asked first, as it is one look-up for all hosts.
            if let Some(found) = is_before(self.any.find(port)) {
                last = last.max(Some(found));
                continue;
            }
            if rule.hosts.is_empty() {
                return None;
            }
            for host in &rule.hosts {
                last = last.max(Some(is_before(self.find_pattern(host, port))?));
            }
        }
        last
    }

    /// The first rule for every target of `pattern` on `port`, or on every port.
    fn find_pattern(&self, pattern: &HostPattern, port: Option<u16>) -> Option<usize> {
        match pattern {
            HostPattern::Name(name) => self.find_name(name, port),
            // No name is that short, so that only suffixes can match it.
            HostPattern::Suffix(suffix) => self.find_name(&format!(".{suffix}"), port),
            HostPattern::Network(IpNet::V4(network)) => {
                let wider = self.v4.iter().filter(|(prefix, _)| *prefix <= network.prefix_len());
                find_network(wider, port, |prefix| mask_v4(network.addr(), prefix))
            }
            HostPattern::Network(IpNet::V6(network)) => {
                let wider = self.v6.iter().filter(|(prefix, _)| *prefix <= network.prefix_len());
                find_network(wider, port, |prefix| mask_v6(network.addr(), prefix))
            }
        }
    }
}

/// The ports of a rule, where `None` is every port.
fn ports(rule: &Rule) -> Vec<Option<u16>> {
    match rule.ports.as_slice() {
        [] => vec![None],
        ports => ports.iter().copied().map(Some).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `rules` are hosts and ports; `expected` is which of those before covers each.
    #[track_caller]
    fn check(rules: &[(&[&str], &[u16])], expected: &[Option<usize>]) {
        let rule = |(hosts, ports): &(&[&str], &[u16])| Rule {
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            ports: ports.to_vec(),
        };
        let rules: Vec<Rule> = rules.iter().map(rule).collect();
        let router = Router::new(rules.iter());
        let found: Vec<_> =
            rules.iter().enumerate().map(|(index, rule)| router.covering(index, rule)).collect();
        assert_eq!(found, expected, "{rules:?}");
    }

    #[test]
    fn a_rule_is_covered_where_those_before_take_all_of_it() {
        check(&[(&["a.example"], &[]), (&["A.example"], &[])], &[None, Some(0)]);
        check(&[(&["*.example"], &[]), (&["a.example", "*.b.example"], &[1])], &[None, Some(0)]);
        check(&[(&["*.example"], &[]), (&["example"], &[])], &[None, None]);
        check(&[(&["*.b.example"], &[]), (&["*.example"], &[])], &[None, None]);
        check(&[(&["10.0.0.0/8"], &[]), (&["10.1.0.0/16", "10.0.0.1"], &[])], &[None, Some(0)]);
        check(&[(&["10.1.0.0/16"], &[]), (&["10.0.0.0/8"], &[])], &[None, None]);
        check(&[(&["2001:db8::/32"], &[]), (&["2001:db8::1"], &[])], &[None, Some(0)]);
        check(&[(&[], &[]), (&[], &[])], &[None, Some(0)]);
        check(&[(&[], &[]), (&["a.example"], &[443])], &[None, Some(0)]);
    }

    #[test]
    fn ports_count() {
        check(&[(&["a.example"], &[443]), (&["a.example"], &[])], &[None, None]);
        check(&[(&["a.example"], &[443]), (&["a.example"], &[443, 80])], &[None, None]);
        check(&[(&[], &[443]), (&["a.example"], &[443])], &[None, Some(0)]);
        check(&[(&[], &[443]), (&["a.example"], &[]), (&[], &[443])], &[None, None, Some(0)]);
    }

    #[test]
    fn several_rules_can_cover_one() {
        check(
            &[(&["a.example"], &[]), (&["b.example"], &[]), (&["a.example", "b.example"], &[])],
            &[None, None, Some(1)],
        );
        check(
            &[(&[], &[443]), (&["a.example"], &[]), (&["a.example"], &[443, 80])],
            &[None, None, Some(1)],
        );
    }
}
