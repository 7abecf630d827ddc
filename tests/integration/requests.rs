//! Plain `http://` requests: what the upstream is sent, and how answers come back.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
};

use crate::support::{
    BASIC, Double, HttpOrigin, Proxy, Step, assert_reads, exchange, fill, first_difference, head,
    open, rest, two_hops, within,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn an_origin_gets_origin_form() {
    let origin = Double::start([answer(OK)]).await;
    let proxy = Proxy::start("chains: { default: [] }").await;
    let authority = origin.address();
    let reply = exchange(
        proxy.address(),
        format!(
            "GET http://{authority}/a/../b?q=%7e#x HTTP/1.1\r\nHost: {authority}\r\nX-lower-CASE: 1\r\n\
             accept: */*\r\nProxy-Connection: close\r\nProxy-Authorization: Basic bm9uZTpvZg==\r\n\
             X-lower-CASE: 2\r\nConnection: close, X-Mine\r\nX-Mine: only for you\r\n\r\n"
        )
        .replace("#x", "")
        .as_bytes(),
    )
    .await;
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("\r\n\r\nok"), "{reply:?}");
    assert_eq!(
        end_to_end(&origin.sent()),
        format!(
            "GET /a/../b?q=%7e HTTP/1.1\r\nHost: {authority}\r\nX-lower-CASE: 1\r\naccept: */*\r\n\
             X-lower-CASE: 2\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn a_last_hop_gets_absolute_form_and_its_own_credentials() {
    let request = "GET http://origin.test/path HTTP/1.1\r\nHost: origin.test\r\nAccept: */*\r\n";
    let connect = "CONNECT provider.test:80 HTTP/1.1\r\nHost: provider.test:80\r\n\r\n";
    let authorization = format!("Proxy-Authorization: {BASIC}\r\n");
    let agree = answer("HTTP/1.1 200 OK\r\n\r\n");
    for (chain, script, sent) in [
        ("[corporate]", vec![answer(OK)], format!("{request}\r\n")),
        (
            "[corporate, webshare]",
            vec![agree, answer(OK)],
            format!("{connect}{request}{authorization}\r\n"),
        ),
    ] {
        let hop = Double::start(script).await;
        let proxy = Proxy::start(&default_chain(&hop, chain)).await;
        let mut client = open(proxy.address()).await;
        client.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
        assert!(head(&mut client).await.starts_with("HTTP/1.1 200 OK\r\n"), "{chain}");
        assert_reads(&mut client, "ok").await;
        assert_eq!(end_to_end(&hop.sent()), sent, "{chain}");
    }
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let origin = HttpOrigin::plain().await;
    let proxy = Proxy::start("chains: { default: [] }").await;
    let mut client = open(proxy.address()).await;
    for length in [0, 5, 70_000] {
        let request =
            format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", origin.url(&format!("/bytes/{length}")));
        client.write_all(request.as_bytes()).await.unwrap();
        let head = head(&mut client).await;
        assert!(head.contains(&format!("\r\ncontent-length: {length}\r\n")), "{head:?}");
        let mut body = vec![0; length];
        within("the body", client.read_exact(&mut body)).await.unwrap();
        assert_eq!(first_difference(0, &body), None);
    }
}

#[tokio::test]
async fn the_authority_of_the_request_wins_over_its_host_field() {
    let origin = Double::start([answer(OK)]).await;
    let proxy = Proxy::start("chains: { default: [] }").await;
    let authority = origin.address();
    let request = format!(
        "GET http://{authority}/ HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n"
    );
    exchange(proxy.address(), request.as_bytes()).await;
    let sent = end_to_end(&origin.sent());
    assert_eq!(sent, format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
}

#[tokio::test]
async fn bodies_of_both_framings_pass_both_ways() {
    let origin = HttpOrigin::plain().await;
    let proxy = Proxy::start("chains: { default: [] }").await;
    let body = fill(200_000);
    let sized =
        [format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes(), body.clone()].concat();
    let mut chunked = b"Transfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(7_777) {
        chunked.extend(format!("{:x};of=no meaning\r\n", chunk.len()).into_bytes());
        chunked.extend(chunk);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\nTrailer: passes\r\n\r\n");
    for framed in [sized, chunked] {
        let start =
            format!("POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", origin.url("/verify"));
        let reply = exchange(proxy.address(), &[start.as_bytes(), &framed].concat()).await;
        assert!(reply.ends_with("200000 bytes as expected"), "{reply:?}");
    }
    let request = origin.request("/chunked/3");
    let reply = exchange(proxy.address(), request.as_bytes()).await.to_ascii_lowercase();
    assert!(reply.contains("\r\ntransfer-encoding: chunked\r\n"), "{reply:?}");
    assert!(reply.ends_with("\r\n0\r\n\r\n"), "{reply:?}");
}

#[tokio::test]
async fn an_answer_is_passed_on_as_it_comes() {
    let allowed = Arc::new(Notify::new());
    let origin = Double::start([
        answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst"),
        Step::Await(Arc::clone(&allowed)),
        Step::Say("after".into()),
    ])
    .await;
    let proxy = Proxy::start("chains: { default: [] }").await;
    let mut client = open(proxy.address()).await;
    let request = format!("GET http://{}/ HTTP/1.1\r\nHost: x\r\n\r\n", origin.address());
    client.write_all(request.as_bytes()).await.unwrap();
    head(&mut client).await;
    assert_reads(&mut client, "first").await;
    allowed.notify_one();
    assert_reads(&mut client, "after").await;
}

#[tokio::test]
async fn a_body_is_passed_on_as_it_comes() {
    let origin = Double::start([answer(""), answer(OK)]).await;
    let proxy = Proxy::start("chains: { default: [] }").await;
    let mut client = open(proxy.address()).await;
    let request = format!(
        "POST http://{}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\nfirst",
        origin.address()
    );
    client.write_all(request.as_bytes()).await.unwrap();
    origin
        .record()
        .until("first", |seen| seen.first()?.text().ends_with("first").then_some(()))
        .await;
    client.write_all(b"end\r\n\r\n").await.unwrap();
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_reads(&mut client, "ok").await;
}

#[tokio::test]
async fn answers_without_a_body_end_with_their_head() {
    for (method, status) in [
        ("HEAD", "200 OK\r\nContent-Length: 1000"),
        ("GET", "204 No Content"),
        ("GET", "304 Not Modified\r\nContent-Length: 1000"),
    ] {
        let origin =
            Double::start([answer(&format!("HTTP/1.1 {status}\r\n\r\n")), answer(OK)]).await;
        let proxy = Proxy::start("chains: { default: [] }").await;
        let mut client = open(proxy.address()).await;
        let authority = origin.address();
        let request = format!("{method} http://{authority}/ HTTP/1.1\r\nHost: x\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let first = head(&mut client).await;
        assert!(first.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{first:?}");
        client
            .write_all(format!("GET http://{authority}/ HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
            .await
            .unwrap();
        // The second answer comes from this connection of the origin or, from its first step, from another.
        assert!(head(&mut client).await.starts_with("HTTP/1.1 "), "{method} {status}");
    }
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_ends_so() {
    let origin = Double::start([answer("HTTP/1.1 200 OK\r\n\r\nall there is"), Step::End]).await;
    let proxy = Proxy::start("chains: { default: [] }").await;
    let request = format!("GET http://{}/ HTTP/1.0\r\n\r\n", origin.address());
    let reply = exchange(proxy.address(), request.as_bytes()).await;
    assert!(reply.ends_with("\r\n\r\nall there is"), "{reply:?}");
}

#[tokio::test]
async fn a_cut_answer_is_not_passed_on_as_a_whole_one() {
    for framing in
        ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"]
    {
        let origin =
            Double::start([answer(&format!("HTTP/1.1 200 OK\r\n{framing}")), Step::End]).await;
        let proxy = Proxy::start("chains: { default: [] }").await;
        let request = format!("GET http://{}/ HTTP/1.1\r\nHost: x\r\n\r\n", origin.address());
        let reply = exchange(proxy.address(), request.as_bytes()).await;
        assert!(reply.contains("half") && !reply.ends_with("0\r\n\r\n"), "{reply:?}");
    }
}

#[tokio::test]
async fn interim_answers_pass() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    let origin = Double::start([answer(&format!("{hints}{OK}"))]).await;
    let proxy = Proxy::start("chains: { default: [] }").await;
    let mut client = open(proxy.address()).await;
    let request = format!("GET http://{}/ HTTP/1.1\r\nHost: x\r\n\r\n", origin.address());
    client.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(head(&mut client).await, hints);
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_reads(&mut client, "ok").await;
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it_from_the_origin() {
    let origin = HttpOrigin::plain().await;
    let proxy = Proxy::start("chains: { default: [] }").await;
    let mut client = open(proxy.address()).await;
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        origin.url("/verify")
    );
    client.write_all(request.as_bytes()).await.unwrap();
    assert!(head(&mut client).await.starts_with("HTTP/1.1 100 "));
    client.write_all(&fill(5)).await.unwrap();
    let reply = rest(&mut client).await;
    assert!(reply.ends_with("5 bytes as expected"), "{reply:?}");
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly";
    let origin = Double::start([answer(switch), answer("pong")]).await;
    let proxy = Proxy::start("chains: { default: [] }").await;
    let mut client = open(proxy.address()).await;
    let request = format!(
        "GET http://{}/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        origin.address()
    );
    client.write_all(request.as_bytes()).await.unwrap();
    assert!(head(&mut client).await.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
    assert_reads(&mut client, "early").await;
    client.write_all(b"ping\r\n\r\n").await.unwrap();
    assert_reads(&mut client, "pong").await;
    assert!(
        origin.sent().to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n"),
        "{}",
        origin.sent()
    );
}

#[tokio::test]
async fn an_access_line_tells_the_way_of_a_request() {
    let origin = HttpOrigin::plain().await;
    let proxy = Proxy::start("chains: { default: [] }").await;
    exchange(proxy.address(), origin.request("/bytes/5").as_bytes()).await;
    let event = proxy.event("request").await;
    let fields = ["method", "target", "status"].map(|field| event.field(field));
    assert_eq!(fields, ["GET", &origin.address().to_string(), "200"]);
    let fields = [
        "id",
        "client",
        "route",
        "chain",
        "generation",
        "sent",
        "received",
        "duration_seconds",
        "end",
    ];
    for field in fields {
        assert_ne!(event.field(field), "", "{field} of {event:?}");
    }
    assert_eq!(["protocol", "attempts"].map(|field| event.field(field)), ["http", "1"]);
    assert!(event.number("connect_seconds") <= event.number("duration_seconds"), "{event:?}");
}

#[tokio::test]
async fn an_access_line_says_that_a_connection_served_before() {
    let origin = HttpOrigin::plain().await;
    let proxy = Proxy::start("chains: { default: [] }").await;
    let mut client = open(proxy.address()).await;
    let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", origin.url("/bytes/0"));
    for (attempts, connects) in [("1", true), ("0", false)] {
        let seen = proxy.events().len();
        client.write_all(request.as_bytes()).await.unwrap();
        assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
        let event = proxy.event_after(seen, "request").await;
        let fields = (event.field("attempts"), !event.field("connect_seconds").is_empty());
        assert_eq!(fields, (attempts.to_owned(), connects), "{event:?}");
    }
}

fn answer(words: &str) -> Step {
    Step::Answer(words.into())
}

/// Returns the sent text without the field that says whether this connection stays open.
fn end_to_end(sent: &str) -> String {
    sent.replace("Connection: close\r\n", "").replace("Connection: keep-alive\r\n", "")
}

fn default_chain(corporate: &Double, chain: &str) -> String {
    format!("{}chains: {{ default: {chain} }}\n", two_hops(corporate.address()))
}
