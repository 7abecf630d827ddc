//! Recognises the protocol of a client by the first byte it sends.

use crate::{config::Protocol, socks::SocksVersion};

/// The protocol of a client, as its first byte tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detected {
    /// HTTP, or something that the parser of HTTP explains, such as a TLS hello.
    Http,
    /// SOCKS.
    Socks(SocksVersion),
}

impl Detected {
    /// Returns the protocol that a connection with these first bytes speaks. No method of HTTP begins with a byte that
    /// SOCKS uses as its version.
    pub(crate) fn of(seen: &[u8]) -> Self {
        match seen.first() {
            Some(4) => Self::Socks(SocksVersion::V4),
            Some(5) => Self::Socks(SocksVersion::V5),
            _ => Self::Http,
        }
    }

    /// Returns the name of the protocol in `server.protocols`.
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::Http => Protocol::Http,
            Self::Socks(SocksVersion::V4) => Protocol::Socks4a,
            Self::Socks(SocksVersion::V5) => Protocol::Socks5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_decides() {
        let named = |seen: &[u8]| Detected::of(seen).protocol();
        assert_eq!(named(b"\x05"), Protocol::Socks5);
        assert_eq!(named(b"\x04\x01"), Protocol::Socks4a);
        for http in [&b""[..], b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"\x06", b"\0"] {
            assert_eq!(named(http), Protocol::Http, "{http:?}");
        }
    }
}
