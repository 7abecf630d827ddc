//! Why a rule does not apply to a target, or by what it does.

use mooltiroute_hops::Authority;

use super::{HostPattern, Rule};

/// What of a target keeps a rule from applying to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// It is none of the rule's hosts.
    Host,
    /// It is one of the rule's hosts, on none of its ports.
    Port,
}

impl Rule {
    /// Why this rule does not apply to `target`; `None` where it does.
    pub fn mismatch(&self, target: &Authority) -> Option<Mismatch> {
        if !self.hosts.is_empty() && self.pattern(target).is_none() {
            return Some(Mismatch::Host);
        }
        let is_port = self.ports.is_empty() || self.ports.contains(&target.port());
        (!is_port).then_some(Mismatch::Port)
    }

    /// The first of its hosts that `target` is; `None` too where it is for every host.
    pub fn pattern(&self, target: &Authority) -> Option<&HostPattern> {
        self.hosts.iter().find(|host| host.matches(target.host()))
    }
}
