//! Probes to a peer that is silent, so that one that is gone is noticed and firewalls don't forget the connection.

use std::{
    io,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};

/// Has the system probe the peer of `socket`, which is at `peer`, after a silence of [`IDLE_BEFORE_PROBES`] or a little more, and every
/// [`INTERVAL`] after that. On Linux, the sockets that a listener accepts inherit this; `peer` is then its own address.
///
/// A peer on this machine is not probed: it can't disappear without the system noticing. Linux lets the timers of two
/// seconds expire together, and drops packets if one processor has over a thousand of them waiting. With ten thousand
/// idle connections that were opened together, most probes were dropped that way, and a connection that loses all of its
/// probes is taken for dead. So the silence also differs from one connection to the next.
///
/// # Errors
/// The system's error. Everything else works without probes.
pub(crate) fn probe<'a>(socket: impl Into<SockRef<'a>>, peer: IpAddr) -> io::Result<()> {
    if peer.to_canonical().is_loopback() {
        return Ok(());
    }
    let extra = Duration::from_secs(NEXT.fetch_add(1, Ordering::Relaxed) % SPREAD_SECONDS);
    let probes = TcpKeepalive::new().with_time(IDLE_BEFORE_PROBES + extra).with_interval(INTERVAL);
    socket.into().set_tcp_keepalive(&probes)
}

/// Counts the connections, so that each is probed at another time than the previous one.
static NEXT: AtomicU64 = AtomicU64::new(0);
/// Firewalls forget connections after a few minutes.
const IDLE_BEFORE_PROBES: Duration = Duration::from_secs(40);
/// The seconds over which the first probes of connections that were opened together are spread.
const SPREAD_SECONDS: u64 = 16;
const INTERVAL: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn only_a_peer_elsewhere_is_probed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = SockRef::from(&client);
        for here in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            probe(&client, here.parse().unwrap()).unwrap();
            assert!(!socket.keepalive().unwrap(), "{here}");
        }
        probe(&client, "192.0.2.1".parse().unwrap()).unwrap();
        assert!(socket.keepalive().unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn connections_are_not_probed_at_the_same_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let silence = || {
            probe(&client, "192.0.2.1".parse().unwrap()).unwrap();
            SockRef::from(&client).tcp_keepalive_time().unwrap()
        };
        let all: Vec<Duration> = (0..2 * SPREAD_SECONDS).map(|_| silence()).collect();
        let longest = IDLE_BEFORE_PROBES + Duration::from_secs(SPREAD_SECONDS);
        assert!(all.iter().all(|one| (IDLE_BEFORE_PROBES..longest).contains(one)), "{all:?}");
        // Another test may take some of the times meanwhile.
        let differ: std::collections::HashSet<_> = all.iter().collect();
        assert!(differ.len() > SPREAD_SECONDS as usize / 2, "{all:?}");
    }
}
