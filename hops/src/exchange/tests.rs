//! Tests of exchanges with scripted proxies.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, duplex};

use super::*;
use crate::{Secret, Stream};

const REQUEST: &str = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n";

/// Runs the exchange against `answer`, over a pipe that passes `step` bytes at a time.
async fn run(answer: &[u8], step: usize) -> Result<String, HopError> {
    let (near, mut far) = duplex(step);
    let hop = async move {
        let mut seen = [0; REQUEST.len()];
        far.read_exact(&mut seen).await.unwrap();
        assert_eq!(std::str::from_utf8(&seen).unwrap(), REQUEST);
        let _ = far.write_all(answer).await;
    };
    let client = async move {
        let next = "example.com:443".parse().unwrap();
        let mut tunnel = connect(Tunnel::layered(near), &next, &[], HEAD_BYTES_MAX).await?;
        let mut rest = String::new();
        tunnel.read_to_string(&mut rest).await?;
        Ok(rest)
    };
    tokio::join!(hop, client).1
}

#[track_caller]
fn check(answer: &str, expected: Result<&str, &str>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for step in [1, 7, 4096] {
        let got = runtime.block_on(run(answer.as_bytes(), step)).map_err(|error| error.to_string());
        assert_eq!(got.as_deref().map_err(String::as_str), expected, "{answer:?} by {step}");
    }
}

#[test]
fn any_2xx_makes_a_tunnel_and_bytes_after_the_head_are_kept() {
    check("HTTP/1.1 200 Connection established\r\n\r\n", Ok(""));
    check("HTTP/1.0 200\r\n\r\nSSH-2.0", Ok("SSH-2.0"));
    check(
        "HTTP/1.1 204 Fine\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        Ok("abc"),
    );
    check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx", Ok("x"));
}

#[test]
fn only_the_end_of_the_head_of_a_2xx_matters() {
    check("HTTP/1.1 200 OK\r\nProxy-Agent : x\r\n\r\nabc", Ok("abc"));
    check("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\td\r\n\r\nabc", Ok("abc"));
    check("HTTP/1.1 200 OK\r\n folded: first\r\n\r\nabc", Ok("abc"));
    check("HTTP/1.1 200 OK\nA: b\n\nabc", Ok("abc"));
    check("HTTP/1.1 200 OK\r\nA: b\n\r\nabc", Ok("abc"));
    check("HTTP/1.1 200 OK\r\njunk\r\n: none\r\n\u{1}\u{7f}\r\nA b: c\r\n\r\n", Ok(""));
    check(&format!("HTTP/1.1 200 OK\r\n{}\r\nabc", "A: b\r\n".repeat(150)), Ok("abc"));
    check(&format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\nx", "a".repeat(60_000)), Ok("x"));
}

#[test]
fn a_refusal_carries_what_the_hop_says() {
    check("HTTP/1.1 403 Forbidden\r\n\r\n", Err("it answered 403 Forbidden"));
    check(
        "HTTP/1.1 407 Nope\r\nX-Other: x\r\nX-Squid-Error : ERR_ACCESS_DENIED 0\r\n\r\nbody",
        Err("it answered 407 Nope (ERR_ACCESS_DENIED 0)"),
    );
    check("HTTP/1.1 502\r\n\r\n", Err("it answered 502"));
    check(
        "HTTP/1.1 403 No\r\nContent-Length: 7\r\n\r\nBlockedX",
        Err("it answered 403 No and says \"Blocked\""),
    );
    check("HTTP/1.1 302 Found\nLocation: /\n\n", Err("it answered 302 Found"));
}

/// The end of a line may be in the middle of a secret, which is not found there.
#[test]
fn a_line_of_a_page_that_was_cut_is_not_quoted() {
    let page = format!("{}Wrong: Hunter2!", "\n".repeat(PAGE_BYTES_MAX - 10));
    let whole = format!("HTTP/1.1 403 No\r\n\r\n{}", page.trim_start());
    check(&whole, Err("it answered 403 No and says \"Wrong: Hunter2!\""));
    let long = format!("HTTP/1.1 403 No\r\nContent-Length: {}\r\n\r\n{page}", page.len());
    check(&long, Err("it answered 403 No"));
    let broken =
        "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\nd\r\nBlocked.\nHunt\r\nx\r\n";
    check(broken, Err("it answered 403 No and says \"Blocked.\""));
    check(&broken.replace(".\nHunt", ". Hunt"), Err("it answered 403 No"));
}

#[test]
fn an_answer_that_is_not_http_is_an_error() {
    check("", Err("it closed the connection without a full answer"));
    check("HTTP/1.1 200 OK\r\n", Err("it closed the connection without a full answer"));
    let not_http = "its answer is not understood: this is not HTTP";
    check("SSH-2.0-OpenSSH\r\n", Err(not_http));
    check("\x15\x03\x01", Err("it speaks TLS"));
    check("\x05\u{7f}", Err("it speaks SOCKS5"));
    let broken = Err("its answer is not understood: the status line is broken");
    check("HTTP/1.1 2000 OK\r\n\r\n", broken);
    check("HTTP/1.1 20x OK\r\n\r\n", broken);
    check("HTTP/1.1\r\n\r\n", broken);
    check(
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        Err("its answer is not understood: it switches protocols, which CONNECT does not"),
    );
    check(
        &"HTTP/1.1 100 Continue\r\n\r\n".repeat(102),
        Err("its answer is not understood: it keeps sending interim answers"),
    );
}

#[test]
fn a_head_that_does_not_end_is_given_up() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(HEAD_BYTES_MAX));
    check(&long, Err("the head of its answer is over 65536 bytes"));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(20_000));
    check(&many, Err("the head of its answer is over 65536 bytes"));
}

#[test]
fn credentials_are_sent_and_the_buffer_is_sized_exactly() {
    let fields = [Field::new("Proxy-Authorization", Secret::new("Basic dTpw"))];
    let head = head("CONNECT", "[::1]:80", "[::1]:80", &fields);
    assert_eq!(
        head.as_str(),
        "CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
    );
    assert_eq!(head.len(), head.capacity());
}

/// Sends `first` and then a 200, `step` bytes at a time. Returns whether the second request was possible.
async fn second_round(first: &str, step: usize) -> Result<bool, String> {
    let (near, far) = duplex(step);
    let script = format!("{first}HTTP/1.1 200 OK\r\n\r\nx");
    // Reads and writes at once: the pipe may be too small for a request or an answer.
    let (mut reader, mut writer) = tokio::io::split(far);
    let hop = async move {
        let mut asked = Vec::new();
        let (_, _) =
            tokio::join!(writer.write_all(script.as_bytes()), reader.read_to_end(&mut asked));
    };
    let client = async move {
        let next = "example.com:443".parse().unwrap();
        let mut tunnel = Tunnel::layered(near);
        let (mut reader, mut scanner) = (BytesMut::new(), HeadScanner::default());
        let end = loop {
            if let Some(end) = scanner.scan(&reader).unwrap() {
                break end;
            }
            tunnel.read_buf(&mut reader).await.unwrap();
        };
        let rest = reader.split_off(end);
        tunnel.unread(rest.freeze());
        let answer = Answer::parse(reader).unwrap();
        let mut exchange = Exchange::new(&mut tunnel, HEAD_BYTES_MAX);
        let is_kept = exchange.finish(&answer).await.map_err(|error| error.to_string())?;
        if is_kept {
            assert!(exchange.connect(&next, &[]).await.unwrap().is_success());
        }
        Ok(is_kept)
    };
    tokio::select! {
        biased;
        kept = client => kept,
        () = hop => Err("the hop ended first".into()),
    }
}

#[tokio::test]
async fn a_tunnel_is_kept_over_a_refusal_whose_end_is_certain() {
    for (head, is_kept) in [
        ("HTTP/1.1 407 A\r\nContent-Length: 3\r\n\r\nabc", true),
        ("HTTP/1.1 407 A\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 407 A\r\nContent-Length: 3, 3\r\n\r\nabc", true),
        (
            "HTTP/1.1 407 A\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: x\r\n\r\n",
            true,
        ),
        ("HTTP/1.0 407 A\r\nProxy-Connection: Keep-Alive\r\nContent-Length: 3\r\n\r\nabc", true),
        ("HTTP/1.1 407 A\r\nConnection: x, CLOSE\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 407 A\r\nProxy-Connection: close\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.0 407 A\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 407 A\r\n\r\n", false),
        ("HTTP/1.1 407 A\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", false),
        ("HTTP/1.1 407 A\r\nContent-Length: -1\r\n\r\n", false),
        (
            "HTTP/1.1 407 A\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
            false,
        ),
        ("HTTP/1.1 407 A\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", false),
        ("HTTP/1.1 407 A\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", false),
    ] {
        for step in [1, 7, 4096] {
            assert_eq!(second_round(head, step).await, Ok(is_kept), "{head:?} by {step}");
        }
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let (near, mut proxy) = duplex(1024);
    let mut tunnel = Tunnel::layered(near);
    let mut exchange = Exchange::new(&mut tunnel, HEAD_BYTES_MAX);
    let host = "example.com:80".parse().unwrap();
    for (head, is_kept) in [
        ("HTTP/1.1 407 A\r\nContent-Length: 3\r\n\r\n", true),
        ("HTTP/1.1 407 A\r\nTransfer-Encoding: chunked\r\n\r\n", true),
        ("HTTP/1.1 407 A\r\n\r\n", true),
        ("HTTP/1.1 407 A\r\nConnection: close\r\n\r\n", false),
    ] {
        proxy.write_all(head.as_bytes()).await.unwrap();
        let line = RequestLine { method: "HEAD", uri: &"http://example.com/" };
        let answer = exchange.request(line, &host, &[]).await.unwrap();
        assert_eq!(exchange.finish(&answer).await.unwrap(), is_kept, "{head:?}");
    }
}

/// A stream that counts how often it is read.
struct CountReads {
    stream: tokio::io::DuplexStream,
    reads: Arc<AtomicUsize>,
}

impl AsyncRead for CountReads {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.reads.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(read)
    }
}

impl AsyncWrite for CountReads {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Stream for CountReads {}

#[tokio::test]
async fn a_large_body_takes_few_reads() {
    const BYTES: usize = 1 << 20;
    for (framing, reads_max) in
        [(format!("Content-Length: {BYTES}"), 70), ("Transfer-Encoding: chunked".into(), 70)]
    {
        let body = "a".repeat(BYTES);
        let body = match framing.starts_with('T') {
            true => format!("{BYTES:x}\r\n{body}\r\n0\r\n\r\n"),
            false => body,
        };
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}");
        let (near, mut far) = duplex(2 * BYTES);
        far.write_all(answer.as_bytes()).await.unwrap();
        let reads = Arc::<AtomicUsize>::default();
        let mut tunnel = Tunnel::layered(CountReads { stream: near, reads: Arc::clone(&reads) });
        let mut exchange = Exchange::new(&mut tunnel, HEAD_BYTES_MAX);
        let host = "example.com:80".parse().unwrap();
        let line = RequestLine { method: "GET", uri: &"/" };
        let answer = exchange.request(line, &host, &[]).await.unwrap().with_fields();
        let body = exchange.body_up_to(&answer, 2 * BYTES).await.unwrap();
        assert_eq!((body.bytes.len(), body.end), (BYTES, BodyEnd::Whole), "{framing}");
        let reads = reads.load(Ordering::Relaxed);
        assert!(reads <= reads_max, "{framing}: {reads}");
    }
}

#[tokio::test]
async fn a_body_over_64_kib_counts_as_a_close() {
    let long = format!("HTTP/1.1 407 A\r\nContent-Length: 70000\r\n\r\n{}", "a".repeat(70_000));
    assert_eq!(second_round(&long, 4096).await, Ok(false));
    let chunks = "1\r\na\r\n".repeat(20_000);
    let chunks = format!("HTTP/1.1 407 A\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    assert_eq!(second_round(&chunks, 4096).await, Ok(false));
    let most = format!("HTTP/1.1 407 A\r\nContent-Length: 65536\r\n\r\n{}", "a".repeat(65_536));
    assert_eq!(second_round(&most, 4096).await, Ok(true));
}
