//! The addresses that the proxy listens on.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    ConfigDir, EchoOrigin, Proxy, connect, free_port, free_port_at, open, ping, run, skip, status,
    within,
};

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

/// Linux lets no two sockets have one port at addresses of which one includes the other, unless both agree.
#[tokio::test]
async fn an_address_that_includes_the_old_one_or_is_included_takes_effect_at_once() {
    let echo = EchoOrigin::start().await;
    let port = free_port();
    let listen = |host: &str| {
        format!(
            "server: {{ listen: \"{host}:{port}\", auth: {{ username: u, password: \"a b\" }} }}\n"
        )
    };
    let hosts = ["0.0.0.0", "127.0.0.1", "0.0.0.0", "localhost", "0.0.0.0"];
    let config = ConfigDir::new("chains: { default: [] }\n");
    config.write("00-server.yaml", &listen(hosts[0]));
    let proxy = Proxy::on(config, &[]).await;
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    for (old, new) in hosts.iter().zip(&hosts[1..]) {
        let mut kept = socks_login(loopback, echo.address()).await;
        let seen = proxy.events().len();
        proxy.config().write("00-server.yaml", &listen(new));
        let listening = proxy.event_after(seen, "listening").await;
        assert!(listening.field("address").ends_with(&format!(":{port}")), "{old} to {new}");
        let reloaded = proxy.event_after(seen, "config reloaded").await;
        assert!(reloaded.field("changed").contains("server.listen"), "{old} to {new}");
        proxy.event_after(seen, "not listening any more").await;
        ping(&mut socks_login(loopback, echo.address()).await).await;
        // A tunnel that the old listener accepted goes on.
        ping(&mut kept).await;
        // No other program can join, whatever it asks for.
        let other =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        other.set_reuse_address(true).unwrap();
        #[cfg(target_os = "linux")]
        other.set_reuse_port(true).unwrap();
        assert!(
            other.bind(&loopback.into()).is_err() || !cfg!(target_os = "linux"),
            "{old} to {new}"
        );
    }
}

/// Opens a tunnel by SOCKS5 with the credentials of `server.auth`.
async fn socks_login(proxy: SocketAddr, target: SocketAddr) -> TcpStream {
    let SocketAddr::V4(target) = target else { panic!("{target} is IPv6") };
    let mut client = open(proxy).await;
    let address = [&target.ip().octets()[..], &target.port().to_be_bytes()].concat();
    let messages = [b"\x05\x01\x02\x01\x01u\x03a b\x05\x01\x00\x01", &address[..]].concat();
    client.write_all(&messages).await.unwrap();
    let mut answer = [0; 14];
    within("the answer to SOCKS", client.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer[..5], [5, 2, 1, 0, 5], "{answer:?}");
    client
}
