//! One direction of a relay.

use std::{
    fmt,
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use mooltiroute_hops::Tunnel;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    pool::{self, Buffer},
    splice::Pipe,
};

/// One direction: what was read and not yet written, and how far it is.
#[derive(Default)]
pub(super) struct Way {
    /// Held only while bytes are in flight.
    held: Option<Held>,
    state: State,
    /// Whether so much came at once that the kernel moves it better.
    is_bulk: bool,
    moved: u64,
}

enum Held {
    Buffer { buffer: Buffer, start: usize, end: usize },
    Pipe(Pipe),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The reader has ended and the writer is to be told.
    Ending,
    Ended,
}

/// Which side of a direction broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Read,
    Write,
}

impl Way {
    /// Bytes that the writer took.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    #[cfg(test)]
    pub(super) fn holds_buffer(&self) -> bool {
        self.held.is_some()
    }

    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn is_bulk(&self) -> bool {
        self.is_bulk
    }

    /// Moves what can be moved; ready once the end of `reader` was carried to `writer`.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Tunnel,
        writer: &mut Tunnel,
    ) -> Poll<Result<(), Fault>> {
        while self.state == State::Open {
            ready!(self.poll_write(cx, writer)).map_err(|_| Fault::Write)?;
            match self.poll_read(cx, reader, writer) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => self.state = State::Ending,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Fault::Read)),
                Poll::Pending => {
                    // A layer such as TLS may hold back what was written; the next bytes may be long in coming.
                    return match Pin::new(writer).poll_flush(cx) {
                        Poll::Ready(Err(_)) => Poll::Ready(Err(Fault::Write)),
                        _ => Poll::Pending,
                    };
                }
            }
        }
        if self.state == State::Ending {
            match ready!(Pin::new(writer).poll_shutdown(cx)) {
                // Some systems say so where the writer has gone already, to which nothing need be told.
                Err(error) if error.kind() != ErrorKind::NotConnected => {
                    return Poll::Ready(Err(Fault::Write));
                }
                _ => self.state = State::Ended,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads something to be written; `false`: `reader` has ended.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Tunnel,
        writer: &Tunnel,
    ) -> Poll<io::Result<bool>> {
        if self.is_bulk
            && let (Some(socket), Some(_), Some(pipe)) =
                (reader.bare(), writer.bare(), Pipe::take())
        {
            return self.poll_fill(cx, socket, pipe);
        }
        let mut buffer = pool::take();
        let mut space = ReadBuf::new(&mut buffer[..]);
        let read = Pin::new(reader).poll_read(cx, &mut space);
        let end = space.filled().len();
        self.is_bulk = end == buffer.len();
        if end > 0 {
            self.held = Some(Held::Buffer { buffer, start: 0, end });
            return Poll::Ready(Ok(true));
        }
        pool::give_back(buffer);
        read.map_ok(|()| false)
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        reader: &tokio::net::TcpStream,
        mut pipe: Pipe,
    ) -> Poll<io::Result<bool>> {
        match pipe.poll_fill(cx, reader) {
            Poll::Ready(Ok(count @ 1..)) => {
                // For a little, two system calls more are too many.
                self.is_bulk = count >= BULK_BYTES_MIN;
                self.held = Some(Held::Pipe(pipe));
                Poll::Ready(Ok(true))
            }
            other => {
                pipe.give_back();
                other.map_ok(|_| false)
            }
        }
    }

    /// Writes what is held, and lets go of what held it.
    fn poll_write(&mut self, cx: &mut Context<'_>, writer: &mut Tunnel) -> Poll<io::Result<()>> {
        match &mut self.held {
            None => return Poll::Ready(Ok(())),
            Some(Held::Pipe(pipe)) => {
                // It was filled for a bare socket, and a socket stays bare.
                let Some(socket) = writer.bare() else {
                    return Poll::Ready(Err(ErrorKind::NotConnected.into()));
                };
                ready!(pipe.poll_drain(cx, socket, &mut self.moved))?;
            }
            Some(Held::Buffer { buffer, start, end }) => {
                while start < end {
                    let count =
                        ready!(Pin::new(&mut *writer).poll_write(cx, &buffer[*start..*end]))?;
                    if count == 0 {
                        return Poll::Ready(Err(ErrorKind::WriteZero.into()));
                    }
                    *start += count;
                    self.moved += count as u64;
                }
            }
        }
        match self.held.take() {
            Some(Held::Buffer { buffer, .. }) => pool::give_back(buffer),
            Some(Held::Pipe(pipe)) => pipe.give_back(),
            None => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way")
            .field("state", &self.state)
            .field("moved", &self.moved)
            .finish_non_exhaustive()
    }
}

/// Less than this at once is copied: a message, and not a part of a download.
const BULK_BYTES_MIN: usize = 16 * 1024;
