//! The connection of one client: its heads, and the last word it is told.

use std::{future::poll_fn, io, net::SocketAddr, task::Poll, time::Duration};

use bytes::BytesMut;
use mooltiroute_hops::Tunnel;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    client::reply::Reply,
    http::{BadRequest, HeadLimits, HeadReader, RequestHead},
    io::{lazy_timer::Alarm, read_ahead},
    system::shutdown::Shutdown,
};

/// A client's connection, with what was read of it and not yet used.
#[derive(Debug)]
pub struct Client {
    /// The socket.
    pub socket: TcpStream,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Bytes read ahead.
    pub seen: BytesMut,
}

/// What came where the head of a request was due.
#[derive(Debug)]
pub enum Arrival {
    /// A request.
    Head(Box<RequestHead>),
    /// Something that is none.
    Bad(BadRequest),
    /// The beginning of something, and nothing more in time.
    Slow,
    /// Nothing at all for too long.
    Idle,
    /// The end of the connection, or the proxy is ending.
    End,
}

/// How a connection ends.
#[derive(Debug)]
pub enum Farewell {
    /// With this reply, without its body if the request was for a head only.
    Reply(Box<Reply>, bool),
    /// With what the client was sent last.
    Close,
    /// Broken, so that what the client has is not taken for whole.
    Reset,
    /// As it stands.
    None,
}

impl Client {
    /// A connection that was just accepted.
    pub fn new(socket: TcpStream, peer: SocketAddr) -> Self {
        Self { socket, peer, seen: BytesMut::new() }
    }

    /// Waits for the next request: at most `idle` for its first byte, then at most `header` for the rest of its head.
    /// `shutdown` has to [wake](Shutdown::heeded_by) this task.
    pub async fn next_head(
        &mut self,
        limits: HeadLimits,
        idle: Duration,
        header: Duration,
        alarm: &mut Alarm<'_>,
        shutdown: &Shutdown,
    ) -> Arrival {
        if self.seen.is_empty() {
            // Lets go of the room that the body before this head has needed.
            self.seen = BytesMut::new();
            let due = Instant::now() + idle;
            let read = tokio::select! {
                biased;
                read = self.first_bytes(shutdown) => read,
                () = alarm.until(due) => return Arrival::Idle,
            };
            if !matches!(read, Ok(1..)) {
                return Arrival::End;
            }
        }
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
                read = read_ahead::read(&mut self.socket, &mut self.seen, READ_BYTES) => read,
                () = alarm.until(due) => return Arrival::Slow,
            };
            if !matches!(read, Ok(1..)) {
                return Arrival::End;
            }
        }
    }

    /// Reads what comes first, unless the proxy is ending. Nothing is held while nothing comes, and nothing is lost by
    /// dropping the future.
    async fn first_bytes(&mut self, shutdown: &Shutdown) -> io::Result<usize> {
        poll_fn(|cx| {
            match read_ahead::poll_read(cx, &mut self.socket, &mut self.seen, READ_BYTES) {
                Poll::Pending if shutdown.is_draining() => Poll::Ready(Ok(0)),
                read => read,
            }
        })
        .await
    }

    /// Ends the connection.
    pub async fn leave(self, farewell: Farewell) {
        match farewell {
            Farewell::Reply(reply, is_head) => self.close_with(&reply, is_head).await,
            Farewell::Close => self.close().await,
            Farewell::Reset => {
                // Where that fails the socket is already gone.
                let _ = self.socket.set_zero_linger();
            }
            Farewell::None => {}
        }
    }

    /// Sends `reply` and closes the connection, so that the reply is not lost to bytes that are still under way.
    pub async fn close_with(self, reply: &Reply, is_head: bool) {
        self.close_after(&reply.message(is_head)).await;
    }

    /// Sends `message` as the last one of the connection.
    pub async fn close_after(mut self, message: &[u8]) {
        if self.socket.write_all(message).await.is_ok() {
            self.close().await;
        }
    }

    /// Ends the connection once the client has read what it was sent (RFC 9112 §9.6).
    pub async fn close(mut self) {
        self.seen = BytesMut::new();
        if self.socket.shutdown().await.is_ok() {
            // The client is given a moment to read; nothing it still sends counts.
            let _ = timeout(LINGER, discard(&mut self.socket)).await;
        }
    }
}

impl From<Client> for Tunnel {
    /// The client's end of a tunnel; what was read ahead goes first.
    fn from(client: Client) -> Self {
        let mut tunnel = Self::socket(client.socket);
        tunnel.unread(client.seen.freeze());
        tunnel
    }
}

/// Whether the answer to this request has no body.
pub(crate) fn is_head(request: &RequestHead) -> bool {
    request.method() == "HEAD"
}

async fn discard(socket: &mut TcpStream) -> io::Result<()> {
    let mut rest = vec![0; READ_BYTES];
    let mut left = LINGER_BYTES_MAX;
    while left > 0 {
        match socket.read(&mut rest).await? {
            0 => break,
            count => left = left.saturating_sub(count),
        }
    }
    Ok(())
}

/// Most heads fit in one read of this size.
const READ_BYTES: usize = 4096;
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 1024 * 1024;
