//! Clients that leave before they are answered: when the proxy notices, what it says, and what a pool learns.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
    time::sleep,
};
use tokio_rustls::client::TlsStream;

use crate::{
    support::{
        Certificates, Double, Proxy, Step, assert_reads, exchange, head, open, resets_or_skip,
        rest, status, within,
    },
    tls_listeners::connect_tls,
};

const CONNECT: &[u8] = b"CONNECT origin.test:80 HTTP/1.1\r\nHost: origin.test:80\r\n\r\n";
const GET: &[u8] =
    b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n";
/// The greeting and the request of SOCKS5 for `origin.test:80`, in one piece.
const SOCKS: &[u8] = b"\x05\x01\x00\x05\x01\x00\x03\x0borigin.test\x00\x50";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
/// Longer than a member may be silent before a client that leaves counts against it.
const LONG: Duration = Duration::from_millis(3_200);

async fn pool(members: [&Double; 2]) -> Proxy {
    let members = members.map(|member| {
        format!("      - {{ kind: http-connect, address: \"{}\" }}\n", member.address())
    });
    let members = members.concat();
    Proxy::start(&format!(
        "hops:\n  exits:\n    kind: pool\n    members:\n{members}chains: {{ default: [exits] }}\n"
    ))
    .await
}

/// Returns how many connections the first member failed, and whether connections use it.
async fn first_member(proxy: &Proxy) -> (Value, Value) {
    let member = status(proxy.address()).await["pools"]["exits"]["shown"][0].clone();
    (member["failed"].clone(), member["working"].clone())
}

async fn asks(proxy: &Proxy, request: &[u8]) -> TcpStream {
    let mut client = open(proxy.address()).await;
    client.write_all(request).await.unwrap();
    client
}

#[tokio::test]
async fn a_client_that_leaves_a_silent_member_after_seconds_counts_against_it() {
    let checks = [CONNECT, GET, SOCKS].map(|request| {
        tokio::spawn(async move {
            let first = Double::start([Step::Listen]).await;
            let second = Double::start([Step::Answer(ANSWER.into())]).await;
            let proxy = pool([&first, &second]).await;
            let client = asks(&proxy, request).await;
            sleep(LONG).await;
            drop(client);
            let left = proxy.event("pool member left").await;
            assert_eq!(["hop", "member"].map(|field| left.field(field)), ["exits", "members[0]"]);
            assert!(left.field("error").contains("after which the client left"), "{left:?}");
            assert_eq!(first_member(&proxy).await, (json!(1), json!(false)));
            let message = if request == GET { "request" } else { "tunnel closed" };
            let line = proxy.event(message).await;
            assert_eq!(["status", "end"].map(|field| line.field(field)), ["0", "client left"]);
            let reason = line.field("reason");
            assert!(
                reason.starts_with("waited ") && reason.contains("exits.members[0]`"),
                "{line:?}"
            );
            let answer = exchange(proxy.address(), GET).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        })
    });
    for check in checks {
        check.await.unwrap();
    }
}

/// Waits until `member` has been asked for something.
async fn is_asked(member: &Double) {
    member
        .record()
        .until("the request", |seen| (!seen.first()?.bytes.is_empty()).then_some(()))
        .await;
}

#[tokio::test]
async fn a_client_that_leaves_soon_is_noticed_and_says_nothing_of_the_member() {
    for request in [CONNECT, GET, SOCKS] {
        let first = Double::start([Step::Listen]).await;
        let second = Double::start([Step::Answer(ANSWER.into())]).await;
        let proxy = pool([&first, &second]).await;
        let client = asks(&proxy, request).await;
        is_asked(&first).await;
        drop(client);
        // The timeouts are 30 s and more.
        let end = first.record().until("its end", |seen| seen.first()?.is_ended.then_some(()));
        tokio::time::timeout(Duration::from_secs(5), end).await.unwrap();
        assert_eq!(first_member(&proxy).await, (json!(0), json!(true)));
        let message = if request == GET { "request" } else { "tunnel closed" };
        let line = proxy.event(message).await;
        assert_eq!(line.field("end"), "client left");
        assert!(line.field("reason").contains("exits.members[0]`"), "{line:?}");
    }
}

#[tokio::test]
async fn the_wait_of_a_client_ends_when_it_leaves_and_not_when_that_is_noticed() {
    for request in [CONNECT, GET, SOCKS] {
        let hop = Double::start([Step::Listen]).await;
        let other = Double::start([Step::Answer(ANSWER.into())]).await;
        let proxy = pool([&hop, &other]).await;
        let begun = Instant::now();
        let client = asks(&proxy, request).await;
        is_asked(&hop).await;
        sleep(Duration::from_millis(300)).await;
        drop(client);
        let lasted = begun.elapsed();
        let message = if request == GET { "request" } else { "tunnel closed" };
        let line = proxy.event(message).await;
        let noticed = begun.elapsed();
        assert_eq!(line.field("end"), "client left");
        // The proxy serves the client for a moment more, which is not part of its wait.
        let (shown, noticed) = (line.number("duration_seconds"), noticed.as_secs_f64());
        let (lasted, moment) = (lasted.as_secs_f64(), 1.3);
        // A client of SOCKS leaves an answer unread, so that its end is a reset, which is noticed at once.
        let is_reset = request == SOCKS;
        assert!(noticed > lasted + moment || is_reset, "{noticed} {lasted}");
        // A slow machine lengthens both, and not what is between them.
        assert!(noticed > shown + moment || is_reset, "{noticed}: {shown}");
        assert!((0.3..noticed).contains(&shown), "{shown}: {noticed}");
        let reason = line.field("reason");
        let waited = reason.strip_prefix("waited ").and_then(|rest| rest.split_once(" ms for "));
        let waited: f64 = waited.expect(&reason).0.parse().unwrap();
        assert!(waited / 1e3 <= shown + 0.01, "{reason}: {shown}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_does_not_count_against_a_member_that_answers_others() {
    for request in [CONNECT, GET] {
        let first = Double::start([Step::Listen]).await;
        let second = Double::start([Step::Answer(ANSWER.into())]).await;
        let proxy = pool([&first, &second]).await;
        let client = asks(&proxy, request).await;
        is_asked(&first).await;
        first.becomes([Step::Answer(ANSWER.into())]);
        assert!(exchange(proxy.address(), GET).await.starts_with("HTTP/1.1 200 "));
        sleep(LONG).await;
        drop(client);
        first.record().until("its end", |seen| seen.first()?.is_ended.then_some(())).await;
        assert_eq!(first_member(&proxy).await, (json!(0), json!(true)));
        assert!(second.record().now().is_empty());
    }
}

#[tokio::test]
async fn a_half_closed_client_that_has_sent_ahead_gets_its_tunnel_and_its_bytes_arrive() {
    let agreed = Arc::new(Notify::new());
    let script = [
        Step::Hear("\r\n\r\n".into()),
        Step::Await(Arc::clone(&agreed)),
        Step::Say("HTTP/1.1 200 OK\r\n\r\n".into()),
        Step::Hear("early".into()),
        Step::Say("late".into()),
        Step::End,
    ];
    let hop = Double::start(script).await;
    let proxy = Proxy::start(&format!(
        "hops: {{ h: {{ kind: http-connect, address: \"{}\" }} }}\nchains: {{ default: [h] }}\n",
        hop.address()
    ))
    .await;
    let mut client = asks(&proxy, CONNECT).await;
    client.write_all(b"early").await.unwrap();
    client.shutdown().await.unwrap();
    // Longer than a client that has sent nothing would be served.
    sleep(Duration::from_secs(2)).await;
    agreed.notify_one();
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
    assert_reads(&mut client, "late").await;
    assert_eq!(rest(&mut client).await, "");
    let closed = within("the line", proxy.event("tunnel closed")).await;
    assert_eq!(["status", "sent", "end"].map(|field| closed.field(field)), ["200", "5", "closed"]);
}

/// The end of a client that [`resets`] its connection.
trait Resets: AsyncRead + AsyncWrite + Unpin + Send {
    fn socket(&self) -> &TcpStream;
}

impl Resets for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Resets for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Opens a connection to `proxy`, with TLS if its listener has that.
async fn client_of(proxy: &Proxy, certificates: Option<&Certificates>) -> Box<dyn Resets> {
    match certificates {
        None => Box::new(open(proxy.address()).await),
        Some(certificates) => {
            Box::new(connect_tls(proxy.address(), certificates, None).await.unwrap())
        }
    }
}

/// Sends `bytes`, as far as the proxy takes them within a moment, and resets the connection.
async fn sends_and_resets(mut client: Box<dyn Resets>, bytes: &[u8]) {
    let _ = tokio::time::timeout(Duration::from_millis(500), client.write_all(bytes)).await;
    client.socket().set_zero_linger().unwrap();
}

/// Starts a proxy for clients with TLS or without it.
async fn proxy_for(certificates: Option<&Certificates>, yaml: &str) -> Proxy {
    let server = certificates.map_or_else(String::new, |certificates| {
        let tls = certificates.listener_tls();
        format!("server: {{ listen: {{ address: \"127.0.0.1:0\", tls: {{ {tls} }} }} }}\n")
    });
    Proxy::start(&format!("{server}{yaml}")).await
}

/// Sizes below the amount that is read ahead, and above it: with room in the sockets, and without. On Windows, only a read
/// shows a reset.
const AHEAD: &[usize] =
    if cfg!(windows) { &[10, 10_000] } else { &[10, 10_000, 100_000, 20_000_000] };

/// Returns each of those sizes, for a client without TLS and for one with it.
fn ahead(certificates: &Certificates) -> impl Iterator<Item = (Option<&Certificates>, usize)> {
    let both = [None, Some(certificates)].into_iter();
    both.flat_map(|tls| AHEAD.iter().map(move |bytes| (tls, *bytes)))
}

/// Checks that the first connection of `upstream` ends long before any timeout, which are 30 s and more.
async fn ends_soon(upstream: &Double, case: &str) {
    let end = upstream.record().until("its end", |seen| seen.first()?.is_ended.then_some(()));
    assert!(tokio::time::timeout(Duration::from_secs(5), end).await.is_ok(), "{case}");
}

#[tokio::test]
async fn a_post_is_not_carried_out_if_its_client_resets_before_the_way_is_open() {
    if !resets_or_skip() {
        return;
    }
    let certificates = Certificates::new();
    for (tls, bytes) in ahead(&certificates) {
        let hop = Double::start([Step::Hear("\r\n\r\n".into()), Step::Listen]).await;
        let yaml = format!(
            "hops: {{ h: {{ kind: http-connect, address: \"{}\", plain: connect }} }}\nchains: {{ default: [h] }}\n",
            hop.address()
        );
        let proxy = proxy_for(tls, &yaml).await;
        let mut client = client_of(&proxy, tls).await;
        let head = format!(
            "POST http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nContent-Length: {bytes}\r\n\r\n"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        is_asked(&hop).await;
        sends_and_resets(client, &vec![b'x'; bytes]).await;
        ends_soon(&hop, &format!("{bytes} {}", tls.is_some())).await;
        assert!(hop.sent().starts_with("CONNECT ") && !hop.sent().contains("POST"));
    }
}

/// Returns an origin whose event stream goes silent after its first event, a proxy, a client that has asked for the stream, and
/// its request.
async fn event_stream(tls: Option<&Certificates>) -> (Double, Proxy, Box<dyn Resets>, String) {
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n";
    let origin = Double::start([Step::Answer(answer.into()), Step::Listen]).await;
    let proxy = proxy_for(tls, "chains: { default: [] }\n").await;
    let mut client = client_of(&proxy, tls).await;
    let request = format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.address());
    client.write_all(request.as_bytes()).await.unwrap();
    is_asked(&origin).await;
    (origin, proxy, client, request)
}

#[tokio::test]
async fn a_client_that_resets_behind_pipelined_bytes_keeps_no_stream_open() {
    if !resets_or_skip() {
        return;
    }
    let certificates = Certificates::new();
    for (tls, bytes) in ahead(&certificates) {
        let (origin, _proxy, client, request) = event_stream(tls).await;
        sends_and_resets(client, request.repeat(bytes / request.len() + 1).as_bytes()).await;
        ends_soon(&origin, &format!("{bytes} {}", tls.is_some())).await;
    }
}

/// The end waits behind bytes that are not read before the answer is over.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_closes_behind_pipelined_bytes_keeps_no_stream_open() {
    use tokio::io::AsyncReadExt as _;

    let certificates = Certificates::new();
    // All of it fits into what the proxy reads ahead and its receive buffer. Behind more, the end does not arrive.
    for (tls, bytes) in [(None, 1_000), (None, 100_000), (Some(&certificates), 100_000)] {
        let (origin, _proxy, mut client, request) = event_stream(tls).await;
        let more = request.repeat(bytes / request.len() + 1);
        within("the requests are sent", client.write_all(more.as_bytes())).await.unwrap();
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains("data: x") {
            assert_ne!(within("an answer", client.read_buf(&mut read)).await.unwrap(), 0);
        }
        client.shutdown().await.unwrap();
        drop(client);
        ends_soon(&origin, &format!("{bytes} {}", tls.is_some())).await;
    }
}

#[tokio::test]
#[cfg_attr(windows, ignore = "only a read shows a reset there")]
async fn a_client_that_resets_while_the_origin_takes_nothing_is_noticed() {
    if !resets_or_skip() {
        return;
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let mut client = client_of(&proxy, None).await;
    let head = format!(
        "POST http://{address}/ HTTP/1.1\r\nHost: {address}\r\nContent-Length: 900000000\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let _origin = within("the origin accepts", listener.accept()).await.unwrap();
    sends_and_resets(client, &vec![b'x'; 100_000_000]).await;
    // `timeouts.stall` is five minutes.
    let line = tokio::time::timeout(Duration::from_secs(5), proxy.event("request")).await.unwrap();
    assert_eq!(line.field("end"), "client broke");
}
