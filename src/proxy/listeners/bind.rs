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
    socket.bind(&address.into())?;
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

const PORT_TAKEN: &str = "another program has the port; stop it, or choose another address";

/// The system's number for an address family that it does not support, which has no name in `ErrorKind`.
#[cfg(unix)]
const FAMILY_NOT_SUPPORTED: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
#[cfg(not(unix))]
const FAMILY_NOT_SUPPORTED: i32 = 10_047;

/// As many as may wait to be accepted; the system caps it.
const BACKLOG: i32 = 4096;
