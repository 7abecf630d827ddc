//! The host of an authority.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

use super::InvalidAuthority;

/// The host of an [`Authority`](super::Authority): a name that has to be looked up, or an address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A registered name: letters, digits, `-`, `_` and `.`, at most 253 bytes and a final dot.
    Name(Arc<str>),
    /// An address literal.
    Address(IpAddr),
}

impl FromStr for Host {
    type Err = InvalidAuthority;

    /// Reads a name, an IPv4 address, or an IPv6 address in brackets.
    fn from_str(text: &str) -> Result<Self, InvalidAuthority> {
        // `Ipv6Addr` reads no zone such as `%eth0`, so none gets through: a zone has a meaning on this machine only.
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(InvalidAuthority::Brackets)?;
            let address: Ipv6Addr = inner.parse().map_err(|_| InvalidAuthority::InvalidAddress)?;
            return Ok(Self::Address(address.into()));
        }
        if text.is_empty() {
            return Err(InvalidAuthority::MissingHost);
        }
        // The standard library reads four decimal parts only, without leading zeros, which some resolvers take for
        // octal.
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        // A final dot is legal and kept, but is not a label.
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() > NAME_BYTES_MAX || !name.split('.').all(is_label) {
            return Err(InvalidAuthority::InvalidName);
        }
        // `127.1` and `0x7f000001` are addresses to many resolvers, and would pass by the routes for 127.0.0.1.
        if name.rsplit('.').next().is_some_and(is_number) {
            return Err(InvalidAuthority::AmbiguousAddress);
        }
        Ok(Self::Name(text.into()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => {
                let [first, rest @ ..] = address.octets();
                f.write_str(itoa::Buffer::new().format(first))?;
                rest.into_iter().try_for_each(|part| {
                    f.write_str(".")?;
                    f.write_str(itoa::Buffer::new().format(part))
                })
            }
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_label(label: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(is_valid)
}

/// Returns whether a resolver may take this last label for a part of an address (the URL standard's "ends in a
/// number").
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || label.bytes().all(|byte| byte.is_ascii_digit())
}

/// RFC 1035 §2.3.4, without the final dot.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;
