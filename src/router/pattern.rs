//! A host pattern, as written under `hosts` of a route.

use std::{borrow::Cow, fmt, net::IpAddr, str::FromStr, sync::Arc};

use ipnet::{IpNet, Ipv4Net};
use mooltiroute_hops::Host;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

/// The hosts that a route is for: a name, all names below one, an address or a network.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This name alone, without the names below it. It is in lower case and has no final dot.
    Name(Arc<str>),
    /// `*.suffix`: the names below `suffix` at any depth, but not `suffix` itself. It is in lower case and has no final dot.
    Suffix(Arc<str>),
    /// The addresses of a network; a single address is a network of one. IPv4-mapped IPv6 addresses count as IPv4.
    Network(IpNet),
}

/// The reason why a text is not a [`HostPattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidPattern {
    /// The text has none of the forms of a pattern.
    #[error(
        "is not a host pattern; write a name, `*.suffix`, an address, or a network such as `10.0.0.0/8`"
    )]
    Unknown,
    /// The text before the prefix of a network is not an address.
    #[error("is not a network: before the `/` there is an IP address, as in `10.0.0.0/8`")]
    Address,
    /// A lone star.
    #[error("`*` alone has no meaning; leave `hosts` out to match every host")]
    Everything,
    /// A star that is not the whole first label.
    #[error("`*` may only stand for everything before a dot, as in `*.example.com`")]
    Star,
    /// A port after the host.
    #[error("a port has no place in a host pattern; write it under `ports`")]
    Port,
    /// A network whose address has bits set after its prefix.
    #[error("the network's address has bits set after its prefix; write `{0}`")]
    HostBits(IpNet),
    /// The length of the prefix is not a number, or too large.
    #[error("the length of the network's prefix must be a number from 0 to 32, or to 128 for IPv6")]
    Prefix,
}

impl HostPattern {
    /// Returns whether this pattern matches `host`. A [`Router`](super::Router) is faster for many patterns.
    pub fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Name(name), Host::Name(host)) => name.eq_ignore_ascii_case(without_dot(host)),
            (Self::Suffix(suffix), Host::Name(host)) => {
                let host = without_dot(host);
                // The dot belongs to the match, or `*.example.com` would match `badexample.com`.
                host.len().checked_sub(suffix.len() + 1).is_some_and(|dot| {
                    host.as_bytes()[dot] == b'.' && host[dot + 1..].eq_ignore_ascii_case(suffix)
                })
            }
            (Self::Network(network), Host::Address(address)) => {
                network.contains(&address.to_canonical())
            }
            _ => false,
        }
    }
}

impl FromStr for HostPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        // Clients send internationalised names as punycode, so patterns are kept in that form.
        if !text.is_ascii() {
            let ascii = idna::domain_to_ascii(text).map_err(|_| InvalidPattern::Unknown)?;
            return if ascii.is_ascii() { ascii.parse() } else { Err(InvalidPattern::Unknown) };
        }
        // The most specific form comes first. An address is tried before a name, since `10.0.0.1` could also be a name.
        if let Some((address, prefix)) = text.split_once('/') {
            let Some(read) = parse_address(address) else {
                // `example.com/path` was probably meant as a name, and `10.0.0.300/8` as a network.
                let is_network = address.chars().all(|one| one.is_ascii_digit() || one == '.')
                    || address.contains(':');
                return Err(match is_network && prefix.parse::<u8>().is_ok() {
                    true => InvalidPattern::Address,
                    false => InvalidPattern::Unknown,
                });
            };
            return network(read, prefix);
        }
        if let Some(address) = parse_address(text) {
            return Ok(Self::Network(address.to_canonical().into()));
        }
        if text == "*" {
            return Err(InvalidPattern::Everything);
        }
        // With a star elsewhere, as in `www.*`, a look-up would be impossible.
        let (is_suffix, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        if name.contains('*') {
            return Err(InvalidPattern::Star);
        }
        match name.parse() {
            Ok(Host::Name(name)) => {
                let name = without_dot(&name).to_ascii_lowercase().into();
                Ok(if is_suffix { Self::Suffix(name) } else { Self::Name(name) })
            }
            Ok(Host::Address(_)) => Err(InvalidPattern::Unknown),
            Err(_) if name.parse::<mooltiroute_hops::Authority>().is_ok() => {
                Err(InvalidPattern::Port)
            }
            Err(_) => Err(InvalidPattern::Unknown),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*.{suffix}"),
            Self::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                network.addr().fmt(f)
            }
            Self::Network(network) => network.fmt(f),
        }
    }
}

impl JsonSchema for HostPattern {
    fn schema_name() -> Cow<'static, str> {
        "HostPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^(\*\.)?[A-Za-z0-9_.-]+$|^[0-9.]+/[0-9]+$|^\[?[0-9A-Fa-f:.]+\]?(/[0-9]+)?$|[^\x00-\x7F]",
            "examples": ["www.example.com", "*.example.com", "10.0.0.0/8"],
        })
    }
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Parses an address. An IPv6 address may be in brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

fn network(address: IpAddr, prefix: &str) -> Result<HostPattern, InvalidPattern> {
    if !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidPattern::Prefix);
    }
    let prefix = prefix.parse().map_err(|_| InvalidPattern::Prefix)?;
    let network = IpNet::new(address, prefix).map_err(|_| InvalidPattern::Prefix)?;
    // `10.1.2.3/8` may mean an address or a network, so the operator has to decide.
    if network.addr() != network.network() {
        return Err(InvalidPattern::HostBits(network.trunc()));
    }
    Ok(HostPattern::Network(canonical(network)))
}

/// Converts a network of IPv4-mapped addresses to the IPv4 network that it means.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let Some(address) = v6.addr().to_ipv4_mapped() else { return network };
    // A prefix shorter than the 96 bits of the mapping covers more than IPv4 addresses, and stays IPv6.
    let v4 = v6.prefix_len().checked_sub(96).and_then(|prefix| Ipv4Net::new(address, prefix).ok());
    v4.map_or(network, IpNet::V4)
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// The longest name that a [`Host`] has, without its final dot.
pub(super) const NAME_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, InvalidPattern>) {
        let shown = text.parse::<HostPattern>().map(|pattern| pattern.to_string());
        assert_eq!(shown.as_deref().map_err(|error| *error), expected, "{text}");
    }

    #[test]
    fn patterns_read_and_show() {
        check("Example.COM.", Ok("example.com"));
        check("Bücher.example", Ok("xn--bcher-kva.example"));
        check("*.日本.example", Ok("*.xn--wgv71a.example"));
        check("*.Corp.example", Ok("*.corp.example"));
        check("127.0.0.1", Ok("127.0.0.1"));
        check("127.0.0.0/8", Ok("127.0.0.0/8"));
        check("0.0.0.0/0", Ok("0.0.0.0/0"));
        check("::1", Ok("::1"));
        check("[::1]", Ok("::1"));
        check("2001:db8::/32", Ok("2001:db8::/32"));
        check("[2001:db8::]/32", Ok("2001:db8::/32"));
        check("::ffff:10.0.0.0/104", Ok("10.0.0.0/8"));
        check("::ffff:10.0.0.1", Ok("10.0.0.1"));
    }

    #[test]
    fn an_invalid_pattern_says_why() {
        use InvalidPattern as E;
        check("", Err(E::Unknown));
        check("*", Err(E::Everything));
        check("*.", Err(E::Unknown));
        check("*example.com", Err(E::Star));
        check("a.*.example.com", Err(E::Star));
        check("*.127.0.0.1", Err(E::Unknown));
        check("example.com:443", Err(E::Port));
        check("127.1", Err(E::Unknown));
        check("10.0.0.0/33", Err(E::Prefix));
        check("10.0.0.0/+8", Err(E::Prefix));
        check("10.0.0.0/", Err(E::Prefix));
        check("10.1.0.0/8", Err(E::HostBits("10.0.0.0/8".parse().unwrap())));
        check("example.com/24", Err(E::Unknown));
        check("bücher .example", Err(E::Unknown));
        check("bücher.example:443", Err(E::Port));
    }
}
