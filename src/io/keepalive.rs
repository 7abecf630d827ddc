//! Probes to a peer that is silent, so that one that is gone is noticed and firewalls don't forget the connection.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};

/// Has the system probe the peer of `socket` after a silence of [`SILENCE`], and every [`INTERVAL`] after that. On Linux,
/// the sockets that a listener accepts inherit this.
///
/// # Errors
/// The system's error. Everything else works without probes.
pub(crate) fn probe<'a>(socket: impl Into<SockRef<'a>>) -> io::Result<()> {
    let probes = TcpKeepalive::new().with_time(SILENCE).with_interval(INTERVAL);
    socket.into().set_tcp_keepalive(&probes)
}

/// Firewalls forget connections after a few minutes.
const SILENCE: Duration = Duration::from_secs(45);
const INTERVAL: Duration = Duration::from_secs(15);
