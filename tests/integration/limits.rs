//! More than there is room for.
#![cfg(target_os = "linux")]

use std::{
    fs::{self, OpenOptions},
    net::SocketAddr,
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, process::Command, task, time};

use crate::support::{
    ConfigDir, EchoOrigin, Proxy, assert_reads, connect, free_port, open, resources, rest, status,
    within,
};

#[tokio::test]
async fn without_descriptors_it_waits_quietly_and_recovers() {
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let pid = status(proxy.address()).await["pid"].as_u64().unwrap();
    let process = Pid::from_raw(pid as i32);
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = |current: u64| {
        let limit = Rlimit { current: Some(current), maximum };
        prlimit(process, Resource::Nofile, limit).unwrap();
    };
    let (before, _) = resources(pid);
    limit(before as u64 + 3);
    let mut clients: Vec<TcpStream> = Vec::new();
    for _ in 0..20 {
        clients.push(open(proxy.address()).await);
    }
    let message = "can't accept connections now; trying again until it works";
    proxy.event(message).await;
    let (begun, ticks) = (time::Instant::now(), cpu_ticks(pid));
    time::sleep(Duration::from_secs(1)).await;
    let (spent, elapsed) = (cpu_ticks(pid) - ticks, begun.elapsed());
    assert!(spent <= 20, "{spent} ticks in {elapsed:?}: it spins");
    limit(4096);
    proxy.event("accepting connections again").await;
    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    tunnel.write_all(b"well").await.unwrap();
    assert_reads(&mut tunnel, "well").await;
    let told = proxy.events().iter().filter(|event| event.message() == message).count();
    assert!(told <= 2, "it was told {told} times");
    drop((clients, tunnel));
    within("every descriptor is given back", async {
        while resources(pid).0 > before {
            task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn aborted_clients_leave_nothing() {
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let pid = status(proxy.address()).await["pid"].as_u64().unwrap();
    let (before, _) = resources(pid);
    let target = echo.address();
    let connect_head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    let mut memory = Vec::new();
    for _ in 0..ROUNDS {
        for number in 0..ABORTED {
            let mut client = open(proxy.address()).await;
            // At once, within the head, and after it.
            let length = [0, 10, connect_head.len()][number % 3];
            client.write_all(&connect_head.as_bytes()[..length]).await.unwrap();
            client.set_zero_linger().unwrap();
        }
        within("every descriptor is given back", async {
            while status(proxy.address()).await["connections"]["open"] != 1 {}
            while resources(pid).0 > before {
                task::yield_now().await;
            }
        })
        .await;
        memory.push(resources(pid).1);
    }
    assert!(memory[ROUNDS - 1] <= memory[0] + GROWTH_KIB_MAX, "{memory:?} KiB");
}

#[tokio::test]
async fn a_process_that_was_suspended_goes_on() {
    let echo = EchoOrigin::start().await;
    let mut proxy = Proxy::start("chains: { default: [] }\n").await;
    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    proxy.signal(Signal::STOP);
    // The system still takes both for it.
    let mut late = open(proxy.address()).await;
    late.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    tunnel.write_all(b"before").await.unwrap();
    proxy.signal(Signal::CONT);
    assert_reads(&mut tunnel, "before").await;
    assert!(rest(&mut late).await.ends_with("\r\n\r\nok\n"));
}

#[tokio::test]
async fn a_full_disk_under_the_log_stops_nothing() {
    let echo = EchoOrigin::start().await;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let config = ConfigDir::new("chains: { default: [] }\n");
    config.write("00-server.yaml", &format!("server: {{ listen: \"{address}\" }}\n"));
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
    command.args(["--log-level", "trace", "-c"]).arg(config.path()).env_remove("RUST_LOG");
    let mut proxy = command.stderr(full).kill_on_drop(true).spawn().unwrap();
    within("it listens", async {
        while TcpStream::connect(address).await.is_err() {
            task::yield_now().await;
        }
    })
    .await;
    for _ in 0..10 {
        let mut tunnel = connect(address, echo.address()).await.tunnel();
        tunnel.write_all(b"served").await.unwrap();
        assert_reads(&mut tunnel, "served").await;
    }
    for (yaml, outcome) in [("timeouts: { idle: 1h }\n", "applied"), ("timeouts: [\n", "rejected")]
    {
        config.write("20-more.yaml", yaml);
        within(outcome, async {
            while status(address).await["reloads"][outcome] != 1 {
                task::yield_now().await;
            }
        })
        .await;
    }
    let process = Pid::from_raw(proxy.id().unwrap() as i32).unwrap();
    kill_process(process, Signal::TERM).unwrap();
    assert_eq!(within("its end", proxy.wait()).await.unwrap().code(), Some(0));
}

/// Hundredths of a second of CPU that the process has used.
fn cpu_ticks(pid: u64) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

const ROUNDS: usize = 10;
/// In each round.
const ABORTED: usize = 1000;
/// What the allocator may keep of a round that had more of them at once than the first.
const GROWTH_KIB_MAX: u64 = 4 * 1024;
