//! Requests with something wrong with them, through the proxy and past it: what the proxy passes on, hyper reads as the
//! very messages that it reads in the client's own bytes, and as no more of them.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use http_body_util::BodyExt as _;
use hyper::{
    Request, Response, body::Incoming, header::HeaderMap, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{Proxy, open, within};

#[tokio::test]
async fn passed_messages_keep_their_meaning() {
    let heard = Heard::default();
    let address = listen(heard.clone()).await;
    let proxy = Proxy::start(&format!(
        "timeouts: {{ header: 1s }}\nhops: {{ a: {{ kind: http-connect, address: \"{address}\" }} }}\n\
         chains: {{ default: [a] }}\n"
    ))
    .await;
    let mut random = Random(1);
    let mut passed = 0;
    for round in 0..ROUNDS {
        let seed = SEEDS[round % SEEDS.len()].as_bytes().to_vec();
        // The seeds themselves come first.
        let times = if round < SEEDS.len() { 0 } else { 1 + random.below(3) };
        let request = (0..times).fold(seed, |request, _| random.mutated(request));
        let meant = Heard::default();
        meant.read(&request).await;
        let (meant, _) = meant.take();
        through(&proxy, &request).await;
        let (sent, is_broken) = heard.take();
        let shown = String::from_utf8_lossy(&request);
        assert!(!is_broken, "the hop was sent what is no HTTP for {shown:?}");
        assert!(meant.starts_with(&sent), "{shown:?}: {meant:#?} became {sent:#?}");
        assert!(times > 0 || sent.len() == meant.len(), "{shown:?} is in order: {sent:#?}");
        passed += sent.len();
    }
    assert!(passed > ROUNDS / 4, "almost nothing passed: {passed}");
}

/// Sends `request`, ends, and waits for the end of what comes back.
async fn through(proxy: &Proxy, request: &[u8]) {
    let mut client = open(proxy.address()).await;
    // It may be refused before it is whole.
    let _ = client.write_all(request).await;
    let _ = client.shutdown().await;
    let _ = within("the end", client.read_to_end(&mut Vec::new())).await;
}

async fn listen(heard: Heard) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let heard = heard.clone();
            tokio::spawn(async move { heard.serve(stream).await });
        }
    });
    address
}

/// The messages that hyper has found, and whether it has found something else.
#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<(Vec<Message>, bool)>>);

/// A request as its recipient understood it: what it is about, its fields in groups, its body, its trailers.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    start: [String; 3],
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
}

impl Heard {
    async fn read(&self, bytes: &[u8]) {
        let (mut near, far) = tokio::io::duplex(1 << 20);
        near.write_all(bytes).await.unwrap();
        near.shutdown().await.unwrap();
        self.serve(far).await;
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) {
        let service = service_fn(async |request: Request<Incoming>| {
            let (head, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                let trailers = body.trailers().map(group).unwrap_or_default();
                let host = head.uri.authority().map_or("", |authority| authority.as_str());
                let host = host.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
                let host = host.strip_suffix(":80").unwrap_or(&host).to_owned();
                let path = head.uri.path_and_query().map_or("", |path| path.as_str());
                self.0.lock().unwrap().0.push(Message {
                    start: [head.method.to_string(), host, path.to_owned()],
                    fields: group(&head.headers),
                    body: body.to_bytes().to_vec(),
                    trailers,
                });
            }
            Ok::<_, Infallible>(Response::new(String::new()))
        });
        let served =
            http1::Builder::new().half_close(true).serve_connection(TokioIo::new(stream), service);
        if served.await.is_err_and(|error| error.is_parse()) {
            self.0.lock().unwrap().1 = true;
        }
    }

    fn take(&self) -> (Vec<Message>, bool) {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// The fields that are for the recipient, sorted by name, in their order where that is the same.
fn group(fields: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let named: Vec<_> = fields
        .get_all("connection")
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
        .collect();
    let is_kept =
        |name: &str| !OF_THE_CONNECTION.contains(&name) && !named.iter().any(|n| n == name);
    let mut fields: Vec<_> = fields
        .iter()
        .filter(|(name, _)| is_kept(name.as_str()))
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
}

/// A generator that gives equal numbers in each run (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    /// `request` with one thing changed.
    fn mutated(&mut self, mut request: Vec<u8>) -> Vec<u8> {
        let at = self.below(request.len());
        let piece = PIECES[self.below(PIECES.len())].as_bytes();
        match self.below(5) {
            0 => request[at] = b"\0\t\n\r ,:;/@0aZ\x7f\xff"[self.below(15)],
            1 => drop(request.remove(at)),
            2 => drop(request.splice(at..at, piece.iter().copied())),
            3 => {
                // A line more where a line begins.
                let starts: Vec<_> =
                    (2..request.len()).filter(|end| request[..*end].ends_with(b"\r\n")).collect();
                let start = starts[self.below(starts.len())];
                request.splice(start..start, [piece, b"\r\n"].concat());
            }
            _ => {
                let end = (at + 1 + self.below(20)).min(request.len());
                let part = request[at..end].to_vec();
                request.splice(at..at, part);
            }
        }
        request
    }
}

const ROUNDS: usize = 600;
const SEEDS: [&str; 6] = [
    "GET http://a.test/x?y HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\nConnection: X-Mine\r\nX-Mine: 1\r\n\r\n",
    "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 11\r\nX: y\r\n\r\nhello\r\n0\r\n\r\n",
    "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    "POST http://a.test/1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabcGET http://b.test/2 HTTP/1.1\r\nHost: b.test\r\n\r\n",
    "PUT http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET http://a.test/3 HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET http://a.test/ HTTP/1.0\r\nContent-Length: 2\r\n\r\nab",
];
/// Values that have been used to smuggle requests.
const PIECES: [&str; 14] = [
    "Content-Length: 5",
    "Content-Length: 0",
    "content-length:+3",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding:\x0bchunked",
    "Transfer-Encoding : chunked",
    "Connection: close, Content-Length, Transfer-Encoding",
    "Host: other.test",
    " folded: line",
    "\r\n\r\nGET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
    "0\r\n\r\n",
    "\n",
    "\r",
];
const OF_THE_CONNECTION: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "proxy-authenticate",
];
