//! `kind: socks5`, with real SOCKS proxies.

use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::support::{
    EchoOrigin, PASSWORD, Proxy, SocksProxy, USERNAME, assert_reads, connect, exchange, ping,
};

#[tokio::test]
async fn tunnels_pass_socks_proxies_first_in_the_middle_and_last() {
    let (Some(open), Some(asking)) =
        (SocksProxy::microsocks(false).await, SocksProxy::microsocks(true).await)
    else {
        return;
    };
    let echo = EchoOrigin::start().await;
    let hops = hops(&open, &asking);
    for chain in [
        "[open]",
        "[asking]",
        "[open, asking]",
        "[asking, open, asking]",
        "{ hops: [open, asking], warm: 1 }",
        "[pool]",
    ] {
        let proxy = Proxy::start(&format!("{hops}chains: {{ default: {chain} }}\n")).await;
        for target in [echo.address().to_string(), format!("localhost:{}", echo.address().port())] {
            let mut tunnel = connect(proxy.address(), &target).await.tunnel();
            // Microsocks ends both directions when one of them ends, so this one stays open.
            ping(&mut tunnel).await;
        }
    }
}

#[tokio::test]
async fn a_target_that_refuses_does_not_make_a_pool_leave_its_member() {
    let (Some(open), Some(asking)) =
        (SocksProxy::microsocks(false).await, SocksProxy::microsocks(true).await)
    else {
        return;
    };
    let hops = hops(&open, &asking);
    let proxy = Proxy::start(&format!("{hops}chains: {{ default: [pool] }}\n")).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for _ in 0..2 {
        let told = connect_told(&proxy, &closed.to_string()).await;
        assert!(told.starts_with("HTTP/1.1 502 "), "{told}");
        // The first member stays in use, and is the one that is named.
        let field = "error=connection_refused; next-hop=\"pool.members[0]\"; details=";
        assert!(told.contains(field) && told.contains("5, connection refused"), "{told}");
    }
}

#[tokio::test]
async fn refusals_name_the_problem() {
    let Some(asking) = SocksProxy::microsocks(true).await else { return };
    for (settings, words) in [
        ("", "it wants a username and a password"),
        (", username: dev, password: wrong", "username or password not accepted"),
    ] {
        let yaml = format!(
            "hops: {{ socks: {{ kind: socks5, address: \"{}\"{settings} }} }}\nchains: {{ default: [socks] }}\n",
            asking.address()
        );
        let proxy = Proxy::start(&yaml).await;
        let told = connect_told(&proxy, "127.0.0.1:9").await;
        assert!(told.contains("error=proxy_configuration_error; next-hop=\"socks\""), "{told}");
        assert!(told.contains(words), "{told}");
    }
}

#[tokio::test]
async fn dante_carries_tunnels_and_its_rules_are_explained() {
    let Some(dante) = SocksProxy::dante().await else { return };
    let echo = EchoOrigin::start().await;
    let yaml = format!(
        "hops: {{ socks: {{ kind: socks5, address: \"{}\" }} }}\nchains: {{ default: [socks] }}\n",
        dante.address()
    );
    let proxy = Proxy::start(&yaml).await;
    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    tunnel.write_all(b"hello").await.unwrap();
    tunnel.shutdown().await.unwrap();
    assert_reads(&mut tunnel, "hello").await;
    let told = connect_told(&proxy, "127.0.0.1:1").await;
    assert!(told.contains("2, not allowed by its rules"), "{told}");
}

async fn connect_told(proxy: &Proxy, target: &str) -> String {
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    exchange(proxy.address(), request.as_bytes()).await
}

fn hops(open: &SocksProxy, asking: &SocksProxy) -> String {
    format!(
        "hops:\n  open: {{ kind: socks5, address: \"{}\" }}\n  \
         asking: {{ kind: socks5, address: \"{}\", username: {USERNAME}, password: {PASSWORD} }}\n  \
         pool: {{ kind: pool, members: [open, asking] }}\n",
        open.address(),
        asking.address()
    )
}
