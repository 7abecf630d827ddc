//! Origins in the process of the test: HTTP/1.1 by hyper, which is strict, with or without TLS, and an echo.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{Certificates, pattern};

type Reply = Response<UnsyncBoxBody<Bytes, hyper::Error>>;

/// Serves `GET /bytes/N` (with a length), `GET /chunked/N`, `POST /verify` (says how many bytes of the pattern came)
/// and `POST /echo`.
#[derive(Debug)]
pub(crate) struct HttpOrigin {
    address: SocketAddr,
    scheme: &'static str,
}

impl HttpOrigin {
    pub(crate) async fn plain() -> Self {
        Self::start(None).await
    }

    pub(crate) async fn tls(certificates: &Certificates) -> Self {
        Self::start(Some(certificates)).await
    }

    async fn start(certificates: Option<&Certificates>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = certificates.map(Certificates::acceptor);
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, scheme }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// Returns a GET of `path` for a proxy. It asks for the connection to be closed afterwards.
    pub(crate) fn request(&self, path: &str) -> String {
        let (url, host) = (self.url(path), self.address);
        format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) {
    // A client may end its direction before it gets the answer.
    let _ = http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await;
}

async fn answer(request: Request<Incoming>) -> Result<Reply, Infallible> {
    let path = request.uri().path().to_owned();
    let length = |prefix| path.strip_prefix(prefix).and_then(|length: &str| length.parse().ok());
    let body = if request.method() == Method::POST && path == "/echo" {
        request.into_body().boxed_unsync()
    } else if request.method() == Method::POST && path == "/verify" {
        full(verify(request.into_body()).await)
    } else if let Some(length) = length("/bytes/") {
        PatternBody { offset: 0, length, is_sized: true }.boxed_unsync()
    } else if let Some(length) = length("/chunked/") {
        PatternBody { offset: 0, length, is_sized: false }.boxed_unsync()
    } else {
        let mut reply = Response::new(full("there is nothing here".into()));
        *reply.status_mut() = hyper::StatusCode::NOT_FOUND;
        return Ok(reply);
    };
    Ok(Response::new(body))
}

fn full(text: String) -> UnsyncBoxBody<Bytes, hyper::Error> {
    Full::from(text).map_err(|never| match never {}).boxed_unsync()
}

/// Reads a body and says how it compares with the pattern.
async fn verify(mut body: Incoming) -> String {
    let mut offset = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return format!("broken off after {offset} bytes") };
        let Some(bytes) = frame.data_ref() else { continue };
        if let Some(difference) = pattern::first_difference(offset, bytes) {
            return format!("wrong byte at {difference}");
        }
        offset += bytes.len() as u64;
    }
    format!("{offset} bytes as expected")
}

/// The first `length` bytes of the pattern.
struct PatternBody {
    offset: u64,
    length: u64,
    is_sized: bool,
}

impl Body for PatternBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let left = self.length - self.offset;
        if left == 0 {
            return Poll::Ready(None);
        }
        let block = pattern::at(self.offset);
        let bytes = &block[..block.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        self.offset += bytes.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(bytes)))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_sized {
            SizeHint::with_exact(self.length - self.offset)
        } else {
            SizeHint::default()
        }
    }
}

/// An origin that sends back all that it receives, and ends its direction after the other side has.
#[derive(Debug)]
pub(crate) struct EchoOrigin {
    address: SocketAddr,
}

impl EchoOrigin {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                    let _ = write.shutdown().await;
                });
            }
        });
        Self { address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
