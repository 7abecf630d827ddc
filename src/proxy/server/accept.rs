//! Accepts the clients of one listener.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    time,
};
use tracing::info;

use super::{
    Server,
    pause::{PAUSE_MAX, Pause},
};
use crate::{
    client::accepted::Accepted,
    proxy::listeners::BoundListener,
    state::{
        entrance::{Entrance, ListenerTerms},
        shared::Shared,
    },
    system::early_timer::EarlyTimer,
};

/// Accepts on one listener until it is closed or the proxy drains.
pub(super) async fn accept(
    server: Server,
    begun: BoundListener,
    _counted: CountedAcceptor,
    worker: usize,
    pause: Pause,
) {
    let BoundListener { listener, address, terms, closed, is_shared } = begun;
    let timer = EarlyTimer::default();
    let mut acceptor =
        Acceptor { server, worker, listener, is_shared, address, terms, pause, timer, fit: None };
    let shutdown = acceptor.server.shared.shutdown().clone();
    {
        // Made once, since each of these takes a lock when it is made and when it is dropped.
        let (mut closed, mut draining) = (pin!(closed.cancelled()), pin!(shutdown.draining()));
        loop {
            tokio::select! {
                // In this order, so that an end is seen before the next client.
                biased;
                () = &mut closed => break,
                () = &mut draining => return,
                () = acceptor.next() => {}
            }
        }
    }
    // Clients that the system has accepted for a listener that closes are served too, when there is room for them.
    let rest = async { while acceptor.next_waiting().await {} };
    shutdown.until_draining(rest).await;
    // Of the workers that share the listener, one logs its end.
    if acceptor.worker == 0 {
        info!(%address, "not listening any more");
    }
}

/// A socket to accept on. Counts its descriptor until it is dropped.
#[derive(Debug)]
pub(super) struct CountedAcceptor(Arc<Shared>);

impl CountedAcceptor {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        shared.reserved().add_acceptor();
        Self(Arc::clone(shared))
    }
}

impl Drop for CountedAcceptor {
    fn drop(&mut self) {
        self.0.reserved().remove_acceptor();
    }
}

/// One listener, and how it copes with a lack of descriptors.
#[derive(Debug)]
struct Acceptor {
    server: Server,
    /// The number of the worker that accepts.
    worker: usize,
    listener: Arc<TcpListener>,
    /// Whether another process has this socket too.
    is_shared: bool,
    address: SocketAddr,
    terms: Arc<ListenerTerms>,
    pause: Pause,
    /// Set while clients come.
    timer: EarlyTimer,
    /// How many clients the descriptors allow, as it was when the timer was set.
    fit: Option<usize>,
}

impl Acceptor {
    /// Accepts the next client and begins its session. Dropping the future loses no client.
    async fn next(&mut self) {
        let accepted = loop {
            match poll_fn(|cx| self.poll_accept(cx)).await {
                Some(accepted) => break accepted,
                None => self.room().await,
            }
        };
        // For a client that was accepted, no `await` lies between here and the start of its session.
        self.welcome(accepted).await;
    }

    /// Accepts a client, or returns `None` if there is no room for one.
    ///
    /// It looks for room each time it is woken, since other listeners and workers may have taken it during the wait.
    ///
    /// Processes that share a socket also share the flag by which `accept` does not block. systemd clears it each time it
    /// starts one of them, unless the unit has `NonBlocking=yes`, so it is set each time. Otherwise one `accept`
    /// without a client would stop all of the worker's tunnels.
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<(TcpStream, SocketAddr)>>> {
        if !self.has_room() {
            return Poll::Ready(None);
        }
        if self.is_shared
            && let Err(error) = SockRef::from(&*self.listener).set_nonblocking(true)
        {
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(Some(ready!(self.listener.poll_accept(cx))))
    }

    /// Accepts a client if one waits. Returns whether one did, or may.
    async fn next_waiting(&mut self) -> bool {
        // The timeout polls once before it expires, so it accepts a client only if one waits already.
        let accept = poll_fn(|cx| self.poll_accept(cx));
        match time::timeout(Duration::ZERO, accept).await {
            Ok(Some(accepted)) => {
                let is_client = accepted.is_ok();
                self.welcome(accepted).await;
                is_client
            }
            Ok(None) => {
                self.room().await;
                true
            }
            Err(_) => false,
        }
    }

    /// Waits until the descriptors for one more client and its upstream connection are free.
    async fn room(&mut self) {
        while !self.has_room() {
            let shared = &self.server.shared;
            let open = shared.open();
            self.pause.begin(self.address, &format_args!("{open} clients leave no open files"));
            // The limit may be raised from outside, and no event tells of that.
            let _ = time::timeout(PAUSE_MAX, shared.one_ended()).await;
        }
    }

    fn has_room(&mut self) -> bool {
        let shared = &self.server.shared;
        let open = shared.open();
        // Another process may change the limit, and to read it is a system call. Well below it, a number that is a
        // second old will do.
        let fit = match self.fit {
            Some(fit) if open < fit / 2 => fit,
            _ => *self.fit.insert(shared.clients_that_fit()),
        };
        open < fit
    }

    async fn welcome(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok((socket, peer)) => {
                let shared = &self.server.shared;
                // Only well below the limit, or each client that ends would bring a line.
                if self.pause.is_announced() && shared.open() < shared.clients_that_fit() / 4 * 3 {
                    self.pause.end(self.address);
                }
                self.pause.failures = 0;
                if self.timer.set() {
                    self.fit = None;
                }
                let accepted = Accepted { socket, peer, entrance: Entrance::by(&self.terms) };
                self.server.welcome(accepted, self.worker);
            }
            Err(error) => self.pause.after(&error, self.address).await,
        }
    }
}
