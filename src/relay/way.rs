//! One direction of a relay.

use std::{
    fmt,
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use mooltiroute_hops::Tunnel;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pool::{self, Buffer};

/// One direction: what was read and not yet written, and how far it is.
#[derive(Default)]
pub(super) struct Way {
    /// Held only while bytes are in flight.
    held: Option<Held>,
    state: State,
    moved: u64,
}

struct Held {
    buffer: Buffer,
    start: usize,
    end: usize,
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

    /// Moves what can be moved; ready once the end of `reader` was carried to `writer`.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Tunnel,
        writer: &mut Tunnel,
    ) -> Poll<Result<(), Fault>> {
        while self.state == State::Open {
            if let Some(held) = &mut self.held {
                ready!(poll_write(cx, held, writer, &mut self.moved)).map_err(|_| Fault::Write)?;
                if let Some(held) = self.held.take() {
                    pool::give_back(held.buffer);
                }
            }
            let mut buffer = pool::take();
            match poll_read(cx, reader, &mut buffer) {
                Poll::Ready(Ok(0)) => {
                    pool::give_back(buffer);
                    self.state = State::Ending;
                }
                Poll::Ready(Ok(end)) => self.held = Some(Held { buffer, start: 0, end }),
                Poll::Ready(Err(_)) => {
                    pool::give_back(buffer);
                    return Poll::Ready(Err(Fault::Read));
                }
                Poll::Pending => {
                    pool::give_back(buffer);
                    // A layer such as TLS may hold back what was written; the next bytes may be long in coming.
                    if let Poll::Ready(Err(_)) = Pin::new(writer).poll_flush(cx) {
                        return Poll::Ready(Err(Fault::Write));
                    }
                    return Poll::Pending;
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
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way")
            .field("state", &self.state)
            .field("moved", &self.moved)
            .finish_non_exhaustive()
    }
}

fn poll_read(
    cx: &mut Context<'_>,
    reader: &mut Tunnel,
    buffer: &mut Buffer,
) -> Poll<io::Result<usize>> {
    let mut space = ReadBuf::new(&mut buffer[..]);
    ready!(Pin::new(reader).poll_read(cx, &mut space))?;
    Poll::Ready(Ok(space.filled().len()))
}

fn poll_write(
    cx: &mut Context<'_>,
    held: &mut Held,
    writer: &mut Tunnel,
    moved: &mut u64,
) -> Poll<io::Result<()>> {
    while held.start < held.end {
        let count =
            ready!(Pin::new(&mut *writer).poll_write(cx, &held.buffer[held.start..held.end]))?;
        if count == 0 {
            return Poll::Ready(Err(ErrorKind::WriteZero.into()));
        }
        held.start += count;
        *moved += count as u64;
    }
    Poll::Ready(Ok(()))
}
