//! Spare tunnels: through real hops, and away with the hop that they pass.

use std::{io, net::SocketAddr};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::support::{
    ConfigDir, EchoOrigin, Network, Proxy, Way, connect, head, pause, ping, status, within,
};

#[tokio::test]
async fn a_spare_takes_the_place_of_all_steps_but_the_last() {
    let Some(network) = Network::start().await else { return };
    let echo = EchoOrigin::start().await;
    let config = ConfigDir::new("chains: { default: { hops: [corporate, webshare], warm: 2 } }\n");
    config.write("20-hops.yaml", &network.hops(true));
    let proxy = Proxy::on(config, &[]).await;
    assert_eq!(warm(proxy.address()).await, [0, 0, 0, 0], "no client has used the chain");

    echo_once(proxy.address(), echo.address()).await;
    waiting(proxy.address(), 2).await;
    assert_eq!(warm(proxy.address()).await, [0, 1, 0, 2]);
    for hits in 1..=3 {
        echo_once(proxy.address(), echo.address()).await;
        waiting(proxy.address(), 2).await;
        assert_eq!(warm(proxy.address()).await, [hits, 1, 0, 2]);
    }
    // Each of the four was its own tunnel through the provider, with its credentials.
    let passed = network.provider.passed_at_least(4).await;
    assert!(passed.len() == 4 && passed.iter().all(|one| one.target == echo.address().to_string()));

    // An edit elsewhere leaves the spares alone; one of a hop that they pass closes them.
    let seen = proxy.events().len();
    proxy.config().save("30-more.yaml", "limits: { connections: 500 }\n", Way::Rename);
    proxy.event_after(seen, "config reloaded").await;
    assert_eq!(warm(proxy.address()).await, [3, 1, 0, 2]);
    let seen = proxy.events().len();
    proxy.config().save("20-hops.yaml", &network.hops(false), Way::Rename);
    proxy.event_after(seen, "config reloaded").await;
    waiting(proxy.address(), 0).await;
    echo_once(proxy.address(), echo.address()).await;
    waiting(proxy.address(), 2).await;
    assert_eq!(warm(proxy.address()).await[..2], [3, 2]);
}

#[tokio::test]
async fn a_spare_that_dies_is_dropped_and_harms_no_client() {
    let (outer, inner) = (Forwarder::start().await, Forwarder::start().await);
    let echo = EchoOrigin::start().await;
    let yaml = format!(
        "hops:\n  outer: {{ kind: http-connect, address: \"{}\" }}\n  \
         inner: {{ kind: http-connect, address: \"{}\" }}\n\
         chains: {{ default: {{ hops: [outer, inner], warm: 1 }} }}\n",
        outer.address, inner.address
    );
    let proxy = Proxy::start(&yaml).await;
    for round in 1..=5 {
        echo_once(proxy.address(), echo.address()).await;
        waiting(proxy.address(), 1).await;
        outer.cut.send_replace(round);
        // Whether the spare is known to be dead by now or not, the next tunnel is whole.
        echo_once(proxy.address(), echo.address()).await;
        waiting(proxy.address(), 1).await;
    }
    let told = warm(proxy.address()).await;
    assert_eq!(told[0] + told[1], 10, "each connection was a hit or a miss: {told:?}");
    let failed = proxy.events().iter().filter(|event| event.message() == "request failed").count();
    assert_eq!(failed, 0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn spares_leave_the_last_descriptors_to_clients() {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

    let (outer, inner) = (Forwarder::start().await, Forwarder::start().await);
    let echo = EchoOrigin::start().await;
    let config = ConfigDir::new(&format!(
        "hops:\n  outer: {{ kind: http-connect, address: \"{}\" }}\n  \
         inner: {{ kind: http-connect, address: \"{}\" }}\n\
         chains: {{ default: {{ hops: [outer, inner], warm: 8 }} }}\n",
        outer.address, inner.address
    ));
    config.write("05-workers.yaml", "server: { workers: 4 }\n");
    let proxy = Proxy::on(config, &[]).await;
    let pid = status(proxy.address()).await["pid"].as_u64().unwrap();
    // Beside what is open, and what is kept free for all workers, there is room for four clients and three spares.
    let (open, _) = crate::support::resources(pid);
    let current = Some(open as u64 + 8 + 3 * 2 + 12);
    let limit = Rlimit { current, maximum: getrlimit(Resource::Nofile).maximum };
    prlimit(Pid::from_raw(pid as i32), Resource::Nofile, limit).unwrap();
    let mut tunnels = Vec::new();
    for _ in 0..20 {
        echo_once(proxy.address(), echo.address()).await;
        let waiting = warm(proxy.address()).await[3];
        assert!(waiting <= 3, "{waiting} spares");
    }
    // They are made beside the clients, which may all have come before the first one was.
    within("a spare", async {
        while warm(proxy.address()).await[3] == 0 {
            pause().await;
        }
    })
    .await;
    for _ in 0..3 {
        let mut tunnel =
            within("a client", connect(proxy.address(), echo.address())).await.tunnel();
        ping(&mut tunnel).await;
        tunnels.push(tunnel);
    }
    assert!(warm(proxy.address()).await[0] > 0, "there are spares");
}

/// A hop that forwards, and cuts all its connections on demand.
struct Forwarder {
    address: SocketAddr,
    cut: watch::Sender<usize>,
}

impl Forwarder {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, cuts) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut cuts = cuts.clone();
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = forward(client) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Self { address, cut }
    }
}

async fn forward(mut client: TcpStream) -> io::Result<()> {
    let request = head(&mut client).await;
    let target = request.split(' ').nth(1).unwrap();
    let mut target = TcpStream::connect(target).await?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut client, &mut target).await.map(drop)
}

async fn echo_once(proxy: SocketAddr, echo: SocketAddr) {
    let mut tunnel = connect(proxy, echo).await.tunnel();
    ping(&mut tunnel).await;
}

/// Hits, misses, stale ones and those that wait.
async fn warm(proxy: SocketAddr) -> [u64; 4] {
    let told = status(proxy).await;
    let warm = &told["warm"]["default"];
    ["hits", "misses", "stale", "waiting"].map(|name| warm[name].as_u64().unwrap())
}

async fn waiting(proxy: SocketAddr, count: u64) {
    within("spares wait", async {
        while status(proxy).await["warm"]["default"]["waiting"] != count {
            pause().await;
        }
    })
    .await;
}
