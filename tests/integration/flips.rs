//! The main promise: `corporate` is switched off and on by editing a file, and no client notices.
//!
//! `MOOLTIROUTE_FLIPS=200` has it flip as often, and show how long each flip took.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Mutex, watch},
    task::JoinSet,
    time,
};

use crate::support::{
    ConfigDir, EchoOrigin, HttpOrigin, Network, Passed, Proxy, Way, connect, fill,
    first_difference, head, open, ping, socks_connect, within,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flips_of_corporate_disturb_no_client() {
    flip_under_load(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flips_of_corporate_disturb_no_client_of_four_workers() {
    flip_under_load(4).await;
}

/// Flips `corporate` under clients of every protocol, and checks that each of them is served, and by the right hops.
async fn flip_under_load(workers: usize) {
    let _alone = ALONE.lock().await;
    let Some(network) = Network::start().await else { return };
    let (echo, http) = (EchoOrigin::start().await, HttpOrigin::plain().await);
    let config = ConfigDir::new("chains: { default: [corporate, webshare] }\n");
    config.write("05-workers.yaml", &format!("server: {{ workers: {workers} }}\n"));
    config.write("20-hops.yaml", &network.hops(true));
    let proxy = Proxy::on(config, &[]).await;

    let is_over = Arc::new(AtomicBool::new(false));
    let (opened, mut opened_now) = watch::channel(0);
    let opened = Arc::new(opened);
    let load = Load::chosen();
    let mut clients = JoinSet::new();
    for number in 0..load.clients {
        let tunnel = connect(proxy.address(), echo.address()).await.tunnel();
        clients.spawn(echo_on(tunnel, number, Arc::clone(&is_over)));
    }
    for door in Door::ALL {
        for _ in 0..load.clients {
            let target = if door == Door::Plain { http.address() } else { echo.address() };
            let (opened, is_over) = (Arc::clone(&opened), Arc::clone(&is_over));
            clients.spawn(open_on(door, proxy.address(), target, opened, is_over));
        }
    }

    let mut flips = Vec::new();
    for number in 0..load.flips {
        let (seen, is_enabled) = (proxy.events().len(), number % 2 == 1);
        let at = SystemTime::now();
        let way = Way::ALL[number % Way::ALL.len()];
        proxy.config().save("20-hops.yaml", &network.hops(is_enabled), way);
        proxy.event_after(seen, "config reloaded").await;
        // Twice as many as open at once, so that all those of the first half may have begun before the flip.
        let enough = *opened_now.borrow() + 2 * load.openers();
        within("clients go on", opened_now.wait_for(|opened| *opened >= enough)).await.unwrap();
        flips.push(Flip { at, is_enabled });
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(client) = within("clients end", clients.join_next()).await {
        client.unwrap();
    }

    let tunnels = *opened_now.borrow() + load.clients;
    let provider = network.provider.passed_at_least(tunnels).await;
    assert_eq!(provider.len(), tunnels, "every tunnel went through the provider");
    let failed = proxy.events().iter().filter(|event| event.message() == "request failed").count();
    assert_eq!(failed, 0, "no request failed");
    // Squid logs a tunnel when it ends, and all have ended.
    assert_in_force(&flips, &network.corporate.passed(), &provider);
}

/// How much is going on.
#[derive(Clone, Copy, Debug)]
struct Load {
    flips: usize,
    /// The number of clients of each kind: one for each [`Door`], and those that echo through one tunnel.
    clients: usize,
}

impl Load {
    /// Returns how many clients open connections, by all protocols.
    fn openers(self) -> usize {
        Door::ALL.len() * self.clients
    }

    fn chosen() -> Self {
        let flips = std::env::var("MOOLTIROUTE_FLIPS").map_or(50, |flips| flips.parse().unwrap());
        Self { flips, clients: 10 }
    }
}

/// One edit of `enabled`.
#[derive(Debug)]
struct Flip {
    at: SystemTime,
    is_enabled: bool,
}

/// Asserts that the corporate proxy met, or met no longer, tunnels from soon after each flip to the next one.
#[track_caller]
#[expect(clippy::print_stdout, reason = "for those who run it by hand")]
fn assert_in_force(flips: &[Flip], corporate: &[Passed], provider: &[Passed]) {
    let mut delays = Vec::new();
    for (index, flip) in flips.iter().enumerate() {
        let until = flips.get(index + 1).map_or_else(SystemTime::now, |next| next.at);
        let within = |passed: &&Passed| flip.at < passed.started && passed.started < until;
        let after = |at: SystemTime| at.duration_since(flip.at).unwrap();
        let mut met = corporate.iter().filter(within).map(|passed| passed.started);
        if flip.is_enabled {
            delays.push(after(met.min().expect("the corporate proxy is used again")));
        } else {
            let last = met.by_ref().max().unwrap_or(flip.at);
            let is_passed_by = provider.iter().filter(within).any(|passed| passed.started > last);
            assert!(is_passed_by, "the corporate proxy is used on after flip {index}");
            delays.push(after(last));
        }
    }
    delays.sort();
    let at = |percent: usize| delays[(delays.len() - 1) * percent / 100];
    println!(
        "flips in force after: p50 {:?}, p90 {:?}, p99 {:?}, max {:?}",
        at(50),
        at(90),
        at(99),
        at(100)
    );
    let (slow, slowest) = (delays[delays.len() * 9 / 10], delays[delays.len() - 1]);
    assert!(slow <= IN_FORCE && slowest <= IN_FORCE_AT_LAST, "delays: {delays:?}");
}

/// Sends numbered messages through `tunnel` and expects each back, to the end.
async fn echo_on(mut tunnel: TcpStream, number: usize, is_over: Arc<AtomicBool>) {
    let mut pace = time::interval(Duration::from_millis(5));
    let mut message = fill(700);
    let mut answer = vec![0; message.len()];
    for round in 0_u64.. {
        pace.tick().await;
        message[..8].copy_from_slice(&round.to_be_bytes());
        message[8..16].copy_from_slice(&(number as u64).to_be_bytes());
        tunnel.write_all(&message).await.unwrap();
        within("the echo", tunnel.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, message, "round {round} of tunnel {number}");
        if is_over.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// The way in which a client asks for its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Connect,
    Socks,
    Plain,
}

impl Door {
    const ALL: [Self; 3] = [Self::Connect, Self::Socks, Self::Plain];
}

/// Opens one connection after another and uses each once, to the end.
async fn open_on(
    door: Door,
    proxy: SocketAddr,
    target: SocketAddr,
    opened: Arc<watch::Sender<usize>>,
    is_over: Arc<AtomicBool>,
) {
    let mut pace = time::interval(Duration::from_millis(50));
    while !is_over.load(Ordering::Relaxed) {
        pace.tick().await;
        match door {
            Door::Connect => ping(&mut connect(proxy, target).await.tunnel()).await,
            Door::Socks => ping(&mut socks_connect(proxy, target).await).await,
            Door::Plain => ask(proxy, target).await,
        }
        opened.send_modify(|opened| *opened += 1);
    }
}

/// Makes a plain request on a connection of its own.
async fn ask(proxy: SocketAddr, target: SocketAddr) {
    let request = format!(
        "GET http://{target}/bytes/100 HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n"
    );
    let mut client = open(proxy).await;
    client.write_all(request.as_bytes()).await.unwrap();
    let head = head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut body = Vec::new();
    within("the body", client.read_to_end(&mut body)).await.unwrap();
    assert_eq!((body.len(), first_difference(0, &body)), (100, None));
}

/// Two loads at once would delay each other's flips.
static ALONE: Mutex<()> = Mutex::const_new(());
/// The contract's: an edit is in force after this.
const IN_FORCE: Duration = Duration::from_millis(500);
/// The delay that a busy machine may add occasionally.
const IN_FORCE_AT_LAST: Duration = Duration::from_secs(2);
