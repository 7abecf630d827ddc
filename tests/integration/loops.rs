//! Requests that come back: each proxy is the other's hop, directly or with squid in between.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{self, Instant},
};

use crate::support::{
    ConfigDir, EchoOrigin, Proxy, Squid, SquidRules, assert_reads, connect, exchange, free_port,
    pause, status, within,
};

const CONNECTIONS: usize = 200;
/// More than a slow machine needs for the rounds of a loop, and less than the timeout of 30 s that would end it too.
const NOT_BY_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT: &[u8] = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n";
const GET: &[u8] = b"GET http://a.test/b?c HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

fn address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

async fn proxy(listen: SocketAddr, hop: SocketAddr, via: &str) -> Proxy {
    let hops = format!(
        "hops: {{ other: {{ kind: http-connect, address: \"{hop}\" }} }}\n\
         chains: {{ default: [other] }}\n"
    );
    proxy_with(listen, &hops, via).await
}

async fn proxy_with(listen: SocketAddr, hops: &str, via: &str) -> Proxy {
    let config = ConfigDir::new(&format!("limits: {{ connections: {CONNECTIONS} }}\n{hops}"));
    let server = format!("server: {{ listen: \"{listen}\", via: {via} }}\n");
    config.write("00-server.yaml", &server);
    Proxy::on(config, &[]).await
}

/// Sends `request` to the first of `proxies`. Returns the answer, and the most connections that one proxy had open,
/// without the one that asks for their number.
async fn send(proxies: &[&Proxy], request: &[u8]) -> (String, u64) {
    let mut answer = Box::pin(exchange(proxies[0].address(), request));
    let mut most = 0;
    loop {
        tokio::select! {
            answer = &mut answer => return (answer, most),
            () = time::sleep(Duration::from_millis(20)) => {}
        }
        for proxy in proxies {
            let open = status(proxy.address()).await["connections"]["open"].as_u64().unwrap();
            most = most.max(open - 1);
        }
    }
}

async fn all_end(proxies: &[&Proxy]) {
    within("every connection ends", async {
        for proxy in proxies {
            while status(proxy.address()).await["connections"]["open"] != 1 {
                pause().await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_unmarked_loop_takes_a_tenth_of_the_connections_and_ends_with_508() {
    let (a, b) = (address(), address());
    let (first, second) = (proxy(a, b, "none").await, proxy(b, a, "none").await);
    let both = [&first, &second];
    for request in [CONNECT, GET] {
        let begun = Instant::now();
        let (answer, most) = send(&both, request).await;
        assert!(answer.starts_with("HTTP/1.1 508 Loop Detected"), "{answer}");
        assert!(answer.contains("error=proxy_loop_detected"), "{answer}");
        assert!((2..=CONNECTIONS as u64 / 10).contains(&most), "{most} connections");
        assert!(begun.elapsed() < NOT_BY_TIMEOUT, "{:?}", begun.elapsed());
        all_end(&both).await;
    }
}

#[tokio::test]
async fn a_loop_through_a_pool_or_with_spares_ends_as_early_and_stays_ended() {
    const POOL: &str = "p: { kind: pool, members: [one, two] }";
    for (more, chain, requests) in
        [(POOL, "[p]", &[CONNECT, GET][..]), ("", "{ hops: [one, two], warm: 8 }", &[CONNECT, GET])]
    {
        let (a, b) = (address(), address());
        let to_second = format!("kind: http-connect, address: \"{b}\"");
        let hops = format!(
            "hops: {{ one: {{ {to_second} }}, two: {{ {to_second} }}, {more} }}\n\
             chains: {{ default: {chain} }}\n"
        );
        let (first, second) = (proxy_with(a, &hops, "none").await, proxy(b, a, "none").await);
        let both = [&first, &second];
        for request in requests {
            let begun = Instant::now();
            let (answer, most) = send(&both, request).await;
            assert!(answer.starts_with("HTTP/1.1 508 Loop Detected"), "{chain}: {answer}");
            assert!((2..=CONNECTIONS as u64 / 10).contains(&most), "{chain}: {most} connections");
            assert!(begun.elapsed() < NOT_BY_TIMEOUT, "{chain}: {:?}", begun.elapsed());
            all_end(&both).await;
        }
        // Nobody asks for anything now, so nothing may fail. Spares would be tried again after a second.
        let failed = async || status(a).await["chains"]["default"]["failed"].as_u64();
        let before = failed().await;
        time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(failed().await, before, "{chain}");
    }
}

#[tokio::test]
async fn a_loop_ends_when_its_clients_leave() {
    let mut loops = JoinSet::new();
    // One client has a loop recognised. Three are more than one, and the last round ends after `timeouts.handshake`.
    for (request, clients, patience) in
        [(CONNECT, 1, 30), (CONNECT, 1, 500), (GET, 1, 30), (CONNECT, 3, 500)]
    {
        loops.spawn(async move {
            let (a, b) = (address(), address());
            let (first, second) = (proxy(a, b, "none").await, proxy(b, a, "none").await);
            let mut left = JoinSet::new();
            for _ in 0..clients {
                left.spawn(time::timeout(Duration::from_millis(patience), exchange(a, request)));
            }
            assert!(left.join_all().await.iter().all(Result::is_err), "no client is answered");
            all_end(&[&first, &second]).await;
        });
    }
    loops.join_all().await;
}

#[tokio::test]
async fn a_plain_loop_of_proxies_with_via_ends_in_the_second_round() {
    for (ours, theirs) in [("first", "second"), ("first", "none"), ("none", "second")] {
        let (a, b) = (address(), address());
        let (first, second) = (proxy(a, b, ours).await, proxy(b, a, theirs).await);
        let begun = Instant::now();
        let answer = exchange(first.address(), GET).await;
        assert!(answer.starts_with("HTTP/1.1 508 Loop Detected"), "{ours}: {answer}");
        assert!(begun.elapsed() < NOT_BY_TIMEOUT, "{:?}", begun.elapsed());
        // The proxy that marks requests recognises them, at the first that comes back.
        let marking = if ours == "none" { &second } else { &first };
        marking.event("the request loops").await;
        for proxy in [&first, &second] {
            let failed = &status(proxy.address()).await["chains"]["default"]["failed"];
            assert!(failed.as_u64().unwrap() <= 2 * 2, "{failed} failed: more than two rounds");
        }
    }
}

#[tokio::test]
async fn a_loop_of_tunnels_ends_in_the_second_round_if_all_proxies_add_via() {
    let (a, b) = (address(), address());
    let (first, second) = (proxy(a, b, "first").await, proxy(b, a, "second").await);
    let begun = Instant::now();
    let answer = exchange(first.address(), CONNECT).await;
    assert!(answer.starts_with("HTTP/1.1 508 Loop Detected"), "{answer}");
    assert!(begun.elapsed() < NOT_BY_TIMEOUT, "{:?}", begun.elapsed());
    first.event("the request loops").await;
    for proxy in [&first, &second] {
        let failed = &status(proxy.address()).await["chains"]["default"]["failed"];
        assert_eq!(failed, 1, "more than one round");
    }
}

#[tokio::test]
async fn a_loop_through_squid_ends_early() {
    for via in ["none", "first"] {
        // Squid takes a parent for dead that does not listen when it starts.
        let parent = std::net::TcpListener::bind(address()).unwrap();
        let a = parent.local_addr().unwrap();
        let Some(squid) = Squid::start(SquidRules::Below(a)).await else { return };
        drop(parent);
        let first = proxy(a, squid.address(), via).await;
        within("squid finds its parent", async {
            while exchange(a, CONNECT).await.contains("ERR_CANNOT_FORWARD") {
                time::sleep(Duration::from_millis(1500)).await;
            }
        })
        .await;
        // Squid recognises its own `Via` in plain requests before we do.
        let of_plain = if via == "none" { "403 Forbidden" } else { "508 Loop Detected" };
        let begun = Instant::now();
        let (mut answer, mut most) = send(&[&first], GET).await;
        if answer.contains("ERR_READ_ERROR") {
            // Squid may try a connection that ended with an earlier CONNECT.
            (answer, most) = send(&[&first], GET).await;
        }
        assert!(answer.starts_with(&format!("HTTP/1.1 {of_plain}")), "{via}: {answer}");
        // Squid keeps the connections of earlier rounds open for others.
        assert!(most <= 8, "{most} connections");
        assert!(begun.elapsed() < NOT_BY_TIMEOUT, "{:?}", begun.elapsed());
        // Squid hands the fields of a CONNECT on. Without one of ours, only the bound ends that loop. Squid also keeps a
        // few connections of earlier requests.
        let begun = Instant::now();
        let (answer, most) = send(&[&first], CONNECT).await;
        assert!(answer.starts_with("HTTP/1.1 508 Loop Detected"), "{via}: {answer}");
        let bound = if via == "none" { CONNECTIONS as u64 / 10 + 4 } else { 8 };
        assert!(most <= bound, "{most} connections");
        let is_early = begun.elapsed() < NOT_BY_TIMEOUT;
        assert!(via == "none" || is_early, "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn heavy_traffic_to_one_target_through_a_hop_is_no_loop() {
    let echo = EchoOrigin::start().await;
    let hop = Proxy::start("chains: { default: [] }\n").await;
    let first = proxy(address(), hop.address(), "none").await;
    let mut clients = JoinSet::new();
    for number in 0..CONNECTIONS - 10 {
        let (proxy, target) = (first.address(), echo.address());
        clients.spawn(async move {
            let mut tunnel = connect(proxy, target).await.tunnel();
            let words = format!("I am {number}");
            tokio::io::AsyncWriteExt::write_all(&mut tunnel, words.as_bytes()).await.unwrap();
            assert_reads(&mut tunnel, &words).await;
            tunnel
        });
    }
    // All stay open until the last one is.
    assert_eq!(clients.join_all().await.len(), CONNECTIONS - 10);
}
