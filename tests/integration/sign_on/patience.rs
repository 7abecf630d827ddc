//! A KDC that says nothing.

use std::{env, time::Duration};

use tokio::{io::AsyncWriteExt as _, task::JoinSet, time::Instant};

use super::{Company, SPN};
use crate::support::{
    EchoOrigin, HttpOrigin, Proxy, SilentKdc, connect, exchange, head, open, pause, ping, status,
    within,
};

/// Clients of the hop whose KDC is silent.
const WAITING: usize = 40;
/// A target that they never get to.
const UNREACHED: &str = "127.0.0.1:20009";

/// Measures direct requests while forty clients wait for a domain controller.
///
/// A machine that is busy with other tests is slow, so the time of a request fails nothing. But each direct request must be
/// done before the first of the waiting clients gets its answer, after 25 s or more: if one had to queue behind a call
/// of the library, it could not be. `MOOLTIROUTE_SILENT_KDC_SECONDS` makes the load last longer, to measure by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_kdc_delays_only_those_who_need_it() {
    let Some(company) = Company::start().await else { return };
    company.kdc.kinit("cache");
    let (silent, echo, origin) =
        (SilentKdc::start().await, EchoOrigin::start().await, HttpOrigin::plain().await);
    let yaml = format!(
        "{}routes: [{{ ports: [{}, {}], chain: direct }}, {{ chain: default }}]\n\
         timeouts: {{ handshake: 60s }}\n",
        company.yaml(SPN, "[corporate]"),
        echo.address().port(),
        origin.address().port()
    );
    let proxy = start(&company, &silent, &yaml).await;
    let address = proxy.address();
    let mut waiting = JoinSet::new();
    for _ in 0..WAITING / 2 {
        waiting.spawn(async move { connect(address, UNREACHED).await.head });
        let request = format!("GET http://{UNREACHED}/ HTTP/1.1\r\nHost: {UNREACHED}\r\n\r\n");
        waiting.spawn(async move {
            let mut client = open(address).await;
            client.write_all(request.as_bytes()).await.unwrap();
            head(&mut client).await
        });
    }
    // Squid asks at least the first of them for a ticket. Those that come after its challenge need no other one, and each of
    // them waits for the KDC.
    company.squid.passed_at_least(1).await;
    within("all wait", async {
        // One connection more asks for the status.
        while status(address).await["connections"]["open"] != WAITING + 1 {
            pause().await;
        }
    })
    .await;
    let end = Instant::now() + load();
    let mut direct = JoinSet::new();
    for _ in 0..8 {
        let request = origin.request("/bytes/1000");
        let (tunnels, requests) = (echo.address(), request.into_bytes());
        direct.spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                let began = Instant::now();
                ping(&mut connect(address, tunnels).await.tunnel()).await;
                took.push(began.elapsed());
                let began = Instant::now();
                let told = exchange(address, &requests).await;
                assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
                took.push(began.elapsed());
            }
            took
        });
    }
    let mut took = direct.join_all().await.concat();
    took.sort();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    println!(
        "{} direct requests: p50 {:?}, p99 {:?}, max {:?}",
        took.len(),
        at(50),
        at(99),
        at(100)
    );
    assert!(took.len() > 16, "each client has made some requests");
    let first = waiting.try_join_next();
    assert!(first.is_none(), "{first:?} came first, and direct requests took up to {:?}", at(100));
}

#[tokio::test]
async fn a_silent_kdc_is_named_within_the_handshake() {
    let Some(company) = Company::start().await else { return };
    company.kdc.kinit("cache");
    let silent = SilentKdc::start().await;
    let mut yaml = company.yaml(SPN, "[corporate]");
    yaml += "timeouts: { handshake: 4s }\n";
    let proxy = start(&company, &silent, &yaml).await;
    let told =
        exchange(proxy.address(), b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert!(told.starts_with("HTTP/1.1 504 "), "{told}");
    assert!(told.contains("no domain controller answers, within 3s"), "{told}");
    assert!(told.contains("proxy_configuration_error"), "{told}");
}

async fn start(company: &Company, silent: &SilentKdc, yaml: &str) -> Proxy {
    let (config, cache) = (company.kdc.config_with_port(silent.port()), company.kdc.cache("cache"));
    let environment = [("KRB5_CONFIG", &*config), ("KRB5CCNAME", &cache)];
    Proxy::in_environment(yaml, &[], &environment).await
}

/// How long direct requests are made.
fn load() -> Duration {
    let seconds = env::var("MOOLTIROUTE_SILENT_KDC_SECONDS");
    Duration::from_secs(seconds.map_or(2, |seconds| seconds.parse().unwrap()))
}
