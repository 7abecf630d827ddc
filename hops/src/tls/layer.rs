//! A TLS connection as a layer of a tunnel.

use std::{
    io::{self, ErrorKind, Read as _},
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
    Tunnel::layered(TlsLayer { stream: stream.into(), failure: None })
}

/// A TLS connection that may end without `close_notify`.
///
/// Many servers close the TCP connection without it: Python's `ssl`, Apache's mod_proxy_connect, Squid's
/// `https_port`. RFC 8446 §6.1 demands the alert, and rustls reports its absence as [`ErrorKind::UnexpectedEof`]. That
/// protects protocols which can't tell a complete message from a cut one. What passes through a proxy needs no such
/// protection: HTTP has lengths and chunks, and the protocol in a tunnel would see the same end without TLS. So the stream
/// just ends here. A reset is still an error.
///
/// A fatal alert, or a record that can't be decrypted, may arrive in one segment with the last bytes of the peer. rustls
/// decrypts the records in front of it and then reports the error, and tokio-rustls passes that on at once. The decrypted
/// bytes are still in the session. They are read before the error is reported, as the bytes before a reset are.
struct TlsLayer {
    stream: TlsStream<Tunnel>,
    /// An error that is reported once the decrypted bytes are read.
    failure: Option<io::Error>,
}

impl TlsLayer {
    /// Reads from the bytes that were decrypted before the failure. Returns the failure if there are none left.
    fn read_before_failure(&mut self, failure: io::Error, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        // Reading nothing says nothing about how much is left.
        if buf.remaining() > 0 {
            let space = buf.initialize_unfilled();
            let read = match &mut self.stream {
                TlsStream::Client(stream) => stream.get_mut().1.reader().read(space),
                TlsStream::Server(stream) => stream.get_mut().1.reader().read(space),
            };
            // An error of the session's reader means that nothing is left, for whatever reason.
            match read {
                Ok(0) | Err(_) => return Err(failure),
                Ok(bytes) => buf.advance(bytes),
            }
        }
        self.failure = Some(failure);
        Ok(())
    }
}

impl AsyncRead for TlsLayer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(self.read_before_failure(failure, buf));
        }
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            // rustls returns all decrypted bytes before it reports this, so nothing is lost.
            Poll::Ready(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(self.read_before_failure(error, buf)),
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
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Stream for TlsLayer {
    fn socket(&self) -> Option<&TcpStream> {
        self.stream.get_ref().0.bottom()
    }

    fn bottom_wire(&self) -> Option<&Arc<dyn CountWire>> {
        self.stream.get_ref().0.bottom_wire()
    }

    fn peer_certificate(&self) -> Option<&[u8]> {
        let (_, connection) = self.stream.get_ref();
        connection.peer_certificates()?.first().map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio_rustls::{
        TlsAcceptor, TlsConnector,
        rustls::{
            ClientConfig, ConnectionCommon, RootCertStore, ServerConfig, SideData,
            SupportedProtocolVersion,
            crypto::ring,
            pki_types::{PrivateKeyDer, ServerName},
            version::{TLS12, TLS13},
        },
    };

    use super::*;

    /// The end of a stream, in one segment with the last bytes.
    #[derive(Clone, Copy, Debug)]
    enum Ending {
        FatalAlert,
        NotDecryptable,
        /// No `close_notify`.
        Cut,
    }

    #[tokio::test]
    async fn bytes_in_front_of_an_alert_or_a_broken_record_are_read() {
        for version in [&TLS12, &TLS13] {
            for ending in [Ending::FatalAlert, Ending::NotDecryptable, Ending::Cut] {
                for (length, buffer_bytes) in
                    [(10, 1), (10, 4096), (60_000, 1000), (300_000, 65_536)]
                {
                    let (server, client) = connected(version).await;
                    let case = format!("{:?}, {ending:?}, {length} bytes", version.version);
                    check(client.into(), server.into(), ending, (length, buffer_bytes), &case)
                        .await;
                    let (server, client) = connected(version).await;
                    let case = format!("to the server, {case}");
                    check(server.into(), client.into(), ending, (length, buffer_bytes), &case)
                        .await;
                }
            }
        }
    }

    /// Has `peer` send `length` bytes and the ending at once, and reads them from `stream` with a buffer of `buffer_bytes`.
    async fn check(
        stream: TlsStream<Tunnel>,
        mut peer: TlsStream<Tunnel>,
        ending: Ending,
        (length, buffer_bytes): (usize, usize),
        case: &str,
    ) {
        let sent: Vec<_> = (0..length).map(|index| (index % 251) as u8).collect();
        let records = match &mut peer {
            TlsStream::Client(stream) => records(stream.get_mut().1, &sent, ending),
            TlsStream::Server(stream) => records(stream.get_mut().1, &sent, ending),
        };
        let (below, _) = peer.get_mut();
        below.write_all(&records).await.unwrap();
        below.shutdown().await.unwrap();
        let mut tunnel = layer(stream);
        let (mut received, mut buffer) = (Vec::new(), vec![0; buffer_bytes]);
        let end = loop {
            match tunnel.read(&mut buffer).await {
                Ok(0) => break None,
                Ok(bytes) => received.extend_from_slice(&buffer[..bytes]),
                Err(error) => break Some(error.kind()),
            }
        };
        assert_eq!(received.len(), length, "{case}");
        assert!(received == sent, "{case}: other bytes");
        let expected = match ending {
            Ending::FatalAlert | Ending::NotDecryptable => Some(ErrorKind::InvalidData),
            Ending::Cut => None,
        };
        assert_eq!(end, expected, "{case}");
    }

    /// Returns the records of `sent`, and those of the ending.
    fn records(
        session: &mut ConnectionCommon<impl SideData>,
        sent: &[u8],
        ending: Ending,
    ) -> Vec<u8> {
        /// A record of application data that no key has made (RFC 8446 §5.2).
        const BROKEN: [u8; 45] = {
            let mut record = [0; 45];
            [record[0], record[1], record[2], record[4]] = [23, 3, 3, 40];
            record
        };
        session.set_buffer_limit(None);
        session.writer().write_all(sent).unwrap();
        if matches!(ending, Ending::FatalAlert) {
            // A session that receives such a record sends an alert, encrypted as all that it sends.
            session.read_tls(&mut &BROKEN[..]).unwrap();
            session.process_new_packets().unwrap_err();
        }
        let mut records = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut records).unwrap();
        }
        if matches!(ending, Ending::NotDecryptable) {
            records.extend(BROKEN);
        }
        records
    }

    async fn connected(
        version: &'static SupportedProtocolVersion,
    ) -> (tokio_rustls::server::TlsStream<Tunnel>, tokio_rustls::client::TlsStream<Tunnel>) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let provider = Arc::new(ring::default_provider());
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far): (DuplexStream, _) = duplex(1 << 20);
        let name = ServerName::try_from("localhost").unwrap();
        let (server, client) = tokio::join!(
            TlsAcceptor::from(Arc::new(server)).accept(Tunnel::layered(far)),
            TlsConnector::from(Arc::new(client)).connect(name, Tunnel::layered(near)),
        );
        (server.unwrap(), client.unwrap())
    }
}
