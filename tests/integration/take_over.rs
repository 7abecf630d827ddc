//! `run --take-over`: a proxy that takes the sockets of another one, without a supervisor.
#![cfg(unix)]

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{io::AsyncWriteExt as _, join, net::TcpStream, task::JoinHandle, time::sleep};

use crate::support::{
    EchoOrigin, Proxy, assert_reads, connect, free_port, open, outcome, ping, rest,
};

const DIRECT: &str = "chains: { default: [] }\n";

#[tokio::test]
async fn fifty_tunnels_outlive_a_take_over_and_no_client_is_refused() {
    let echo = EchoOrigin::start().await;
    let mut old = Proxy::start(DIRECT).await;
    let address = old.address();
    let mut tunnels = Vec::new();
    for _ in 0..50 {
        tunnels.push(connect(address, echo.address()).await.tunnel());
    }
    let clients = Clients::of(address);
    let new = take_over(&old, &[address]).await;
    assert_eq!(new.address(), address);
    let taken = new.event("took over from another process, which drains now").await;
    assert_eq!(taken.field("process"), old.pid().to_string());
    old.event("shutting down").await;
    for tunnel in &mut tunnels {
        tunnel.write_all(b"still here").await.unwrap();
        assert_reads(tunnel, "still here").await;
    }
    // Each of them was served, by one process or the other.
    assert!(clients.stop().await > 0);
    drop(tunnels);
    assert_eq!(old.exit().await.code(), Some(0));
    ping(&mut connect(address, echo.address()).await.tunnel()).await;
}

#[tokio::test]
async fn a_take_over_that_fails_leaves_the_running_proxy_alone() {
    let old = Proxy::start(DIRECT).await;
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, busy) = (old.address().to_string(), busy.local_addr().unwrap().to_string());
    let failed = old.command(&["run", "--take-over", "--listen", &address, "--listen", &busy]);
    let (status, _, error) = outcome(&failed);
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains(&format!("can't listen on {busy}")), "{error}");
    assert_eq!(ask(old.address()).await, Some("ok".into()));
    assert!(old.events().iter().all(|event| event.message() != "shutting down"));
}

/// Targets that went through hops would go direct, since the new process has never seen the routes.
#[tokio::test]
async fn a_file_that_was_emptied_is_not_served_by_the_next_process_either() {
    let old = Proxy::start(DIRECT).await;
    let address = old.address().to_string();
    let taking = ["run", "--take-over", "--listen", &address];
    old.config().write("40-routes.yaml", "routes: [{ chain: default }]\n");
    old.event("config reloaded").await;
    old.config().write("40-routes.yaml", "");
    let (status, _, error) = outcome(&old.command(&taking));
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("40-routes.yaml: without content, and the running proxy"), "{error}");
    assert!(error.contains("put a comment in it"), "{error}");
    assert_eq!(ask(old.address()).await, Some("ok".into()));
    assert!(old.events().iter().all(|event| event.message() != "shutting down"));
}

#[tokio::test]
async fn a_file_that_is_gone_for_a_moment_is_waited_for_before_a_take_over() {
    let mut old = Proxy::start(DIRECT).await;
    let address = old.address();
    let routes = "chains: { dead: [dead] }\nhops: { dead: { kind: http-connect, address: '127.0.0.1:1' } }\n\
                  routes: [{ chain: dead }]\n";
    old.config().write("40-routes.yaml", routes);
    old.event("config reloaded").await;
    let echo = EchoOrigin::start().await;
    assert!(refused(address, echo.address()).await);
    std::fs::remove_file(old.config().path().join("40-routes.yaml")).unwrap();
    let addresses = [address];
    let taking = take_over(&old, &addresses);
    let back = async {
        sleep(Duration::from_millis(700)).await;
        assert!(refused(address, echo.address()).await);
        old.config().write("40-routes.yaml", routes);
    };
    let (new, ()) = join!(taking, back);
    new.event("these files lack settings that the running proxy has; waiting for them").await;
    assert!(refused(address, echo.address()).await, "the routes are in force");
    assert_eq!(old.exit().await.code(), Some(0));
    assert!(refused(address, echo.address()).await);
    // One that stays away was removed on purpose.
    std::fs::remove_file(old.config().path().join("40-routes.yaml")).unwrap();
    let _third = take_over(&new, &[address]).await;
    assert!(!refused(address, echo.address()).await);
}

/// Returns whether a tunnel to `target` is refused, as through a hop that is down.
async fn refused(address: SocketAddr, target: SocketAddr) -> bool {
    connect(address, target).await.head.starts_with("HTTP/1.1 502")
}

#[tokio::test]
async fn of_several_take_overs_at_once_one_proxy_is_left() {
    let mut old = Proxy::start(DIRECT).await;
    let (log, ended) = std::sync::mpsc::channel();
    let (process, listen) = (old.pid(), old.address().to_string());
    let arguments = ["run", "--take-over", "--listen", &listen];
    let (ended, left) = std::thread::scope(|scope| {
        let (old, arguments) = (&old, &arguments);
        for _ in 0..3 {
            let log = log.clone();
            scope.spawn(move || {
                log.send(outcome(&old.command(arguments))).unwrap();
            });
        }
        // All but the last one are taken over from, or have given up waiting for their turn. Nothing fails in here, since
        // the scope would wait for the last one.
        let first = [ended.recv(), ended.recv()];
        let status = ["status", "--format", "json", "--address", &listen];
        let (_, told, _) = outcome(&old.command(&status));
        let told: Option<serde_json::Value> = serde_json::from_str(&told).ok();
        let left = told.and_then(|told| Pid::from_raw(told["pid"].as_i64()?.try_into().ok()?));
        left.map(|left| kill_process(left, Signal::TERM));
        (first, left)
    });
    for (status, _, error) in ended.map(Result::unwrap) {
        let gave_up = error.contains("another process is taking over at the moment");
        assert_eq!(status, Some(i32::from(gave_up)), "{error}");
    }
    assert!(left.is_some_and(|left| left.as_raw_pid() != i32::try_from(process).unwrap()));
    assert_eq!(old.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_take_over_without_a_running_proxy_is_a_start() {
    let proxy = Proxy::with_arguments(DIRECT, &["--take-over"]).await;
    assert_eq!(ask(proxy.address()).await, Some("ok".into()));
}

#[tokio::test]
async fn a_proxy_that_took_over_is_taken_over_too_and_closes_sockets_after_an_edit() {
    let mut first = Proxy::start(DIRECT).await;
    let address = first.address();
    let mut second = take_over(&first, &[address]).await;
    assert_eq!(first.exit().await.code(), Some(0));
    // The third listens at another address too, as its file says.
    let other = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let listen = |addresses: &[SocketAddr]| {
        let addresses: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
        first.config().write(
            "00-server.yaml",
            &format!("server: {{ listen: [{}] }}\n", addresses.join(", ")),
        );
    };
    listen(&[address, other]);
    let third = Proxy::on_files_of(&first, &["--take-over"]).await;
    assert_eq!(second.exit().await.code(), Some(0));
    for address in [address, other] {
        assert_eq!(ask(address).await, Some("ok".into()));
    }
    listen(&[other]);
    third.event("not listening any more").await;
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(ask(other).await, Some("ok".into()));
}

#[tokio::test]
async fn a_take_over_closes_addresses_that_the_new_proxy_does_not_want() {
    let addresses = [free_port(), free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let [kept, dropped] = addresses.map(|address| address.to_string());
    let mut old = Proxy::with_arguments(DIRECT, &["--listen", &kept, "--listen", &dropped]).await;
    let _new = take_over(&old, &addresses[..1]).await;
    assert_eq!(old.exit().await.code(), Some(0));
    assert_eq!(ask(addresses[0]).await, Some("ok".into()));
    assert!(TcpStream::connect(addresses[1]).await.is_err());
}

/// An address that includes that of the running proxy can't be bound beside it in the usual way.
#[tokio::test]
async fn a_take_over_may_change_to_an_address_that_includes_the_old_one() {
    let mut old = Proxy::start("server: { auth: { username: u, password: p } }\n").await;
    let address = old.address();
    let every = SocketAddr::from(([0, 0, 0, 0], address.port()));
    let _new = take_over(&old, &[every]).await;
    assert_eq!(old.exit().await.code(), Some(0));
    assert!(ask(address).await.is_some_and(|page| page.contains("`server.auth`")));
}

/// Starts a proxy on the files of `old` that takes over `addresses`.
async fn take_over(old: &Proxy, addresses: &[SocketAddr]) -> Proxy {
    let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
    let mut arguments = vec!["--take-over"];
    for address in &addresses {
        arguments.extend(["--listen", address]);
    }
    Proxy::on_files_of(old, &arguments).await
}

/// Returns the body of the proxy's own page, or `None` if the port is refused.
async fn ask(address: SocketAddr) -> Option<String> {
    let mut client = TcpStream::connect(address).await.ok()?;
    client.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let answer = rest(&mut client).await;
    Some(answer.rsplit("\r\n").next().unwrap().trim_end().to_owned())
}

/// Clients that come one after the other until they are stopped.
struct Clients {
    is_stopped: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Clients {
    fn of(address: SocketAddr) -> Self {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&is_stopped);
        let task = tokio::spawn(async move {
            let mut served = 0;
            while !stopped.load(Relaxed) {
                let mut client = open(address).await;
                client
                    .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    .await
                    .unwrap();
                assert!(rest(&mut client).await.ends_with("\r\n\r\nok\n"));
                served += 1;
            }
            served
        });
        Self { is_stopped, task }
    }

    /// Stops them, and returns how many were served.
    async fn stop(self) -> usize {
        self.is_stopped.store(true, Relaxed);
        self.task.await.unwrap()
    }
}
