//! The interfaces of this machine that are up, and their addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Glob;

/// The interfaces that are up at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interfaces {
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Interfaces {
    /// Asks the system for them. Returns `None` if it does not say.
    pub(super) fn list() -> Option<Self> {
        let listed = netwatcher::list_interfaces().ok()?;
        let mut interfaces = Self::default();
        for interface in listed.into_values() {
            // An IPv4 address in the form of IPv6 counts as IPv4, as it does in routes.
            let addresses = interface.ips.into_iter().map(|record| record.ip.to_canonical());
            interfaces.addresses.extend(addresses);
            interfaces.names.push(interface.name);
        }
        Some(interfaces)
    }

    /// Returns whether one with such a name is up.
    pub(super) fn has_name(&self, glob: &Glob) -> bool {
        self.names.iter().any(|name| glob.matches(name))
    }

    /// Lists the first names, in alphabetical order.
    pub(super) fn names_in_words(&self) -> String {
        let mut names: Vec<_> = self.names.iter().map(|name| format!("`{name}`")).collect();
        names.sort();
        let more = if names.len() > NAMES_SHOWN_MAX { ", …" } else { "" };
        names.truncate(NAMES_SHOWN_MAX);
        if names.is_empty() { "none".to_owned() } else { names.join(", ") + more }
    }

    /// Returns whether one has an address in any of `networks`.
    pub(super) fn has_address_in(&self, networks: &[IpNet]) -> bool {
        let is_in = |address: &IpAddr| networks.iter().any(|network| network.contains(address));
        self.addresses.iter().any(is_in)
    }

    /// Returns whether this machine has no address but those that lead back to itself.
    pub(super) fn is_offline(&self) -> bool {
        self.addresses.iter().all(IpAddr::is_loopback)
    }
}

/// A machine with containers has hundreds.
const NAMES_SHOWN_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_listed_with_its_address() {
        let interfaces = Interfaces::list().unwrap();
        assert!(interfaces.has_address_in(&["127.0.0.0/8".parse().unwrap()]));
        assert!(interfaces.has_name(&Glob::new("lo*")) || cfg!(windows));
        assert!(!interfaces.has_name(&Glob::new("no-such-interface")));
    }
}
