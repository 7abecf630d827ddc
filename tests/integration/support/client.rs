//! A client that sends exactly the bytes that a test gives it.

use std::{fmt, io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use super::within;

/// The answer of a proxy to a CONNECT request, and the connection that it came on.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) stream: TcpStream,
}

impl Answer {
    #[track_caller]
    pub(crate) fn tunnel(self) -> TcpStream {
        assert_eq!(self.head, "HTTP/1.1 200 Connection established\r\n\r\n");
        self.stream
    }
}

/// Opens a connection.
pub(crate) async fn open(proxy: SocketAddr) -> TcpStream {
    within("the proxy accepts", TcpStream::connect(proxy)).await.unwrap()
}

/// Asks for a tunnel to `target`.
pub(crate) async fn connect(proxy: SocketAddr, target: impl fmt::Display) -> Answer {
    connect_early(proxy, target, "").await
}

/// Asks for a tunnel to `target`, and sends `early` through it right after the request.
pub(crate) async fn connect_early(
    proxy: SocketAddr,
    target: impl fmt::Display,
    early: &str,
) -> Answer {
    let mut stream = open(proxy).await;
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n{early}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = head(&mut stream).await;
    Answer { head, stream }
}

/// Asks for a tunnel to `target` by SOCKS5, and returns it.
pub(crate) async fn socks_connect(proxy: SocketAddr, target: SocketAddr) -> TcpStream {
    let std::net::IpAddr::V4(ip) = target.ip() else { panic!("{target} is not of IPv4") };
    let mut stream = open(proxy).await;
    let address = [&ip.octets()[..], &target.port().to_be_bytes()].concat();
    stream.write_all(&[b"\x05\x01\x00\x05\x01\x00\x01", &address[..]].concat()).await.unwrap();
    let mut answer = [0; 12];
    within("the answer to SOCKS", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer[..4], [5, 0, 5, 0], "{answer:?}");
    stream
}

/// Sends a few bytes through a tunnel to an echo, and reads them back.
pub(crate) async fn ping(tunnel: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    tunnel.write_all(b"ping").await.unwrap();
    assert_reads(tunnel, "ping").await;
}

/// Reads a head up to its empty line, and no byte more.
pub(crate) async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let reading = read_through(stream, "\r\n\r\n", |bytes| head.extend_from_slice(bytes));
    if let Err(error) = within("a head comes", reading).await {
        panic!("after {:?}: {error}", String::from_utf8_lossy(&head));
    }
    String::from_utf8(head).unwrap()
}

/// Reads up to the first `end`, and no byte more. Gives `took` the bytes as they come, and returns whether `end` came before the
/// other side ended.
///
/// It peeks at the bytes that have come and then reads as many as it needs. Single bytes would take seconds under Wine on a busy
/// machine, since each read asks Wine's server.
pub(crate) async fn read_through(
    stream: &mut TcpStream,
    end: &str,
    mut took: impl FnMut(&[u8]),
) -> io::Result<bool> {
    let (mut read, mut peeked) = (Vec::new(), vec![0; PEEK_BYTES]);
    while !read.ends_with(end.as_bytes()) {
        let length = stream.peek(&mut peeked).await?;
        if length == 0 {
            return Ok(false);
        }
        let before = read.len();
        read.extend_from_slice(&peeked[..length]);
        // The bytes before these may hold the beginning of `end`.
        let from = (before + 1).saturating_sub(end.len());
        let found = read[from..].windows(end.len()).position(|bytes| bytes == end.as_bytes());
        if let Some(at) = found {
            read.truncate(from + at + end.len());
        }
        let needed = read.len() - before;
        stream.read_exact(&mut peeked[..needed]).await?;
        took(&read[before..]);
    }
    Ok(true)
}

/// More than most heads have.
const PEEK_BYTES: usize = 16 << 10;

/// Reads exactly as many bytes as `expected` has, and compares them.
pub(crate) async fn assert_reads(stream: &mut (impl AsyncRead + Unpin), expected: &str) {
    let mut read = vec![0; expected.len()];
    within(&format!("{expected:?} comes"), stream.read_exact(&mut read)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&read), expected);
}

/// Reads to the end.
pub(crate) async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut rest = Vec::new();
    within("the end comes", stream.read_to_end(&mut rest)).await.unwrap();
    String::from_utf8_lossy(&rest).into_owned()
}

/// Sends `request` on a new connection and reads to the end of the answer, a reset included.
pub(crate) async fn exchange(proxy: SocketAddr, request: &[u8]) -> String {
    let mut stream = open(proxy).await;
    // A refusal may come before everything is sent.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = within("the answer ends", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}
