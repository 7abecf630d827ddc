//! Finds rules that can never apply, because earlier rules take all of their targets.

use ipnet::IpNet;

use super::{Candidates, HostPattern, Router, Rule, find_network, mask_v4, mask_v6};

impl Router {
    /// Returns the last of the earlier rules that together take all targets of the rule at `index`, or `None` if some are left.
    ///
    /// The targets of a rule are all pairs of its hosts and its ports. Each pair must belong to an earlier rule, but not all
    /// to the same one: two rules for one host each cover a third rule for both. A rule that depends on more than host and
    /// port counts as one that takes nothing, so no rule is called unreachable by mistake.
    pub(crate) fn covering(&self, index: usize, rule: &Rule) -> Option<usize> {
        let mut last = None;
        for port in ports(rule) {
            // The look-up also finds the rule itself.
            let earlier = |candidates: &Candidates| {
                candidates.find(port, &|_| false).filter(|found| *found < index)
            };
            // This comes first, since it is one look-up for all hosts.
            if let Some(found) = earlier(&self.index.any) {
                last = last.max(Some(found));
                continue;
            }
            if rule.hosts().is_empty() {
                return None;
            }
            for host in rule.hosts() {
                last = last.max(Some(self.find_pattern(host, &earlier)?));
            }
        }
        last
    }

    /// Returns the first rule for every target of `pattern`, as `find` picks it among the rules of one pattern.
    fn find_pattern(
        &self,
        pattern: &HostPattern,
        find: &impl Fn(&Candidates) -> Option<usize>,
    ) -> Option<usize> {
        match pattern {
            HostPattern::Name(name) => self.index.find_name(name, find),
            // No name is that short, so only suffixes can match it.
            HostPattern::Suffix(suffix) => self.index.find_name(&format!(".{suffix}"), find),
            HostPattern::Network(IpNet::V4(network)) => {
                let prefix = network.prefix_len();
                let wider = self.index.v4.iter().filter(|(wider, _)| *wider <= prefix);
                find_network(wider, |prefix| mask_v4(network.addr(), prefix), find)
            }
            HostPattern::Network(IpNet::V6(network)) => {
                let prefix = network.prefix_len();
                let wider = self.index.v6.iter().filter(|(wider, _)| *wider <= prefix);
                find_network(wider, |prefix| mask_v6(network.addr(), prefix), find)
            }
        }
    }
}

/// Returns the ports of a rule, with `None` for every port.
fn ports(rule: &Rule) -> Vec<Option<u16>> {
    match rule.ports() {
        [] => vec![None],
        ports => ports.iter().copied().map(Some).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks which earlier rule covers each of `rules`, given as hosts and ports.
    #[track_caller]
    fn check(rules: &[(&[&str], &[u16])], expected: &[Option<usize>]) {
        let rule = |(hosts, ports): &(&[&str], &[u16])| {
            Rule::new(hosts.iter().map(|host| host.parse().unwrap()).collect(), ports.to_vec())
        };
        let rules: Vec<Rule> = rules.iter().map(rule).collect();
        let router = Router::new(rules.iter());
        let found: Vec<_> =
            rules.iter().enumerate().map(|(index, rule)| router.covering(index, rule)).collect();
        assert_eq!(found, expected, "{rules:?}");
    }

    #[test]
    fn a_rule_is_covered_if_earlier_rules_take_all_of_it() {
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
