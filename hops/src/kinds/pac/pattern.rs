//! Which entries of a PAC file stand for which hop.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

use crate::{Authority, Glob, Host, authority::parse_port};

/// A pattern of the proxies that a PAC file names: a glob of the host, and a port if it has one. Case does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryPattern {
    host: Glob,
    port: Option<u16>,
}

/// Patterns and the names of the hops that they lead to, in written order. The patterns are read when the hop is built, so
/// that a problem is reported at its own key.
#[derive(Debug, Default)]
pub(super) struct Mapping(pub(super) Vec<(String, String)>);

impl EntryPattern {
    /// Reads `GLOB` or `GLOB:PORT`. An IPv6 address has brackets, as elsewhere.
    ///
    /// # Errors
    /// Says what is wrong, as a clause about the pattern.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidEntry> {
        let lower = text.to_ascii_lowercase();
        if lower.contains(['/', '@', ' ']) {
            return Err(InvalidEntry::NoHost);
        }
        let (host, port) = match lower.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                if port == "*" {
                    return Err(InvalidEntry::AnyPort);
                }
                (host, Some(parse_port(port).map_err(|_| InvalidEntry::Port)?.get()))
            }
            _ => (&*lower, None),
        };
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        // A final dot makes no other name, and the hosts that are compared have none.
        let host = inner.unwrap_or_else(|| host.trim_end_matches('.'));
        if inner.is_none() && host.contains([':', '[', ']']) {
            return Err(InvalidEntry::Brackets);
        }
        if host.is_empty() {
            return Err(InvalidEntry::NoHost);
        }
        Ok(Self { host: Glob::new(host), port })
    }

    /// Returns whether the pattern stands for a proxy at `address`.
    pub(super) fn matches(&self, address: &Authority) -> bool {
        self.port.is_none_or(|port| port == address.port()) && self.matches_host(address)
    }

    /// Returns whether the pattern would stand for a proxy at `address`, if that had another port.
    pub(super) fn matches_host(&self, address: &Authority) -> bool {
        self.host.matches(&match address.host() {
            Host::Name(name) => name.trim_end_matches('.').to_ascii_lowercase(),
            Host::Address(address) => address.to_string(),
        })
    }
}

/// The reason why a text is no [`EntryPattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum InvalidEntry {
    #[error(
        "is not a pattern of a host; write one such as `proxy*.corp.example`, perhaps with a port, as in `proxy*:3128`"
    )]
    NoHost,
    #[error("ends with `:*`; leave that out, since a pattern without a port matches every port")]
    AnyPort,
    #[error("has a port that is not a number from 1 to 65535")]
    Port,
    #[error("has an IPv6 address without brackets; write it as in `[2001:db8::1]:3128`")]
    Brackets,
}

impl JsonSchema for Mapping {
    fn schema_name() -> Cow<'static, str> {
        "PacHops".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}

impl<'de> Deserialize<'de> for Mapping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MappingVisitor)
    }
}

struct MappingVisitor;

impl<'de> de::Visitor<'de> for MappingVisitor {
    type Value = Mapping;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of patterns to names of hops")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Mapping, A::Error> {
        let mut mapping = Mapping::default();
        while let Some(text) = map.next_key::<String>()? {
            mapping.0.push((text, map.next_value()?));
        }
        Ok(mapping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_glob_of_the_host_and_perhaps_a_port() {
        for (pattern, address, expected) in [
            ("proxy*.corp.example", "Proxy1.Corp.Example:3128", true),
            ("PROXY*.corp.example", "proxy.corp.example.:80", true),
            ("proxy.corp.example.", "proxy.corp.example:80", true),
            ("proxy.corp.example.:3128", "proxy.corp.example.:3128", true),
            ("proxy*.corp.example", "proxy1.corp.example.evil.test:80", false),
            ("proxy.corp.example:3128", "proxy.corp.example:3128", true),
            ("proxy.corp.example:3128", "proxy.corp.example:80", false),
            ("*:8080", "10.0.0.1:8080", true),
            ("10.0.0.?", "10.0.0.1:8080", true),
            ("[::1]:3128", "[::1]:3128", true),
            ("[2001:db8::*]", "[2001:db8::7]:1", true),
            ("*", "anything.example:1", true),
        ] {
            let read = EntryPattern::parse(pattern).unwrap();
            assert_eq!(read.matches(&address.parse().unwrap()), expected, "{pattern} {address}");
        }
        for wrong in [
            "",
            ".",
            ":80",
            "a:",
            "a:0",
            "a:+80",
            "a:x",
            "http://a",
            "u@a",
            "a b",
            "2001:db8::1",
            "2001:db8::*:3128",
            "::1",
            "[::1",
            "[::1]x:1",
            "[]",
        ] {
            assert!(EntryPattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
