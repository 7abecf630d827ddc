//! Reads and writes the bytes of a tunnel, early ones first, and counts them.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{CountWire, Tunnel};

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Early bytes are returned alone, without asking the stream for more: a read that found nothing would have to
        // report both bytes and a pending state.
        if self.early.read(buf) {
            return Poll::Ready(Ok(()));
        }
        let Self { io, wire, .. } = &mut *self;
        count_read(wire.as_ref(), buf, |buf| Pin::new(io).poll_read(cx, buf))
    }
}

/// Counts the bytes that a read adds to `buf`.
pub(super) fn count_read(
    wire: Option<&Arc<dyn CountWire>>,
    buf: &mut ReadBuf<'_>,
    read: impl FnOnce(&mut ReadBuf<'_>) -> Poll<io::Result<()>>,
) -> Poll<io::Result<()>> {
    let before = buf.filled().len();
    let read = read(buf);
    let count = buf.filled().len() - before;
    if let Some(wire) = wire
        && count > 0
    {
        wire.received(count);
    }
    read
}

/// Counts the bytes that a write took.
pub(super) fn count_written(
    wire: Option<&Arc<dyn CountWire>>,
    written: Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    if let (Poll::Ready(Ok(count @ 1..)), Some(wire)) = (&written, wire) {
        wire.sent(*count);
    }
    written
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        count_written(self.wire.as_ref(), written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        count_written(self.wire.as_ref(), written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
