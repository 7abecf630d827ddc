//! What it says when it starts, and how much it carries at once.

use tokio::io::AsyncWriteExt as _;

use crate::support::{EchoOrigin, Proxy, assert_reads, connect};

#[tokio::test]
async fn a_chain_that_goes_direct_is_said_once_before_it_listens() {
    let off =
        "hops: { corporate: { kind: http-connect, address: \"a.test:1\", enabled: false } }\n";
    for chain in ["[]", "[corporate]"] {
        let proxy = Proxy::start(&format!("{off}chains: {{ default: {chain} }}\n")).await;
        let events = proxy.events();
        let direct = events.iter().filter(|event| event.message().contains("goes direct"));
        let direct: Vec<_> = direct.map(|event| event.text()).collect();
        assert!(matches!(direct.as_slice(), [one] if one.contains("default")), "{direct:?}");
    }
}

/// As many as a developer's machine may bring.
const TUNNELS: usize = 1_000;

#[tokio::test]
async fn a_thousand_tunnels_are_open_at_once() {
    raise_open_files();
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::start("log: { access: false }\nchains: { default: [] }\n").await;
    let mut tunnels = Vec::with_capacity(TUNNELS);
    for _ in 0..TUNNELS {
        tunnels.push(connect(proxy.address(), echo.address()).await.tunnel());
    }
    for (number, tunnel) in tunnels.iter_mut().enumerate() {
        tunnel.write_all(format!("I am {number}").as_bytes()).await.unwrap();
    }
    for (number, tunnel) in tunnels.iter_mut().enumerate() {
        assert_reads(tunnel, &format!("I am {number}")).await;
    }
}

/// This process holds two ends of each tunnel: the client's and the origin's.
#[cfg(unix)]
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    let needed = 4 * TUNNELS as u64;
    limit.current =
        limit.current.map(|current| current.max(needed).min(limit.maximum.unwrap_or(needed)));
    setrlimit(Resource::Nofile, limit).unwrap();
}

#[cfg(not(unix))]
fn raise_open_files() {}
