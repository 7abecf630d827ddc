//! The sockets that clients connect to.

mod bind;
mod prepare;

use std::{
    io,
    net::{self, SocketAddr},
    sync::Arc,
};

use socket2::SockRef;
use thiserror::Error;
use tokio::{net::TcpListener, runtime::Handle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

pub(crate) use self::prepare::Prepared;
use self::{
    bind::{bind, bind_beside, in_words, in_words_at_reload, set_options},
    prepare::{Bound, MissingFamily, WantedSocket},
};
use crate::{
    config::{ListenAddress, Listener},
    state::{entrance::ListenerTerms, listening_sockets::ListeningSockets},
    system::threads,
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

/// A listener to accept on, and the token that ends it.
#[derive(Debug)]
pub(crate) struct Begun {
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

/// The reason why the listeners can't be opened.
#[derive(Debug, Error)]
pub enum ListenError {
    /// An address that can't be listened on.
    #[error("the proxy can't listen on {address}: {}", in_words(cause))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's error. The words say it already, so it is not a source.
        cause: io::Error,
    },
    /// Two wanted addresses, one of which includes the other.
    #[error(
        "the proxy can't listen on {address} and on {other}: one of them includes the other; remove one from `server.listen`"
    )]
    Overlap {
        /// The address.
        address: SocketAddr,
        /// The other one.
        other: SocketAddr,
    },
    /// An address whose port this proxy has already, at an address that includes it or is included.
    #[error(
        "the proxy can't listen on {address} while it listens on {own} itself: the system lets no two sockets have this port; \
         restart the proxy"
    )]
    OwnPort {
        /// The address.
        address: SocketAddr,
        /// The address that it listens on.
        own: SocketAddr,
    },
    /// An address that the supervisor listens on for this proxy, and that is not wanted.
    #[error(
        "the supervisor passed a socket on {0}, which `server.listen` does not name; add it, or change the \
         supervisor's socket unit and restart both"
    )]
    NotNamed(SocketAddr),
    /// A socket of the supervisor that can't be used.
    #[error("a socket of the supervisor can't be used: {0}")]
    Passed(io::Error),
    /// A socket of the proxy that runs already, and that can't be used.
    #[error("a socket of the running proxy can't be taken over: {0}")]
    Taken(io::Error),
    /// A thread that can't be started.
    #[error("{}", threads::too_few(.0))]
    Threads(io::Error),
    /// A thread of `server.workers` that can't be started.
    #[error("can't start the threads of `server.workers`: {0}; lower the number")]
    Workers(io::Error),
}

impl ListenError {
    /// Describes an address that a later attempt may be able to bind.
    pub(super) fn at_reload(&self) -> String {
        match self {
            Self::Bind { address, cause } => {
                format!("the proxy can't listen on {address}: {}", in_words_at_reload(cause))
            }
            _ => self.to_string(),
        }
    }
}

impl Begun {
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
    pub(crate) fn adopt(&mut self, passed: Vec<net::TcpListener>) -> io::Result<Vec<Begun>> {
        let begun = passed.into_iter().map(|passed| {
            let address = passed.local_addr()?;
            // The supervisor may have set it up in any way, so the options that we depend on are set here.
            passed.set_nonblocking(true)?;
            set_options(SockRef::from(&passed), address)?;
            let listener = TcpListener::from_std(passed)?;
            // A supervisor's socket belongs to the entry of `server.listen` that has its very address.
            let place = ListenPlace { wanted: WantedSocket { address, twins: 0 }, actual: address };
            let begun = self.begin(place, listener, CancellationToken::new(), None);
            Ok(Begun { is_shared: true, ..begun })
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
    ) -> io::Result<Vec<Begun>> {
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
            begun.push(Begun { is_shared: true, ..one });
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
    ) -> Begun {
        let (listener, terms) = (Arc::new(listener), Arc::<ListenerTerms>::default());
        self.sockets.add(&listener, place.actual, &terms);
        self.open.push(OpenListener { place, terms: Arc::clone(&terms), closes });
        Begun { listener, address: place.actual, terms, closed, is_shared: false }
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
    pub(crate) fn replace(&mut self, mut prepared: Prepared) -> Vec<Begun> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &str = "127.0.0.1:0";

    fn listeners(addresses: &[&str]) -> Vec<Listener> {
        let parse = |address: &&str| Listener { address: address.parse().unwrap(), tls: None };
        addresses.iter().map(parse).collect()
    }

    #[track_caller]
    fn replace(open: &mut Listeners, addresses: &[&str]) -> Vec<Begun> {
        let prepared = open.prepare(&listeners(addresses)).unwrap();
        let expected = open.addresses_after(&prepared);
        let begun = open.replace(prepared);
        let actual: Vec<_> = open.open.iter().map(|open| open.place.actual).collect();
        assert_eq!(actual, expected);
        begun
    }

    #[tokio::test]
    async fn a_listener_that_stays_keeps_its_socket_and_others_close() {
        let mut open = Listeners::default();
        let [first] = &replace(&mut open, &[ANY])[..] else { panic!("one listener") };
        let (first_address, first_closed) = (first.address, first.closed.clone());
        let second = replace(&mut open, &[ANY, "[::1]:0"]);
        assert_eq!(open.open[0].place.actual, first_address);
        assert!(second.len() == 1 && second[0].address.is_ipv6() && !first_closed.is_cancelled());
        assert!(replace(&mut open, &["[::1]:0"]).is_empty());
        assert!(first_closed.is_cancelled() && !second[0].closed.is_cancelled());
    }

    #[tokio::test]
    async fn localhost_is_both_loopback_addresses_at_one_port() {
        let mut open = Listeners::default();
        let begun = replace(&mut open, &["localhost:0"]);
        let [v4, v6] = &begun[..] else { panic!("two sockets: {begun:?}") };
        assert!(v4.address.is_ipv4() && v6.address.is_ipv6());
        assert_eq!(v4.address.port(), v6.address.port());
        assert!(replace(&mut open, &["localhost:0"]).is_empty(), "both stay");
    }

    #[tokio::test]
    async fn an_address_that_becomes_localhost_keeps_its_socket() {
        let mut open = Listeners::default();
        let v4 = &replace(&mut open, &[ANY])[0];
        let begun = replace(&mut open, &["localhost:0"]);
        assert!(begun.len() == 1 && begun[0].address.is_ipv6() && !v4.closed.is_cancelled());
        assert_eq!(begun[0].address.port(), v4.address.port());
        assert!(replace(&mut open, &[ANY]).is_empty());
        assert!(begun[0].closed.is_cancelled() && !v4.closed.is_cancelled());
    }

    /// Binds as on a machine without IPv6.
    #[cfg(unix)]
    fn bind_v4(address: SocketAddr) -> io::Result<net::TcpListener> {
        if address.is_ipv6() {
            return Err(io::Error::from_raw_os_error(
                rustix::io::Errno::AFNOSUPPORT.raw_os_error(),
            ));
        }
        bind(address)
    }

    /// Binds as on a machine without any address.
    fn bind_nowhere(_: SocketAddr) -> io::Result<net::TcpListener> {
        Err(io::ErrorKind::AddrNotAvailable.into())
    }

    /// Binds as on a machine where another program has every port of IPv6.
    fn bind_taken(address: SocketAddr) -> io::Result<net::TcpListener> {
        if address.is_ipv6() { Err(io::ErrorKind::AddrInUse.into()) } else { bind(address) }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn one_loopback_address_is_enough_if_the_machine_lacks_the_other() {
        let mut open = Listeners { bind: bind_v4, ..Listeners::default() };
        let begun = replace(&mut open, &["localhost:0"]);
        assert!(begun.len() == 1 && begun[0].address.is_ipv4());
        // Once the machine has the other one, the next reload listens there too.
        open.bind = bind;
        let begun = replace(&mut open, &["localhost:0"]);
        assert!(begun.len() == 1 && begun[0].address.is_ipv6());
        let written = Listeners { bind: bind_v4, ..Listeners::default() };
        let error = written.prepare(&listeners(&["[::1]:0"])).unwrap_err().to_string();
        assert_eq!(
            error,
            "the proxy can't listen on [::1]:0: no interface of this machine has this address"
        );
    }

    #[tokio::test]
    async fn localhost_without_any_address_or_with_a_taken_port_is_an_error() {
        let open = Listeners { bind: bind_nowhere, ..Listeners::default() };
        let error = open.prepare(&listeners(&["localhost:0"])).unwrap_err().to_string();
        assert_eq!(
            error,
            "the proxy can't listen on [::1]:0: no interface of this machine has this address"
        );
        let open = Listeners { bind: bind_taken, ..Listeners::default() };
        let error = open.prepare(&listeners(&["localhost:0"])).unwrap_err().to_string();
        assert!(error.contains("another program has the port"), "{error}");
    }

    #[tokio::test]
    async fn a_passed_listener_is_named_and_never_closed() {
        let passed = net::TcpListener::bind(ANY).unwrap();
        let address = passed.local_addr().unwrap();
        let mut open = Listeners::default();
        let begun = open.adopt(vec![passed]).unwrap();
        assert!(
            matches!(open.prepare(&listeners(&[ANY])), Err(ListenError::NotNamed(named)) if named == address)
        );
        assert_eq!(replace(&mut open, &[ANY, &address.to_string()]).len(), 1, "the other one");
        let localhost = format!("localhost:{}", address.port());
        assert_eq!(replace(&mut open, &[&localhost]).len(), 1, "the one of IPv6");
        drop(open);
        assert!(begun[0].address == address && !begun[0].closed.is_cancelled());
    }

    /// Changes listeners whose addresses overlap, and checks that no other program can join.
    #[cfg(target_os = "linux")]
    fn overlapping(old: &str, new: &[&str], bind_beside: BinderBeside) -> Result<(), ListenError> {
        let mut open = Listeners { bind_beside, ..Listeners::default() };
        let begun = replace(&mut open, &[old]);
        let address = begun[0].address;
        // The port is written now, as an operator writes it.
        let with_port = |host: &str| host.replace("PORT", &address.port().to_string());
        let written = old.replace(":0", &format!(":{}", address.port()));
        for open in &mut open.open {
            open.place.wanted.address = open.place.actual;
        }
        assert!(replace(&mut open, &[&written]).is_empty());
        let new: Vec<_> = new.iter().map(|new| with_port(new)).collect();
        let new: Vec<_> = new.iter().map(String::as_str).collect();
        let prepared = open.prepare(&listeners(&new))?;
        let began = open.replace(prepared);
        assert!(began.len() == 1 && begun[0].closed.is_cancelled(), "{old} to {new:?}");
        let shares = |begun: &Begun| SockRef::from(&*begun.listener).reuse_port().unwrap();
        assert!(!began.iter().chain(&begun).any(shares), "{old} to {new:?}");
        // While both are open and after that, no other program can join, whatever it asks for.
        let joins = || {
            let socket = socket2::Socket::new(
                socket2::Domain::for_address(began[0].address),
                socket2::Type::STREAM,
                None,
            );
            let socket = socket.unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.set_reuse_port(true).unwrap();
            socket.bind(&began[0].address.into()).is_ok()
        };
        assert!(!joins(), "{old} to {new:?}");
        drop(begun);
        assert!(!joins(), "{old} to {new:?}");
        net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, address.port())).unwrap();
        Ok(())
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_address_that_overlaps_with_the_old_one_is_listened_on_before_that_closes() {
        for (old, new) in [
            ("0.0.0.0:0", "127.0.0.1:PORT"),
            ("127.0.0.1:0", "0.0.0.0:PORT"),
            ("localhost:0", "0.0.0.0:PORT"),
        ] {
            overlapping(old, &[new], bind_beside).unwrap();
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_overlap_that_the_system_does_not_allow_is_called_our_own() {
        let refuses: BinderBeside = |_, _| Err(io::ErrorKind::AddrInUse.into());
        let fails = |old: &str, new: &[&str], bind_beside| {
            let error = overlapping(old, new, bind_beside).unwrap_err();
            assert!(matches!(error, ListenError::OwnPort { .. }), "{error}");
            let words = error.at_reload();
            assert!(words.contains("while it listens on 0.0.0.0:"), "{words}");
            assert!(words.ends_with("restart the proxy"), "{words}");
        };
        fails("0.0.0.0:0", &["127.0.0.1:PORT"], refuses);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn two_wanted_addresses_that_overlap_are_both_named() {
        let free = net::TcpListener::bind(ANY).unwrap().local_addr().unwrap().port();
        let both = [format!("0.0.0.0:{free}"), format!("127.0.0.1:{free}")];
        let both = both.each_ref().map(String::as_str);
        let check = |error: ListenError| {
            let words = error.at_reload();
            assert!(words.contains(both[0]) && words.contains(both[1]), "{words}");
            assert!(words.contains("one of them includes the other"), "{words}");
        };
        // At the start, and as an edit.
        check(Listeners::default().prepare(&listeners(&both)).unwrap_err());
        let mut open = Listeners::default();
        let _begun = replace(&mut open, &both[..1]);
        check(open.prepare(&listeners(&both)).unwrap_err());
    }

    #[tokio::test]
    async fn a_taken_port_changes_nothing() {
        let mut open = Listeners::default();
        let begun = replace(&mut open, &[ANY]);
        let taken = begun[0].address.to_string();
        let other = Listeners::default();
        let error = other.prepare(&listeners(&[ANY, &taken])).unwrap_err().to_string();
        assert!(error.contains("another program has the port"), "{error}");
        assert!(!begun[0].closed.is_cancelled());
    }
}
