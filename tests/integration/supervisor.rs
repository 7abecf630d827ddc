//! Notifications of a supervisor: the protocol of `sd_notify(3)`, on a socket of the test's own.
#![cfg(target_os = "linux")]

use rustix::process::Signal;
use tokio::net::UnixDatagram;

use crate::support::{EchoOrigin, Proxy, connect, within};

#[tokio::test]
async fn a_supervisor_is_notified_of_each_step() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    let told = async || {
        let mut words = vec![0; 4096];
        let length = within("a word to the supervisor", supervisor.recv(&mut words)).await.unwrap();
        String::from_utf8(words[..length].to_vec()).unwrap()
    };
    let mut proxy = Proxy::supervised("chains: { default: [] }\n", &path).await;
    assert_eq!(told().await, "READY=1\n");
    for (yaml, event) in
        [("timeouts: { idle: 1h }\n", "config reloaded"), ("timeouts: [\n", "config rejected")]
    {
        proxy.config().write("20-more.yaml", yaml);
        let reloading = told().await;
        let (first, second) = reloading.split_once('\n').unwrap();
        assert_eq!(first, "RELOADING=1");
        let since = second.trim_end().strip_prefix("MONOTONIC_USEC=").unwrap();
        assert!(since.parse::<u64>().unwrap() > 0);
        assert_eq!(told().await, "READY=1\n");
        proxy.event(event).await;
    }
    proxy.signal(Signal::TERM);
    assert_eq!(told().await, "STOPPING=1\n");
    proxy.exit().await;
}

#[tokio::test]
async fn the_end_tells_how_far_it_is() {
    let echo = EchoOrigin::start().await;
    let mut proxy = Proxy::start("chains: { default: [] }\n").await;
    let mut tunnels = Vec::new();
    for _ in 0..3 {
        tunnels.push(connect(proxy.address(), echo.address()).await.tunnel());
    }
    proxy.signal(Signal::TERM);
    let begun = proxy.event("shutting down").await;
    assert_eq!(begun.field("open"), "3");
    tunnels.pop();
    let progress = proxy.event("draining").await;
    assert_eq!(progress.field("open"), "2");
    drop(tunnels);
    assert_eq!(proxy.exit().await.code(), Some(0));
}
