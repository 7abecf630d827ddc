//! Memory goes back to the system after a peak, and an idle proxy takes no time.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;

use crate::support::{
    EchoOrigin, Proxy, connect, pause, raise_open_files, resources, skip, status, within,
};

#[tokio::test]
async fn memory_returns_after_many_tunnels() {
    raise_open_files(4 * TUNNELS as u64);
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::start("log: { access: false }\nchains: { default: [] }\n").await;
    let pid = status(proxy.address()).await["pid"].as_u64().unwrap();
    // The first few bring in what any tunnel needs.
    drop(open(&proxy, &echo, 50).await);
    let (_, idle) = resources(pid);
    let tunnels = open(&proxy, &echo, TUNNELS).await;
    let (_, full) = resources(pid);
    assert!(full > idle + TUNNELS as u64, "from {idle} to {full} KiB: there is nothing to see");
    drop(tunnels);
    returns(pid, idle + (full - idle) / 4).await;
}

#[tokio::test]
async fn memory_returns_after_the_last_tunnel_of_a_large_configuration() {
    let small = "chains: { default: [] }\n";
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::start(small).await;
    let pid = status(proxy.address()).await["pid"].as_u64().unwrap();
    let (_, idle) = resources(pid);
    let mut large = String::from("hops:\n");
    for number in 0..HOPS {
        large += &format!("  h{number}: {{ kind: http-connect, address: \"h{number}.test:1\" }}\n");
    }
    large += small;
    proxy.config().write("10-test.yaml", &large);
    proxy.event("config reloaded").await;
    let tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    let seen = proxy.events().len();
    proxy.config().write("10-test.yaml", small);
    proxy.event_after(seen, "config reloaded").await;
    // What the loading needed is gone after a while, and what the tunnel holds is not.
    sleep(Duration::from_secs(3)).await;
    let (_, held) = resources(pid);
    assert!(held > idle + HOPS / 2, "from {idle} to {held} KiB: there is nothing to see");
    drop(tunnel);
    // It lay among other things that stay, so some of its pages do.
    returns(pid, held - (held - idle) / 3).await;
}

/// Waits until no more than `enough` KiB are left.
async fn returns(pid: u64, enough: u64) {
    within(&format!("it returns below {enough} KiB"), async {
        while resources(pid).1 > enough {
            pause().await;
        }
    })
    .await;
}

async fn open(proxy: &Proxy, echo: &EchoOrigin, count: usize) -> Vec<tokio::net::TcpStream> {
    let mut tunnels = Vec::with_capacity(count);
    for _ in 0..count {
        tunnels.push(connect(proxy.address(), echo.address()).await.tunnel());
    }
    tunnels
}

const TUNNELS: usize = 1_500;
const HOPS: u64 = 5_000;

/// Every wake-up of a thread is counted as a voluntary switch when the thread goes back to sleep.
#[tokio::test]
async fn an_idle_proxy_never_wakes_up() {
    let mut proxy = Proxy::start("chains: { default: [] }\n").await;
    let kind = rustix::fs::statfs(proxy.config().path()).unwrap().f_type as u32;
    // ext4, XFS, Btrfs, tmpfs. Others may not report all changes, so that the files are looked at.
    if ![0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994].contains(&kind) {
        return skip("a temporary directory on a local file system");
    }
    let pid = proxy.pid();
    let read = |task: &Path, file: &str| fs::read_to_string(task.join(file)).unwrap_or_default();
    // The thread that receives events wakes up for each file that another test opens beside the configuration.
    let is_own = |task: &PathBuf| !read(task, "comm").starts_with("notify");
    let count = |task: PathBuf| {
        let status = read(&task, "status");
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .unwrap_or_default()
    };
    let switches = || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        tasks.flatten().map(|task| task.path()).filter(is_own).map(count).sum::<u64>()
    };
    // The last of the start comes after five seconds. From then on nothing happens, for longer than any pause.
    within("it sleeps", async {
        let mut quiet = (switches(), 0);
        while quiet.1 < 12 {
            sleep(Duration::from_secs(1)).await;
            let now = switches();
            quiet = (now, if now == quiet.0 { quiet.1 + 1 } else { 0 });
        }
    })
    .await;
}
