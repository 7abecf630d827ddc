//! Edits of the addresses to listen on.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use tokio::net::TcpStream;

use crate::support::{
    ConfigDir, EchoOrigin, Proxy, connect, free_address, free_port_at, pause, ping, skip, within,
};

#[tokio::test]
async fn an_address_given_by_flag_stays() {
    let echo = EchoOrigin::start().await;
    let config = ConfigDir::new("chains: { default: [] }\n");
    let proxy = Proxy::on(config, &["--listen", "127.0.0.1:0"]).await;
    let address = free_address();
    let more = format!("server: {{ listen: \"{address}\" }}\ntimeouts: {{ idle: 1h }}\n");
    proxy.config().write("20-more.yaml", &more);
    proxy.event("config reloaded").await;
    connect(proxy.address(), echo.address()).await.tunnel();
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nothing listens at the address of the file"
    );
}

#[tokio::test]
async fn a_new_address_is_bound_before_the_old_one_is_released() {
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    proxy.config().write("20-listen.yaml", &format!("server: {{ listen: \"{address}\" }}\n"));
    let rejected = proxy.event("config rejected").await;
    assert!(rejected.text().contains(&address.to_string()), "{rejected:?}");
    connect(proxy.address(), echo.address()).await.tunnel();

    let seen = proxy.events().len();
    let address = free_address();
    proxy.config().write("20-listen.yaml", &format!("server: {{ listen: \"{address}\" }}\n"));
    proxy.event_after(seen, "config reloaded").await;
    connect(address, echo.address()).await.tunnel();
    within("the old address is released", async {
        while TcpStream::connect(proxy.address()).await.is_ok() {
            pause().await;
        }
    })
    .await;
    ping(&mut tunnel).await;
}

#[tokio::test]
async fn listeners_of_both_families_come_and_go_live() {
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    let (old, second) = (proxy.address(), free_address());
    let Some(six) = free_port_at("[::1]") else { return skip("IPv6") };
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, six));
    let mut last = vec![old];
    // An address that the system chose stays the one that was written, which has no port.
    let written = |address: SocketAddr| {
        if address == old { "127.0.0.1:0".into() } else { address.to_string() }
    };
    for listen in
        [vec![old, six], vec![six, second, old], vec![six], vec![second], vec![second, six]]
    {
        let seen = proxy.events().len();
        let words: Vec<_> =
            listen.iter().map(|address| format!("\"{}\"", written(*address))).collect();
        proxy
            .config()
            .write("20-listen.yaml", &format!("server: {{ listen: [{}] }}\n", words.join(", ")));
        proxy.event_after(seen, "config reloaded").await;
        for address in &listen {
            connect(*address, echo.address()).await.tunnel();
        }
        for gone in last.iter().filter(|address| !listen.contains(address)) {
            within("an address that is not named is released", async {
                while TcpStream::connect(gone).await.is_ok() {
                    pause().await;
                }
            })
            .await;
        }
        // The kept listener is the same socket; it is not bound again.
        for event in proxy.events()[seen..].iter().filter(|event| event.message() == "listening") {
            let address: SocketAddr = event.field("address").parse().unwrap();
            assert!(listen.contains(&address) && !last.contains(&address), "{event:?}");
        }
        last = listen;
    }
    ping(&mut tunnel).await;
}
