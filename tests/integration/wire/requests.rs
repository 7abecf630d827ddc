//! The bytes that an origin gets for a client's request.

use tokio::io::AsyncWriteExt as _;

use super::{OK, answer, at, direct};
use crate::support::{BASIC, Double, Proxy, Step, assert_reads, head, open, two_hops};

#[tokio::test]
async fn an_origin_gets_a_target_without_scheme_and_userinfo() {
    check_lines(&[
        ("GET http://{o}/", "GET / HTTP/1.1\r\nHost: {o}\r\n"),
        ("GET http://{o}", "GET / HTTP/1.1\r\nHost: {o}\r\n"),
        ("GET http://{o}?a=b", "GET /?a=b HTTP/1.1\r\nHost: {o}\r\n"),
        ("GET HTTP://{o}/", "GET / HTTP/1.1\r\nHost: {o}\r\n"),
        ("GET ws://{o}/chat", "GET /chat HTTP/1.1\r\nHost: {o}\r\n"),
        ("GET http://user:canary@{o}/", "GET / HTTP/1.1\r\nHost: {o}\r\n"),
        ("GET http://@{o}/a:b@c", "GET /a:b@c HTTP/1.1\r\nHost: {o}\r\n"),
    ])
    .await;
}

#[tokio::test]
async fn a_path_keeps_each_byte() {
    check_lines(&[
        ("GET http://{o}/a/../b//./c", "GET /a/../b//./c HTTP/1.1\r\nHost: {o}\r\n"),
        ("GET http://{o}/%7e%7E%41%zz%", "GET /%7e%7E%41%zz% HTTP/1.1\r\nHost: {o}\r\n"),
        ("GET http://{o}/a|b\"<>^`{}\\", "GET /a|b\"<>^`{}\\ HTTP/1.1\r\nHost: {o}\r\n"),
        ("GET http://{o}/?u=http://a/&&=;?", "GET /?u=http://a/&&=;? HTTP/1.1\r\nHost: {o}\r\n"),
        ("GET http://{o}/fü", "GET /fü HTTP/1.1\r\nHost: {o}\r\n"),
    ])
    .await;
}

#[tokio::test]
async fn any_method_passes_as_it_is_spelt() {
    for method in ["get", "PATCH", "PROPFIND", "M-SEARCH", "BREW", "!#$%&'*+.^_`|~-0a"] {
        check_lines(&[(
            &format!("{method} http://{{o}}/"),
            &format!("{method} / HTTP/1.1\r\nHost: {{o}}\r\n"),
        )])
        .await;
    }
    check_lines(&[
        ("OPTIONS http://{o}", "OPTIONS * HTTP/1.1\r\nHost: {o}\r\n"),
        ("OPTIONS http://{o}/", "OPTIONS / HTTP/1.1\r\nHost: {o}\r\n"),
    ])
    .await;
}

#[tokio::test]
async fn fields_of_the_connection_stay_on_it() {
    check_fields(&[
        ("Connection: keep-alive\r\n", ""),
        ("Connection: X-Mine, close\r\nX-Mine: 1\r\nX-Other: 2\r\n", "X-Other: 2\r\n"),
        ("X-Mine: 1\r\nconnection: x-mIne\r\nConnection: a\r\nA: b\r\n", ""),
        ("Proxy-Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n", ""),
        ("Proxy-Authorization: Basic Y2FuYXJ5\r\nProxy-Authenticate: Basic\r\n", ""),
        ("TE: gzip;q=1\r\n", ""),
        ("TE: gzip, trailers\r\nConnection: TE\r\n", "TE: trailers\r\nConnection: TE\r\n"),
        ("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMA\r\n", ""),
        ("Upgrade: websocket\r\n", ""),
        (
            "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: x\r\n",
            "Sec-WebSocket-Key: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        ),
        ("Connection: Host, Via\r\nVia: 1.1 other\r\n", ""),
    ])
    .await;
}

#[tokio::test]
async fn all_other_fields_pass_as_they_came() {
    check_fields(&[
        ("b: 1\r\nA: 2\r\nB: 3\r\na: 4\r\n", "b: 1\r\nA: 2\r\nB: 3\r\na: 4\r\n"),
        ("X-Forwarded-For: mine\r\nVia: 1.0 me\r\n", "X-Forwarded-For: mine\r\nVia: 1.0 me\r\n"),
        (
            "Authorization: Basic eDp5\r\nCookie: a=b\r\n",
            "Authorization: Basic eDp5\r\nCookie: a=b\r\n",
        ),
        (
            "X: \u{e9}\u{fc}\r\nEmpty:\r\nSpace: \t a\tb \t\r\n",
            "X: \u{e9}\u{fc}\r\nEmpty: \r\nSpace: a\tb\r\n",
        ),
        ("Trailer: X-Sum\r\n", "Trailer: X-Sum\r\n"),
        ("Max-Forwards: 7\r\n", "Max-Forwards: 7\r\n"),
    ])
    .await;
}

#[tokio::test]
async fn max_forwards_counts_down_to_an_answer() {
    for method in ["OPTIONS", "TRACE"] {
        check(
            &format!("{method} http://{{o}}/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 1\r\n\r\n"),
            &format!("{method} / HTTP/1.1\r\nHost: {{o}}\r\nMax-Forwards: 0\r\n\r\n"),
        )
        .await;
    }
    let proxy = direct().await;
    let trace = "TRACE http://u:canary@{o}/x HTTP/1.1\r\nHost: x\r\nCookie: canary\r\nMax-Forwards: 0\r\nA: b\r\n\r\n";
    for (request, start, body) in [
        (
            trace,
            "HTTP/1.1 200 OK\r\nContent-Type: message/http\r\n",
            "TRACE http://{o}/x HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\nA: b\r\n\r\n",
        ),
        (
            "OPTIONS http://{o}/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nAllow: GET, ",
            "",
        ),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\nAllow: GET, ", ""),
    ] {
        let (told, origin) = super::told(&proxy, request, vec![answer(OK)]).await;
        let (head, rest) = told.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(start), "{request:?}: {told:?}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", rest.len())), "{told:?}");
        assert_eq!(rest, at(&origin, body), "{request:?}");
        assert_eq!(origin.sent(), "", "{request:?}");
    }
}

#[tokio::test]
async fn a_request_of_http_1_0_becomes_one_of_1_1() {
    check(
        "GET http://{o}/x HTTP/1.0\r\nA: b\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: {o}\r\nA: b\r\n\r\n",
    )
    .await;
    check(
        "GET http://{o}/x HTTP/1.0\r\nConnection: keep-alive\r\nhost: x\r\n\r\n",
        "GET /x HTTP/1.1\r\nhost: {o}\r\n\r\n",
    )
    .await;
}

#[tokio::test]
async fn a_body_is_framed_once() {
    check_body("Content-Length: 5\r\n\r\nhello", "Content-Length: 5\r\n\r\nhello").await;
    check_body("content-LENGTH: 5\r\n\r\nhello", "content-LENGTH: 5\r\n\r\nhello").await;
    check_body("Content-Length: 5, 5\r\n\r\nhello", "Content-Length: 5\r\n\r\nhello").await;
    check_body(
        "Content-Length: 005\r\nContent-Length: 005\r\n\r\nhello",
        "Content-Length: 5\r\n\r\nhello",
    )
    .await;
    check_body(
        "Content-Length: 5\r\nConnection: Content-Length\r\n\r\nhello",
        "Content-Length: 5\r\n\r\nhello",
    )
    .await;
    check_body("Content-Length: 0\r\n\r\n", "Content-Length: 0\r\n\r\n").await;
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    for (sent, passed) in [
        ("5\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("005;a=\"b\";c\r\nhello\r\n00;d\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("0\r\n\r\n", "0\r\n\r\n"),
        (
            "1\r\na\r\n0\r\nX-Sum: 1\r\nx-two: 2\r\n\r\n",
            "1\r\na\r\n0\r\nX-Sum: 1\r\nx-two: 2\r\n\r\n",
        ),
        (
            "1\r\na\r\n0\r\nContent-Length: 9\r\nHost: y\r\nX: 1\r\n\r\n",
            "1\r\na\r\n0\r\nX: 1\r\n\r\n",
        ),
    ] {
        check_body(&format!("{chunked}{sent}"), &format!("{chunked}{passed}")).await;
    }
}

#[tokio::test]
async fn a_last_hop_gets_the_whole_url_and_nothing_of_the_clients_credentials() {
    let hop = Double::start([answer("HTTP/1.1 200 OK\r\n\r\n"), answer(OK)]).await;
    let hops = two_hops(hop.address());
    let proxy =
        Proxy::start(&format!("{hops}chains: {{ default: [corporate, webshare] }}\n")).await;
    let mut client = open(proxy.address()).await;
    let request = "POST http://u:canary@Origin.test:80?q HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic Y2FuYXJ5\r\n\
                   Connection: Proxy-Authorization, X\r\nX: 1\r\nVia: 1.1 me\r\nContent-Length: 0\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(
        hop.sent(),
        format!(
            "CONNECT provider.test:80 HTTP/1.1\r\nHost: provider.test:80\r\n\r\n\
             POST http://Origin.test:80/?q HTTP/1.1\r\nHost: Origin.test:80\r\nVia: 1.1 me\r\nContent-Length: 0\r\n\
             Proxy-Authorization: {BASIC}\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn via_is_added_where_it_is_configured() {
    let origin =
        Double::start([answer("HTTP/1.1 200 OK\r\nVia: 1.1 cdn\r\nContent-Length: 2\r\n\r\nok")])
            .await;
    let proxy = Proxy::start("server: { via: office }\nchains: { default: [] }\n").await;
    let mut client = open(proxy.address()).await;
    client
        .write_all(at(&origin, "GET http://{o}/ HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let told = head(&mut client).await;
    assert_eq!(
        told,
        "HTTP/1.1 200 OK\r\nVia: 1.1 cdn\r\nContent-Length: 2\r\nVia: 1.1 office\r\n\r\n"
    );
    assert_eq!(
        origin.sent(),
        at(&origin, "GET / HTTP/1.1\r\nHost: {o}\r\nVia: 1.1 office\r\n\r\n")
    );
}

/// Request lines without their version, and the heads they become without their end.
async fn check_lines(rows: &[(&str, &str)]) {
    for (line, head) in rows {
        check(&format!("{line} HTTP/1.1\r\nHost: other\r\n\r\n"), &format!("{head}\r\n")).await;
    }
}

/// Fields of a request, and what becomes of them.
async fn check_fields(rows: &[(&str, &str)]) {
    for (fields, passed) in rows {
        check(
            &format!("GET http://{{o}}/ HTTP/1.1\r\nHost: other\r\n{fields}\r\n"),
            &format!("GET / HTTP/1.1\r\nHost: {{o}}\r\n{passed}\r\n"),
        )
        .await;
    }
}

/// The end of a request, from the fields of its framing on, and what becomes of it.
async fn check_body(sent: &str, passed: &str) {
    check(
        &format!("POST http://{{o}}/ HTTP/1.1\r\nHost: other\r\n{sent}"),
        &format!("POST / HTTP/1.1\r\nHost: {{o}}\r\n{passed}"),
    )
    .await;
}

/// Sends `request`, asserts that the origin is sent `expected` and no more, and that its answer comes. By itself, and a
/// byte at a time.
async fn check(request: &str, expected: &str) {
    let proxy = direct().await;
    for by_byte in [false, true] {
        let origin = Double::start([]).await;
        let expected = at(&origin, expected);
        let body = expected.split_once("\r\n\r\n").unwrap().1;
        let end = if body.is_empty() { "\r\n\r\n" } else { body };
        // A body that comes a byte at a time is sent on in as many chunks.
        if by_byte && expected.contains("chunked") {
            continue;
        }
        origin.becomes([Step::Hear(end.into()), Step::Say(OK.into())]);
        let mut client = open(proxy.address()).await;
        client.set_nodelay(true).unwrap();
        let request = at(&origin, request);
        for part in request.as_bytes().chunks(if by_byte { 1 } else { request.len() }) {
            client.write_all(part).await.unwrap();
        }
        let told = head(&mut client).await;
        assert!(told.starts_with("HTTP/1.1 200 OK\r\n"), "{request:?}: {told:?}");
        assert_reads(&mut client, "ok").await;
        assert_eq!(origin.sent(), expected, "for {request:?}");
    }
}
