//! The conditions under which a route applies.

use std::fmt;

use mooltiroute_hops::{Authority, Host};

use super::HostPattern;

/// The facts about one request that routes depend on.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The host and port that the client asks for.
    pub target: &'a Authority,
}

/// The conditions of one route, all of which must hold. A route without conditions applies to everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    conditions: Vec<Condition>,
}

/// The conditions of a [`Rule`] by kind, for code that translates a rule, for instance to `/proxy.pac` or `NO_PROXY`.
///
/// Destructure it with all of its fields. If another kind of condition is added, the compiler then finds each place that has to
/// handle it. A place that ignored a condition would widen the rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuleParts<'a> {
    /// The host patterns; empty means every host.
    pub hosts: &'a [HostPattern],
    /// The ports; empty means every port.
    pub ports: &'a [u16],
}

/// One condition of a route.
///
/// To add a kind of condition, add a variant here. The compiler then leads to every place that must handle it: the decision
/// below, [`is_indexed`](Self::is_indexed), [`RuleParts`], and the texts of `check` and `explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The target's host is one of these.
    Hosts(Vec<HostPattern>),
    /// The target's port is one of these.
    Ports(Vec<u16>),
}

impl Rule {
    /// Returns the rule for `hosts` and `ports`. An empty list matches all.
    pub fn new(hosts: Vec<HostPattern>, ports: Vec<u16>) -> Self {
        // An empty list is no condition, so a rule for everything has no conditions.
        let mut conditions = Vec::new();
        if !hosts.is_empty() {
            conditions.push(Condition::Hosts(hosts));
        }
        if !ports.is_empty() {
            conditions.push(Condition::Ports(ports));
        }
        Self { conditions }
    }

    /// Returns the conditions by kind.
    pub(crate) fn parts(&self) -> RuleParts<'_> {
        let mut parts = RuleParts { hosts: &[], ports: &[] };
        for condition in &self.conditions {
            match condition {
                Condition::Hosts(hosts) => parts.hosts = hosts,
                Condition::Ports(ports) => parts.ports = ports,
            }
        }
        parts
    }

    /// Returns the host patterns. If there are none, the rule is for every host.
    pub(super) fn hosts(&self) -> &[HostPattern] {
        self.parts().hosts
    }

    /// Returns the ports. If there are none, the rule is for every port.
    pub(super) fn ports(&self) -> &[u16] {
        self.parts().ports
    }

    /// Returns whether the rule is for names, and for the port of `query`.
    pub(crate) fn is_for_names_at(&self, query: &Query<'_>) -> bool {
        let ports = self.ports();
        let is_name = |host: &HostPattern| !matches!(host, HostPattern::Network(_));
        (ports.is_empty() || ports.contains(&query.target.port()))
            && self.hosts().iter().any(is_name)
    }

    /// Returns the pattern of the names below `host`, which does not match `host` itself, if the rule has it.
    pub(crate) fn suffix_of(&self, host: &Host) -> Option<&HostPattern> {
        let Host::Name(host) = host else { return None };
        let host = host.strip_suffix('.').unwrap_or(host);
        self.hosts().iter().find(|pattern| {
            matches!(pattern, HostPattern::Suffix(suffix) if suffix.eq_ignore_ascii_case(host))
        })
    }

    /// Returns how many entries the rule has in the router's index: one for each pair of a host and a port.
    pub(crate) fn pairs(&self) -> usize {
        self.hosts().len().max(1) * self.ports().len().max(1)
    }

    /// Returns whether the rule applies to every request.
    pub(crate) fn is_for_everything(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Decides whether this rule applies to `query`.
    ///
    /// # Errors
    /// The first condition that does not hold.
    pub(crate) fn applies(&self, query: &Query<'_>) -> Result<(), &Condition> {
        self.conditions.iter().find(|condition| !condition.holds(query)).map_or(Ok(()), Err)
    }

    /// Returns the conditions that the router's index does not cover, so that they must be evaluated for each request.
    pub(super) fn unindexed(&self) -> impl Iterator<Item = &Condition> {
        self.conditions.iter().filter(|condition| !condition.is_indexed())
    }
}

impl Condition {
    /// Returns whether `query` meets this condition.
    pub(crate) fn holds(&self, query: &Query<'_>) -> bool {
        match self {
            Self::Hosts(hosts) => hosts.iter().any(|host| host.matches(query.target.host())),
            Self::Ports(ports) => ports.contains(&query.target.port()),
        }
    }

    /// Returns the condition's name, which is its key in the configuration and in JSON output.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Hosts(_) => "host",
            Self::Ports(_) => "port",
        }
    }

    /// Returns whether the router finds the rules for which this condition holds by look-up, not by evaluation.
    fn is_indexed(&self) -> bool {
        match self {
            Self::Hosts(_) | Self::Ports(_) => true,
        }
    }
}

/// Describes the targets, as in `*.example.com on port 443`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.conditions.is_empty() {
            return f.write_str("everything");
        }
        for (index, condition) in self.conditions.iter().enumerate() {
            match condition {
                Condition::Hosts(hosts) => f.write_str(&list(hosts))?,
                Condition::Ports(ports) if index == 0 => {
                    write!(f, "every host on port {}", list(ports))?;
                }
                Condition::Ports(ports) => write!(f, " on port {}", list(ports))?,
            }
        }
        Ok(())
    }
}

fn list(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
