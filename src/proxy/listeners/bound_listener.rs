//! A socket to accept on.

use std::{
    io,
    net::{self, SocketAddr},
    sync::Arc,
};

use socket2::SockRef;
use tokio::{net::TcpListener, runtime::Handle};
use tokio_util::sync::CancellationToken;

use crate::state::entrance::ListenerTerms;

/// A listener to accept on, and the token that ends it.
#[derive(Debug)]
pub(crate) struct BoundListener {
    /// The socket.
    pub listener: Arc<TcpListener>,
    /// The address it is bound to.
    pub address: SocketAddr,
    /// The terms for clients that are accepted from now on.
    pub terms: Arc<ListenerTerms>,
    /// Cancelled when the listener is to close.
    pub closed: CancellationToken,
    /// Whether another process has this socket too: a supervisor, or a proxy before or after this one.
    pub is_shared: bool,
}

impl BoundListener {
    /// Returns another listener for the same clients, whose events wake `runtime`.
    ///
    /// Both accept from the one queue of the system, so each client goes to a thread that is free, and none is lost if
    /// one of them closes.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub(crate) fn share(&self, runtime: &Handle) -> io::Result<Self> {
        // A duplicate of the descriptor and not a second socket with `SO_REUSEPORT`, whose own queue would be
        // reset with the clients in it when it closes.
        let socket = net::TcpListener::from(SockRef::from(&*self.listener).try_clone()?);
        let _entered = runtime.enter();
        Ok(Self {
            listener: Arc::new(TcpListener::from_std(socket)?),
            address: self.address,
            terms: Arc::clone(&self.terms),
            closed: self.closed.clone(),
            is_shared: self.is_shared,
        })
    }
}
