//! Probes to a peer that is silent, so that one that is gone is noticed and firewalls don't forget the connection.
//!
//! They cost three system calls and two of the kernel's timers for each socket, so a connection has them once it has
//! lasted a little; most are over before.

use std::time::Duration;

use mooltiroute_hops::Tunnel;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// How old a connection is when it gets its [probes](probe). The first comes so much later that a peer has never been silent
/// for more than a minute before it; firewalls forget connections after a few.
pub const AFTER: Duration = Duration::from_secs(15);

/// Has the system probe the peer of `socket` whenever that is silent.
pub fn probe(socket: &TcpStream) {
    let probes = TcpKeepalive::new().with_time(SILENCE).with_interval(INTERVAL);
    // Without them, all else works.
    let _ = SockRef::from(socket).set_tcp_keepalive(&probes);
}

/// The same for the socket at the bottom of `tunnel`.
pub fn probe_below(tunnel: &Tunnel) {
    if let Some(socket) = tunnel.bottom() {
        probe(socket);
    }
}

const SILENCE: Duration = Duration::from_secs(45);
const INTERVAL: Duration = Duration::from_secs(15);
