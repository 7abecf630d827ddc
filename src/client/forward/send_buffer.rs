//! Bytes that wait for a connection to take them.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::{io::AsyncWrite, time::Instant};

use crate::http::chunked::{CHUNK_END, ChunkLine};

/// Bytes on their way to one connection. Small pieces are collected into one write; a large one is never copied.
#[derive(Debug, Default)]
pub(super) struct SendBuffer {
    /// Bytes that leave before `piece`.
    collected: Vec<u8>,
    /// How much of `collected` has left.
    start: usize,
    /// Bytes that leave after `collected`.
    piece: Bytes,
    /// The line end that a chunk still needs after `piece`.
    chunk_end: &'static [u8],
    /// Whether a layer such as TLS may still hold back written bytes.
    needs_flush: bool,
    sent: u64,
    /// Since when the connection has taken nothing, if it is being waited for, and what it had taken by then.
    blocked: Option<(Instant, u64)>,
}

impl SendBuffer {
    /// Bytes that the connection has taken.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns since when the connection has taken nothing of what waits for it.
    pub(super) fn blocked_since(&self) -> Option<Instant> {
        self.blocked.map(|(since, _)| since)
    }

    /// Returns whether there is room for another piece.
    pub(super) fn has_room(&self) -> bool {
        self.piece.is_empty() && self.collected.len() <= COLLECT_BYTES_MAX
    }

    /// Returns the collected bytes, to append to while [`has_room`](Self::has_room).
    pub(super) fn collected(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.piece.is_empty(), "what is appended now would overtake the piece");
        &mut self.collected
    }

    /// Appends a piece of content, as one chunk if `is_chunked`. There must be [room](Self::has_room).
    pub(super) fn put(&mut self, data: Bytes, is_chunked: bool) {
        if is_chunked {
            self.collected().extend_from_slice(ChunkLine::new(data.len()).as_bytes());
        }
        // Small pieces are copied, to leave in one write with what is before them. A large piece
        // stays the slice of the read buffer that it is, and its line end waits until it has left.
        let chunk_end = if is_chunked { CHUNK_END } else { &[] };
        if self.collected.len() + data.len() <= COLLECT_BYTES_MAX {
            self.collected.extend_from_slice(&data);
            self.collected.extend_from_slice(chunk_end);
        } else {
            (self.piece, self.chunk_end) = (data, chunk_end);
        }
    }

    /// Drops everything that waits.
    pub(super) fn abandon(&mut self) {
        *self = Self { sent: self.sent, ..Self::default() };
    }

    /// Writes everything that waits, and flushes all layers.
    pub(super) fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
    ) -> Poll<io::Result<()>> {
        if self.is_empty() && !self.needs_flush {
            return Poll::Ready(Ok(()));
        }
        // A stall counts from when the connection last took a byte. So a slow receiver is not given
        // up, and one that takes nothing is.
        let flushed = self.poll_write(cx, writer);
        let blocked = &mut self.blocked;
        match flushed {
            Poll::Pending if blocked.is_none_or(|(_, sent)| sent != self.sent) => {
                *blocked = Some((Instant::now(), self.sent));
            }
            Poll::Pending => {}
            Poll::Ready(_) => *blocked = None,
        }
        flushed
    }

    fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let front = &self.collected[self.start..];
            let writer = Pin::new(&mut *writer);
            // Both parts leave in one system call, without being joined.
            let count = ready!(if self.piece.is_empty() {
                writer.poll_write(cx, front)
            } else {
                let slices = [IoSlice::new(front), IoSlice::new(&self.piece)];
                writer.poll_write_vectored(cx, &slices)
            })?;
            if count == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            // Noted before the flush, which may have to be polled again when nothing is left to
            // write.
            self.needs_flush = true;
            self.advance(count);
        }
        ready!(Pin::new(writer).poll_flush(cx))?;
        self.needs_flush = false;
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, count: usize) {
        self.sent += count as u64;
        // A write may end anywhere, also within the collected part.
        let front = count.min(self.collected.len() - self.start);
        self.start += front;
        self.piece.advance(count - front);
        if self.start == self.collected.len() {
            self.collected.clear();
            self.start = 0;
        }
        if self.piece.is_empty() {
            // An empty slice would still hold the buffer that it was cut from.
            self.piece = Bytes::new();
            self.collected.extend_from_slice(std::mem::take(&mut self.chunk_end));
        }
    }

    fn is_empty(&self) -> bool {
        self.collected.is_empty() && self.piece.is_empty()
    }
}

/// No more than this is copied, to leave in one write with what comes before or after it.
const COLLECT_BYTES_MAX: usize = 8 * 1024;
