//! The sockets that clients connect to.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::dial;

/// The listeners in force. Dropping one stops its accepting.
#[derive(Debug, Default)]
pub struct Listeners {
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    wanted: SocketAddr,
    actual: SocketAddr,
    _closes: DropGuard,
}

/// A change of listeners of which every part has succeeded, and nothing has happened yet.
#[derive(Debug)]
pub struct Prepared {
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
pub struct Begun {
    /// The socket.
    pub listener: TcpListener,
    /// The address it is bound to.
    pub address: SocketAddr,
    /// Cancelled when the listener is to close.
    pub closed: CancellationToken,
}

/// An address that can't be listened on.
#[derive(Debug, Error)]
#[error("can't listen on {address}: {}", in_words(source))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

impl Listeners {
    /// Binds what of `wanted` is not listened on yet. The listeners in force stay as they are.
    ///
    /// # Errors
    /// The first address that can't be bound; all others are let go again.
    pub fn prepare(&self, wanted: &[SocketAddr]) -> Result<Prepared, BindError> {
        let new =
            wanted.iter().filter(|wanted| self.open.iter().all(|open| open.wanted != **wanted));
        let bound = new.map(|wanted| bind(*wanted)).collect::<Result<_, _>>()?;
        Ok(Prepared { wanted: wanted.to_vec(), bound })
    }

    /// The addresses that are listened on once `prepared` is in force.
    pub fn addresses_after(&self, prepared: &Prepared) -> Vec<SocketAddr> {
        let kept = self
            .open
            .iter()
            .filter(|open| prepared.wanted.contains(&open.wanted))
            .map(|open| open.actual);
        kept.chain(prepared.bound.iter().map(|bound| bound.actual)).collect()
    }

    /// Puts `prepared` in force: returns the listeners to accept on, and closes those that are not wanted any more.
    pub fn replace(&mut self, prepared: Prepared) -> Vec<Begun> {
        let begun = prepared.bound.into_iter().map(|Bound { wanted, actual, listener }| {
            let closed = CancellationToken::new();
            self.open.push(Open { wanted, actual, _closes: closed.clone().drop_guard() });
            Begun { listener, address: actual, closed }
        });
        let begun = begun.collect();
        self.open.retain(|open| prepared.wanted.contains(&open.wanted));
        begun
    }
}

fn bind(wanted: SocketAddr) -> Result<Bound, BindError> {
    let fail = |source| BindError { address: wanted, source };
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
    // The sockets it accepts inherit it, where the system does that.
    dial::keep_alive(SockRef::from(&socket));
    socket.set_tcp_nodelay(true)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
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
