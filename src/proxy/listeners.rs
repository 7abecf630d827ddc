//! The sockets that clients connect to.

use std::{
    io,
    net::{self, SocketAddr},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::io::keepalive;

/// The listeners in force. Dropping one stops its accepting, unless a supervisor has passed it.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    wanted: SocketAddr,
    actual: SocketAddr,
    /// Closes it. A supervisor's is left alone: who waits there when this process ends is for the next one.
    closes: Option<DropGuard>,
}

/// A change of listeners whose every part has succeeded, and that is not in force yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    wanted: Vec<SocketAddr>,
    bound: Vec<Bound>,
}

#[derive(Debug)]
struct Bound {
    wanted: SocketAddr,
    actual: SocketAddr,
    listener: TcpListener,
}

/// A listener that has begun, and the token that ends it.
#[derive(Debug)]
pub(crate) struct Begun {
    /// The socket.
    pub listener: TcpListener,
    /// The address it is bound to.
    pub address: SocketAddr,
    /// Cancelled when the listener is to close.
    pub closed: CancellationToken,
}

/// Listeners that can't be had.
#[derive(Debug, Error)]
pub enum ListenError {
    /// An address that can't be listened on.
    #[error("can't listen on {address}: {}", in_words(source))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// An address that the supervisor listens on for this proxy, and that is not wanted.
    #[error(
        "the supervisor listens on {0} for this proxy, and `server.listen` does not name it; add it, or change the \
         supervisor's socket unit and restart both"
    )]
    NotNamed(SocketAddr),
    /// One of the supervisor's sockets that does not do what a socket should.
    #[error("a socket of the supervisor can't be used: {0}")]
    Passed(io::Error),
}

impl Listeners {
    /// Takes over sockets that a supervisor listens on and has passed; returns them to be accepted on. They stay as long
    /// as this process does: the supervisor would go on listening, and clients would wait without an answer.
    ///
    /// # Errors
    /// One of them can't be used.
    pub(crate) fn adopt(&mut self, passed: Vec<net::TcpListener>) -> io::Result<Vec<Begun>> {
        let begun = passed.into_iter().map(|passed| {
            let address = passed.local_addr()?;
            passed.set_nonblocking(true)?;
            set_options(SockRef::from(&passed))?;
            let listener = TcpListener::from_std(passed)?;
            self.open.push(Open { wanted: address, actual: address, closes: None });
            Ok(Begun { listener, address, closed: CancellationToken::new() })
        });
        begun.collect()
    }

    /// Binds what of `wanted` is not listened on yet. The listeners in force stay as they are.
    ///
    /// # Errors
    /// The first address that can't be bound, or a supervisor's that is not wanted; what was bound is let go again.
    pub(crate) fn prepare(&self, wanted: &[SocketAddr]) -> Result<Prepared, ListenError> {
        let mut passed = self.open.iter().filter(|open| open.closes.is_none());
        if let Some(open) = passed.find(|open| !wanted.contains(&open.wanted)) {
            return Err(ListenError::NotNamed(open.wanted));
        }
        let new =
            wanted.iter().filter(|wanted| self.open.iter().all(|open| open.wanted != **wanted));
        let bound = new.map(|wanted| bind(*wanted)).collect::<Result<_, _>>()?;
        Ok(Prepared { wanted: wanted.to_vec(), bound })
    }

    /// The addresses that are listened on once `prepared` is in force.
    pub(crate) fn addresses_after(&self, prepared: &Prepared) -> Vec<SocketAddr> {
        let kept = self
            .open
            .iter()
            .filter(|open| prepared.wanted.contains(&open.wanted))
            .map(|open| open.actual);
        kept.chain(prepared.bound.iter().map(|bound| bound.actual)).collect()
    }

    /// Puts `prepared` in force: returns the listeners to accept on, and closes those that are not wanted any more.
    pub(crate) fn replace(&mut self, prepared: Prepared) -> Vec<Begun> {
        let begun = prepared.bound.into_iter().map(|Bound { wanted, actual, listener }| {
            let closed = CancellationToken::new();
            let closes = Some(closed.clone().drop_guard());
            self.open.push(Open { wanted, actual, closes });
            Begun { listener, address: actual, closed }
        });
        let begun = begun.collect();
        self.open.retain(|open| prepared.wanted.contains(&open.wanted));
        begun
    }
}

fn bind(wanted: SocketAddr) -> Result<Bound, ListenError> {
    let fail = |source| ListenError::Bind { address: wanted, source };
    let listener = open(wanted).map_err(fail)?;
    let actual = listener.local_addr().map_err(fail)?;
    Ok(Bound { wanted, actual, listener })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Elsewhere it would let two programs have the same port.
    if cfg!(unix) {
        socket.set_reuse_address(true)?;
    }
    if address.is_ipv6() {
        // `[::]` is what was written; `0.0.0.0` may stand beside it.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    set_options(SockRef::from(&socket))?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Sets the options that accepted sockets inherit, on systems that do so.
fn set_options(listener: SockRef<'_>) -> io::Result<()> {
    listener.set_tcp_nodelay(true)?;
    // Without probes, all else works.
    let _ = keepalive::probe(listener);
    Ok(())
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program has the port; stop it, or choose another with `--listen`".into()
        }
        io::ErrorKind::PermissionDenied => {
            "the port needs privileges; choose one above 1023".into()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".into(),
        _ => error.to_string(),
    }
}

/// As many as may wait to be accepted; the system caps it.
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[tokio::test]
    async fn a_listener_that_stays_keeps_its_socket_and_others_close() {
        let mut listeners = Listeners::default();
        let begun = listeners.replace(listeners.prepare(&[any()]).unwrap());
        let [first] = begun.as_slice() else { panic!("one listener") };
        let second: SocketAddr = "[::1]:0".parse().unwrap();
        let prepared = listeners.prepare(&[any(), second]).unwrap();
        assert_eq!(listeners.addresses_after(&prepared)[0], first.address);
        let begun = listeners.replace(prepared);
        assert!(begun.len() == 1 && begun[0].address.is_ipv6() && !first.closed.is_cancelled());
        assert!(listeners.replace(listeners.prepare(&[second]).unwrap()).is_empty());
        assert!(first.closed.is_cancelled() && !begun[0].closed.is_cancelled());
    }

    #[tokio::test]
    async fn a_passed_listener_is_named_and_never_closed() {
        let passed = net::TcpListener::bind(any()).unwrap();
        let address = passed.local_addr().unwrap();
        let mut listeners = Listeners::default();
        let begun = listeners.adopt(vec![passed]).unwrap();
        assert!(
            matches!(listeners.prepare(&[any()]), Err(ListenError::NotNamed(named)) if named == address)
        );
        let prepared = listeners.prepare(&[any(), address]).unwrap();
        assert_eq!(listeners.replace(prepared).len(), 1, "the other one");
        drop(listeners);
        assert!(begun[0].address == address && !begun[0].closed.is_cancelled());
    }

    #[tokio::test]
    async fn a_taken_port_changes_nothing() {
        let mut listeners = Listeners::default();
        let begun = listeners.replace(listeners.prepare(&[any()]).unwrap());
        let taken = begun[0].address;
        let other = Listeners::default();
        let error = other.prepare(&[any(), taken]).unwrap_err().to_string();
        assert!(error.contains("another program has the port"), "{error}");
        assert!(!begun[0].closed.is_cancelled());
    }
}
