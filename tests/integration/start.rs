//! The start: its log lines, its errors, and how many tunnels fit afterwards.

use tokio::io::AsyncWriteExt as _;

use crate::support::{EchoOrigin, Proxy, assert_reads, connect, raise_open_files};

#[tokio::test]
async fn the_log_names_a_direct_chain_once_before_listening() {
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

/// The tunnels that a developer's machine may have open.
const TUNNELS: usize = 1_000;

#[tokio::test]
async fn a_thousand_tunnels_are_open_at_once() {
    // Two ends of each are this process's: the client's and the origin's.
    raise_open_files(4 * TUNNELS as u64);
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
