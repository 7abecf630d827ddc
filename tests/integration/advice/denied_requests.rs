//! Log messages about requests that the proxy denies.

use crate::support::{Proxy, exchange};

#[tokio::test]
async fn a_request_that_can_not_be_served_is_in_the_log_once() {
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    for (target, words) in [
        ("GET https://a.test/", "the client must open a tunnel"),
        ("CONNECT a.test", "not `host:port`"),
        ("GET ftp://a.test/", "the scheme of the target is not served"),
        ("GET nothing", "the target is neither"),
    ] {
        let seen = proxy.events().len();
        for _ in 0..2 {
            exchange(
                proxy.address(),
                format!("{target} HTTP/1.1\r\nHost: a.test\r\n\r\n").as_bytes(),
            )
            .await;
        }
        let line = proxy.event_after(seen, "request denied").await;
        assert!(line.field("reason").contains(words), "{target}: {line:?}");
        let lines = proxy.events().into_iter().skip(seen);
        assert_eq!(lines.filter(|line| line.message() == "request denied").count(), 1, "{target}");
    }
}

#[tokio::test]
async fn refusals_of_socks_clients_are_logged_once_in_a_while() {
    let proxy = Proxy::start(
        "server: { auth: { username: joe, password: right } }\nchains: { default: [] }\n",
    )
    .await;
    for _ in 0..3 {
        let login = b"\x05\x01\x02\x01\x03joe\x05wrong";
        exchange(proxy.address(), login).await;
    }
    let line = proxy.event("request denied").await;
    assert!(line.field("reason").contains("`server.auth`"), "{line:?}");
    let lines = proxy.events().into_iter().filter(|line| line.message() == "request denied");
    assert_eq!(lines.count(), 1);
}

#[tokio::test]
async fn a_client_that_speaks_tls_to_a_plain_port_is_logged() {
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    exchange(proxy.address(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    let line = proxy.event("request denied").await;
    assert!(line.field("reason").contains("use http:// in the proxy URL"), "{line:?}");
}
