//! Everything at once for a while: traffic of all sorts, hops that fail as they like, and an edit every 100 ms, of which
//! each second one is broken. `MOOLTIROUTE_SOAK_SECONDS` says how long.

use std::{
    env,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{self, Instant},
};

use crate::support::{
    ConfigDir, EchoOrigin, HttpOrigin, Proxy, Way, connect, fill, first_difference, head, open,
    pause, ping, read_through, status, within,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_is_left() {
    let stage = Arc::new(Stage::new().await);
    let config = ConfigDir::new("log: { access: false }\n");
    config.write("20-hops.yaml", &stage.yaml(0));
    let proxy = Proxy::on(config, &[]).await;
    let own = proxy.address();
    for _ in 0..20 {
        stage.once(own, stage.steady.address()).await;
    }
    let before = idle(own, usize::MAX).await;

    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(Arc::clone(&stage).open_steadily(own));
        clients.spawn(Arc::clone(&stage).ask_steadily(own));
        clients.spawn(Arc::clone(&stage).open_through_faults(own));
    }
    for number in 0..10 {
        clients.spawn(Arc::clone(&stage).echo_on(own, number));
    }
    let end = Instant::now() + soak();
    let mut pace = time::interval(EDIT_EVERY);
    let mut edits = 0;
    // A busy machine takes several edits for one, so the edits may have to go on for longer than asked.
    let latest = end + LONGER_MAX;
    while Instant::now() < end || (Instant::now() < latest && !has_enough_reloads(own).await) {
        pace.tick().await;
        edits += 1;
        let way = Way::ALL[edits % Way::ALL.len()];
        let yaml = stage.yaml(edits);
        let text = if edits % 2 == 0 { yaml } else { yaml.replace("chains:", "chians:") };
        proxy.config().save("20-hops.yaml", &text, way);
    }
    stage.is_over.store(true, Relaxed);
    while let Some(client) = within("clients end", clients.join_next()).await {
        client.unwrap();
    }

    let after = idle(own, before.descriptors).await;
    let told = status(own).await;
    let (steady, faulty) = (stage.served.load(Relaxed), stage.failed.load(Relaxed));
    println!("{edits} edits, {steady} served, {faulty} failed; before {before:?}, after {after:?}");
    assert!(steady > 100 && faulty > 0, "there was traffic of both sorts");
    assert!(told["reloads"]["applied"].as_u64() > Some(2), "{told:#}");
    assert!(told["reloads"]["rejected"].as_u64() > Some(2), "{told:#}");
    assert_eq!(told["chains"]["default"]["failed"], 0, "{told:#}");
    assert_eq!(proxy.other_lines(), [""; 0]);
    assert!(after.descriptors <= before.descriptors, "{before:?}, {after:?}");
    assert!(after.memory < before.memory + MEMORY_MORE_KIB, "{before:?}, {after:?}");
}

/// Returns whether the proxy has taken and refused some edits by now.
async fn has_enough_reloads(proxy: SocketAddr) -> bool {
    let reloads = &status(proxy).await["reloads"];
    ["applied", "rejected"].iter().all(|kind| reloads[kind].as_u64() > Some(2))
}

/// The resources of the proxy while it has nothing to do.
#[derive(Debug)]
struct Held {
    descriptors: usize,
    memory: u64,
}

/// Waits until one generation is left and no client but the one that asks, and then until that one is gone, too: until no
/// more than `descriptors` are open.
async fn idle(proxy: SocketAddr, descriptors: usize) -> Held {
    let told = within("nothing is left but the last generation", async {
        loop {
            let told = status(proxy).await;
            let generations = told["generations"].as_array().unwrap();
            let is_unused =
                generations.iter().all(|one| one["tunnels"] == 0 && one["requests"] == 0);
            if generations.len() == 1 && is_unused && told["connections"]["open"] == 1 {
                return told;
            }
            pause().await;
        }
    })
    .await;
    #[cfg(target_os = "linux")]
    {
        let pid = told["pid"].as_u64().unwrap();
        // The connection that asked is closed when it has been read to its end, which may be some time after.
        let sample = || std::iter::repeat_with(|| crate::support::resources(pid)).take(100).min();
        within(&format!("no more than {descriptors} descriptors are open"), async {
            loop {
                let (open, memory) = sample().unwrap();
                if open <= descriptors {
                    return Held { descriptors: open, memory };
                }
                pause().await;
            }
        })
        .await
    }
    #[cfg(not(target_os = "linux"))]
    {
        drop((told, descriptors));
        Held { descriptors: 0, memory: 0 }
    }
}

/// The peers, and what became of the clients.
#[derive(Debug)]
struct Stage {
    steady: EchoOrigin,
    faulty: EchoOrigin,
    http: HttpOrigin,
    hop: SocketAddr,
    is_over: AtomicBool,
    served: AtomicU64,
    failed: AtomicU64,
}

impl Stage {
    async fn new() -> Self {
        Self {
            steady: EchoOrigin::start().await,
            faulty: EchoOrigin::start().await,
            http: HttpOrigin::plain().await,
            hop: faulty_hop().await,
            is_over: AtomicBool::new(false),
            served: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Another configuration for each number: only what goes to `faulty` meets the hop that fails.
    fn yaml(&self, number: usize) -> String {
        let (hop, port) = (self.hop, self.faulty.address().port());
        format!(
            "hops: {{ faulty: {{ kind: http-connect, address: \"{hop}\" }} }}\n\
             timeouts: {{ idle: {}s }}\n\
             chains: {{ default: [], through: [faulty] }}\n\
             routes:\n  - {{ hosts: [127.0.0.1], ports: [{port}], chain: through }}\n  - {{ chain: default }}\n",
            3600 + number
        )
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Relaxed)
    }

    /// One tunnel from its beginning to its end, which nothing may disturb.
    async fn once(&self, proxy: SocketAddr, target: SocketAddr) {
        let mut tunnel = connect(proxy, target).await.tunnel();
        ping(&mut tunnel).await;
        tunnel.shutdown().await.unwrap();
        assert_eq!(tunnel.read(&mut [0]).await.unwrap(), 0);
        self.served.fetch_add(1, Relaxed);
    }

    async fn open_steadily(self: Arc<Self>, proxy: SocketAddr) {
        while self.goes_on() {
            self.once(proxy, self.steady.address()).await;
            time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Plain requests on one connection that is kept.
    async fn ask_steadily(self: Arc<Self>, proxy: SocketAddr) {
        let mut client = open(proxy).await;
        let mut body = vec![0; BODY_BYTES];
        let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", self.http.url("/bytes/40000"));
        while self.goes_on() {
            client.write_all(request.as_bytes()).await.unwrap();
            let head = head(&mut client).await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            within("the body", client.read_exact(&mut body)).await.unwrap();
            assert_eq!(first_difference(0, &body), None);
            self.served.fetch_add(1, Relaxed);
        }
    }

    /// A tunnel that lasts, whatever is edited.
    async fn echo_on(self: Arc<Self>, proxy: SocketAddr, number: u8) {
        let mut tunnel = connect(proxy, self.steady.address()).await.tunnel();
        let mut message = fill(3000);
        message[0] = number;
        let mut answer = vec![0; message.len()];
        while self.goes_on() {
            tunnel.write_all(&message).await.unwrap();
            within("the echo", tunnel.read_exact(&mut answer)).await.unwrap();
            assert_eq!(answer, message);
            time::sleep(Duration::from_millis(3)).await;
        }
    }

    /// Tunnels through the hop that fails: they may be refused or broken, and never wrong.
    async fn open_through_faults(self: Arc<Self>, proxy: SocketAddr) {
        let message = fill(5000);
        while self.goes_on() {
            let answer = connect(proxy, self.faulty.address()).await;
            if !answer.head.starts_with("HTTP/1.1 200 ") {
                assert!(answer.head.starts_with("HTTP/1.1 502 "), "{}", answer.head);
                self.failed.fetch_add(1, Relaxed);
                continue;
            }
            let mut tunnel = answer.stream;
            let mut echo = Vec::new();
            // Either may break off.
            if tunnel.write_all(&message).await.is_ok() && tunnel.shutdown().await.is_ok() {
                let _ = within("the end", tunnel.read_to_end(&mut echo)).await;
            }
            assert!(message.starts_with(&echo), "bytes that no client sent");
            let counted = if echo == message { &self.served } else { &self.failed };
            counted.fetch_add(1, Relaxed);
        }
    }
}

/// An HTTP proxy that serves every second tunnel, and fails each other one in its own way.
async fn faulty_hop() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut number = 0_usize;
        while let Ok((client, _)) = listener.accept().await {
            number += 1;
            tokio::spawn(serve(client, number));
        }
    });
    address
}

async fn serve(mut client: TcpStream, number: usize) -> Option<()> {
    if number % 10 == 1 {
        // Before it is even asked.
        return client.set_zero_linger().ok();
    }
    let mut head = Vec::new();
    let reading = read_through(&mut client, "\r\n\r\n", |bytes| head.extend_from_slice(bytes));
    if !reading.await.ok()? {
        return None;
    }
    let target = String::from_utf8(head).ok()?.split(' ').nth(1)?.to_owned();
    match number % 10 {
        3 => client.set_zero_linger().ok(),
        5 => client.write_all(b"HTTP/1.1 503 Not Now\r\nContent-Length: 0\r\n\r\n").await.ok(),
        7 => client.write_all(b"HTTP/1.1 200").await.ok(),
        9 => {
            // In the tunnel.
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
            let mut some = [0; 1000];
            client.read_exact(&mut some).await.ok()?;
            client.write_all(&some).await.ok()?;
            client.set_zero_linger().ok()
        }
        _ => {
            let mut target = TcpStream::connect(target).await.ok()?;
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
            copy_bidirectional(&mut client, &mut target).await.ok().map(drop)
        }
    }
}

fn soak() -> Duration {
    let seconds = env::var("MOOLTIROUTE_SOAK_SECONDS").ok();
    Duration::from_secs(seconds.map_or(SECONDS, |seconds| seconds.parse().unwrap()))
}

const SECONDS: u64 = 4;
/// Wine takes up to a second to read the files.
const EDIT_EVERY: Duration = Duration::from_millis(if cfg!(windows) { 3000 } else { 100 });
/// How much longer edits go on at most, if too few were taken.
const LONGER_MAX: Duration = Duration::from_secs(60);
const BODY_BYTES: usize = 40_000;
/// The most that a heap may keep after a load. It was 2 MiB after five minutes.
const MEMORY_MORE_KIB: u64 = 8 * 1024;
