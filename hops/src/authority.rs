//! A host and a port, checked once.

mod host;
mod invalid;

use std::{
    borrow::Cow,
    fmt,
    hash::{Hash, Hasher},
    net::SocketAddr,
    num::NonZeroU16,
    str::FromStr,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

pub use self::{host::Host, invalid::InvalidAuthority};

/// A host and a port that is not zero, to which a connection can be made.
///
/// It reads and shows the form of RFC 9112 §3.2.3, `host:port`, with IPv6 addresses in brackets. A name stays
/// spelled as it was written; nothing in it can end a line or a field.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    host: Host,
    port: NonZeroU16,
}

impl Authority {
    /// Puts a host and a port together.
    pub fn new(host: Host, port: NonZeroU16) -> Self {
        Self { host, port }
    }

    /// Reads `host:port`, or `host` alone with the port that its scheme implies.
    ///
    /// # Errors
    /// As [`FromStr`], except that the port may be missing.
    pub fn with_default_port(text: &str, port: NonZeroU16) -> Result<Self, InvalidAuthority> {
        let (host, written) = split(text)?;
        // RFC 3986 §6.2.3: an empty port is the scheme's own.
        let port = match written {
            None | Some("") => port,
            Some(written) => parse_port(written)?,
        };
        Ok(Self { host: host.parse()?, port })
    }

    /// Returns the host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the port, never zero.
    pub fn port(&self) -> u16 {
        self.port.get()
    }

    /// Returns this authority with its host name in lower case. Borrows it if the name is so already, as most are.
    pub fn to_lower(&self) -> Cow<'_, Self> {
        match &self.host {
            Host::Name(name) if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                let host = Host::Name(name.to_ascii_lowercase().into());
                Cow::Owned(Self { host, port: self.port })
            }
            _ => Cow::Borrowed(self),
        }
    }

    /// Returns this host with another port.
    #[must_use]
    pub fn with_port(&self, port: NonZeroU16) -> Self {
        Self { host: self.host.clone(), port }
    }
}

impl Hash for Authority {
    /// Hashes a name in one piece. Many caches look up targets, and each piece costs a keyed hash some time.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.host {
            Host::Name(name) => state.write(name.as_bytes()),
            Host::Address(address) => address.hash(state),
        }
        state.write_u16(self.port.get());
    }
}

impl From<SocketAddr> for Authority {
    /// Turns port zero, which no connection has, into 1.
    fn from(address: SocketAddr) -> Self {
        let port = NonZeroU16::new(address.port()).unwrap_or(NonZeroU16::MIN);
        Self { host: Host::Address(address.ip()), port }
    }
}

impl JsonSchema for Authority {
    fn schema_name() -> Cow<'static, str> {
        "Authority".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^(\[[0-9A-Fa-f:.]+\]|[^:/@\[\]]+):[0-9]{1,5}$" })
    }
}

impl FromStr for Authority {
    type Err = InvalidAuthority;

    fn from_str(text: &str) -> Result<Self, InvalidAuthority> {
        let (host, port) = split(text)?;
        let host = host.parse()?;
        Ok(Self { host, port: parse_port(port.ok_or(InvalidAuthority::MissingPort)?)? })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Written without the machinery of `write!`, since each CONNECT to a hop has it.
        fmt::Display::fmt(&self.host, f)?;
        f.write_str(":")?;
        f.write_str(itoa::Buffer::new().format(self.port.get()))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for Authority {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Authority;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text `host:port`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Authority, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

/// Splits the host from the port, which may be missing; neither is checked yet.
fn split(text: &str) -> Result<(&str, Option<&str>), InvalidAuthority> {
    // These two mistakes are found first, because the error about a port or a bracket would hide them. The text may
    // hold a password, so no error of this file quotes it. Each request comes through here, and hardly any has one of
    // the two bytes, so one pass over them comes before the exact questions.
    if text.bytes().any(|byte| matches!(byte, b'/' | b'@')) {
        if text.contains("://") {
            return Err(InvalidAuthority::Url);
        }
        if text.contains('@') {
            return Err(InvalidAuthority::UserInformation);
        }
    }
    // In brackets, colons belong to the address, so the port begins behind the closing one.
    if text.starts_with('[') {
        let end = text.find(']').ok_or(InvalidAuthority::Brackets)? + 1;
        let (host, rest) = text.split_at(end);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(InvalidAuthority::Brackets),
        };
    }
    match text.split_once(':') {
        // Two colons without brackets could be an address without a port or one with a port. A guess could connect to
        // another port.
        Some((_, port)) if port.contains(':') => {
            let looks_like_ipv6 = text.chars().all(is_of_ipv6);
            Err(if looks_like_ipv6 {
                InvalidAuthority::Brackets
            } else {
                InvalidAuthority::ManyColons
            })
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

/// Returns whether `one` can be in an IPv6 address, perhaps with its zone (RFC 4007 § 11) or a dotted end.
fn is_of_ipv6(one: char) -> bool {
    one.is_ascii_hexdigit() || ":.%".contains(one)
}

/// Reads a port. It has no sign and is not zero.
pub(crate) fn parse_port(text: &str) -> Result<NonZeroU16, InvalidAuthority> {
    // `u16::from_str` takes a sign, which a port has not.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidAuthority::InvalidPort);
    }
    text.parse().map_err(|_| InvalidAuthority::InvalidPort)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, InvalidAuthority>) {
        let parsed = text.parse::<Authority>().map(|authority| authority.to_string());
        assert_eq!(parsed.as_deref().map_err(|error| *error), expected, "{text:?}");
    }

    #[test]
    fn names_and_addresses_read_and_show_alike() {
        for text in [
            "example.com:443",
            "EXAMPLE.com:80",
            "a_b.example.:1",
            "xn--bcher-kva.example:65535",
            "127.0.0.1:8888",
            "[::1]:8080",
            "[2001:db8::1]:443",
            "localhost:3128",
            "1password.com:443",
            "0xabc.example:443",
        ] {
            check(text, Ok(text));
        }
    }

    #[test]
    fn what_is_no_authority_says_why() {
        use InvalidAuthority as E;
        check("example.com", Err(E::MissingPort));
        check("", Err(E::MissingHost));
        check(":80", Err(E::MissingHost));
        check("example.com:", Err(E::InvalidPort));
        check("example.com:0", Err(E::InvalidPort));
        check("example.com:+80", Err(E::InvalidPort));
        check("example.com:65536", Err(E::InvalidPort));
        check("example.com:80 ", Err(E::InvalidPort));
        check("2001:db8::1:443", Err(E::Brackets));
        check("::ffff:1.2.3.4:80", Err(E::Brackets));
        check("example.com:80:user:pass", Err(E::ManyColons));
        check("[::1", Err(E::Brackets));
        check("[::1]443", Err(E::Brackets));
        check("[::1]", Err(E::MissingPort));
        check("[127.0.0.1]:80", Err(E::InvalidAddress));
        check("[fe80::1%25eth0]:80", Err(E::InvalidAddress));
        check("127.1:80", Err(E::AmbiguousAddress));
        check("0x7f000001:80", Err(E::AmbiguousAddress));
        check("1.2.3.4.5:80", Err(E::AmbiguousAddress));
        check("999.1.1.1:80", Err(E::AmbiguousAddress));
        check("a..b:80", Err(E::InvalidName));
        check(".:80", Err(E::InvalidName));
        check("bücher.example:80", Err(E::InvalidName));
        check("a b:80", Err(E::InvalidName));
        check("a\r\nb:80", Err(E::InvalidName));
        check("a/b:80", Err(E::InvalidName));
        check("http://a:80", Err(E::Url));
        check("u:p@a:80", Err(E::UserInformation));
        check(&format!("{}:80", "a".repeat(64)), Err(E::InvalidName));
        check(&format!("{}a:80", "a.".repeat(127)), Err(E::InvalidName));
    }

    #[test]
    fn a_scheme_may_imply_the_port() {
        let http = NonZeroU16::new(80).unwrap();
        let parse =
            |text| Authority::with_default_port(text, http).map(|parsed| parsed.to_string());
        assert_eq!(parse("example.com").unwrap(), "example.com:80");
        assert_eq!(parse("example.com:").unwrap(), "example.com:80");
        assert_eq!(parse("[::1]").unwrap(), "[::1]:80");
        assert_eq!(parse("example.com:8080").unwrap(), "example.com:8080");
        assert_eq!(parse("example.com:x"), Err(InvalidAuthority::InvalidPort));
    }

    proptest! {
        #[test]
        fn whatever_parses_shows_as_itself_and_is_safe_on_the_wire(text in "\\PC{0,40}|[a-z0-9.:\\[\\]_-]{0,40}") {
            if let Ok(authority) = text.parse::<Authority>() {
                let shown = authority.to_string();
                prop_assert_eq!(shown.parse::<Authority>(), Ok(authority));
                prop_assert!(shown.bytes().all(|byte| byte.is_ascii_graphic() && !b"/@?#\\".contains(&byte)));
            }
        }
    }
}
