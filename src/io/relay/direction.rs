//! One direction of a relay.

use std::{
    fmt,
    io::{self, ErrorKind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use mooltiroute_hops::{CountWire, Tunnel};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    pool::{self, Buffer},
    splice::Pipe,
};
use crate::io::turn::{self, TURN_BYTES};

/// The bytes of one direction that were read and not yet written, and the state of the direction.
#[derive(Default)]
pub(super) struct Direction {
    /// Held only while bytes are in flight.
    held: Option<InFlight>,
    state: DirectionState,
    /// Whether the last read was so large that the kernel moves the next one better.
    is_bulk: bool,
    /// Whether writing to the reader's connection failed, so that its end is part of the break.
    is_reader_broken: bool,
    moved: u64,
}

enum InFlight {
    Buffer { buffer: Buffer, start: usize, end: usize },
    Pipe(Pipe),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum DirectionState {
    #[default]
    Open,
    /// The reader has ended and the writer is to be told.
    Ending,
    Ended,
    /// The reader broke, and a layer of the writer may still hold bytes back.
    Flushing,
    Broken(Break),
}

/// Which connection of a direction broke, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Break {
    /// The reader broke. The writer took everything that the reader had delivered.
    Read,
    /// The writer broke.
    Write {
        /// Whether the writer's own end, if it is read, comes from the break.
        is_end_unclean: bool,
    },
}

impl Direction {
    /// Returns how many bytes the writer took.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Notes that the writer took `bytes` before this direction began.
    pub(super) fn count_from(&mut self, bytes: u64) {
        self.moved = bytes;
    }

    /// Notes that the last `bytes` which the writer took never left it.
    pub(super) fn take_back(&mut self, bytes: u64) {
        self.moved = self.moved.saturating_sub(bytes);
    }

    /// Returns whether no more bytes will pass.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, DirectionState::Ended | DirectionState::Broken(_))
    }

    /// Returns whether nothing that was read waits for the writer.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_none()
    }

    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn is_bulk(&self) -> bool {
        self.is_bulk
    }

    /// Treats the end of the reader as a break from now on.
    ///
    /// The kernel reports a reset once. If a write got the error, a read returns what was delivered before the reset,
    /// and then an end that looks like any other.
    pub(super) fn expect_break(&mut self) {
        self.is_reader_broken = true;
    }

    /// Gives up, because the writer's connection is known to be broken. Bytes in flight are dropped.
    pub(super) fn abandon(&mut self) {
        if !self.is_over() {
            self.release();
            self.state = DirectionState::Broken(Break::Write { is_end_unclean: true });
        }
    }

    /// Moves as many bytes as possible in one [turn](turn::TURN_BYTES). Becomes ready once the end of `reader` was passed on to `writer`, or one of them
    /// broke. Later calls return the same result.
    ///
    /// A broken reader is reported only after the writer has taken everything that could be read: the kernel keeps
    /// what arrived before a reset, and returns the error after the last byte.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Tunnel,
        writer: &mut Tunnel,
    ) -> Poll<Result<(), Break>> {
        let turn_end = self.moved + TURN_BYTES;
        while self.state == DirectionState::Open {
            // Nothing more is read before all that is held was written. So a slow writer holds up
            // its reader, and one buffer per direction is enough.
            if let Err(error) = ready!(self.poll_write(cx, writer)) {
                return self.fail_write(&error);
            }
            if self.moved >= turn_end {
                return turn::end(cx);
            }
            match self.poll_read(cx, reader, writer) {
                Poll::Ready(Ok(true)) => {}
                // Only an end in order is passed on as one. Any other end is reported after the
                // flush, so that the relay can reset the writer instead.
                Poll::Ready(Ok(false)) if !self.is_reader_broken => {
                    self.state = DirectionState::Ending
                }
                Poll::Ready(_) => self.state = DirectionState::Flushing,
                Poll::Pending => {
                    // A layer such as TLS may hold back written bytes, and the next ones may come much later.
                    return match Pin::new(writer).poll_flush(cx) {
                        Poll::Ready(Err(error)) => self.fail_write(&error),
                        _ => Poll::Pending,
                    };
                }
            }
        }
        self.poll_finish(cx, writer)
    }

    /// Brings a direction whose reader has ended or broken to its end.
    fn poll_finish(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut Tunnel,
    ) -> Poll<Result<(), Break>> {
        match self.state {
            // Shutting the writer down flushes its layers first.
            DirectionState::Ending => match ready!(Pin::new(writer).poll_shutdown(cx)) {
                // Some systems say this if the writer is gone. Then there is no peer to pass the end on to.
                Err(error) if error.kind() != ErrorKind::NotConnected => {
                    return self.fail_write(&error);
                }
                _ => self.state = DirectionState::Ended,
            },
            DirectionState::Flushing => match ready!(Pin::new(writer).poll_flush(cx)) {
                Err(error) => return self.fail_write(&error),
                Ok(()) => self.state = DirectionState::Broken(Break::Read),
            },
            DirectionState::Open | DirectionState::Ended | DirectionState::Broken(_) => {}
        }
        match self.state {
            // The relay polls both directions until both are over, so one that is over gives the
            // same answer at each later call.
            DirectionState::Broken(broke) => Poll::Ready(Err(broke)),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Records that writing failed. What is in flight can't arrive any more.
    ///
    /// Linux reports a reset as `ECONNRESET`, but as `EPIPE` if the peer had ended its direction before. So after `EPIPE`
    /// an end that is read from the peer is one that the peer meant.
    #[cold]
    fn fail_write(&mut self, error: &io::Error) -> Poll<Result<(), Break>> {
        self.release();
        let has_ended = cfg!(target_os = "linux") && error.kind() == ErrorKind::BrokenPipe;
        let broke = Break::Write { is_end_unclean: !has_ended };
        self.state = DirectionState::Broken(broke);
        Poll::Ready(Err(broke))
    }

    /// Reads something to be written. Returns `false` if `reader` has ended.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Tunnel,
        writer: &Tunnel,
    ) -> Poll<io::Result<bool>> {
        // The kernel can move the next bytes only if no layer has to see them on either side. If
        // the system has no pipe to give, they are copied.
        if self.is_bulk
            && let Some(socket) = reader.bare()
            && writer.bare().is_some()
            && let Some(pipe) = Pipe::take()
        {
            return self.poll_fill(cx, (socket, reader.wire()), pipe);
        }
        let mut buffer = pool::take();
        let mut space = ReadBuf::new(&mut buffer[..]);
        let read = Pin::new(reader).poll_read(cx, &mut space);
        let end = space.filled().len();
        // A read that fills its buffer says that much is coming.
        self.is_bulk = end == buffer.len();
        if end > 0 {
            self.held = Some(InFlight::Buffer { buffer, start: 0, end });
            return Poll::Ready(Ok(true));
        }
        // Nothing was read, so the buffer goes back: an idle tunnel holds none.
        pool::give_back(buffer);
        read.map_ok(|()| false)
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        (reader, wire): (&TcpStream, Option<&Arc<dyn CountWire>>),
        mut pipe: Pipe,
    ) -> Poll<io::Result<bool>> {
        match pipe.poll_fill(cx, reader) {
            Poll::Ready(Ok(count @ 1..)) => {
                // For a few bytes, two more system calls cost more than a copy.
                self.is_bulk = count >= BULK_BYTES_MIN;
                if let Some(wire) = wire {
                    wire.received(count);
                }
                self.held = Some(InFlight::Pipe(pipe));
                Poll::Ready(Ok(true))
            }
            // Nothing was moved, so the pipe is empty and can serve another direction.
            other => {
                pipe.give_back();
                other.map_ok(|_| false)
            }
        }
    }

    /// Writes what is held, and then releases the memory that held it.
    fn poll_write(&mut self, cx: &mut Context<'_>, writer: &mut Tunnel) -> Poll<io::Result<()>> {
        match &mut self.held {
            None => return Poll::Ready(Ok(())),
            Some(InFlight::Pipe(pipe)) => {
                // The pipe was filled for a bare socket, and a socket stays bare.
                let Some(socket) = writer.bare() else {
                    return Poll::Ready(Err(ErrorKind::NotConnected.into()));
                };
                let before = self.moved;
                let drained = pipe.poll_drain(cx, socket, &mut self.moved);
                if let Some(wire) = writer.wire()
                    && self.moved > before
                {
                    wire.sent(usize::try_from(self.moved - before).unwrap_or(usize::MAX));
                }
                ready!(drained)?;
            }
            Some(InFlight::Buffer { buffer, start, end }) => {
                // The position is kept in `held`, so that a writer that took a part goes on behind
                // it.
                while start < end {
                    let count =
                        ready!(Pin::new(&mut *writer).poll_write(cx, &buffer[*start..*end]))?;
                    // A writer that takes nothing and does not make us wait would keep this loop
                    // going.
                    if count == 0 {
                        return Poll::Ready(Err(ErrorKind::WriteZero.into()));
                    }
                    *start += count;
                    self.moved += count as u64;
                }
            }
        }
        self.release();
        Poll::Ready(Ok(()))
    }

    fn release(&mut self) {
        match self.held.take() {
            Some(InFlight::Buffer { buffer, .. }) => pool::give_back(buffer),
            Some(InFlight::Pipe(pipe)) => pipe.give_back(),
            None => {}
        }
    }
}

impl fmt::Debug for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direction")
            .field("state", &self.state)
            .field("moved", &self.moved)
            .finish_non_exhaustive()
    }
}

/// A read of fewer bytes is copied: it is a message rather than a part of a download.
const BULK_BYTES_MIN: usize = 16 * 1024;
