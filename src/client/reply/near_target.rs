//! Targets such as `localhost`, which a hop takes for another machine, or can't reach.

use std::net::IpAddr;

use mooltiroute_hops::{Host, LinkSettings};

/// A target that only this machine or its network reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NearTarget {
    /// The machine itself.
    Loopback,
    /// A machine of a private network.
    Private,
}

impl NearTarget {
    /// Returns the kind of a host that is near, and `None` for any other.
    pub(crate) fn of(host: &Host) -> Option<Self> {
        let (is_loopback, is_private) = match host {
            Host::Address(address) => {
                let address = address.to_canonical();
                let is_own = address.is_loopback() || address.is_unspecified();
                (is_own, is_private(address))
            }
            Host::Name(name) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                let is_below = |suffixes: &[&str]| suffixes.iter().any(|end| name.ends_with(end));
                let is_own =
                    ["localhost", "localhost.localdomain", HOST_OF_CONTAINER].contains(&&*name);
                (
                    is_own || is_below(&[".localhost"]),
                    is_below(&[".local", ".internal", ".lan", ".home.arpa"]),
                )
            }
        };
        match (is_loopback, is_private) {
            (true, _) => Some(Self::Loopback),
            (false, true) => Some(Self::Private),
            (false, false) => None,
        }
    }

    /// Returns whether a hop with `settings` takes this target for another machine, or can't reach it. A proxy that is
    /// not a provider's may be in the private network itself.
    pub(crate) fn is_beyond(self, settings: &LinkSettings) -> bool {
        self == Self::Loopback || settings.is_of_gateway()
    }

    /// Explains why `hop` does not reach `host`, and how to reach it without the hop. A route is suggested if the hops come from a
    /// file (`is_file`), since the command line has no routes.
    pub(crate) fn note(self, host: &Host, hop: &str, is_file: bool) -> String {
        let (what, hosts) = match self {
            Self::Loopback => (
                format!("For `{hop}`, `{host}` means its own machine. To reach this machine"),
                if is_usual(host) { USUAL.to_owned() } else { quoted(host) },
            ),
            Self::Private => (
                format!(
                    "`{hop}` is a provider's proxy and can't reach `{host}`, an address of your own network. To reach it"
                ),
                quoted(host),
            ),
        };
        match is_file {
            true => format!(
                "{what}, put the route `- {{ hosts: [{hosts}], chain: direct }}` before the others, or `{host}` into the \
                 client's NO_PROXY."
            ),
            false => format!("{what}, put `{host}` into the client's NO_PROXY."),
        }
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    }
}

/// Returns whether `host` is one of the [`USUAL`] hosts.
fn is_usual(host: &Host) -> bool {
    match host {
        Host::Address(address) => address.is_loopback(),
        Host::Name(name) => name.eq_ignore_ascii_case("localhost"),
    }
}

/// Returns `host` as an item of a list in YAML.
fn quoted(host: &Host) -> String {
    match host {
        Host::Address(IpAddr::V6(address)) => format!("\"{address}\""),
        other => other.to_string(),
    }
}

/// The name by which containers reach the machine that they run on.
const HOST_OF_CONTAINER: &str = "host.docker.internal";
/// The hosts of a route for this machine.
const USUAL: &str = "localhost, 127.0.0.0/8, \"::1\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_targets_are_known_by_name_and_address() {
        let of = |text: &str| NearTarget::of(&text.parse().unwrap());
        for text in [
            "localhost",
            "LOCALHOST.",
            "app.localhost",
            "127.0.0.1",
            "127.8.9.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "host.docker.internal",
        ] {
            assert_eq!(of(text), Some(NearTarget::Loopback), "{text}");
        }
        for text in [
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.1.1",
            "[fd00::1]",
            "[fe80::1]",
            "nas.local",
            "db.corp.internal",
        ] {
            assert_eq!(of(text), Some(NearTarget::Private), "{text}");
        }
        for text in
            ["a.example", "localhost.example", "internal", "172.32.0.1", "8.8.8.8", "[2001:db8::1]"]
        {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_provider_is_surely_outside_of_a_private_network() {
        let (plain, gateway) = (LinkSettings::http(), LinkSettings::socks().of_gateway());
        assert!(NearTarget::Loopback.is_beyond(&plain) && NearTarget::Loopback.is_beyond(&gateway));
        assert!(!NearTarget::Private.is_beyond(&plain) && NearTarget::Private.is_beyond(&gateway));
    }

    #[test]
    fn a_note_has_a_route_that_matches_the_target() {
        let note = |text: &str| {
            let host: Host = text.parse().unwrap();
            NearTarget::of(&host).unwrap().note(&host, "exit", true)
        };
        for text in ["localhost", "127.0.0.1", "[::1]"] {
            let note = note(text);
            assert!(note.contains("hosts: [localhost, 127.0.0.0/8, \"::1\"]"), "{note}");
        }
        for (text, hosts) in [
            ("a.localhost", "[a.localhost]"),
            ("[fd00::1]", "[\"fd00::1\"]"),
            ("10.0.0.1", "[10.0.0.1]"),
        ] {
            let note = note(text);
            assert!(note.contains(&format!("hosts: {hosts}, chain: direct")), "{note}");
        }
    }
}
