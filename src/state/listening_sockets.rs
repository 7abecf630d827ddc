//! The sockets that clients connect to, as others than their listeners see them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::net::TcpListener;

use super::entrance::ListenerTerms;

/// The sockets on which a proxy accepts now, for a process that takes them over.
///
/// It holds none of them open: a socket belongs to the task that accepts on it, and is gone when that ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListeningSockets(Arc<Mutex<Vec<ListeningSocket>>>);

/// A socket on which a proxy accepts.
#[derive(Debug)]
struct ListeningSocket {
    listener: Weak<TcpListener>,
    address: SocketAddr,
    terms: Arc<ListenerTerms>,
}

impl ListeningSockets {
    /// Notes that a proxy accepts on `listener`.
    pub(crate) fn add(
        &self,
        listener: &Arc<TcpListener>,
        address: SocketAddr,
        terms: &Arc<ListenerTerms>,
    ) {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.retain(|socket| socket.listener.strong_count() > 0);
        let (listener, terms) = (Arc::downgrade(listener), Arc::clone(terms));
        sockets.push(ListeningSocket { listener, address, terms });
    }

    /// Returns those that are open.
    pub(crate) fn open(&self) -> Vec<Arc<TcpListener>> {
        let sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.iter().filter_map(|socket| socket.listener.upgrade()).collect()
    }

    /// Returns the addresses at which clients have to speak TLS.
    pub(crate) fn with_tls(&self) -> Vec<SocketAddr> {
        let sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = sockets.iter().filter(|socket| socket.listener.strong_count() > 0);
        let with_tls = open.filter(|socket| socket.terms.tls().is_some());
        with_tls.map(|socket| socket.address).collect()
    }
}
