//! A connection that was just accepted, up to the first bytes of its protocol.

use std::{io, net::SocketAddr, time::Duration};

use mooltiroute_hops::Tunnel;
use tokio::{net::TcpStream, runtime::Handle, time::Instant};
use tracing::warn;

use crate::{
    client::{connection::Client, detect::Detected, reply::Reply, socks},
    http::{PROXY_PROTOCOL, proxy_protocol},
    io::lazy_timer::LazyDeadline,
    state::entrance::Entrance,
    system::shutdown::Shutdown,
    tls::{TlsServer, failed_handshake},
};

/// A connection that was just accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The socket.
    pub socket: TcpStream,
    /// The address of the client.
    pub peer: SocketAddr,
    /// The way by which it came in.
    pub entrance: Entrance,
}

impl Accepted {
    /// Moves it to another runtime, which watches its socket from now on. The caller spawns its session there.
    ///
    /// # Errors
    /// The system can't watch the socket there. Then the connection stays with the runtime that accepted it.
    pub(crate) fn on_runtime(self, runtime: &Handle) -> Result<Self, (Self, io::Error)> {
        match watched_by(runtime, &self.socket) {
            Ok(socket) => Ok(Self { socket, ..self }),
            Err(error) => Err((self, error)),
        }
    }

    /// Performs the TLS handshake if the listener has TLS, and then waits for the first bytes of the client's protocol.
    ///
    /// The first byte, the rest of the handshake, and the first byte inside TLS may each take `wait`. Returns `None` if
    /// they do not arrive in time. A client that does not speak TLS to a TLS listener gets an error in its own
    /// protocol. `shutdown` has to [wake](Shutdown::heeded_by) this task.
    pub(crate) async fn greet(
        self,
        wait: Duration,
        deadline: &mut LazyDeadline<'_>,
        shutdown: &Shutdown,
    ) -> Option<Client> {
        let Self { socket, peer, entrance } = self;
        let tls = entrance.tls().cloned();
        let mut client = Client::new(Tunnel::socket(socket), peer, entrance);
        // Read before TLS begins: a client that speaks plain HTTP or SOCKS to this port gets an
        // answer that it can read, and not an alert.
        client.greeting(wait, deadline, shutdown).await.ok()?;
        let Some(tls) = tls else { return Some(client) };
        if !is_tls(&client.seen) {
            refuse_plain(client).await;
            return None;
        }
        // The handshake has a time of its own, so that a slow first byte does not shorten it. It is
        // polled first: if it ends at the deadline, it was in time.
        let due = Instant::now() + wait;
        let mut client = tokio::select! {
            biased;
            client = handshake(client, &tls) => client?,
            () = deadline.until(due) => {
                warn!(client = %peer, reason = "timed out", "TLS handshake failed");
                return None;
            }
        };
        // A client that is silent after the TLS handshake has to be sent the end of TLS, too.
        if client.greeting(wait, deadline, shutdown).await.is_err() {
            client.end().await;
            return None;
        }
        Some(client)
    }
}

/// Returns a second handle of `socket`, which `runtime` watches. If that fails, the first one still serves the client. A socket
/// that a runtime can't register is closed, so `socket` itself is not given away.
fn watched_by(runtime: &Handle, socket: &TcpStream) -> io::Result<TcpStream> {
    #[cfg(unix)]
    let second = std::os::fd::AsFd::as_fd(socket).try_clone_to_owned()?;
    #[cfg(windows)]
    let second = std::os::windows::io::AsSocket::as_socket(socket).try_clone_to_owned()?;
    let _entered = runtime.enter();
    TcpStream::from_std(second.into())
}

/// Performs the TLS handshake with a client. If that fails, the client has been sent an alert, and gets the time to
/// read it.
async fn handshake(client: Client, tls: &TlsServer) -> Option<Client> {
    let (peer, entrance) = (client.peer, client.entrance.clone());
    match tls.accept(client.into()).await {
        Ok(tunnel) => Some(Client { is_tls: true, ..Client::new(tunnel, peer, entrance) }),
        Err((error, tunnel)) => {
            warn!(client = %peer, reason = %failed_handshake::in_words(&error), "TLS handshake failed");
            Client::new(tunnel, peer, entrance).close().await;
            None
        }
    }
}

/// Refuses a client that does not speak TLS, in its own protocol.
async fn refuse_plain(client: Client) {
    if proxy_protocol::begins(&client.seen) {
        let reason = PROXY_PROTOCOL;
        warn!(client = %client.peer, reason, "the client does not speak TLS, which this listener requires");
        let reply = Reply::refused(400, format!("Mooltiroute can't serve this: {reason}."));
        return client.close_with(&reply, false).await;
    }
    let detected = Detected::of(&client.seen);
    warn!(client = %client.peer, protocol = %detected.protocol(), "the client does not speak TLS, which this listener requires");
    match detected {
        Detected::Socks(version) => client.close_after(&socks::turned_away(version)).await,
        Detected::Http => client.close_with(&Reply::refused(400, NO_TLS), false).await,
    }
}

/// Returns whether the first byte begins a TLS handshake record, or a hello of SSL 2, which gets an alert too.
fn is_tls(seen: &[u8]) -> bool {
    seen.first().is_some_and(|first| *first == HANDSHAKE || *first >= SSL2_HEADER)
}

const NO_TLS: &str = "This port of Mooltiroute is an HTTPS proxy, but the client speaks plain HTTP to it. Write the \
URL of the proxy with `https://`, as in `curl --proxy https://HOST:PORT`.";
/// `ContentType` (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// The high bit of a record's length of two bytes (RFC 5246 appendix E.2).
const SSL2_HEADER: u8 = 0x80;

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        runtime::Builder,
    };

    use super::*;
    use crate::state::entrance::ListenerTerms;

    async fn accepted() -> (TcpStream, Accepted) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, peer) = listener.accept().await.unwrap();
        let entrance = Entrance::by(&ListenerTerms::default().into());
        (far, Accepted { socket, peer, entrance })
    }

    async fn echo(far: &mut TcpStream, near: &mut TcpStream) {
        far.write_all(b"a").await.unwrap();
        assert_eq!(near.read_u8().await.unwrap(), b'a');
        near.write_all(b"b").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'b');
    }

    #[tokio::test]
    async fn a_connection_that_can_not_move_to_another_runtime_stays_whole() {
        let other = Builder::new_current_thread().enable_all().build().unwrap();
        let gone = other.handle().clone();
        other.shutdown_background();
        let (mut far, accepted) = accepted().await;
        let (mut accepted, error) = accepted.on_runtime(&gone).unwrap_err();
        assert!(!error.to_string().is_empty());
        echo(&mut far, &mut accepted.socket).await;
        drop(accepted);
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0, "no other handle is left");
    }

    #[test]
    fn a_connection_moves_to_another_runtime() {
        let new = || Builder::new_current_thread().enable_all().build().unwrap();
        let (first, second) = (new(), new());
        let (mut far, accepted) = first.block_on(accepted());
        let mut accepted = accepted.on_runtime(second.handle()).unwrap();
        let far = first.block_on(async move {
            far.write_all(b"a").await.unwrap();
            far.into_std().unwrap()
        });
        drop(first);
        second.block_on(async move {
            let mut far = TcpStream::from_std(far).unwrap();
            assert_eq!(accepted.socket.read_u8().await.unwrap(), b'a');
            echo(&mut far, &mut accepted.socket).await;
            drop(accepted);
            assert_eq!(far.read(&mut [0]).await.unwrap(), 0, "no other handle is left");
        });
    }
}
