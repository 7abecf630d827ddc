//! Peers that take nothing: the other side has to wait, and the proxy's memory does not grow.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time,
};

use crate::support::{
    EchoOrigin, HttpOrigin, Proxy, connect, exchange, fill, first_difference, head, open, pause,
    ping, resources, status, within,
};

#[tokio::test]
async fn a_client_that_does_not_read_costs_no_memory() {
    check(async |proxy, origin| {
        let target = origin.local_addr().unwrap();
        let mut client = open(proxy.address()).await;
        let request = format!("GET http://{target}/ HTTP/1.1\r\nHost: x\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut upstream = accept(origin).await;
        head(&mut upstream).await;
        let start = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
        upstream.write_all(start.as_bytes()).await.unwrap();
        head(&mut client).await;
        (upstream, client)
    })
    .await;
}

#[tokio::test]
async fn an_origin_that_does_not_read_costs_no_memory() {
    check(async |proxy, origin| {
        let target = origin.local_addr().unwrap();
        let mut client = open(proxy.address()).await;
        let request = format!(
            "POST http://{target}/ HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let mut upstream = accept(origin).await;
        head(&mut upstream).await;
        (client, upstream)
    })
    .await;
}

#[tokio::test]
async fn a_tunnel_whose_end_does_not_read_costs_no_memory() {
    for is_upload in [true, false] {
        check(async |proxy, origin| {
            let target = origin.local_addr().unwrap();
            let client = connect(proxy.address(), target).await.tunnel();
            let upstream = accept(origin).await;
            if is_upload { (client, upstream) } else { (upstream, client) }
        })
        .await;
    }
}

#[tokio::test]
async fn slow_readers_hold_up_no_other_client() {
    let (origin, echo) = (HttpOrigin::plain().await, EchoOrigin::start().await);
    let proxy = Proxy::start("log: { access: false }\nchains: { default: [] }\n").await;
    let own = proxy.address();
    let pid = status(own).await["pid"].as_u64().unwrap();
    let (before, _) = resources(pid);
    let path = format!("/bytes/{BODY_BYTES}");
    let mut slow = Vec::new();
    for number in 0..SLOW {
        let is_tunnel = number % 2 == 0;
        let mut client = match is_tunnel {
            true => connect(own, origin.address()).await.tunnel(),
            false => open(own).await,
        };
        let target = if is_tunnel { path.clone() } else { origin.url(&path) };
        let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", origin.address());
        client.write_all(request.as_bytes()).await.unwrap();
        slow.push(client);
    }
    // Two of them take a byte at a time, the others none at all.
    for client in &mut slow[..2] {
        assert!(head(client).await.starts_with("HTTP/1.1 200 "));
    }
    for offset in 0..TURNS {
        for client in &mut slow[..2] {
            let byte = within("a byte comes", client.read_u8()).await.unwrap();
            assert_eq!(first_difference(offset, &[byte]), None);
        }
        let mut tunnel = connect(own, echo.address()).await.tunnel();
        ping(&mut tunnel).await;
        let request = origin.request("/bytes/9");
        assert!(exchange(own, request.as_bytes()).await.starts_with("HTTP/1.1 200 "));
    }
    within("no other client is still connected", async {
        while status(own).await["connections"]["open"] != SLOW + 1 {
            pause().await;
        }
    })
    .await;
    drop(slow);
    within("every descriptor is given back", async {
        while resources(pid).0 > before + KEPT_MAX {
            pause().await;
        }
    })
    .await;
}

/// `open` makes a way through the proxy, from a stream that is then written to until nobody takes more, to one that is
/// read only after that.
async fn check(open: impl AsyncFn(&Proxy, &TcpListener) -> (TcpStream, TcpStream)) {
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start("chains: { default: [] }").await;
    let pid = status(proxy.address()).await["pid"].as_u64().unwrap();
    let (mut from, mut to) = open(&proxy, &origin).await;
    let (_, before) = resources(pid);
    let block = fill(BLOCK_BYTES);
    let mut taken = 0;
    while let Ok(count) = time::timeout(STUCK, from.write(&block[taken % BLOCK_BYTES..])).await {
        taken += count.unwrap();
        assert!(taken < BODY_BYTES, "everything was taken, but nothing was read");
    }
    let (_, after) = resources(pid);
    assert!(after <= before + GROWTH_KIB_MAX, "from {before} KiB to {after} KiB");
    let mut came = vec![0; taken];
    within("what was taken comes", to.read_exact(&mut came)).await.unwrap();
    assert!(came.chunks(BLOCK_BYTES).all(|part| *part == block[..part.len()]));
}

async fn accept(origin: &TcpListener) -> TcpStream {
    within("the proxy comes", origin.accept()).await.unwrap().0
}

const SLOW: usize = 20;
const TURNS: u64 = 200;
/// The ends of the few pipes that wait for the next one who needs them.
const KEPT_MAX: usize = 8;
const BODY_BYTES: usize = 200 << 20;
const BLOCK_BYTES: usize = 64 * 1024;
/// When nothing was taken for this long, all buffers on the way are full.
const STUCK: Duration = Duration::from_millis(500);
const GROWTH_KIB_MAX: u64 = 2 * 1024;
