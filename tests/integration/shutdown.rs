//! The end: what is open may finish, nothing new comes in.
#![cfg(unix)]

use std::sync::Arc;

use rustix::process::Signal;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::Notify};

use crate::support::{
    Double, EchoOrigin, HttpOrigin, Proxy, Step, assert_reads, connect, head, open, ping, rest,
    within,
};

const DIRECT: &str = "chains: { default: [] }\n";

#[tokio::test]
async fn open_tunnels_end_by_themselves() {
    for signal in [Signal::TERM, Signal::INT] {
        let echo = EchoOrigin::start().await;
        let mut proxy = Proxy::start(DIRECT).await;
        let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
        proxy.signal(signal);
        proxy.event("shutting down").await;
        within("no client is let in", async {
            while TcpStream::connect(proxy.address()).await.is_ok() {}
        })
        .await;
        ping(&mut tunnel).await;
        drop(tunnel);
        assert_eq!(proxy.exit().await.code(), Some(0), "{signal:?}");
        assert_eq!(proxy.events().last().unwrap().message(), "stopped");
    }
}

#[tokio::test]
async fn idle_connections_do_not_hold_it() {
    let origin = HttpOrigin::plain().await;
    let mut proxy = Proxy::start(DIRECT).await;
    let mut idle = open(proxy.address()).await;
    let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", origin.url("/bytes/0"));
    idle.write_all(request.as_bytes()).await.unwrap();
    head(&mut idle).await;
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
    assert_eq!(rest(&mut idle).await, "");
}

/// A process that takes over shares the listening socket with this one, so this one gets clients to the last moment.
#[tokio::test]
async fn a_client_that_has_just_connected_is_served_and_one_that_stays_silent_does_not_hold_it() {
    let origin = HttpOrigin::plain().await;
    let config = "server: { workers: 1 }\nchains: { default: [] }\n";
    let mut proxy = Proxy::start(config).await;
    let (mut client, mut silent) = (open(proxy.address()).await, open(proxy.address()).await);
    // Clients are accepted in their order, so the answer shows that both are.
    let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", origin.url("/bytes/0"));
    let mut other = open(proxy.address()).await;
    other.write_all(request.as_bytes()).await.unwrap();
    head(&mut other).await;
    proxy.signal(Signal::TERM);
    proxy.event("shutting down").await;
    client.write_all(request.as_bytes()).await.unwrap();
    assert!(rest(&mut client).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(proxy.exit().await.code(), Some(0));
}

#[tokio::test]
async fn connections_that_are_open_after_the_drain_are_cut() {
    let echo = EchoOrigin::start().await;
    let mut proxy = Proxy::start("timeouts: { drain: 100ms }\nchains: { default: [] }\n").await;
    let _tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let echo = EchoOrigin::start().await;
    let mut proxy = Proxy::start("timeouts: { drain: 1h }\nchains: { default: [] }\n").await;
    let _tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    proxy.signal(Signal::INT);
    proxy.event("shutting down").await;
    proxy.signal(Signal::INT);
    proxy.exit().await;
}

#[tokio::test]
async fn a_response_under_way_is_whole() {
    let rest_may_come = Arc::new(Notify::new());
    let origin = Double::start([
        Step::Answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst".into()),
        Step::Await(Arc::clone(&rest_may_come)),
        Step::Say("-last".into()),
    ])
    .await;
    let mut proxy = Proxy::start(DIRECT).await;
    let mut client = open(proxy.address()).await;
    let request = format!("GET http://{}/ HTTP/1.1\r\nHost: x\r\n\r\n", origin.address());
    client.write_all(request.as_bytes()).await.unwrap();
    head(&mut client).await;
    assert_reads(&mut client, "first").await;
    proxy.signal(Signal::TERM);
    proxy.event("shutting down").await;
    rest_may_come.notify_one();
    assert_eq!(rest(&mut client).await, "-last");
    assert_eq!(proxy.exit().await.code(), Some(0));
}
