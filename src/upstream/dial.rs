//! From an authority to a connected socket: look-up, both address families, and a race between them.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    time::Duration,
};

use mooltiroute_hops::{Authority, Host, thread_pool};
use thiserror::Error;
use tokio::{net::TcpStream, sync::Semaphore, task::JoinSet, time};

use crate::{
    io::keepalive,
    system::{open_files, own_lack::OwnLack},
};

/// Why no socket could be connected.
#[derive(Debug, Error)]
pub enum DialError {
    /// The name could not be looked up.
    #[error("the name can't be looked up")]
    Lookup(#[source] io::Error),
    /// The name has no address.
    #[error("the name has no address")]
    NoAddress,
    /// No address accepted the connection. This is the error of the first one.
    #[error("can't connect")]
    Connect(#[source] io::Error),
    /// This machine lacks something for the connection, such as a descriptor, which is not about the stop.
    #[error("this machine can't open a connection")]
    OwnLack(OwnLack, #[source] io::Error),
    /// The address is one that this proxy listens on.
    #[error("that is this proxy itself")]
    Loop,
}

/// The bearer of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameOf {
    /// A hop, which the operator has named.
    Hop,
    /// A target, which a client has named.
    Target,
}

/// Connects sockets, and knows which addresses would lead back to this proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dialer {
    own: Vec<SocketAddr>,
}

impl Dialer {
    /// Creates a dialer that refuses to connect to `own`, the addresses that this proxy listens on.
    pub(crate) fn new(own: Vec<SocketAddr>) -> Self {
        Self { own }
    }

    /// Returns the addresses of `stop`, with both families in turn. An address is not looked up.
    ///
    /// A look-up holds a thread until the resolver gives up, which may take half a minute if a name server is silent. So
    /// names of targets, which clients choose, leave threads for the names of hops and for reading files.
    ///
    /// # Errors
    /// The name can't be looked up, or has no address. There is no timeout in here.
    pub(crate) async fn look_up(
        &self,
        stop: &Authority,
        of: NameOf,
    ) -> Result<VecDeque<SocketAddr>, DialError> {
        let name = match stop.host() {
            Host::Address(ip) => return Ok([(*ip, stop.port()).into()].into()),
            Host::Name(name) => name,
        };
        let place = match of {
            NameOf::Hop => None,
            // Never closed.
            NameOf::Target => TARGETS.acquire().await.ok(),
        };
        let (name, port) = (name.clone(), stop.port());
        let look_up = move || {
            // Kept by the thread: the look-up goes on if the client leaves.
            let _place = place;
            let found = (&*name, port).to_socket_addrs();
            // The resolver opens files, and says nothing of the name if it could not. By now a descriptor may be free again.
            if found.is_err() && open_files::are_scarce() {
                return (&*name, port).to_socket_addrs();
            }
            found
        };
        let found =
            thread_pool::run(look_up).await.map_err(io::Error::other).and_then(|found| found);
        let addresses = interleave(found.map_err(|error| match OwnLack::of_look_up(&error) {
            Some(lack) => DialError::OwnLack(lack, error),
            None => DialError::Lookup(error),
        })?);
        if addresses.is_empty() { Err(DialError::NoAddress) } else { Ok(addresses) }
    }

    /// Connects to one of `addresses`, which are raced if they are several (RFC 8305).
    ///
    /// # Errors
    /// As [`DialError`] says. There is no timeout in here; dropping the future ends all attempts.
    pub(crate) async fn connect(
        &self,
        addresses: VecDeque<SocketAddr>,
    ) -> Result<TcpStream, DialError> {
        let socket = self.race(addresses).await?;
        // Heads and small messages must not wait for the acknowledgement of the bytes before them
        // (Nagle's algorithm). Errors are ignored: a socket that is already broken says so at its
        // first use.
        let _ = socket.set_nodelay(true);
        Ok(socket)
    }

    async fn race(&self, mut addresses: VecDeque<SocketAddr>) -> Result<TcpStream, DialError> {
        let Some(first) = addresses.pop_front() else { return Err(DialError::NoAddress) };
        // Most stops have one address, which needs neither a task nor a timer.
        if addresses.is_empty() {
            return self.connect_to(first).await;
        }
        // A new attempt begins when the one before it fails, or after a quarter of a second; the
        // others go on. The first that connects wins, and dropping the set closes all others.
        let mut attempts = JoinSet::new();
        let mut first_error = None;
        let mut next = Some(first);
        while next.is_some() || !attempts.is_empty() {
            if let Some(address) = next {
                let dialer = self.clone();
                attempts.spawn(async move { dialer.connect_to(address).await });
            }
            next = match time::timeout(ATTEMPT_DELAY, attempts.join_next()).await {
                Ok(Some(Ok(Ok(socket)))) => return Ok(socket),
                Ok(Some(Ok(Err(error)))) => {
                    // That an address leads back here explains more than the error of another
                    // family, such as that this machine has no IPv6. If an attempt could not even
                    // be made, the others do not show whether the stop is there.
                    let explains_more = match (&first_error, &error) {
                        (None, _) | (_, DialError::Loop) => true,
                        (Some(DialError::Loop), _) => false,
                        (Some(_), error) => matches!(error, DialError::OwnLack(..)),
                    };
                    if explains_more {
                        first_error = Some(error);
                    }
                    addresses.pop_front()
                }
                // The delay is over, or an attempt panicked, which says nothing about the address.
                // Ours are not aborted before the end.
                Ok(Some(Err(_)) | None) | Err(_) => addresses.pop_front(),
            };
        }
        Err(first_error.unwrap_or(DialError::NoAddress))
    }

    async fn connect_to(&self, address: SocketAddr) -> Result<TcpStream, DialError> {
        // Checked before the connection is made, so that a loop takes no socket.
        if self.is_own(address) {
            return Err(DialError::Loop);
        }
        let socket =
            TcpStream::connect(address).await.map_err(|error| {
                match OwnLack::of_connect(&error, address) {
                    Some(lack) => DialError::OwnLack(lack, error),
                    None => DialError::Connect(error),
                }
            })?;
        // `0.0.0.0` and `[::]` lead to this machine, to the address that the socket tells.
        let is_own = address.ip().to_canonical().is_unspecified()
            && socket.peer_addr().is_ok_and(|peer| self.is_own(peer));
        // If this proxy listens on all addresses, it can't list them. A connection to one of them
        // has the same address at both of its ends.
        if is_own || self.listens_everywhere(address) && is_same_host(&socket) {
            return Err(DialError::Loop);
        }
        // Without probes, all else works.
        let _ = keepalive::probe(&socket, address.ip());
        Ok(socket)
    }

    /// Returns whether this proxy listens on exactly that address. An IPv4-mapped IPv6 address counts as IPv4.
    fn is_own(&self, address: SocketAddr) -> bool {
        self.own.iter().any(|own| canonical(*own) == canonical(address))
    }

    fn listens_everywhere(&self, address: SocketAddr) -> bool {
        self.own.iter().any(|own| own.ip().is_unspecified() && own.port() == address.port())
    }
}

fn is_same_host(socket: &TcpStream) -> bool {
    let host = |address: io::Result<SocketAddr>| address.ok().map(|address| canonical(address).0);
    host(socket.peer_addr()) == host(socket.local_addr())
}

fn canonical(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

/// Puts the families in turn, the resolver's favourite first (RFC 8305 §4).
fn interleave(addresses: impl Iterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let addresses: Vec<_> = addresses.collect();
    let favourite = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (ours, others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == favourite);
    let mut others = others.into_iter();
    let mut mixed: VecDeque<_> =
        ours.into_iter().flat_map(|ours| [Some(ours), others.next()]).flatten().collect();
    mixed.extend(others);
    mixed
}

/// The look-ups of targets that may be under way: three quarters of the threads for work that blocks.
static TARGETS: Semaphore = Semaphore::const_new(TARGETS_MAX);
const TARGETS_MAX: usize = thread_pool::THREADS_MAX / 4 * 3;
/// RFC 8305 §5.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[track_caller]
    fn check(addresses: &[&str], expected: &[&str]) {
        let parse = |address: &&str| address.parse::<SocketAddr>().unwrap();
        let expected: Vec<_> = expected.iter().map(parse).collect();
        assert_eq!(interleave(addresses.iter().map(parse)), expected);
    }

    #[test]
    fn families_take_turns() {
        check(&[], &[]);
        check(&["[::1]:1", "[::2]:1", "1.1.1.1:1"], &["[::1]:1", "1.1.1.1:1", "[::2]:1"]);
        check(&["1.1.1.1:1", "[::1]:1", "[::2]:1"], &["1.1.1.1:1", "[::1]:1", "[::2]:1"]);
    }

    #[tokio::test]
    async fn an_address_that_refuses_gives_way_to_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let socket = Dialer::default().race([refusing, open].into()).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), open);
        let error = Dialer::default().race([refusing, refusing].into()).await.unwrap_err();
        assert!(
            matches!(error, DialError::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused)
        );
    }

    #[tokio::test]
    async fn names_of_hops_do_not_wait_for_those_of_targets() {
        let all = TARGETS.acquire_many(TARGETS_MAX as u32).await.unwrap();
        let (dialer, stop) = (Dialer::default(), "localhost:1".parse().unwrap());
        let mut of_target = std::pin::pin!(dialer.look_up(&stop, NameOf::Target));
        let waits = time::timeout(Duration::from_millis(1), &mut of_target).await;
        assert!(waits.is_err(), "every place is taken");
        dialer.look_up(&stop, NameOf::Hop).await.unwrap();
        drop(all);
        of_target.await.unwrap();
    }

    #[tokio::test]
    async fn the_proxy_does_not_call_itself() {
        for own in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(own).await.unwrap();
            let own = listener.local_addr().unwrap();
            for host in ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"] {
                let stop = format!("{host}:{}", own.port()).parse().unwrap();
                let dialer = Dialer::new(vec![own]);
                match dialer.connect(dialer.look_up(&stop, NameOf::Target).await.unwrap()).await {
                    Err(DialError::Loop) => {}
                    // Not every system takes the last two for addresses of its own.
                    Err(DialError::Connect(_)) if host != "127.0.0.1" && host != "localhost" => {}
                    other => panic!("{own} by {host}: {other:?}"),
                }
            }
        }
    }
}
