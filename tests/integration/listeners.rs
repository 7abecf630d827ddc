//! The addresses that the proxy listens on.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::support::{ConfigDir, EchoOrigin, Proxy, connect, free_port_at, run, skip, status};

/// Returns the addresses that the log names after its first `seen` lines, once there are two.
async fn two_addresses(proxy: &Proxy, seen: usize) -> [SocketAddr; 2] {
    let first = proxy.event_after(seen, "listening").await;
    let position = proxy.events()[seen..].iter().position(|event| event.text() == first.text());
    let second = proxy.event_after(seen + position.unwrap() + 1, "listening").await;
    [first, second].map(|event| event.field("address").parse().unwrap())
}

#[tokio::test]
async fn localhost_is_both_loopback_addresses() {
    if free_port_at("[::1]").is_none() {
        return skip("IPv6");
    }
    let echo = EchoOrigin::start().await;
    let arguments = ["--listen", "localhost:0"];
    let proxy = Proxy::with_arguments("chains: { default: [] }\n", &arguments).await;
    let [v4, v6] = two_addresses(&proxy, 0).await;
    assert_eq!((v4.ip(), v6.ip()), (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()));
    assert_eq!(v4.port(), v6.port());
    for address in [v4, v6] {
        connect(address, echo.address()).await.tunnel();
    }
}

#[tokio::test]
async fn a_listener_becomes_localhost_without_losing_its_socket() {
    let Some(port) = free_port_at("[::1]") else { return skip("IPv6") };
    let echo = EchoOrigin::start().await;
    let config = ConfigDir::new("chains: { default: [] }\n");
    config.write("00-server.yaml", &format!("server: {{ listen: 127.0.0.1:{port} }}\n"));
    let proxy = Proxy::on(config, &[]).await;
    let seen = proxy.events().len();
    let localhost = format!("server: {{ listen: localhost:{port} }}\n");
    proxy.config().write("00-server.yaml", &localhost);
    proxy.event_after(seen, "config reloaded").await;
    for address in [proxy.address(), SocketAddr::from((Ipv6Addr::LOCALHOST, port))] {
        connect(address, echo.address()).await.tunnel();
    }
    let events = proxy.events();
    let listening = events.iter().filter(|event| event.message() == "listening");
    assert_eq!(listening.count(), 2, "one for each socket");
    assert!(events.iter().all(|event| event.message() != "not listening any more"));
    let own = format!("localhost:{port}");
    assert!(status(proxy.address()).await["generation"].is_u64());
    let output = run(["status", "-c", proxy.config().path().to_str().unwrap()]);
    assert!(output.status.success(), "{own}: {output:?}");
}

#[tokio::test]
async fn the_proxy_does_not_call_itself_at_either_address_of_localhost() {
    let Some(port) = free_port_at("[::1]") else { return skip("IPv6") };
    let config = ConfigDir::new("chains: { default: [] }\n");
    config.write("00-server.yaml", &format!("server: {{ listen: localhost:{port} }}\n"));
    let proxy = Proxy::on(config, &[]).await;
    for address in two_addresses(&proxy, 0).await {
        let answer = connect(proxy.address(), address).await;
        assert!(answer.head.starts_with("HTTP/1.1 508 "), "{address}: {}", answer.head);
    }
}
