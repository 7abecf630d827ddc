//! With several workers, limits, counts, reloads and the drain are exact over all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{Duration, sleep},
};

use crate::{
    control::{assert_reset, ps_until},
    reload::Toggle,
    support::{
        Answer, ConfigDir, Double, EchoOrigin, Proxy, Step, assert_reads, connect, exchange, head,
        open, pause, ping, status, within,
    },
};

const WORKERS: usize = 4;
const DIRECT: &str = "chains: { default: [] }\n";

/// Runs the proxy with several workers, and with a log that tells which of them serves each connection.
async fn start(yaml: &str) -> Proxy {
    let config = ConfigDir::new(yaml);
    config.write("05-workers.yaml", &format!("server: {{ workers: {WORKERS} }}\n"));
    Proxy::on(config, &["--log-level", "debug"]).await
}

/// Returns how many connections each worker has accepted.
fn accepted_by_worker(proxy: &Proxy) -> BTreeMap<String, usize> {
    let mut accepted = BTreeMap::new();
    for event in proxy.events().iter().filter(|event| event.message() == "connection accepted") {
        let worker = event.at("/span/worker").unwrap().as_str().unwrap();
        *accepted.entry(worker.to_owned()).or_default() += 1;
    }
    accepted
}

/// Opens tunnels, all at the same time, and returns the answers in the order in which they came.
async fn open_at_once(proxy: SocketAddr, target: SocketAddr, count: usize) -> Vec<Answer> {
    let mut clients = JoinSet::new();
    for _ in 0..count {
        clients.spawn(connect(proxy, target));
    }
    within("all answers come", clients.join_all()).await
}

/// Opens tunnels one after another until each worker serves several, and returns them.
async fn tunnels_on_every_worker(proxy: &Proxy, target: SocketAddr) -> Vec<TcpStream> {
    let mut tunnels = Vec::new();
    for _ in 0..TUNNELS {
        let mut tunnel = connect(proxy.address(), target).await.tunnel();
        ping(&mut tunnel).await;
        tunnels.push(tunnel);
    }
    assert_shared(proxy).await;
    tunnels
}

/// Asserts that each worker has accepted its share of [`TUNNELS`].
async fn assert_shared(proxy: &Proxy) {
    within("the log has all", async {
        while accepted_by_worker(proxy).values().sum::<usize>() < TUNNELS {
            pause().await;
        }
    })
    .await;
    let accepted = accepted_by_worker(proxy);
    let is_shared = accepted.len() == WORKERS && accepted.values().all(|count| *count >= SHARE_MIN);
    assert!(is_shared, "{accepted:?}");
}

#[tokio::test]
async fn a_burst_of_clients_is_shared_among_all_workers() {
    let echo = EchoOrigin::start().await;
    let proxy = start(DIRECT).await;
    let answers = open_at_once(proxy.address(), echo.address(), TUNNELS).await;
    assert_eq!(answers.into_iter().map(Answer::tunnel).count(), TUNNELS);
    assert_shared(&proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_is_in_force_on_all_workers_at_once() {
    let toggle = Toggle::new().await;
    let proxy = start(&toggle.yaml(true)).await;
    for round in 0..20 {
        let is_enabled = round % 2 == 1;
        proxy.config().write("10-test.yaml", &toggle.yaml(is_enabled));
        let told = proxy.command(&["reload"]);
        assert!(told.status.success(), "{told:?}");
        // As many as come at once, so that every worker serves some.
        for answer in open_at_once(proxy.address(), toggle.target(), TUNNELS).await {
            assert_reads(&mut answer.tunnel(), Toggle::greeting(is_enabled)).await;
        }
    }
    assert_eq!(accepted_by_worker(&proxy).len(), WORKERS);
}

#[tokio::test]
async fn a_drain_waits_for_the_tunnels_of_every_worker_and_cuts_the_rest() {
    let echo = EchoOrigin::start().await;
    let mut proxy = start(&format!("timeouts: {{ drain: 3s }}\n{DIRECT}")).await;
    let mut tunnels = tunnels_on_every_worker(&proxy, echo.address()).await;
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.event("shutting down").await.number("open"), TUNNELS as f64);
    let rest = tunnels.split_off(TUNNELS / 2);
    for mut tunnel in tunnels {
        ping(&mut tunnel).await;
        tunnel.shutdown().await.unwrap();
        assert_eq!(tunnel.read(&mut [0]).await.unwrap(), 0);
    }
    let left = proxy.event("cutting what is still open").await.number("open");
    assert_eq!(left, rest.len() as f64, "the others have ended by themselves");
    assert_eq!(proxy.exit().await.code(), Some(0));
    let events = proxy.events();
    let closed: Vec<_> = events.iter().filter(|event| event.message() == "tunnel closed").collect();
    assert_eq!(closed.len(), TUNNELS, "each tunnel has one line");
    assert_eq!(events.last().unwrap().message(), "stopped");
    for mut cut in rest {
        assert_ne!(cut.read(&mut [0]).await.ok(), Some(1));
    }
}

#[tokio::test]
async fn a_drain_ends_with_the_last_tunnel_of_any_worker() {
    let echo = EchoOrigin::start().await;
    let mut proxy = start(&format!("timeouts: {{ drain: 1h }}\n{DIRECT}")).await;
    let tunnels = tunnels_on_every_worker(&proxy, echo.address()).await;
    proxy.signal(Signal::TERM);
    proxy.event("shutting down").await;
    drop(tunnels);
    assert_eq!(proxy.exit().await.code(), Some(0));
    let events = proxy.events();
    assert!(events.iter().all(|event| event.message() != "cutting what is still open"));
    assert_eq!(events.last().unwrap().message(), "stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_connections_is_exact_over_all_workers() {
    const LIMIT: usize = 12;
    let echo = EchoOrigin::start().await;
    let proxy = start(&format!("limits: {{ connections: {LIMIT} }}\n{DIRECT}")).await;
    let answers = open_at_once(proxy.address(), echo.address(), TUNNELS).await;
    let (mut tunnels, mut refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.head.starts_with("HTTP/1.1 200 "));
    assert_eq!(tunnels.len(), LIMIT);
    let is_refusal = |answer: &Answer| answer.head.starts_with("HTTP/1.1 503 ");
    assert!(refused.iter().all(is_refusal), "{refused:?}");
    // The clients that were refused stay connected, and take no place from others.
    for _ in 0..2 * WORKERS {
        drop(tunnels.remove(0));
        ps_until(&proxy, |rows| rows.len() == LIMIT - 1).await;
        // The row goes a moment before the place of the connection is free.
        let next = within("a place is free", async {
            loop {
                let next = connect(proxy.address(), echo.address()).await;
                if !is_refusal(&next) {
                    return next;
                }
                refused.push(next);
            }
        });
        tunnels.push(next.await);
        let one_more = connect(proxy.address(), echo.address()).await;
        assert!(is_refusal(&one_more), "{one_more:?}");
    }
    for tunnel in &mut tunnels {
        ping(&mut tunnel.stream).await;
    }
}

#[tokio::test]
async fn counts_and_lists_are_those_of_all_workers_together() {
    let echo = EchoOrigin::start().await;
    let proxy = start(DIRECT).await;
    let tunnels = tunnels_on_every_worker(&proxy, echo.address()).await;
    let rows = ps_until(&proxy, |rows| rows.len() == TUNNELS).await;
    let ids: BTreeSet<_> = rows.iter().map(|row| row["id"].as_u64()).collect();
    assert_eq!(ids.len(), TUNNELS, "no number is used twice");
    let told = status(proxy.address()).await;
    // The request for the page is a connection, too.
    assert_eq!(told["connections"]["open"], TUNNELS + 1, "{told:#}");
    assert_eq!(told["generations"][0]["tunnels"], TUNNELS, "{told:#}");
    let bytes = TUNNELS * "ping".len();
    let chain = &told["chains"]["default"];
    assert_eq!([&chain["bytes_sent"], &chain["bytes_received"]], [bytes, bytes], "{told:#}");
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let metrics = exchange(proxy.address(), request).await;
    assert!(metrics.lines().any(|line| line.ends_with(&format!("}} {bytes}"))), "{metrics}");
    drop(tunnels);
    ps_until(&proxy, <[_]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_connection_of_any_worker_ends_and_no_other() {
    let echo = EchoOrigin::start().await;
    let proxy = start(DIRECT).await;
    let mut tunnels = tunnels_on_every_worker(&proxy, echo.address()).await;
    let rows = ps_until(&proxy, |rows| rows.len() == TUNNELS).await;
    // Every second one.
    let killed: BTreeMap<_, _> = rows
        .iter()
        .step_by(2)
        .map(|row| (row["client"].as_str().unwrap(), row["id"].to_string()))
        .collect();
    let ids = killed.values().map(String::as_str);
    let told = proxy.command(&["kill"].into_iter().chain(ids).collect::<Vec<_>>());
    assert!(told.status.success(), "{told:?}");
    for tunnel in &mut tunnels {
        let client = tunnel.local_addr().unwrap().to_string();
        if killed.contains_key(client.as_str()) {
            assert_reset(tunnel).await;
        } else {
            ping(tunnel).await;
        }
    }
    assert!(proxy.command(&["kill", "--chain", "default"]).status.success());
    ps_until(&proxy, <[_]>::is_empty).await;
}

#[tokio::test]
async fn an_upstream_connection_stays_with_its_client_on_every_worker() {
    let origin =
        Double::start(vec![Step::Answer("HTTP/1.1 204 No Content\r\n\r\n".into()); ROUNDS]).await;
    let proxy = start(DIRECT).await;
    let mut clients = Vec::new();
    for _ in 0..TUNNELS {
        clients.push(open(proxy.address()).await);
    }
    for round in 0..ROUNDS {
        for (number, client) in clients.iter_mut().enumerate() {
            let target = origin.address();
            let request =
                format!("GET http://{target}/{number}-{round}- HTTP/1.1\r\nHost: {target}\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            assert!(head(client).await.starts_with("HTTP/1.1 204 "));
        }
    }
    let seen = origin.record().now();
    assert_eq!(seen.len(), TUNNELS, "each client has one upstream connection");
    for (number, connection) in seen.iter().enumerate() {
        let text = connection.text();
        for round in 0..ROUNDS {
            assert!(text.contains(&format!("/{number}-{round}-")), "{text}");
        }
    }
    assert_eq!(accepted_by_worker(&proxy).len(), WORKERS);
}

#[tokio::test]
async fn spares_serve_clients_of_every_worker() {
    let agree = Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into());
    let hop = Double::start([agree.clone(), agree, Step::Say("there".into())]).await;
    let proxy = start(&format!(
        "hops:\n  outer: {{ kind: http-connect, address: \"{}\" }}\n  \
         inner: {{ kind: http-connect, address: \"inner.test:1\" }}\n\
         chains: {{ default: {{ hops: [outer, inner], warm: 1 }} }}\n",
        hop.address()
    ))
    .await;
    let mut tunnels = Vec::new();
    for number in 0..TUNNELS as u64 {
        let target = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut tunnel = connect(proxy.address(), target).await.tunnel();
        assert_reads(&mut tunnel, "there").await;
        tunnels.push(tunnel);
        within("the next spare waits", async {
            loop {
                let told = status(proxy.address()).await;
                let warm = &told["warm"]["default"];
                assert_eq!(warm["stale"], 0, "{told:#}");
                if warm["waiting"] == 1 {
                    assert_eq!([&warm["hits"], &warm["misses"]], [number, 1], "{told:#}");
                    return;
                }
                pause().await;
            }
        })
        .await;
    }
    assert_eq!(accepted_by_worker(&proxy).len(), WORKERS);
}

#[tokio::test]
async fn an_idle_worker_never_wakes() {
    let echo = EchoOrigin::start().await;
    let proxy = start(DIRECT).await;
    let pid = status(proxy.address()).await["pid"].as_u64().unwrap();
    let tunnels = tunnels_on_every_worker(&proxy, echo.address()).await;
    // Open tunnels that are silent cost nothing either.
    within("no thread wakes for a while", async {
        loop {
            let before = wake_ups(pid);
            assert_eq!(before.len(), WORKERS, "{before:?}");
            sleep(IDLE).await;
            if wake_ups(pid) == before {
                return;
            }
        }
    })
    .await;
    drop(tunnels);
}

/// Returns how often each thread that serves connections has waited for something.
fn wake_ups(pid: u64) -> BTreeMap<String, u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let told = threads.map(|thread| {
        let thread = thread.unwrap();
        let is_first = thread.file_name().to_str() == Some(&pid.to_string());
        let text = fs::read_to_string(thread.path().join("status")).unwrap();
        let field = |name| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        (is_first, field("Name:").to_owned(), field("voluntary_ctxt_switches:").parse().unwrap())
    });
    told.filter(|(is_first, name, _)| *is_first || name.starts_with("worker-"))
        .map(|(_, name, count)| (name, count))
        .collect()
}

/// Enough for each worker to serve several.
const TUNNELS: usize = 40;
/// A worker serves at least this many of [`TUNNELS`].
const SHARE_MIN: usize = 5;
const ROUNDS: usize = 3;
/// Longer than any period of a timer would be.
const IDLE: Duration = Duration::from_secs(4);
