//! A hop that goes down and comes up again while clients use it.
#![cfg(target_os = "linux")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::support::{Proxy, connect, fill, head, pause, resources, status, within};

#[tokio::test]
async fn a_hop_that_flaps_under_load_is_a_502_or_a_tunnel_and_leaves_nothing() {
    let mut hop = Flapping::start().await;
    let address = hop.address;
    let proxy = Proxy::start(&format!(
        "log: {{ access: false }}\nhops: {{ hop: {{ kind: http-connect, address: \"{address}\" }} }}\n\
         chains: {{ default: [hop] }}\n"
    ))
    .await;
    let pid = status(proxy.address()).await["pid"].as_u64().unwrap();
    let (idle, _) = resources(pid);
    let load = Arc::new(Load::default());
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(Arc::clone(&load).keep_on(proxy.address()));
    }
    let mut early = 0;
    for flap in 0..FLAPS {
        more("tunnels are served", &load.served).await;
        hop.goes_down();
        more("tunnels are refused", &load.refused).await;
        hop.comes_up().await;
        if flap == 0 {
            early = resources(pid).1;
        }
    }
    more("it is used as soon as it is up", &load.served).await;
    load.is_over.store(true, Relaxed);
    while let Some(client) = within("clients end", clients.join_next()).await {
        client.unwrap();
    }
    within("every descriptor is given back", async {
        while status(proxy.address()).await["connections"]["open"] != 1 {
            pause().await;
        }
        while resources(pid).0 > idle {
            pause().await;
        }
    })
    .await;
    let (_, late) = resources(pid);
    assert!(late <= early + GROWTH_KIB_MAX, "from {early} KiB to {late} KiB");
    assert_eq!(proxy.other_lines(), [""; 0]);
}

/// Waits until `count` is a few higher than now.
async fn more(what: &str, count: &AtomicUsize) {
    let enough = count.load(Relaxed) + EACH;
    within(what, async {
        while count.load(Relaxed) < enough {
            pause().await;
        }
    })
    .await;
}

/// The outcomes that clients met.
#[derive(Debug, Default)]
struct Load {
    served: AtomicUsize,
    refused: AtomicUsize,
    is_over: AtomicBool,
}

impl Load {
    /// One tunnel after the other: refused, cut off by the hop, or whole, and never wrong.
    async fn keep_on(self: Arc<Self>, proxy: SocketAddr) {
        let message = fill(20_000);
        while !self.is_over.load(Relaxed) {
            let answer = connect(proxy, "target.test:443").await;
            if answer.head.starts_with("HTTP/1.1 502 ") {
                self.refused.fetch_add(1, Relaxed);
                continue;
            }
            let mut tunnel = answer.tunnel();
            let mut echo = Vec::new();
            // Either may break off.
            if tunnel.write_all(&message).await.is_ok() && tunnel.shutdown().await.is_ok() {
                let _ = within("the end", tunnel.read_to_end(&mut echo)).await;
            }
            assert!(message.starts_with(&echo), "bytes that no client sent");
            if echo.len() == message.len() {
                self.served.fetch_add(1, Relaxed);
            }
        }
    }
}

/// A hop that is its own target, which sends back what it is sent.
#[derive(Debug)]
struct Flapping {
    address: SocketAddr,
    up: JoinHandle<()>,
}

impl Flapping {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { address: listener.local_addr().unwrap(), up: tokio::spawn(accept(listener)) }
    }

    /// Closes the listener and, with it, every connection where it stands.
    fn goes_down(&self) {
        self.up.abort();
    }

    async fn comes_up(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.up = tokio::spawn(accept(listener));
    }
}

async fn accept(listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(echo(client));
        while connections.try_join_next().is_some() {}
    }
}

async fn echo(mut client: TcpStream) {
    head(&mut client).await;
    let (mut read, mut write) = client.split();
    // The other side may be gone.
    let _ = write.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let _ = copy(&mut read, &mut write).await;
    let _ = write.shutdown().await;
}

const CLIENTS: usize = 8;
const FLAPS: usize = 20;
/// How many tunnels it sees between one change and the next.
const EACH: usize = 20;
/// Far less than the tunnels of this test would leave if each left its buffers.
const GROWTH_KIB_MAX: u64 = 2 * 1024;
