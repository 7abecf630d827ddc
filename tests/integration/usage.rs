//! Bytes as providers bill them, their counts across restarts, and budgets.

mod budgets;
mod saved_counts;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};

use crate::support::{
    Certificates, Double, EchoOrigin, HttpOrigin, PASSWORD, Proxy, Seen, SocksProxy, Squid,
    SquidRules, Step, USERNAME, assert_reads, connect, exchange, pause, rest, status, within,
};

/// Bytes on the wire through `hop`: sent and received.
async fn wire(proxy: &Proxy, hop: &str) -> (u64, u64) {
    let status = status(proxy.address()).await;
    let count = |name: &str| status["wire"][hop][name].as_u64().unwrap_or_default();
    (count("sent"), count("received"))
}

fn one_hop(name: &str, address: impl std::fmt::Display, more: &str) -> String {
    format!(
        "hops: {{ {name}: {{ kind: http-connect, address: \"{address}\"{more} }} }}\n\
         chains: {{ default: [{name}] }}\n"
    )
}

/// A double that opens tunnels and says nothing in them.
async fn opening_double() -> Double {
    Double::start([Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into())]).await
}

/// Sends bytes through a tunnel to an echo, and reads them back meanwhile.
async fn echo_bytes(tunnel: &mut TcpStream, count: usize) {
    let bytes = vec![b'x'; count];
    let (mut read, mut write) = tunnel.split();
    let mut echoed = vec![0; count];
    let (sent, received) = tokio::join!(write.write_all(&bytes), read.read_exact(&mut echoed));
    sent.and(received.map(drop)).unwrap();
    assert_eq!(echoed, bytes);
}

#[tokio::test]
async fn counted_bytes_are_those_that_the_hop_logs() {
    let Some(squid) = Squid::start(SquidRules::Open).await else { return };
    let (origin, echo) = (HttpOrigin::plain().await, EchoOrigin::start().await);
    let proxy = Proxy::start(&one_hop("squid", squid.address(), "")).await;
    // Large enough for the kernel to move it, and small enough to be quick.
    let get = origin.request("/bytes/3000000");
    assert!(exchange(proxy.address(), get.as_bytes()).await.len() > 3_000_000);
    let bill = billed(&squid, "GET").await;
    let plain = wire(&proxy, "squid").await;
    assert_eq!(plain, bill);

    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    echo_bytes(&mut tunnel, 500_000).await;
    drop(tunnel);
    let bill = billed(&squid, "CONNECT").await;
    let both = wire(&proxy, "squid").await;
    assert_eq!((both.0 - plain.0, both.1 - plain.1), bill);
}

#[tokio::test]
async fn bytes_of_tls_and_of_socks_are_those_on_the_wire() {
    let certificates = Certificates::new();
    let Some(squid) = Squid::tls(SquidRules::Open, &certificates).await else { return };
    let Some(socks) = SocksProxy::microsocks(true).await else { return };
    let (origin, echo) = (HttpOrigin::plain().await, EchoOrigin::start().await);
    let authority = certificates.authority_file();
    for (peer, settings) in [
        (squid.address(), format!("kind: http-connect, tls: {{ ca: {authority:?} }}")),
        (socks.address(), format!("kind: socks5, username: {USERNAME}, password: {PASSWORD}")),
    ] {
        let scale = Scale::start(peer).await;
        let address = scale.address;
        let proxy = Proxy::start(&format!(
            "hops: {{ hop: {{ address: \"{address}\", {settings} }} }}\nchains: {{ default: [hop] }}\n"
        ))
        .await;
        let get = origin.request("/bytes/300000");
        assert!(exchange(proxy.address(), get.as_bytes()).await.len() > 300_000);
        let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
        echo_bytes(&mut tunnel, 200_000).await;
        drop(tunnel);
        let mut last = String::new();
        let is_equal = async {
            loop {
                let (counted, passed) = (wire(&proxy, "hop").await, scale.passed());
                // The last alert of TLS may come when the connection is closed here already.
                let missing = passed.1.checked_sub(counted.1);
                let is_counted = missing == Some(0) || missing == Some(ALERT_BYTES);
                if counted.0 == passed.0 && is_counted && passed.0 > 200_000 {
                    return;
                }
                last = format!("counted {counted:?}, passed {passed:?}");
                pause().await;
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(10), is_equal).await;
        assert!(waited.is_ok(), "{settings}: {last}");
    }
}

/// A record of TLS 1.3 that ends a connection.
const ALERT_BYTES: u64 = 24;

/// Passes connections on to a hop, and counts the bytes to it and from it.
struct Scale {
    address: SocketAddr,
    passed: Arc<[AtomicU64; 2]>,
}

impl Scale {
    async fn start(hop: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let passed = Arc::<[AtomicU64; 2]>::default();
        let counts = Arc::clone(&passed);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(hop).await.unwrap();
                let (near, far) = (near.into_split(), far.into_split());
                tokio::spawn(weigh(near.0, far.1, Arc::clone(&counts), 0));
                tokio::spawn(weigh(far.0, near.1, Arc::clone(&counts), 1));
            }
        });
        Self { address, passed }
    }

    fn passed(&self) -> (u64, u64) {
        let [sent, received] = &*self.passed;
        (sent.load(Ordering::SeqCst), received.load(Ordering::SeqCst))
    }
}

async fn weigh(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    counts: Arc<[AtomicU64; 2]>,
    direction: usize,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        counts[direction].fetch_add(count as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn several_workers_count_every_byte() {
    let Some(near) = Squid::start(SquidRules::Open).await else { return };
    let Some(far) = Squid::start(SquidRules::Open).await else { return };
    let (origin, echo) = (HttpOrigin::plain().await, EchoOrigin::start().await);
    let yaml = |warm: usize| {
        format!(
            "server: {{ workers: 2 }}\nhops:\n  near: {{ kind: http-connect, address: \"{}\" }}\n  \
             far: {{ kind: http-connect, address: \"{}\" }}\n\
             chains: {{ default: {{ hops: [near, far], warm: {warm} }} }}\n",
            near.address(),
            far.address()
        )
    };
    // Spare tunnels are made by one worker and used by both.
    let proxy = Proxy::start(&yaml(4)).await;
    let get = origin.request("/bytes/30000");
    let (address, echo) = (proxy.address(), echo.address());
    let client = |number: usize| {
        let get = get.clone();
        async move {
            let mut tunnel = connect(address, echo).await.tunnel();
            echo_bytes(&mut tunnel, 1000 * number + 1).await;
            assert!(exchange(address, get.as_bytes()).await.len() > 30_000);
        }
    };
    let clients: JoinSet<_> = (0..CLIENTS).map(client).collect();
    clients.join_all().await;
    // Closes the spare tunnels, so that the hops log them too.
    let seen = proxy.events().len();
    proxy.config().write("10-test.yaml", &yaml(0));
    proxy.event_after(seen, "config reloaded").await;
    for (name, hop) in [("near", &near), ("far", &far)] {
        let mut last = String::new();
        let is_equal = async {
            loop {
                let logged = hop.bytes().into_iter();
                let logged = logged.fold((0, 0), |sum, (_, got, sent)| (sum.0 + got, sum.1 + sent));
                let counted = wire(&proxy, name).await;
                if counted == logged && counted.0 > 0 {
                    return;
                }
                last = format!("counted {counted:?}, logged {logged:?}");
                pause().await;
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(10), is_equal).await;
        assert!(waited.is_ok(), "{name}: {last}");
    }
}

/// The clients that use a proxy at the same time.
const CLIENTS: usize = 40;

/// Waits until squid has logged a request of this method. Returns the bytes that squid received and sent.
async fn billed(squid: &Squid, method: &str) -> (u64, u64) {
    within("squid logs it", async {
        loop {
            let line = squid.bytes().into_iter().find(|(logged, ..)| logged == method);
            if let Some((_, received, sent)) = line {
                return (received, sent);
            }
            pause().await;
        }
    })
    .await
}

#[tokio::test]
async fn each_hop_is_billed_for_its_own_connect_and_all_behind_it() {
    let answer = "HTTP/1.1 200 OK\r\nX-Hop: 1\r\n\r\n";
    let corporate =
        Double::start([Step::Answer(format!("{answer}HTTP/1.1 200 OK\r\n\r\nhello"))]).await;
    let yaml = format!(
        "hops:\n  near: {{ kind: http-connect, address: \"{}\" }}\n  \
         far: {{ kind: http-connect, address: \"far.test:80\" }}\nchains: {{ default: [near, far] }}\n",
        corporate.address()
    );
    let proxy = Proxy::start(&yaml).await;
    let mut tunnel = connect(proxy.address(), "target.test:443").await.tunnel();
    assert_reads(&mut tunnel, "hello").await;
    tunnel.write_all(b"12345").await.unwrap();
    let has_all = |seen: &[Seen]| seen.first()?.text().ends_with("12345").then_some(());
    corporate.record().until("the hop has all bytes", has_all).await;
    drop(tunnel);
    proxy.event("tunnel closed").await;
    let first = "CONNECT far.test:80 HTTP/1.1\r\nHost: far.test:80\r\n\r\n".len() as u64;
    let (near, far) = (wire(&proxy, "near").await, wire(&proxy, "far").await);
    // The answer of the second hop came with that of the first, in one piece.
    assert_eq!(far.1, "HTTP/1.1 200 OK\r\n\r\nhello".len() as u64);
    assert_eq!(near.1, far.1 + answer.len() as u64);
    let second =
        "CONNECT target.test:443 HTTP/1.1\r\nHost: target.test:443\r\n\r\n12345".len() as u64;
    assert_eq!((near.0, far.0), (first + second, second), "{}", corporate.sent());
}

#[tokio::test]
async fn usage_of_a_running_proxy_is_as_it_is_now() {
    if !crate::support::finds_proxies_or_skip() {
        return;
    }
    let hop = opening_double().await;
    let yaml = |bytes: u32| {
        one_hop("exit", hop.address(), &format!(", budget: {{ bytes: {bytes}, per: day }}"))
    };
    let proxy = Proxy::start(&yaml(5000)).await;
    let usage = || -> Value {
        let output = proxy.command(&["usage", "--format", "json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    };
    let mut tunnel = connect(proxy.address(), "a.example:1").await.tunnel();
    tunnel.write_all(&[b'x'; 1000]).await.unwrap();
    // The relay may pass the bytes on after this client has handed them over.
    within("the bytes are counted", async {
        while usage()["hops"]["exit"]["sent"].as_u64() < Some(1000) {
            pause().await;
        }
    })
    .await;
    let seen = proxy.events().len();
    proxy.config().write("10-test.yaml", &yaml(6000));
    proxy.event_after(seen, "config reloaded").await;
    assert_eq!(usage()["budgets"]["exit"]["bytes"], 6000);
}

#[test]
fn usage_in_json_says_in_json_why_there_is_none() {
    let config = crate::support::ConfigDir::new("chains: { default: [] }\n");
    let path = config.path().to_str().unwrap();
    let output = crate::support::run(["usage", "--format", "json", "-c", path]);
    let (code, out, error) = crate::support::outcome(&output);
    let said: Value = serde_json::from_str(&out).unwrap();
    assert!(said["error"].as_str().unwrap().contains("nothing was counted yet"), "{out}");
    assert_eq!((code, error.as_str()), (Some(1), ""));
}

#[tokio::test]
async fn a_tunnel_is_rotated_in_its_first_quiet_second() {
    let hop = opening_double().await;
    let proxy = Proxy::start(&one_hop("exit", hop.address(), ", rotate_after: 1s")).await;
    let mut tunnel = connect(proxy.address(), "target.test:443").await.tunnel();
    assert_eq!(rest(&mut tunnel).await, "", "an end and not a reset");
    let closed = proxy.event("tunnel closed").await;
    assert_eq!((closed.field("end"), closed.field("sent")), ("rotated".into(), "0".into()));
}
