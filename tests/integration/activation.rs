//! Under a supervisor that listens in the proxy's place: the protocol of `sd_listen_fds(3)`.
#![cfg(unix)]

use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    os::fd::AsFd,
    process::Output,
};

use rustix::process::Signal;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::support::{
    ConfigDir, EchoOrigin, Proxy, activated, assert_reads, connect, free_port, head, open, ping,
    rest, within,
};

#[tokio::test]
async fn a_restart_refuses_no_client() {
    let supervisor = listen();
    let address = supervisor.local_addr().unwrap();
    let echo = EchoOrigin::start().await;
    let mut first = Proxy::activated(config(address), &supervisor).await;
    assert_eq!(first.address(), address);
    let mut tunnel = connect(address, echo.address()).await.tunnel();
    first.signal(Signal::TERM);
    first.event("shutting down").await;
    // During the drain, between the two processes, and after the second one has started.
    let in_drain = ask(address, &echo).await;
    ping(&mut tunnel).await;
    drop(tunnel);
    assert_eq!(first.exit().await.code(), Some(0));
    let between = ask(address, &echo).await;
    let _second = Proxy::activated(config(address), &supervisor).await;
    for mut client in [in_drain, between, ask(address, &echo).await] {
        assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
        ping(&mut client).await;
    }
}

#[tokio::test]
async fn who_comes_with_the_signal_is_served_by_one_or_the_other() {
    let supervisor = listen();
    let address = supervisor.local_addr().unwrap();
    let mut first = Proxy::activated(config(address), &supervisor).await;
    // When it goes on, clients and the signal wait for it at once.
    first.signal(Signal::STOP);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = open(address).await;
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        clients.push(client);
    }
    first.signal(Signal::TERM);
    first.signal(Signal::CONT);
    assert_eq!(first.exit().await.code(), Some(0));
    let _second = Proxy::activated(config(address), &supervisor).await;
    for mut client in clients {
        assert!(rest(&mut client).await.ends_with("\r\n\r\nok\n"));
    }
}

/// As systemd does it each time it passes the socket to one more process.
#[tokio::test]
async fn a_supervisor_that_makes_accept_block_stops_no_tunnel() {
    let supervisor = listen();
    let address = supervisor.local_addr().unwrap();
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::activated(config(address), &supervisor).await;
    let mut tunnel = connect(address, echo.address()).await.tunnel();
    for _ in 0..3 {
        supervisor.set_nonblocking(false).unwrap();
        let mut next = connect(address, echo.address()).await.tunnel();
        for tunnel in [&mut tunnel, &mut next] {
            within("an echo", ping(tunnel)).await;
        }
    }
    drop(proxy);
}

#[tokio::test]
async fn fifty_tunnels_outlive_an_upgrade_and_new_clients_do_not_wait() {
    let supervisor = listen();
    let address = supervisor.local_addr().unwrap();
    let echo = EchoOrigin::start().await;
    let mut old = Proxy::activated(config(address), &supervisor).await;
    let mut tunnels = Vec::new();
    for _ in 0..50 {
        tunnels.push(connect(address, echo.address()).await.tunnel());
    }
    // Both processes accept from the same socket until the old one is stopped.
    let _new = Proxy::activated(config(address), &supervisor).await;
    old.signal(Signal::TERM);
    old.event("shutting down").await;
    for _ in 0..20 {
        let mut client = connect(address, echo.address()).await.tunnel();
        ping(&mut client).await;
    }
    for tunnel in &mut tunnels {
        tunnel.write_all(b"still here").await.unwrap();
        assert_reads(tunnel, "still here").await;
    }
    drop(tunnels);
    assert_eq!(old.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_reload_may_add_to_the_supervisors_address_and_not_leave_it_out() {
    let supervisor = listen();
    let (passed, own) = (supervisor.local_addr().unwrap(), local(free_port()));
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::activated(config(passed), &supervisor).await;
    proxy.config().write("00-server.yaml", &listens_on(&[own, passed]));
    proxy.event("config reloaded").await;
    for address in [passed, own] {
        connect(address, echo.address()).await.tunnel();
    }
    proxy.config().write("00-server.yaml", &listens_on(&[own]));
    let rejected = proxy.event("config rejected").await.text();
    assert!(
        rejected.contains(&passed.to_string()) && rejected.contains("supervisor"),
        "{rejected}"
    );
    for address in [passed, own] {
        connect(address, echo.address()).await.tunnel();
    }
    let seen = proxy.events().len();
    proxy.config().write("00-server.yaml", &listens_on(&[passed]));
    proxy.event_after(seen, "config reloaded").await;
    connect(passed, echo.address()).await.tunnel();
}

#[test]
fn what_the_supervisor_passes_must_be_of_use() {
    let (supervisor, bound) = (listen(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let address = supervisor.local_addr().unwrap();
    let unnamed = run(&supervisor, &config(local(free_port())));
    assert!(says(&unnamed, &[&address.to_string(), "server.listen"]), "{unnamed:?}");
    let no_stream = run(&bound, &config(address));
    assert!(says(&no_stream, &["supervisor", "tcp socket"]), "{no_stream:?}");
    let connected = std::net::TcpStream::connect(address).unwrap();
    let no_listener = run(&connected, &config(address));
    assert!(says(&no_listener, &["supervisor", "does not listen"]), "{no_listener:?}");
}

/// Runs it to the end that it comes to when it can't begin.
fn run(socket: &impl AsFd, config: &ConfigDir) -> Output {
    activated(socket).arg("run").arg("-c").arg(config.path()).output().unwrap()
}

fn says(output: &Output, words: &[&str]) -> bool {
    let told = String::from_utf8_lossy(&output.stderr);
    output.status.code() == Some(1) && words.iter().all(|word| told.contains(word))
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A client that has asked for a tunnel, and does not know yet who takes it.
async fn ask(proxy: SocketAddr, echo: &EchoOrigin) -> TcpStream {
    let mut client = open(proxy).await;
    let target = echo.address();
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

fn config(address: SocketAddr) -> ConfigDir {
    let config = ConfigDir::new("chains: { default: [] }\n");
    config.write("00-server.yaml", &listens_on(&[address]));
    config
}

fn listens_on(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("server: {{ listen: [{}] }}\n", addresses.join(", "))
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}
