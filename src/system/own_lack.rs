//! Distinguishes errors that this machine causes by a lack of its own from those that a peer causes.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use mooltiroute_hops::NO_DESCRIPTOR;

/// Something that this machine lacks for one more connection. It says nothing about the peer of that connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnLack {
    /// This process, or the system, has no descriptor left.
    Descriptors,
    /// The system has no memory or no buffers for a socket.
    Memory,
    /// All local ports for connections to that address are in use.
    Ports,
}

impl OwnLack {
    /// Returns the lack that `error` of a socket shows.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        let code = error.raw_os_error()?;
        if NO_DESCRIPTOR.contains(&code) {
            Some(Self::Descriptors)
        } else if MEMORY.contains(&code) {
            Some(Self::Memory)
        } else {
            None
        }
    }

    /// Returns the lack for which a connection to `address` failed with `error`.
    pub(crate) fn of_connect(error: &io::Error, address: SocketAddr) -> Option<Self> {
        let is_port = || error.kind() == io::ErrorKind::AddrNotAvailable && is_routable(address);
        Self::of(error).or_else(|| is_port().then_some(Self::Ports))
    }

    /// Returns the lack for which a name could not be looked up with `error`.
    ///
    /// Resolvers that can't open a file or a socket often answer as if the name server had failed.
    pub(crate) fn of_look_up(error: &io::Error) -> Option<Self> {
        Self::of(error).or_else(|| Self::of(&UdpSocket::bind(ANY_V4).err()?))
    }
}

/// The advice to an operator whose process has no descriptor left.
pub(crate) const RAISE_OPEN_FILES: &str =
    "raise the limit of open files of this process (`ulimit -n`, or `LimitNOFILE=` for systemd)";

/// Returns whether this machine has an address from which `address` can be reached.
///
/// The system says the same about a missing address as about missing ports. UDP has ports of its own, and to connect it
/// sends nothing.
fn is_routable(address: SocketAddr) -> bool {
    let any: SocketAddr = if address.is_ipv4() { ANY_V4 } else { ANY_V6 };
    UdpSocket::bind(any).and_then(|socket| socket.connect(address)).is_ok()
}

const ANY_V4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
const ANY_V6: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

#[cfg(unix)]
const MEMORY: [i32; 2] =
    [rustix::io::Errno::NOBUFS.raw_os_error(), rustix::io::Errno::NOMEM.raw_os_error()];
/// `WSAENOBUFS`, which Windows also says if no local port is left.
#[cfg(not(unix))]
const MEMORY: [i32; 1] = [10_055];

#[cfg(all(test, unix))]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn error(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.raw_os_error())
    }

    #[test]
    fn only_what_this_machine_lacks_counts() {
        let of = |errno| OwnLack::of(&error(errno));
        assert_eq!(of(Errno::MFILE), Some(OwnLack::Descriptors));
        assert_eq!(of(Errno::NFILE), Some(OwnLack::Descriptors));
        assert_eq!(of(Errno::NOBUFS), Some(OwnLack::Memory));
        assert_eq!(of(Errno::NOMEM), Some(OwnLack::Memory));
        for errno in [Errno::CONNREFUSED, Errno::TIMEDOUT, Errno::HOSTUNREACH, Errno::AGAIN] {
            assert_eq!(of(errno), None, "{errno}");
        }
        assert_eq!(OwnLack::of(&io::Error::other("24")), None);
    }

    #[test]
    fn ports_are_missing_only_if_the_address_is_not() {
        let lack = |address: &str| {
            OwnLack::of_connect(&error(Errno::ADDRNOTAVAIL), address.parse().unwrap())
        };
        assert_eq!(lack("127.0.0.1:1"), Some(OwnLack::Ports));
        // Without a scope, no interface leads there.
        assert_eq!(lack("[fe80::1]:1"), None);
        let refused = error(Errno::CONNREFUSED);
        assert_eq!(OwnLack::of_connect(&refused, "127.0.0.1:1".parse().unwrap()), None);
    }

    #[test]
    fn a_look_up_that_fails_while_sockets_can_be_opened_is_no_lack() {
        assert_eq!(OwnLack::of_look_up(&io::Error::other("no name server answers")), None);
        assert_eq!(OwnLack::of_look_up(&error(Errno::MFILE)), Some(OwnLack::Descriptors));
    }
}
