//! The connection of one client: reading heads, and closing it so that the last answer arrives.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::pin,
    task::{Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use mooltiroute_hops::Tunnel;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    time::{Instant, error::Elapsed, timeout},
};

use crate::{
    client::reply::Reply,
    http::{BadRequest, HeadLimits, HeadReader, RequestHead},
    io::{lazy_timer::LazyDeadline, read_ahead},
    state::entrance::Entrance,
    system::shutdown::Shutdown,
};

/// A client's connection, with what was read of it and not yet used.
#[derive(Debug)]
pub struct Client {
    /// The bytes to and from the client: a bare socket, or TLS.
    pub stream: Tunnel,
    /// The address of the client.
    pub peer: SocketAddr,
    /// Bytes read ahead.
    pub seen: BytesMut,
    /// Whether the client speaks TLS to the proxy.
    pub is_tls: bool,
    /// The way by which the client came in.
    pub(crate) entrance: Entrance,
}

/// The outcome of waiting for the head of a request.
#[derive(Debug)]
pub enum Arrival {
    /// A request.
    Head(Box<RequestHead>),
    /// Bytes that are not a valid request.
    Bad(BadRequest),
    /// The beginning of a request whose rest did not come in time.
    Slow,
    /// Nothing at all for too long.
    Idle,
    /// The end of the connection, or the proxy is ending.
    End,
}

impl Client {
    /// Returns a client from which nothing has been read.
    pub(crate) fn new(stream: Tunnel, peer: SocketAddr, entrance: Entrance) -> Self {
        Self { stream, peer, seen: BytesMut::new(), is_tls: false, entrance }
    }

    /// Returns the address of this proxy that the client has connected to.
    pub fn reached(&self) -> Option<SocketAddr> {
        self.stream.bottom()?.local_addr().ok()
    }

    /// Waits for the next request: at most `idle` for its first byte, then at most `header` for the rest of its head.
    /// `shutdown` has to [wake](Shutdown::heeded_by) this task.
    pub async fn next_head(
        &mut self,
        limits: HeadLimits,
        idle: Duration,
        header: Duration,
        deadline: &mut LazyDeadline<'_>,
        shutdown: &Shutdown,
    ) -> Arrival {
        if let Err(arrival) = self.first_bytes(idle, deadline, shutdown).await {
            return arrival;
        }
        // Set at the first look that finds the head incomplete. Most heads come in one read, and
        // need no clock. Later bytes don't move it: a client that sends a byte now and then is
        // refused.
        let mut due = None;
        let mut reader = HeadReader::new(limits);
        loop {
            match reader.request(&mut self.seen) {
                Ok(Some(head)) => return Arrival::Head(Box::new(head)),
                Ok(None) => {}
                Err(bad) => return Arrival::Bad(bad),
            }
            let due = *due.get_or_insert_with(|| Instant::now() + header);
            let read = tokio::select! {
                biased;
                read = read_ahead::read(&mut self.stream, &mut self.seen, READ_BYTES) => read,
                () = deadline.until(due) => return Arrival::Slow,
            };
            if !matches!(read, Ok(1..)) {
                return Arrival::End;
            }
        }
    }

    /// Waits until something was read that is not yet used, at most `idle`. `shutdown` is as in
    /// [`next_head`](Self::next_head).
    ///
    /// # Errors
    /// [`Arrival::Idle`] or [`Arrival::End`], if nothing came.
    async fn first_bytes(
        &mut self,
        idle: Duration,
        deadline: &mut LazyDeadline<'_>,
        shutdown: &Shutdown,
    ) -> Result<(), Arrival> {
        // Bytes that were read behind the last message are the beginning of this one.
        if !self.seen.is_empty() {
            return Ok(());
        }
        // Releases the memory that the body before this head needed.
        self.seen = BytesMut::new();
        let due = Instant::now() + idle;
        self.read_first(due, None, deadline, shutdown).await
    }

    /// Waits for the first bytes of a connection that has just begun, at most `wait`. A proxy that drains waits too, for
    /// [`GREETING_TIME`]: a client that connects just before another process takes over has yet to send its request, and
    /// would see its connection close without an answer. `shutdown` is as in [`next_head`](Self::next_head).
    ///
    /// # Errors
    /// [`Arrival::Idle`] or [`Arrival::End`], if nothing came.
    pub async fn greeting(
        &mut self,
        wait: Duration,
        deadline: &mut LazyDeadline<'_>,
        shutdown: &Shutdown,
    ) -> Result<(), Arrival> {
        let now = Instant::now();
        self.read_first(now + wait, Some(now + wait.min(GREETING_TIME)), deadline, shutdown).await
    }

    /// Reads the first bytes of a message until `due`. If the proxy drains, it reads until `patience`, or not at all without
    /// that. No buffer is held during the wait, and dropping the future loses nothing.
    async fn read_first(
        &mut self,
        due: Instant,
        patience: Option<Instant>,
        deadline: &mut LazyDeadline<'_>,
        shutdown: &Shutdown,
    ) -> Result<(), Arrival> {
        poll_fn(|cx| {
            let read = read_ahead::poll_read(cx, &mut self.stream, &mut self.seen, READ_BYTES);
            if let Poll::Ready(read) = read {
                let came = if matches!(read, Ok(1..)) { Ok(()) } else { Err(Arrival::End) };
                return Poll::Ready(came);
            }
            // Asked only if nothing is there: a request that has arrived is still read.
            if !shutdown.is_draining() {
                return deadline.poll_until(cx, due).map(|()| Err(Arrival::Idle));
            }
            if let Some(patience) = patience {
                ready!(deadline.poll_until(cx, patience));
            }
            Poll::Ready(Err(Arrival::End))
        })
        .await
    }

    /// Breaks the connection, so that what the client has is not taken for whole.
    pub fn reset(self) {
        self.stream.reset_on_close();
    }

    /// Closes a connection on which no request is under way. TLS announces the end first (RFC 8446 §6.1), or the client
    /// would have to take it for an attack.
    pub async fn end(mut self) {
        if self.is_tls {
            // A client that takes nothing is not waited for: the connection closes anyway.
            let _ = timeout(FAREWELL_MAX, self.stream.shutdown()).await;
        }
    }

    /// Sends `reply` and closes the connection, so that the reply is not lost to bytes that are still under way.
    pub async fn close_with(self, reply: &Reply, is_head: bool) {
        let message = reply.message(&self, is_head);
        self.close_after(&message).await;
    }

    /// Sends `message`, through every layer.
    ///
    /// # Errors
    /// The connection is broken, or the client takes nothing of it for [`STALL_MAX`].
    pub async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.write(message).await?;
        unless_stalled(self.stream.flush()).await?
    }

    /// Sends `message` as the last one of the connection.
    pub async fn close_after(mut self, message: &[u8]) {
        if self.write(message).await.is_ok() {
            self.close().await;
        }
    }

    /// Writes `message` for as long as the client takes something of it. A client that takes nothing would otherwise keep
    /// its place among `limits.connections`.
    async fn write(&mut self, mut message: &[u8]) -> io::Result<()> {
        while !message.is_empty() {
            match unless_stalled(self.stream.write(message)).await?? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => message = &message[count..],
            }
        }
        Ok(())
    }

    /// Ends the connection once the client has read what it was sent (RFC 9112 §9.6).
    ///
    /// A socket that closes while bytes wait to be read breaks the connection, and a client that is still sending its
    /// request would lose the answer to it. So for as long as the client sends, what it sends is read and dropped, within
    /// limits of bytes and of time.
    pub async fn close(mut self) {
        self.seen = BytesMut::new();
        // TLS may still have to send a part of the answer.
        if let Ok(Ok(())) = unless_stalled(self.stream.shutdown()).await {
            // Past the limit the answer may be lost, but the client has had time to read it.
            let _ = timeout(LINGER_MAX, discard(&mut self.stream)).await;
        }
    }
}

impl From<Client> for Tunnel {
    /// Returns the client's end of a tunnel, which passes the bytes that were read ahead first.
    fn from(client: Client) -> Self {
        let mut tunnel = client.stream;
        tunnel.unread(client.seen.freeze());
        tunnel
    }
}

/// Returns whether the answer to this request has no body.
pub(crate) fn is_head(request: &RequestHead) -> bool {
    request.method() == "HEAD"
}

/// Waits for `work` for at most [`STALL_MAX`]. Most work is done at its first poll and needs no timer.
async fn unless_stalled<F: Future>(work: F) -> Result<F::Output, Elapsed> {
    let mut work = pin!(work);
    match poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => timeout(STALL_MAX, work).await,
    }
}

/// Reads and drops what comes, until the end, a pause or the limit.
async fn discard<R: AsyncRead + Unpin>(reader: &mut R) -> io::Result<()> {
    let mut left = LINGER_BYTES_MAX;
    let mut space = Vec::new();
    while left > 0 {
        // Most clients send nothing more, so room is made only for one that does.
        let room = if space.is_empty() { 1 } else { DISCARD_BYTES };
        space.resize(room, 0);
        // A client that pauses has most likely read its answer. One that goes on sending has not,
        // and is only stopped by the limits.
        match timeout(LINGER_PAUSE, reader.read(&mut space)).await {
            Ok(Ok(count @ 1..)) => left = left.saturating_sub(count),
            Ok(end) => return end.map(drop),
            Err(_) => break,
        }
    }
    Ok(())
}

/// How old a connection without any byte must be for a proxy that drains to close it.
const GREETING_TIME: Duration = Duration::from_secs(1);
/// Most heads fit in one read of this size.
const READ_BYTES: usize = 4096;
/// How many bytes are read and dropped at once.
const DISCARD_BYTES: usize = 32 * 1024;
/// How long a client may pause, after its answer, in what it still sends.
const LINGER_PAUSE: Duration = Duration::from_secs(2);
/// How long a client may take nothing of an answer that the proxy wrote itself. Answers of upstreams have
/// `timeouts.stall`.
const STALL_MAX: Duration = Duration::from_secs(30);
/// How long the last message of TLS may wait for room.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// How long a client may go on sending.
const LINGER_MAX: Duration = Duration::from_secs(20);
/// How much a client may go on sending.
const LINGER_BYTES_MAX: usize = 128 << 20;

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::ReadBuf;

    use super::*;

    /// Sends this many bytes at a time, with this pause before each time, and counts them.
    struct Sender {
        bytes: usize,
        pause: Duration,
        timer: Pin<Box<tokio::time::Sleep>>,
        sent: usize,
    }

    impl AsyncRead for Sender {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if !self.pause.is_zero() {
                std::task::ready!(self.timer.as_mut().poll(cx));
                let due = Instant::now() + self.pause;
                self.timer.as_mut().reset(due);
            }
            let count = self.bytes.min(buf.remaining());
            buf.put_slice(&vec![0; count]);
            self.sent += count;
            Poll::Ready(Ok(()))
        }
    }

    async fn lingers(bytes: usize, pause: Duration) -> (Duration, usize) {
        let begun = Instant::now();
        let timer = Box::pin(tokio::time::sleep(pause));
        let mut sender = Sender { bytes, pause, timer, sent: 0 };
        let _ = timeout(LINGER_MAX, discard(&mut sender)).await;
        (begun.elapsed(), sender.sent)
    }

    /// Runs `send` for a client whose end takes a byte now and then, with this pause before each. Returns how long that took
    /// and how many bytes came.
    async fn written(take: Option<Duration>, send: impl AsyncFnOnce(Client)) -> (Duration, usize) {
        let (near, mut far) = tokio::io::duplex(16);
        let client =
            Client::new(Tunnel::layered(near), ([127, 0, 0, 1], 1).into(), Entrance::default());
        let begun = Instant::now();
        let reads = async {
            let mut count = 0;
            while let Some(pause) = take {
                tokio::time::sleep(pause).await;
                match far.read_u8().await {
                    Ok(_) => count += 1,
                    Err(_) => break,
                }
            }
            (count, far)
        };
        let sends = async {
            send(client).await;
            begun.elapsed()
        };
        let (lasted, (count, _far)) = tokio::join!(sends, reads);
        (lasted, count)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_written_for_as_long_as_the_client_takes_something_of_it() {
        let message = [b'x'; 100];
        let close = async |client: Client| client.close_after(&message).await;
        let send = async |mut client: Client| {
            let sent = client.send(&message).await;
            assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::TimedOut);
        };
        assert_eq!(written(None, close).await, (STALL_MAX, 0));
        assert_eq!(written(None, send).await, (STALL_MAX, 0));
        let (lasted, count) = written(Some(STALL_MAX / 2), close).await;
        assert_eq!((lasted > 40 * STALL_MAX, count), (true, 100), "{lasted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_goes_on_sending_is_heard_within_limits() {
        let seconds = Duration::from_secs;
        assert_eq!(lingers(0, Duration::ZERO).await, (seconds(0), 0));
        assert_eq!(lingers(1, seconds(9)).await, (LINGER_PAUSE, 0));
        let (lasted, sent) = lingers(1, seconds(1)).await;
        assert_eq!((lasted, sent > 10), (LINGER_MAX, true), "{sent} bytes");
        let (lasted, sent) = lingers(usize::MAX, Duration::ZERO).await;
        assert!(lasted < LINGER_MAX && sent >= LINGER_BYTES_MAX);
        assert!(sent < LINGER_BYTES_MAX + DISCARD_BYTES);
    }
}
