//! Opens the listeners of a configuration before it takes effect.

use std::{
    io,
    net::{self, SocketAddr},
    sync::Arc,
};

use socket2::SockRef;
use tokio::net::TcpListener;

use super::{ListenError, ListenPlace, Listeners, bind::is_address_missing};
use crate::{
    config::{ListenAddress, Listener},
    tls::TlsServer,
};

/// A socket of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WantedSocket {
    /// The address, which may have port 0.
    pub(super) address: SocketAddr,
    /// How many sockets before it have the same address, which only those with port 0 may have.
    pub(super) twins: usize,
}

/// A change of listeners that is complete, but not in force yet. Dropping it closes what was bound for it.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    wanted: Vec<(WantedSocket, Option<Arc<TlsServer>>)>,
    pub(super) bound: Vec<Bound>,
    pub(super) missing: Vec<MissingFamily>,
}

#[derive(Debug)]
pub(super) struct Bound {
    pub(super) place: ListenPlace,
    pub(super) listener: TcpListener,
}

/// A loopback address of `localhost` that this machine does not have.
#[derive(Debug)]
pub(super) struct MissingFamily {
    pub(super) listener: ListenAddress,
    pub(super) address: SocketAddr,
    pub(super) source: io::Error,
}

impl Prepared {
    /// Adds the socket of `listener` at `address`.
    fn want(&mut self, address: SocketAddr, listener: &Listener) -> WantedSocket {
        // Entries with port 0 may be equal. The count tells them apart, so each has a socket of its own.
        let twins = self.wanted.iter().filter(|(wanted, _)| wanted.address == address).count();
        let wanted = WantedSocket { address, twins };
        self.wanted.push((wanted, listener.tls.clone()));
        wanted
    }

    /// Returns the TLS of a socket, or `None` if the socket is not wanted.
    pub(super) fn tls(&self, wanted: WantedSocket) -> Option<&Option<Arc<TlsServer>>> {
        self.wanted.iter().find(|(other, _)| *other == wanted).map(|(_, tls)| tls)
    }
}

/// A socket that is open already, or that was bound now.
#[derive(Debug)]
enum Ensured {
    Open(ListenPlace),
    Bound(Bound),
}

impl Ensured {
    pub(super) fn place(&self) -> ListenPlace {
        match self {
            Self::Open(place) => *place,
            Self::Bound(bound) => bound.place,
        }
    }

    pub(super) fn bound(self) -> Option<Bound> {
        match self {
            Self::Open(_) => None,
            Self::Bound(bound) => Some(bound),
        }
    }
}

/// Returns whether two sockets at these addresses would contend for a port.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_all = |address: SocketAddr| address.ip().is_unspecified();
    one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || is_all(one) || is_all(other))
}

/// How often the system may choose a port for `localhost`.
const PORT_CHOICES_MAX: u32 = 16;

impl Listeners {
    /// Binds the sockets of `listeners` that are not open yet. The listeners in force stay as they are.
    ///
    /// # Errors
    /// The first address that can't be bound, or a supervisor's that is not wanted. Everything that was bound is closed
    /// again.
    pub(crate) fn prepare(&self, listeners: &[Listener]) -> Result<Prepared, ListenError> {
        let mut prepared = Prepared::default();
        let all: Vec<_> =
            listeners.iter().flat_map(|listener| listener.address.sockets()).collect();
        for listener in listeners {
            // All sockets of the entry are noted, also those that are open already: what is not wanted closes
            // later.
            let wanted: Vec<_> = listener
                .address
                .sockets()
                .map(|address| prepared.want(address, listener))
                .collect();
            match listener.address {
                ListenAddress::Socket(address) => {
                    prepared.bound.extend(self.ensure(wanted[0], address.port(), &all)?.bound());
                }
                // `localhost` is two sockets, which have to agree on the port.
                ListenAddress::Localhost(_) => {
                    let (bound, missing) =
                        self.ensure_localhost(listener.address, &wanted, &all)?;
                    prepared.bound.extend(bound);
                    prepared.missing.extend(missing);
                }
            }
        }
        // A supervisor's socket can't be closed by an edit: the supervisor goes on listening, so clients would
        // connect and wait without an answer.
        let mut passed = self.open.iter().filter(|open| open.closes.is_none());
        match passed.find(|open| prepared.tls(open.place.wanted).is_none()) {
            Some(open) => Err(ListenError::NotNamed(open.place.actual)),
            None => Ok(prepared),
        }
    }

    /// Binds the loopback addresses of both families. One of them is enough if the machine does not have the other.
    ///
    /// If the system is to choose the port, it chooses one for the first address, and another program may have that
    /// port at the second. Then another choice is made, since a client that looks up `localhost` expects one port.
    fn ensure_localhost(
        &self,
        listener: ListenAddress,
        wanted: &[WantedSocket],
        all: &[SocketAddr],
    ) -> Result<(Vec<Bound>, Option<MissingFamily>), ListenError> {
        let mut attempts = PORT_CHOICES_MAX;
        loop {
            attempts -= 1;
            match self.ensure_all(listener, wanted, all) {
                // Only a port that the system chose can be chosen again. A written one that is taken is an error
                // at once.
                Err(ListenError::Bind { address, cause })
                    if address.port() == 0
                        && cause.kind() == io::ErrorKind::AddrInUse
                        && attempts > 0 => {}
                ensured => return ensured,
            }
        }
    }

    /// Makes one attempt at [`ensure_localhost`](Self::ensure_localhost).
    fn ensure_all(
        &self,
        listener: ListenAddress,
        wanted: &[WantedSocket],
        all: &[SocketAddr],
    ) -> Result<(Vec<Bound>, Option<MissingFamily>), ListenError> {
        let (mut bound, mut missing) = (Vec::new(), None::<MissingFamily>);
        // The second address takes the port of the first, whether that was bound now or before.
        let mut port = None;
        for wanted in wanted {
            let address = wanted.address;
            match self.ensure(*wanted, port.unwrap_or(address.port()), all) {
                Ok(ensured) => {
                    port = Some(ensured.place().actual.port());
                    bound.extend(ensured.bound());
                }
                Err(ListenError::Bind { cause, .. })
                    if is_address_missing(&cause) && missing.is_none() =>
                {
                    missing = Some(MissingFamily { listener, address, source: cause });
                }
                Err(error) => return Err(error),
            }
        }
        Ok((bound, missing))
    }

    /// Finds the open socket for `wanted`, or binds one at `port`. Listeners that are not among `all` wanted ones are about
    /// to close.
    fn ensure(
        &self,
        wanted: WantedSocket,
        port: u16,
        all: &[SocketAddr],
    ) -> Result<Ensured, ListenError> {
        // Found by what was written and not by the port it got, so `port: 0` keeps its socket over a reload.
        if let Some(open) = self.open.iter().find(|open| open.place.wanted == wanted) {
            return Ok(Ensured::Open(open.place));
        }
        let fail = |cause| ListenError::Bind { address: wanted.address, cause };
        let address = SocketAddr::new(wanted.address.ip(), port);
        let bound = match (self.bind)(address) {
            Err(cause) if cause.kind() == io::ErrorKind::AddrInUse => {
                let is_other =
                    |other: &&SocketAddr| **other != address && overlap(**other, address);
                if let Some(other) = all.iter().find(is_other) {
                    return Err(ListenError::Overlap { address, other: *other });
                }
                self.bind_beside_own(address, all).unwrap_or(Err(fail(cause)))?
            }
            bound => bound.map_err(fail)?,
        };
        let actual = bound.local_addr().map_err(fail)?;
        let listener = TcpListener::from_std(bound).map_err(fail)?;
        Ok(Ensured::Bound(Bound { place: ListenPlace { wanted, actual }, listener }))
    }

    /// Binds `address` although this proxy has the port, at an address that includes `address` or is included in it. Returns
    /// `None` if it does not have the port.
    fn bind_beside_own(
        &self,
        address: SocketAddr,
        all: &[SocketAddr],
    ) -> Option<Result<net::TcpListener, ListenError>> {
        // Among them are listeners that have closed and still take the clients that wait.
        let listening = self.sockets.open();
        let sockets = listening.iter().map(|listener| SockRef::from(&**listener));
        let sockets = sockets.chain(self.left.iter().map(SockRef::from));
        let of = |socket: &SockRef<'_>| socket.local_addr().ok()?.as_socket();
        let overlapping: Vec<_> = sockets
            .filter_map(|socket| Some((of(&socket)?, socket)))
            .filter(|(own, _)| overlap(*own, address))
            .collect();
        let own = overlapping.first()?.0;
        let stays = |own: &SocketAddr| {
            let open = self.open.iter().find(|open| open.place.actual == *own);
            open.is_some_and(|open| all.contains(&open.place.wanted.address))
        };
        // One that stays, by port 0, can't share its port for longer than a moment.
        if let Some((own, _)) = overlapping.iter().find(|(own, _)| stays(own)) {
            return Some(Err(ListenError::OwnPort { address, own: *own }));
        }
        let leaving: Vec<_> = overlapping.into_iter().map(|(_, socket)| socket).collect();
        // Whatever the reason is, the port is not that of another program.
        let bound = (self.bind_beside)(address, &leaving);
        Some(bound.map_err(|_| ListenError::OwnPort { address, own }))
    }
}
