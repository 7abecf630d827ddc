//! The two directions of a tunnel, for tasks that work on both at once.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::tcp,
};

use super::{
    CountWire, Io, Stream, Tunnel,
    early::Early,
    pass::{count_read, count_written},
};

/// The reading half of a [`Tunnel`].
pub struct ReadHalf<'a> {
    early: &'a mut Early,
    io: ReadIo<'a>,
    wire: Option<&'a Arc<dyn CountWire>>,
}

/// The writing half of a [`Tunnel`].
pub struct WriteHalf<'a>(WriteIo<'a>, Option<&'a Arc<dyn CountWire>>);

enum ReadIo<'a> {
    Socket(tcp::ReadHalf<'a>),
    Layered(tokio::io::ReadHalf<&'a mut Box<dyn Stream>>),
}

enum WriteIo<'a> {
    Socket(tcp::WriteHalf<'a>),
    Layered(tokio::io::WriteHalf<&'a mut Box<dyn Stream>>),
}

impl Tunnel {
    /// Returns both directions, which can be used at once. Those of a bare socket share no lock.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        let (read, write) = match &mut self.io {
            Io::Socket(socket) => {
                // A socket can be read and written through shared references. A layer, such as TLS, has one state for
                // both directions, which `tokio::io::split` guards with a lock.
                let (read, write) = socket.split();
                (ReadIo::Socket(read), WriteIo::Socket(write))
            }
            Io::Layered(stream) => {
                let (read, write) = tokio::io::split(stream);
                (ReadIo::Layered(read), WriteIo::Layered(write))
            }
        };
        let wire = self.wire.as_ref();
        (ReadHalf { early: &mut self.early, io: read, wire }, WriteHalf(write, wire))
    }
}

impl fmt::Debug for ReadHalf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadHalf").field("early", &self.early.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for WriteHalf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteHalf").finish_non_exhaustive()
    }
}

impl AsyncRead for ReadHalf<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.read(buf) {
            return Poll::Ready(Ok(()));
        }
        let wire = self.wire;
        count_read(wire, buf, |buf| match &mut self.io {
            ReadIo::Socket(socket) => Pin::new(socket).poll_read(cx, buf),
            ReadIo::Layered(stream) => Pin::new(stream).poll_read(cx, buf),
        })
    }
}

impl WriteHalf<'_> {
    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        Pin::new(match &mut self.0 {
            WriteIo::Socket(socket) => socket,
            WriteIo::Layered(stream) => stream,
        })
    }
}

impl AsyncWrite for WriteHalf<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.writer().poll_write(cx, buf);
        count_written(self.1, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use bytes::Bytes;

    /// Sends and reads through both halves of `tunnel`, before which `early` was read already.
    async fn check(mut tunnel: Tunnel, mut far: impl AsyncRead + AsyncWrite + Unpin) {
        tunnel.unread(Bytes::from_static(b"early "));
        far.write_all(b"late").await.unwrap();
        let (mut read, mut write) = tunnel.split();
        let mut seen = [0; 3];
        read.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"ear");
        write.write_all(b"there").await.unwrap();
        write.flush().await.unwrap();
        let mut sent = [0; 5];
        far.read_exact(&mut sent).await.unwrap();
        assert_eq!(&sent, b"there");
        // Unread bytes stay with the tunnel.
        let mut rest = [0; 7];
        tunnel.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"ly late");
        let (mut read, mut write) = tunnel.split();
        write.shutdown().await.unwrap();
        assert_eq!(far.read(&mut sent).await.unwrap(), 0);
        drop(far);
        assert_eq!(read.read(&mut seen).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn both_directions_of_a_socket_and_of_a_layer_work_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        check(Tunnel::socket(near), listener.accept().await.unwrap().0).await;
        let (near, far) = duplex(64);
        check(Tunnel::layered(near), far).await;
    }
}
