//! Binds sockets to listen on, and says in words why that fails.

use std::{
    io,
    net::{self, SocketAddr},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::io::keepalive;

/// Listens on `address`.
///
/// # Errors
/// The system's error.
pub(super) fn bind(address: SocketAddr) -> io::Result<net::TcpListener> {
    let socket = prepared_for(address)?;
    socket.bind(&address.into())?;
    listen(socket, address)
}

/// Listens on `address`, whose port this process has at another address, on the sockets `leaving` that are about to close.
///
/// Both are open for a moment, so no client is refused between them. Linux allows that if each of the sockets was made by
/// the same user and agrees to share (`SO_REUSEPORT`). They agree only until the new one listens.
///
/// # Errors
/// The system's error. Other systems than Linux either allow it without this, or not at all.
pub(super) fn bind_beside(
    address: SocketAddr,
    leaving: &[SockRef<'_>],
) -> io::Result<net::TcpListener> {
    #[cfg(target_os = "linux")]
    return sharing::bind(address, leaving);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = leaving;
        bind(address)
    }
}

/// Returns a socket for `address` that is not bound yet.
fn prepared_for(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // On Windows, this option would let two programs have the same port.
    if cfg!(unix) {
        socket.set_reuse_address(true)?;
    }
    if address.is_ipv6() {
        // `[::]` means IPv6 only, so that `0.0.0.0` can be listed beside it.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn listen(socket: Socket, address: SocketAddr) -> io::Result<net::TcpListener> {
    // Before `listen`, so that no client is accepted without them.
    set_options(SockRef::from(&socket), address)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Sets the options that the sockets inherit which `listener` accepts at `address`, on systems that do so.
///
/// # Errors
/// The system's error.
pub(super) fn set_options(listener: SockRef<'_>, address: SocketAddr) -> io::Result<()> {
    listener.set_tcp_nodelay(true)?;
    // Without probes, all else works.
    let _ = keepalive::probe(listener, address.ip());
    Ok(())
}

/// Returns whether binding failed because this machine lacks the address or its whole family.
pub(super) fn is_address_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(FAMILY_NOT_SUPPORTED)
}

/// Describes an error of [`bind`], with what to do.
pub(super) fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "{PORT_TAKEN} (`server.listen`, `--listen`). If nothing listens there, wait a minute: a connection that has \
                 just ended still holds the port"
            )
        }
        io::ErrorKind::PermissionDenied => {
            "the port needs privileges; choose one above 1023".into()
        }
        _ if is_address_missing(error) => "no interface of this machine has this address".into(),
        _ => error.to_string(),
    }
}

/// Describes an error of [`bind`] after an edit, which is tried again.
pub(super) fn in_words_at_reload(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => PORT_TAKEN.into(),
        _ => in_words(error),
    }
}

#[cfg(target_os = "linux")]
mod sharing {
    use std::{
        io,
        net::{self, Ipv4Addr, Ipv6Addr, SocketAddr},
    };

    use socket2::SockRef;

    use super::{listen, prepared_for};

    /// A socket that agrees to share its port until this is dropped.
    struct Agreement<'a, 'b>(&'a SockRef<'b>);

    impl<'a, 'b> Agreement<'a, 'b> {
        /// Returns `None` for a socket that agrees already, as a supervisor may have set it up.
        fn new(socket: &'a SockRef<'b>) -> io::Result<Option<Self>> {
            if socket.reuse_port()? {
                return Ok(None);
            }
            socket.set_reuse_port(true)?;
            Ok(Some(Self(socket)))
        }
    }

    impl Drop for Agreement<'_, '_> {
        fn drop(&mut self) {
            // This fails for no socket that is open.
            let _ = self.0.set_reuse_port(false);
        }
    }

    pub(super) fn bind(
        address: SocketAddr,
        leaving: &[SockRef<'_>],
    ) -> io::Result<net::TcpListener> {
        let agreements: Vec<_> = leaving.iter().map(Agreement::new).collect::<io::Result<_>>()?;
        let socket = prepared_for(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        // Linux checks the agreement again here.
        let listener = listen(socket, address)?;
        SockRef::from(&listener).set_reuse_port(false)?;
        drop(agreements);
        forget(address);
        Ok(listener)
    }

    /// Makes the system forget that the port of `address` was shared.
    ///
    /// It remembers that for the port as long as one socket has it, and would let another program of this user join, even
    /// though no socket agrees any more. Any socket that is bound to the port and does not agree ends this. One of the other
    /// family, at an address that no machine has, disturbs no other program.
    fn forget(address: SocketAddr) {
        let other: SocketAddr = match address {
            SocketAddr::V4(_) => (NOWHERE_V6, address.port()).into(),
            SocketAddr::V6(_) => (NOWHERE_V4, address.port()).into(),
        };
        let bound = prepared_for(other).and_then(|socket| {
            match other {
                SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
                SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
            }
            socket.bind(&other.into())
        });
        // Without the other family, or with a listener on all of its addresses, only programs of this user that ask for a
        // shared port could join.
        let _ = bound;
    }

    /// An address for documentation (RFC 5737).
    const NOWHERE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    /// An address for documentation (RFC 3849).
    const NOWHERE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
}

const PORT_TAKEN: &str = "another program has the port; stop it, or choose another address";

/// The system's number for an address family that it does not support, which has no name in `ErrorKind`.
#[cfg(unix)]
const FAMILY_NOT_SUPPORTED: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
#[cfg(not(unix))]
const FAMILY_NOT_SUPPORTED: i32 = 10_047;

/// As many as may wait to be accepted; the system caps it.
const BACKLOG: i32 = 4096;
