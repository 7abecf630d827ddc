//! `server.auth`: who may use the proxy.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    BASIC, Double, Event, HttpOrigin, PASSWORD, Proxy, Step, USERNAME, exchange, head, open,
    outcome, pause, rest, two_hops, within,
};

#[tokio::test]
async fn only_those_who_know_the_password_pass() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let hop = Double::start([Step::Answer(ok.into()), Step::End]).await;
    let proxy = Proxy::start(&format!(
        "server: {{ auth: {{ username: {USERNAME}, password: {PASSWORD} }} }}\n{}chains: {{ default: [corporate] }}\n",
        two_hops(hop.address())
    ))
    .await;
    let lines = ["CONNECT origin.test:443", "GET http://origin.test/"];
    for line in lines {
        for credentials in [None, Some("Basic ZGV2Ondyb25n"), Some("Basic"), Some("Bearer secret")]
        {
            let told = ask(&proxy, line, credentials).await;
            assert!(told.starts_with("HTTP/1.1 407 "), "{credentials:?}: {told}");
            assert!(
                told.contains("\r\nProxy-Authenticate: Basic realm="),
                "{credentials:?}: {told}"
            );
        }
        assert_eq!(hop.sent(), "", "nothing was passed on");
    }
    for line in lines {
        let told = ask(&proxy, line, Some(BASIC)).await;
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    }
    assert!(!hop.sent().contains("Authorization"), "they are this proxy's own: {}", hop.sent());
}

async fn ask(proxy: &Proxy, line: &str, credentials: Option<&str>) -> String {
    let field =
        credentials.map(|value| format!("Proxy-Authorization: {value}\r\n")).unwrap_or_default();
    let request =
        format!("{line} HTTP/1.1\r\nHost: origin.test\r\n{field}Connection: close\r\n\r\n");
    exchange(proxy.address(), request.as_bytes()).await
}

#[tokio::test]
async fn a_client_that_never_sends_credentials_is_logged_and_counted() {
    let proxy = proxy_with_auth().await;
    let lines = ["CONNECT one.test:443", "GET http://two.test/", "CONNECT one.test:443"];
    for line in lines {
        assert!(ask(&proxy, line, None).await.starts_with("HTTP/1.1 407 "));
    }
    let line = proxy.event("request denied").await;
    assert_eq!(line.field("status"), "407");
    assert!(
        line.field("reason").contains("sent no credentials, and `server.auth` asks"),
        "{line:?}"
    );
    let counts = "server.auth  refused 3 without credentials, 0 with";
    within("three refusals in the status", async {
        while !outcome(&proxy.command(&["status"])).1.contains(counts) {
            pause().await;
        }
    })
    .await;
    assert_eq!(denied(&proxy).len(), 1);
}

#[tokio::test]
async fn a_reload_counts_for_connections_that_are_open() {
    let origin = HttpOrigin::plain().await;
    let config = |server: &str| format!("server: {{ {server} }}\nchains: {{ default: [] }}\n");
    let proxy = Proxy::start(&config("protocols: [http, socks5]")).await;
    let (mut http, mut socks) = (open(proxy.address()).await, open(proxy.address()).await);
    let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", origin.url("/bytes/2"));
    http.write_all(request.as_bytes()).await.unwrap();
    assert!(head(&mut http).await.starts_with("HTTP/1.1 200 "));
    http.read_exact(&mut [0; 2]).await.unwrap();
    socks.write_all(b"\x05").await.unwrap();
    // The rest of its greeting comes only after the edit, which asks for credentials.
    let edit =
        format!("protocols: [socks5], auth: {{ username: {USERNAME}, password: {PASSWORD} }}");
    proxy.config().write("10-test.yaml", &config(&edit));
    proxy.event("config reloaded").await;
    http.write_all(request.as_bytes()).await.unwrap();
    let told = rest(&mut http).await;
    assert!(told.starts_with("HTTP/1.1 403 ") && told.contains("`server.protocols`"), "{told}");
    proxy.event("request denied").await;
    let seen = proxy.events().len();
    let port = origin.address().port().to_be_bytes();
    let rest = [&b"\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01"[..], &port].concat();
    socks.write_all(&rest).await.unwrap();
    let mut told = Vec::new();
    socks.read_to_end(&mut told).await.unwrap();
    assert_eq!(told[..2], *b"\x05\x00", "{told:?}");
    assert_eq!(told[2..4], *b"\x05\x02", "{told:?}");
    let line = proxy.event_after(seen, "request denied").await;
    assert!(line.field("reason").contains("`server.auth` changed"), "{line:?}");
}

#[tokio::test]
async fn a_client_that_was_asked_for_credentials_leaves_its_place_to_the_next() {
    let origin = HttpOrigin::plain().await;
    let yaml = format!(
        "server: {{ auth: {{ username: {USERNAME}, password: {PASSWORD} }} }}\nlimits: {{ connections: 1 }}\n\
         chains: {{ default: [] }}\n"
    );
    let proxy = Proxy::start(&yaml).await;
    let line = format!("GET {}", origin.url("/bytes/2"));
    // The line about the refused client comes two seconds after its end, which may be before the next request on a machine
    // that stands still for so long. Then it is tried again.
    for _ in 0..5 {
        let before = denied(&proxy).len();
        assert!(ask(&proxy, "CONNECT one.test:443", None).await.starts_with("HTTP/1.1 407 "));
        // The place is free a moment after the client has seen the end of its connection.
        while !ask(&proxy, &line, Some(BASIC)).await.starts_with("HTTP/1.1 200 ") {
            pause().await;
        }
        if denied(&proxy).len() == before {
            return;
        }
    }
    panic!("the place is kept until the line is written");
}

#[tokio::test]
async fn a_client_that_comes_back_with_credentials_is_not_logged() {
    let proxy = proxy_with_auth().await;
    for line in ["CONNECT one.test:443", "GET http://two.test/"] {
        assert!(ask(&proxy, line, None).await.starts_with("HTTP/1.1 407 "));
        ask(&proxy, line, Some(BASIC)).await;
    }
    // The line about another target comes after those that must not come.
    ask(&proxy, "CONNECT three.test:443", None).await;
    proxy.event("request denied").await;
    let lines = denied(&proxy);
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (lines[0].field("target"), lines[0].field("skipped")),
        ("three.test:443".into(), "0".into())
    );
}

#[tokio::test]
async fn socks_clients_without_credentials_are_logged() {
    for (message, words) in [
        (&b"\x05\x01\x00"[..], "sent no username and password"),
        (b"\x05\x01\x02\x01\x00\x00", "sent no username and password"),
        (b"\x04\x01\x00\x50\x01\x01\x01\x01joe\0", "SOCKS4, which has no password"),
        (b"\x05\x01\x02\x01\x03joe\x05wrong", "credentials are not those of `server.auth`"),
    ] {
        let proxy = proxy_with_auth().await;
        exchange(proxy.address(), message).await;
        let line = proxy.event("request denied").await;
        assert!(line.field("reason").contains(words), "{line:?}");
        if words.contains("sent no") {
            let url = format!("`socks5h://USER:PASSWORD@{}`", proxy.address());
            assert!(line.field("reason").contains(&url), "{line:?}");
        }
    }
}

/// Starts a proxy that asks for credentials, and reaches nothing.
async fn proxy_with_auth() -> Proxy {
    Proxy::start(&format!(
        "server: {{ auth: {{ username: {USERNAME}, password: {PASSWORD} }} }}\n\
         hops: {{ corporate: {{ kind: http-connect, address: \"127.0.0.1:1\" }} }}\n\
         chains: {{ default: [corporate] }}\n"
    ))
    .await
}

fn denied(proxy: &Proxy) -> Vec<Event> {
    proxy.events().into_iter().filter(|line| line.message() == "request denied").collect()
}
