//! The addresses that the proxy listens on, as operators write them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use thiserror::Error;

use crate::tls::TlsServer;

/// One entry of `server.listen`.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The address.
    pub address: ListenAddress,
    /// TLS with its clients, if they speak HTTPS to the proxy.
    pub tls: Option<Arc<TlsServer>>,
}

/// An address to listen on.
///
/// `localhost` is both loopback addresses at once. Clients look that name up and may try either address first, so a
/// proxy that listens on one of them only is slow or unreachable for some clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An IP address and a port. Port 0 lets the system choose one.
    Socket(SocketAddr),
    /// The loopback addresses of both families, at this port.
    Localhost(u16),
}

/// A text that is not an address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "expected an IP address and a port, such as `127.0.0.1:8888` or `\"[::1]:8888\"`, or `localhost:8888` for both \
     loopback addresses"
)]
pub struct InvalidListenAddress;

/// Returns the port of `text`, if that is a port without an address, such as `8888`, `:8888` or `*:8888`.
pub(crate) fn bare_port(text: &str) -> Option<u16> {
    let text = text.trim();
    text.strip_prefix("*:").or_else(|| text.strip_prefix(':')).unwrap_or(text).parse().ok()
}

/// Returns whether `text` is an address with a port that is too large a number.
pub(crate) fn has_too_large_port(text: &str) -> bool {
    let Some((host, port)) = text.trim().rsplit_once(':') else { return false };
    let is_address = format!("{host}:1").parse::<ListenAddress>().is_ok();
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    is_address && is_number && port.parse::<u16>().is_err()
}

/// An address at which clients reach this proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProxyAddress {
    pub(crate) socket: SocketAddr,
    /// Whether clients have to speak TLS to it.
    pub(crate) is_tls: bool,
}

/// Returns the address at which this machine reaches a listener on `address`.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

impl ListenAddress {
    /// Returns the addresses of the sockets: one, or for `localhost` that of IPv4 and then that of IPv6.
    pub fn sockets(self) -> impl Iterator<Item = SocketAddr> {
        let (first, second) = match self {
            Self::Socket(address) => (address, None),
            Self::Localhost(port) => {
                let second = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
                (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Some(second))
            }
        };
        [first].into_iter().chain(second)
    }

    /// Returns whether only programs on this machine can reach it.
    pub fn is_loopback(self) -> bool {
        self.sockets().all(|address| address.ip().to_canonical().is_loopback())
    }
}

impl FromStr for ListenAddress {
    type Err = InvalidListenAddress;

    fn from_str(text: &str) -> Result<Self, InvalidListenAddress> {
        match text.strip_prefix("localhost:") {
            // Digits only, as in a socket address: `u16` would take a sign.
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                port.parse().map(Self::Localhost).map_err(|_| InvalidListenAddress)
            }
            Some(_) => Err(InvalidListenAddress),
            None => text.parse().map(Self::Socket).map_err(|_| InvalidListenAddress),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Localhost(port) => write!(f, "localhost:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&[&str]>) {
        let parsed = text.parse::<ListenAddress>().ok();
        let sockets = parsed.map(|address| {
            assert_eq!(address.to_string(), text);
            address.sockets().map(|socket| socket.to_string()).collect::<Vec<_>>()
        });
        assert_eq!(
            sockets
                .as_deref()
                .map(|sockets| sockets.iter().map(String::as_str).collect::<Vec<_>>()),
            expected.map(<[&str]>::to_vec),
            "{text}"
        );
    }

    #[test]
    fn localhost_is_both_loopback_addresses_and_no_other_name_is_one() {
        check("127.0.0.1:8888", Some(&["127.0.0.1:8888"]));
        check("[::]:0", Some(&["[::]:0"]));
        check("localhost:8888", Some(&["127.0.0.1:8888", "[::1]:8888"]));
        check("localhost:0", Some(&["127.0.0.1:0", "[::1]:0"]));
        for invalid in [
            "",
            "localhost",
            "localhost:",
            "localhost:x",
            "localhost:+1",
            "localhost:65536",
            "localhost.:1",
            "LOCALHOST:1",
            "example.com:1",
            "127.0.0.1",
            "::1:8888",
            "8888",
        ] {
            check(invalid, None);
        }
    }

    #[test]
    fn only_loopback_addresses_are_loopback() {
        for (text, expected) in [
            ("localhost:1", true),
            ("127.0.0.2:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("192.0.2.1:1", false),
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().is_loopback(), expected, "{text}");
        }
    }
}
