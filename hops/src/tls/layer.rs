//! A TLS connection as a layer of a tunnel.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

use crate::{CountWire, Stream, Tunnel};

/// Makes a tunnel of an established TLS connection, with a server or with a client.
pub fn layer(stream: impl Into<TlsStream<Tunnel>>) -> Tunnel {
    Tunnel::layered(TlsLayer(stream.into()))
}

/// A TLS connection that may end without `close_notify`.
///
/// Many servers close the TCP connection without it: Python's `ssl`, Apache's mod_proxy_connect, Squid's
/// `https_port`. RFC 8446 §6.1 demands the alert, and rustls reports its absence as [`ErrorKind::UnexpectedEof`]. That
/// protects protocols which can't tell a complete message from a cut one. What passes through a proxy needs no such
/// protection: HTTP has lengths and chunks, and the protocol in a tunnel would see the same end without TLS. So the stream
/// just ends here. A reset is still an error.
struct TlsLayer(TlsStream<Tunnel>);

impl AsyncRead for TlsLayer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(cx, buf) {
            // rustls returns all decrypted bytes before it reports this, so nothing is lost.
            Poll::Ready(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            read => read,
        }
    }
}

impl AsyncWrite for TlsLayer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Stream for TlsLayer {
    fn socket(&self) -> Option<&TcpStream> {
        self.0.get_ref().0.bottom()
    }

    fn bottom_wire(&self) -> Option<&Arc<dyn CountWire>> {
        self.0.get_ref().0.bottom_wire()
    }

    fn peer_certificate(&self) -> Option<&[u8]> {
        let (_, connection) = self.0.get_ref();
        connection.peer_certificates()?.first().map(AsRef::as_ref)
    }
}
