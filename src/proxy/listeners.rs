//! The sockets that clients connect to.

mod bind;
mod bound_listener;
mod error;
mod prepare;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{self, SocketAddr},
    sync::Arc,
};

use socket2::SockRef;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use self::{
    bind::{bind, bind_beside, in_words, set_options},
    prepare::{Bound, MissingFamily, WantedSocket},
};
pub(crate) use self::{bound_listener::BoundListener, error::ListenError, prepare::Prepared};
use crate::{
    config::{ListenAddress, Listener},
    state::{entrance::ListenerTerms, listening_sockets::ListeningSockets},
    tls::TlsProblem,
};

/// The listeners in force. Dropping one stops its accepting, unless a supervisor has passed it.
#[derive(Debug)]
pub(crate) struct Listeners {
    open: Vec<OpenListener>,
    bind: Binder,
    bind_beside: BinderBeside,
    sockets: ListeningSockets,
    /// The sockets of the proxy that is about to end that this one does not take over. They close once its own are bound.
    left: Vec<net::TcpListener>,
}

/// A function that listens on an address.
type Binder = fn(SocketAddr) -> io::Result<net::TcpListener>;

/// A function that listens on an address beside sockets that have the same port and are about to close.
type BinderBeside = fn(SocketAddr, &[SockRef<'_>]) -> io::Result<net::TcpListener>;

#[derive(Debug)]
struct OpenListener {
    place: ListenPlace,
    terms: Arc<ListenerTerms>,
    /// Closes it when dropped. `None` for a socket of a supervisor: clients that wait there when this process ends
    /// are for the next one.
    closes: Option<DropGuard>,
}

/// The address of a socket.
#[derive(Clone, Copy, Debug)]
struct ListenPlace {
    wanted: WantedSocket,
    /// The address that the socket is bound to.
    actual: SocketAddr,
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            open: Vec::new(),
            bind,
            bind_beside,
            sockets: ListeningSockets::default(),
            left: Vec::new(),
        }
    }
}

impl Listeners {
    /// Takes over sockets that a supervisor listens on and has passed, and returns them to be accepted on. They stay
    /// open as long as this process runs: otherwise the supervisor would listen on alone, and clients would wait in
    /// vain.
    ///
    /// # Errors
    /// One of them can't be used.
    pub(crate) fn adopt(
        &mut self,
        passed: Vec<net::TcpListener>,
    ) -> io::Result<Vec<BoundListener>> {
        let begun = passed.into_iter().map(|passed| {
            let address = passed.local_addr()?;
            // The supervisor may have set it up in any way, so the options that we depend on are set here.
            passed.set_nonblocking(true)?;
            set_options(SockRef::from(&passed), address)?;
            let listener = TcpListener::from_std(passed)?;
            // A supervisor's socket belongs to the entry of `server.listen` that has its very address.
            let place = ListenPlace { wanted: WantedSocket { address, twins: 0 }, actual: address };
            let begun = self.begin(place, listener, CancellationToken::new(), None);
            Ok(BoundListener { is_shared: true, ..begun })
        });
        begun.collect()
    }

    /// Takes over the sockets of a proxy that is shutting down, as far as `listeners` name them, and returns them to be
    /// accepted on. The others are closed once `listeners` are bound, which may need their ports. Unlike those of a
    /// supervisor, they close when an edit drops them.
    ///
    /// # Errors
    /// One of them can't be used.
    pub(crate) fn take_over(
        &mut self,
        taken: Vec<net::TcpListener>,
        listeners: &[Listener],
    ) -> io::Result<Vec<BoundListener>> {
        let mut begun = Vec::new();
        for taken in taken {
            let address = taken.local_addr()?;
            let is_wanted = listeners
                .iter()
                .any(|listener| listener.address.sockets().any(|socket| socket == address));
            let is_open = self.open.iter().any(|open| open.place.actual == address);
            if !is_wanted || is_open {
                self.left.push(taken);
                continue;
            }
            // It shares this flag with the other process, which has set it already.
            taken.set_nonblocking(true)?;
            let listener = TcpListener::from_std(taken)?;
            let place = ListenPlace { wanted: WantedSocket { address, twins: 0 }, actual: address };
            let closed = CancellationToken::new();
            let closes = Some(closed.clone().drop_guard());
            let one = self.begin(place, listener, closed, closes);
            begun.push(BoundListener { is_shared: true, ..one });
        }
        Ok(begun)
    }

    /// Notes that `listener` is open, and returns it to be accepted on.
    fn begin(
        &mut self,
        place: ListenPlace,
        listener: TcpListener,
        closed: CancellationToken,
        closes: Option<DropGuard>,
    ) -> BoundListener {
        let (listener, terms) = (Arc::new(listener), Arc::<ListenerTerms>::default());
        self.sockets.add(&listener, place.actual, &terms);
        self.open.push(OpenListener { place, terms: Arc::clone(&terms), closes });
        BoundListener { listener, address: place.actual, terms, closed, is_shared: false }
    }

    /// Returns the sockets that are accepted on, now and later.
    pub(crate) fn sockets(&self) -> ListeningSockets {
        self.sockets.clone()
    }

    /// Returns the first of `listeners` with a certificate that is out of date and not in force already.
    ///
    /// One that ran out while it was in force must not get in the way of other edits. To take another such certificate
    /// would replace a good one by it.
    pub(crate) fn newly_out_of_date<'a>(
        &self,
        listeners: &'a [Listener],
    ) -> Option<(ListenAddress, &'a TlsProblem)> {
        listeners.iter().find_map(|Listener { address, tls }| {
            let new = tls.as_ref()?;
            let problem = new.out_of_date().first()?;
            let has_it = |open: &OpenListener| {
                open.terms.tls().is_some_and(|old| old.has_certificates_of(new))
            };
            (!self.open.iter().any(has_it)).then_some((*address, problem))
        })
    }

    /// Returns the addresses that are listened on once `prepared` is in force.
    pub(crate) fn addresses_after(&self, prepared: &Prepared) -> Vec<SocketAddr> {
        // The addresses with their real ports, since loops are recognised by them.
        let kept = self.open.iter().map(|open| open.place);
        let kept = kept.filter(|place| prepared.tls(place.wanted).is_some());
        let bound = prepared.bound.iter().map(|bound| bound.place);
        kept.chain(bound).map(|place| place.actual).collect()
    }

    /// Changes what the open listeners ask of clients to what `prepared` says. To be called before the generation that
    /// relies on that is in force.
    pub(crate) fn change_terms(&self, prepared: &Prepared) {
        for open in &self.open {
            match prepared.tls(open.place.wanted) {
                Some(tls) => open.terms.set_tls(tls.clone()),
                None => open.terms.close(),
            }
        }
    }

    /// Puts `prepared` in force: returns the listeners to accept on, closes those that are not wanted any more, and
    /// replaces the TLS of those that stay. Clients that were accepted before keep what they have.
    pub(crate) fn replace(&mut self, mut prepared: Prepared) -> Vec<BoundListener> {
        for MissingFamily { listener, address, source } in &prepared.missing {
            let reason = in_words(source);
            warn!(%listener, missing = %address, reason, "listening on one loopback address only");
        }
        self.left.clear();
        let bound = std::mem::take(&mut prepared.bound);
        let begun = bound.into_iter().map(|Bound { place, listener }| {
            let closed = CancellationToken::new();
            let closes = Some(closed.clone().drop_guard());
            self.begin(place, listener, closed, closes)
        });
        let begun = begun.collect();
        // This covers the new sockets too: they get their TLS before the first client is accepted on them.
        self.change_terms(&prepared);
        // Dropping a listener cancels its `closed`, and its task then takes the clients that wait in the queue.
        self.open.retain(|open| prepared.tls(open.place.wanted).is_some());
        begun
    }
}
