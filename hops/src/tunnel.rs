//! A stream to some stop of a chain.

mod early;
mod halves;
mod pass;
mod stream;

use std::{
    any::Any,
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use self::early::Early;
pub use self::{
    halves::{ReadHalf, WriteHalf},
    stream::Io,
};
use crate::{Field, Logon, ObserveRounds, PassHeaders, Request, pass_headers::PassedFields};

/// A byte stream that can carry a [`Tunnel`]. A layer around another stream names the socket at the bottom, so that a
/// reset can be passed on through it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Returns the socket below all layers, if there is one.
    fn socket(&self) -> Option<&TcpStream> {
        None
    }

    /// Returns the counter of the bytes at the bottom, if they are counted.
    fn bottom_wire(&self) -> Option<&Arc<dyn CountWire>> {
        None
    }

    /// Returns the certificate, in DER, by which the peer of this layer has authenticated. Only TLS has one.
    fn peer_certificate(&self) -> Option<&[u8]> {
        None
    }
}

/// Counts the bytes of one stream while they pass.
///
/// The code that made a counter finds it again by a downcast from [`Any`].
pub trait CountWire: Any + fmt::Debug + Send + Sync {
    /// Adds bytes that the stream took.
    fn sent(&self, bytes: usize);

    /// Adds bytes that came from the stream.
    fn received(&self, bytes: usize);
}

/// A stream to some stop of a chain, with the bytes already read from it beside it.
///
/// It reads those early bytes first, so no reader can lose them. Dropping it closes the connection.
pub struct Tunnel {
    early: Early,
    io: Io,
    wire: Option<Arc<dyn CountWire>>,
    extras: Option<Box<Extras>>,
}

/// The parts that most tunnels don't have.
#[derive(Default)]
struct Extras {
    passed: Option<PassedFields>,
    logon: Option<Arc<dyn Logon>>,
    rounds: Option<Arc<dyn ObserveRounds>>,
}

impl Tunnel {
    /// Creates a tunnel over a connected socket.
    pub fn socket(socket: TcpStream) -> Self {
        Self::over(Io::Socket(socket))
    }

    /// Creates a tunnel over a layer, such as TLS, that wraps another one.
    pub fn layered(stream: impl Stream + 'static) -> Self {
        Self::over(Io::Layered(Box::new(stream)))
    }

    fn over(io: Io) -> Self {
        Self { early: Early::default(), io, wire: None, extras: None }
    }

    /// Counts the bytes that pass from now on with `wire`. A layer around this tunnel, such as TLS, is not counted by it:
    /// what the layer adds passes this tunnel and is counted here.
    #[must_use]
    pub fn counted(self, wire: Arc<dyn CountWire>) -> Self {
        Self { wire: Some(wire), ..self }
    }

    /// Returns the counter of this tunnel's own bytes, if they are counted. One that moves bytes by the socket below,
    /// and not by the tunnel, has to count them.
    pub fn wire(&self) -> Option<&Arc<dyn CountWire>> {
        self.wire.as_ref()
    }

    /// Returns how many bytes were read ahead.
    pub fn ahead(&self) -> usize {
        self.early.len()
    }

    /// Puts bytes that were read too far back in front of what is still to be read.
    pub fn unread(&mut self, bytes: Bytes) {
        self.early.put_back(bytes);
    }

    /// Returns the bytes that were read ahead, and the stream below.
    pub fn into_parts(self) -> (Bytes, Io) {
        (self.early.into_bytes(), self.io)
    }

    /// Returns the socket below all layers, if there is one.
    pub fn bottom(&self) -> Option<&TcpStream> {
        self.io.bottom()
    }

    /// Takes the fields that [`PassHeaders`] asked for, from the answer to the last CONNECT.
    pub fn take_returned_fields(&mut self) -> Vec<Field> {
        let passed = self.passed_slot().and_then(Option::take);
        passed.map_or_else(Vec::new, PassedFields::into_returned)
    }

    /// Sets the client's fields that the next CONNECT on this tunnel carries: those of `request` that `listed` names,
    /// and `Via`. They replace the fields of an earlier CONNECT.
    pub fn prepare_connect(&mut self, request: Request<'_>, listed: Option<&PassHeaders>) {
        let passed = PassedFields::new(request, listed);
        match self.passed_slot() {
            Some(slot) => *slot = passed,
            None if passed.is_some() => self.extras().passed = passed,
            None => {}
        }
    }

    /// Returns the authentication of this connection, if a hop keeps one for plain requests.
    pub fn logon(&self) -> Option<&Arc<dyn Logon>> {
        self.extras.as_ref()?.logon.as_ref()
    }

    /// Sets the authentication of this connection, which learns how each plain request on it is answered.
    pub fn set_logon(&mut self, logon: Arc<dyn Logon>) {
        self.extras().logon = Some(logon);
    }

    /// Has `observer` see the rounds of authentication that follow on this connection.
    pub fn observe_rounds(&mut self, observer: Arc<dyn ObserveRounds>) {
        self.extras().rounds = Some(observer);
    }

    /// Returns the observer of rounds, if there is one.
    pub fn rounds_observer(&self) -> Option<&dyn ObserveRounds> {
        self.extras.as_ref()?.rounds.as_deref()
    }

    pub(crate) fn passed(&mut self) -> Option<&mut PassedFields> {
        self.passed_slot()?.as_mut()
    }

    fn passed_slot(&mut self) -> Option<&mut Option<PassedFields>> {
        self.extras.as_deref_mut().map(|extras| &mut extras.passed)
    }

    fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// Returns the certificate, in DER, of the peer at the other end of the topmost layer, if that is TLS.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        match &self.io {
            Io::Socket(_) => None,
            Io::Layered(stream) => stream.peer_certificate(),
        }
    }

    /// Makes the close of the connection a reset, so that its peer doesn't take a broken stream for a complete one.
    pub fn reset_on_close(&self) {
        if let Some(socket) = self.bottom() {
            // If this fails, the socket is already gone.
            let _: io::Result<()> = socket.set_zero_linger();
        }
    }

    /// Moves a bare socket to the runtime of the calling task, whose thread its events wake from then on. A layered
    /// stream stays with the runtime that opened it, and works in tasks of any other.
    ///
    /// # Errors
    /// The socket can't be registered with this runtime.
    pub fn into_current_runtime(self) -> io::Result<Self> {
        let io = match self.io {
            // A socket is registered with the event queue of one runtime, so it has to leave that and join another. A
            // layer hides its socket, and its events go on to wake the thread that registered it.
            Io::Socket(socket) => Io::Socket(TcpStream::from_std(socket.into_std()?)?),
            layered @ Io::Layered(_) => layered,
        };
        Ok(Self { io, ..self })
    }

    /// Becomes ready when anything arrives unasked, also the end of the stream. A byte may be lost, so the tunnel
    /// can't be used after that.
    pub fn poll_disturbed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.early.is_empty() {
            return Poll::Ready(());
        }
        // Only a read notices an end, and only a read gets through a layer such as TLS. Bytes, the end and an error
        // all count, so the result is dropped.
        let mut byte = [0];
        let mut space = ReadBuf::new(&mut byte);
        let read = Pin::new(&mut self.io).poll_read(cx, &mut space);
        if let Some(wire) = &self.wire
            && !space.filled().is_empty()
        {
            wire.received(space.filled().len());
        }
        read.map(drop)
    }

    /// Returns the socket if the tunnel is nothing else: it has no layer, and no byte was read ahead.
    pub fn bare(&self) -> Option<&TcpStream> {
        match &self.io {
            Io::Socket(socket) if self.early.is_empty() => Some(socket),
            _ => None,
        }
    }
}

impl Stream for Tunnel {
    fn socket(&self) -> Option<&TcpStream> {
        self.bottom()
    }

    fn bottom_wire(&self) -> Option<&Arc<dyn CountWire>> {
        let below = match &self.io {
            Io::Socket(_) => None,
            Io::Layered(stream) => stream.bottom_wire(),
        };
        below.or(self.wire.as_ref())
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("early", &self.early.len()).field("io", &self.io).finish()
    }
}

impl Stream for tokio::io::DuplexStream {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Buf as _;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn unread_bytes_come_first_and_in_order() {
        let (near, mut far) = duplex(64);
        let mut tunnel = Tunnel::layered(near);
        far.write_all(b"four").await.unwrap();
        drop(far);
        tunnel.unread(Bytes::from_static(b"three "));
        tunnel.unread(Bytes::new());
        tunnel.unread(Bytes::from_static(b"one two "));
        let mut small = [0; 3];
        tunnel.read_exact(&mut small).await.unwrap();
        assert_eq!(&small, b"one");
        let mut rest = String::new();
        tunnel.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, " two three four");
    }

    #[test]
    fn nothing_unread_holds_no_buffer() {
        let buffer = Arc::new([0; 8]);
        let mut nothing = Bytes::from_owner(Owner(Arc::clone(&buffer)));
        nothing.advance(8);
        let mut tunnel = Tunnel::layered(duplex(1).0);
        tunnel.unread(nothing);
        assert_eq!(Arc::strong_count(&buffer), 1);
    }

    struct Owner(Arc<[u8; 8]>);

    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &*self.0
        }
    }
}
