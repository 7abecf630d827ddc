//! A corpus of hostile PAC files in a running proxy: no other request waits for them, and the process does not grow.
#![cfg(target_os = "linux")]

use std::{
    env, fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet};

use super::{named, returning};
use crate::support::{ConfigDir, Double, Proxy, connect, pause, resources, status, within};

/// The hostile files, by name.
fn corpus() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("pac/tests/hostile");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    let mut files: Vec<_> = files.map(read).collect();
    files.sort();
    assert!(files.len() >= 60, "{} files", files.len());
    files
}

/// A proxy with a hop, a chain and a route for each hostile file, and for an honest one.
async fn start(corpus: &[(String, String)], exit: &Double) -> Proxy {
    let honest = ("honest".to_owned(), returning("'PROXY p:1'"));
    let mut yaml = format!(
        "log: {{ access: false }}\nlimits: {{ connections: 4000 }}\nhops:\n  exit: {{ kind: http-connect, address: \"{}\" }}\n",
        exit.address()
    );
    let (mut chains, mut routes) = ("chains:\n".to_owned(), "routes:\n".to_owned());
    let config = ConfigDir::new("");
    for (name, text) in corpus.iter().chain([&honest]) {
        config.write(&format!("{name}.pac"), text);
        yaml +=
            &format!("  x-{name}: {{ kind: pac, file: {name}.pac, hops: {{ \"*\": exit }} }}\n");
        chains += &format!("  x-{name}: [x-{name}]\n");
        routes += &format!("  - {{ hosts: [\"*.x-{name}.test\"], chain: x-{name} }}\n");
    }
    config.write("10-test.yaml", &(yaml + &chains + &routes));
    Proxy::on(config, &[]).await
}

/// Asks every file for hosts that it was not asked for before. Returns how many requests each kind of end had.
async fn ask_all(proxy: &Proxy, corpus: &[(String, String)], round: usize) -> (usize, usize) {
    let (mut asked, few) = (JoinSet::new(), Arc::new(Semaphore::new(AT_ONCE)));
    for (name, _) in corpus {
        let few = Arc::clone(&few);
        let (address, host) = (proxy.address(), format!("round-{round}.x-{name}.test:443"));
        asked.spawn(async move {
            let _permit = few.acquire().await.unwrap();
            let answer = within(&host, connect(address, &host)).await;
            let line = answer.head.lines().next().unwrap_or_default().to_owned();
            (host, line)
        });
    }
    let (mut decided, mut refused) = (0, 0);
    while let Some(ended) = asked.join_next().await {
        match ended.unwrap() {
            // The hop itself refuses everything, so its name tells that the file has decided.
            (_, line) if line.contains("403 Exit") => decided += 1,
            (_, line) if line.starts_with("HTTP/1.1 502 ") => refused += 1,
            (host, line) => panic!("{host}: {line}"),
        }
    }
    (decided, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_files_stall_no_other_request_and_do_not_grow_the_process() {
    let rounds =
        env::var("MOOLTIROUTE_HOSTILE_ROUNDS").ok().map_or(3, |text| text.parse().unwrap());
    let (corpus, exit) = (corpus(), named("Exit").await);
    let mut proxy = start(&corpus, &exit).await;
    let pid = status(proxy.address()).await["pid"].as_u64().unwrap();
    let (address, is_over) = (proxy.address(), Arc::new(AtomicBool::new(false)));
    let over = Arc::clone(&is_over);
    // Another host each time, so that each request is a call of the honest file.
    let honest = tokio::spawn(async move {
        let mut waits = Vec::new();
        while !over.load(Relaxed) {
            let began = Instant::now();
            let host = format!("host-{}.x-honest.test:443", waits.len());
            let answer = connect(address, host).await.head;
            assert!(answer.contains("403 Exit"), "{answer}");
            waits.push(began.elapsed());
            pause().await;
        }
        waits
    });
    let (_, idle) = resources(pid);
    let mut sizes = Vec::new();
    for round in 0..rounds {
        let (decided, refused) = ask_all(&proxy, &corpus, round).await;
        assert_eq!(decided + refused, corpus.len());
        assert!(refused > corpus.len() / 2, "{refused} of {}", corpus.len());
        sizes.push(resources(pid).1);
    }
    is_over.store(true, Relaxed);
    let mut waits = honest.await.unwrap();
    waits.sort();
    let worst = waits[waits.len() - 1];
    let p99 = waits[waits.len() * 99 / 100];
    println!(
        "{} honest requests beside {rounds} rounds of {} files: p50 {:?}, p99 {p99:?}, longest {worst:?}; KiB idle \
         {idle}, after each round {sizes:?}",
        waits.len(),
        corpus.len(),
        waits[waits.len() / 2]
    );
    assert!(worst < STALL_MAX, "{worst:?}");
    // The first round has given each script its engine and its thread.
    let (early, late) = (sizes[0], sizes[sizes.len() - 1]);
    assert!(late <= early + GROWTH_KIB_MAX, "from {early} KiB to {late} KiB");
    proxy.assert_is_well().await;
}

/// The hostile files that are asked at once: more than this machine has processors.
const AT_ONCE: usize = 4;
/// The longest that an honest request may take, on a machine whose processors are all busy.
const STALL_MAX: Duration = Duration::from_secs(2);
/// The lost threads and what the allocator keeps.
const GROWTH_KIB_MAX: u64 = 64 * 1024;
