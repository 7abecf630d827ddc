//! Hops that fail: the answers that clients get, and the recovery when the hops work again.

use std::{net::SocketAddr, time::Duration};

use crate::support::{
    Double, EchoOrigin, Proxy, SHORT_TIMEOUTS, Squid, SquidRules, Step, assert_reads, connect,
    exchange, free_port, two_hops,
};

#[tokio::test]
async fn a_hop_that_refuses_a_tunnel_is_a_502() {
    for status in
        ["407 Proxy Authentication Required", "403 Forbidden", "502 Bad Gateway", "302 Found"]
    {
        let words = format!(
            "HTTP/1.1 {status}\r\nProxy-Authenticate: Basic realm=\"corp\"\r\nContent-Length: 3\r\n\r\nno\n"
        );
        check_tunnel(vec![Step::Answer(words)], 502, &status[..3]).await;
    }
}

#[tokio::test]
async fn a_hop_that_closes_is_a_502() {
    check_tunnel(vec![Step::Answer(String::new()), Step::End], 502, "closed").await;
    check_tunnel(vec![Step::Answer("HTTP/1.1 200 OK\r\n".into()), Step::End], 502, "closed").await;
}

#[tokio::test]
async fn a_hop_that_resets_is_a_502() {
    check_tunnel(vec![Step::Answer(String::new()), Step::Reset], 502, "corporate").await;
}

#[tokio::test]
async fn a_hop_that_speaks_something_else_is_a_502() {
    check_tunnel(vec![Step::Say("SSH-2.0-hop\r\n".into())], 502, "not HTTP").await;
    check_tunnel(vec![Step::Say("HTTP/1.1 2x0 OK\r\n\r\n".into())], 502, "not understood").await;
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(100_000));
    check_tunnel(vec![Step::Say(endless)], 502, "bytes").await;
}

#[tokio::test]
async fn a_hop_that_hangs_is_a_504() {
    check_tunnel(vec![Step::Listen], 504, "corporate").await;
}

#[tokio::test]
async fn a_hop_that_dribbles_is_a_504() {
    let words = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(10_000));
    check_tunnel(vec![Step::Dribble(words, Duration::from_millis(20))], 504, "corporate").await;
}

#[tokio::test]
async fn a_hop_that_is_down_is_a_502_until_it_is_up() {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let proxy = Proxy::start(&config(address, "[corporate]")).await;
    for request in [CONNECT, GET] {
        let told = exchange(proxy.address(), request).await;
        assert_told(&told, 502, "corporate", "refused");
    }
    let _hop =
        Double::start_at(address, [Step::Answer("HTTP/1.1 200 OK\r\n\r\nhello".into())]).await;
    let mut tunnel = connect(proxy.address(), "origin.test:443").await.tunnel();
    assert_reads(&mut tunnel, "hello").await;
}

#[tokio::test]
async fn the_hop_that_failed_is_the_one_that_is_named() {
    let words = [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 407 No\r\nX-Webshare-Reason: no_proxies_allocated\r\n\r\n",
    ];
    let hop = Double::start(words.map(|words| Step::Answer(words.into()))).await;
    let proxy = Proxy::start(&config(hop.address(), "[corporate, webshare]")).await;
    let told = exchange(proxy.address(), CONNECT).await;
    assert_told(&told, 502, "webshare", "no_proxies_allocated");
}

#[tokio::test]
async fn a_target_that_is_down_is_a_502_that_blames_no_hop() {
    let proxy = Proxy::start("chains: { default: [] }").await;
    let target = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    let told = exchange(proxy.address(), request.as_bytes()).await;
    assert_told(&told, 502, &target.to_string(), "refused");
    assert!(!told.contains("corporate"), "{told}");
}

#[tokio::test]
async fn an_unknown_name_is_a_502() {
    let hop = "hops: { corporate: { kind: http-connect, address: \"no-such-host.invalid:1\" } }\n";
    for (chain, stop) in [("[]", "no-such-target.invalid"), ("[corporate]", "corporate")] {
        let mut proxy = Proxy::start(&format!("{hop}chains: {{ default: {chain} }}\n")).await;
        for request in [
            "CONNECT no-such-target.invalid:1 HTTP/1.1\r\nHost: no-such-target.invalid:1\r\n\r\n",
            "GET http://no-such-target.invalid/ HTTP/1.1\r\nHost: no-such-target.invalid\r\n\r\n",
        ] {
            let told = exchange(proxy.address(), request.as_bytes()).await;
            assert_told(&told, 502, stop, ".invalid");
            assert!(told.contains("; error=dns_error"), "{told}");
        }
        proxy.assert_is_well().await;
    }
}

#[tokio::test]
async fn a_way_that_leads_back_is_a_508() {
    let proxy = Proxy::start("chains: { default: [] }").await;
    let own = proxy.address();
    for request in [
        format!("CONNECT {own} HTTP/1.1\r\nHost: {own}\r\n\r\n"),
        format!("CONNECT localhost:{} HTTP/1.1\r\nHost: {own}\r\n\r\n", own.port()),
        format!("GET http://{own}/ HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n"),
    ] {
        let told = exchange(own, request.as_bytes()).await;
        assert_told(&told, 508, &own.port().to_string(), "proxy itself");
    }
}

#[tokio::test]
async fn a_plain_request_meets_the_same_faults() {
    let authenticate =
        "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"corp\"\r\nContent-Length: 0\r\n\r\n";
    for (script, status, says) in [
        (vec![Step::Answer(authenticate.into())], 502, "407"),
        (vec![Step::Answer(String::new()), Step::End], 502, "corporate"),
        (vec![Step::Answer(String::new()), Step::Reset], 502, "corporate"),
        (vec![Step::Say("SSH-2.0-hop\r\n".into())], 502, "corporate"),
        (vec![Step::Listen], 504, "corporate"),
    ] {
        let hop = Double::start(script.clone()).await;
        let proxy = Proxy::start(&config(hop.address(), "[corporate]")).await;
        let told = exchange(proxy.address(), GET).await;
        assert_told(&told, status, "corporate", says);

        hop.becomes([Step::Answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into())]);
        let answer = exchange(proxy.address(), GET).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"),
            "{script:?}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_stock_squid_says_which_port_it_refuses() {
    let Some(corporate) = Squid::start(SquidRules::Stock).await else { return };
    let proxy = Proxy::start(&config(corporate.address(), "[corporate, webshare]")).await;
    let told = exchange(proxy.address(), CONNECT).await;
    assert_told(&told, 502, "corporate", "403");
    assert!(told.contains("port 80") || told.contains(":80"), "{told}");
}

#[tokio::test]
async fn an_unasked_provider_password_is_a_502_too() {
    let Some(provider) = Squid::start(SquidRules::Basic).await else { return };
    let echo = EchoOrigin::start().await;
    let (address, target) = (provider.address(), echo.address());
    let proxy = Proxy::start(&format!(
        "hops: {{ provider: {{ kind: http-connect, address: \"{address}\", username: dev, password: wrong }} }}\n\
         chains: {{ default: [provider] }}\n"
    ))
    .await;
    for request in [
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"),
        format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n"),
    ] {
        let told = exchange(proxy.address(), request.as_bytes()).await;
        assert_told(&told, 502, "provider", "407");
    }
}

const CONNECT: &[u8] = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n";

const GET: &[u8] =
    b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n";

/// Lets a hop play `script`, expects a refusal that says `says`, and that the next attempt finds the hop well.
async fn check_tunnel(script: Vec<Step>, status: u16, says: &str) {
    let hop = Double::start(script.clone()).await;
    let mut proxy = Proxy::start(&config(hop.address(), "[corporate]")).await;
    let told = exchange(proxy.address(), CONNECT).await;
    assert_told(&told, status, "corporate", says);

    hop.becomes([Step::Answer("HTTP/1.1 200 OK\r\n\r\nhello".into())]);
    let mut tunnel = connect(proxy.address(), "origin.test:443").await.tunnel();
    assert_reads(&mut tunnel, "hello").await;
    proxy.assert_is_well().await;
}

/// Asserts that `told` is a refusal with a paragraph about `stop`, and the same for machines.
#[track_caller]
fn assert_told(told: &str, status: u16, stop: &str, says: &str) {
    assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
    let (head, paragraph) = told.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.contains("\r\ncontent-type: text/plain"), "{told}");
    assert!(head.contains("\r\nconnection: close"), "{told}");
    assert!(!head.contains("proxy-authenticate"), "{told}");
    let status_field = head.lines().find(|line| line.starts_with("proxy-status: "));
    let status_field = status_field.unwrap_or_else(|| panic!("no Proxy-Status: {told}"));
    assert!(status_field.contains("; error="), "{told}");
    assert!(paragraph.contains(stop) && paragraph.contains(says), "{stop}, {says}: {told}");
    assert!(!paragraph.contains("secret"), "{told}");
}

fn config(corporate: SocketAddr, chain: &str) -> String {
    format!("{SHORT_TIMEOUTS}{}chains: {{ default: {chain} }}\n", two_hops(corporate))
}
