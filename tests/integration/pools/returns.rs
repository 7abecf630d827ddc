//! A member that left its pool for a refusal, and what brings it back.

use std::time::Duration;

use serde_json::Value;
use tokio::time;

use super::{refuses_with, two_members};
use crate::support::{
    ConfigDir, Double, Proxy, Squid, SquidRules, Step, Tinyproxy, USERNAME, connect, exchange,
    status, within,
};

const AGREED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn plain(method: &str) -> String {
    format!(
        "{method} http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n"
    )
}

fn count(proxy: &Proxy, message: &str) -> usize {
    proxy.events().iter().filter(|event| event.message() == message).count()
}

async fn first_member(proxy: &Proxy) -> Value {
    status(proxy.address()).await["pools"]["exits"]["shown"][0].clone()
}

/// Waits until the next connection may try the first member again.
async fn may_be_tried(proxy: &Proxy) {
    within("the pause is over", async {
        while first_member(proxy).await["retry_seconds"] != 0.0 {
            time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// A pool of `first`, which is a mapping, and of a member that works.
fn with_second(first: &str, second: &Double) -> String {
    format!(
        "hops:\n  exits:\n    kind: pool\n    members:\n      - {first}\n      \
         - {{ kind: http-connect, address: \"{}\" }}\nchains: {{ default: [exits] }}\n",
        second.address()
    )
}

#[tokio::test]
async fn a_plain_401_does_not_bring_back_a_member_that_left_for_its_credentials() {
    let Some(tinyproxy) = Tinyproxy::start().await else { return };
    let second = Double::start([Step::Answer(AGREED.into()), Step::End]).await;
    let first = format!(
        "{{ kind: http-connect, address: \"{}\", username: {USERNAME}, password: expired }}",
        tinyproxy.address()
    );
    let proxy = Proxy::start(&with_second(&first, &second)).await;
    drop(connect(proxy.address(), "origin.test:443").await.tunnel());
    let left = proxy.event("pool member left").await;
    assert!(left.field("error").contains("401"), "{left:?}");
    may_be_tried(&proxy).await;
    let asked = tinyproxy.log().matches("Request (").count();
    let told = exchange(proxy.address(), plain("GET").as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 200 "), "another member serves it: {told}");
    assert_eq!(tinyproxy.log().matches("Request (").count(), asked + 1, "it was tried");
    let member = first_member(&proxy).await;
    assert_eq!(member["working"], false, "{member}");
    assert!(member["retry_seconds"].as_f64().unwrap() > 3.0, "for another pause: {member}");
    assert_eq!(count(&proxy, "pool member back"), 0);
}

#[tokio::test]
async fn an_answer_that_may_be_the_same_refusal_is_no_return_and_a_tunnel_is_one() {
    for (refusal, same) in [("429 Slow", "503 Busy"), ("401 Who", "403 No")] {
        let first = Double::start(refuses_with(&format!("{refusal}\r\nRetry-After: 1"))).await;
        let second = Double::start([Step::Answer(AGREED.into()), Step::End]).await;
        let ports = [&first, &second].map(|one| one.address().port());
        let proxy = Proxy::start(&two_members(ports)).await;
        drop(connect(proxy.address(), "origin.test:443").await.tunnel());
        proxy.event("pool member left").await;
        first.becomes(refuses_with(same));
        may_be_tried(&proxy).await;
        // It can't be sent twice, so the client gets the answer.
        let told = exchange(proxy.address(), plain("POST").as_bytes()).await;
        assert!(told.contains(same), "{told}");
        let member = first_member(&proxy).await;
        assert_eq!(
            (&member["working"], &member["reached"]),
            (&false.into(), &0.into()),
            "{member}"
        );
        first.becomes([Step::Answer(AGREED.into())]);
        may_be_tried(&proxy).await;
        assert_eq!(count(&proxy, "pool member back"), 0);
        drop(connect(proxy.address(), "origin.test:443").await.tunnel());
        proxy.event("pool member back").await;
    }
}

#[tokio::test]
async fn an_answer_that_is_no_refusal_brings_a_member_back() {
    for answer in ["200 OK", "404 Not Found", "500 Oops"] {
        let first = Double::start(refuses_with("401 Who\r\nRetry-After: 1")).await;
        let second = Double::start([Step::Answer(AGREED.into()), Step::End]).await;
        let ports = [&first, &second].map(|one| one.address().port());
        let proxy = Proxy::start(&two_members(ports)).await;
        drop(connect(proxy.address(), "origin.test:443").await.tunnel());
        proxy.event("pool member left").await;
        first.becomes(refuses_with(answer));
        may_be_tried(&proxy).await;
        let told = exchange(proxy.address(), plain("GET").as_bytes()).await;
        assert!(told.contains(answer), "{told}");
        proxy.event("pool member back").await;
    }
}

#[tokio::test]
async fn the_first_407_to_a_plain_request_is_logged_and_leaves_the_member_out() {
    let Some(squid) = Squid::start(SquidRules::Basic).await else { return };
    let second = Double::start([Step::Answer(AGREED.into()), Step::End]).await;
    let first = format!(
        "{{ kind: http-connect, address: \"{}\", username: {USERNAME}, password: expired }}",
        squid.address()
    );
    for (method, expected) in [("GET", "HTTP/1.1 200 "), ("POST", "HTTP/1.1 502 ")] {
        let proxy = Proxy::start(&with_second(&first, &second)).await;
        let told = exchange(proxy.address(), plain(method).as_bytes()).await;
        assert!(told.starts_with(expected), "{told}");
        let left = proxy.event("pool member left").await;
        assert_eq!(["hop", "member"].map(|name| left.field(name)), ["exits", "members[0]"]);
        assert!(left.field("error").contains("407 Proxy Authentication Required"), "{left:?}");
        assert!(left.field("advice").contains("does not accept these credentials"), "{left:?}");
        let member = first_member(&proxy).await;
        let counts = ["reached", "failed", "refused"].map(|key| member[key].as_u64().unwrap());
        assert_eq!((counts, &member["working"]), ([0, 0, 1], &false.into()), "{member}");
        assert!(member["problem"].as_str().unwrap().contains("407"), "{member}");
        let told = exchange(proxy.address(), plain("GET").as_bytes()).await;
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
        assert_eq!(count(&proxy, "pool member left"), 1);
    }
}

#[tokio::test]
async fn a_plain_407_sends_no_request_round_the_proxy_of_a_pac_file() {
    let corporate =
        Double::start(refuses_with("407 Who\r\nProxy-Authenticate: Basic realm=x")).await;
    let origin = Double::start([Step::Answer(AGREED.into())]).await;
    let config = ConfigDir::new(&format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", username: u, password: p }}\n  \
         office: {{ kind: pac, file: office.pac, hops: {{ \"*\": corporate }} }}\n\
         chains: {{ default: [office] }}\n",
        corporate.address()
    ));
    let script =
        "function FindProxyForURL(url, host) { return 'PROXY proxy.corp.example:80; DIRECT'; }";
    config.write("office.pac", script);
    let proxy = Proxy::on(config, &[]).await;
    let target = origin.address();
    let request = format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n");
    let told = exchange(proxy.address(), request.as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 502 "), "a target could imitate the 407: {told}");
    assert!(origin.record().now().is_empty());
    let left = proxy.event("pool member left").await;
    assert_eq!(["hop", "member"].map(|name| left.field(name)), ["office", "corporate"]);
}
