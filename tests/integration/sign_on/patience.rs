//! A KDC that says nothing.

use std::time::Duration;

use tokio::{task::JoinSet, time};

use super::{Company, SPN};
use crate::support::{EchoOrigin, Proxy, SilentKdc, connect, exchange};

#[tokio::test]
async fn a_silent_kdc_delays_only_those_who_need_it() {
    let Some(company) = Company::start().await else { return };
    company.kdc.kinit("cache");
    let (silent, echo) = (SilentKdc::start().await, EchoOrigin::start().await);
    let port = echo.address().port();
    let yaml = format!(
        "{}routes: [{{ ports: [{port}], chain: direct }}, {{ chain: default }}]\n",
        company.yaml(SPN, "[corporate]")
    );
    let proxy = start(&company, &silent, &yaml).await;
    let address = proxy.address();
    let mut waiting: JoinSet<_> =
        (0..20).map(|_| async move { connect(address, "127.0.0.1:20009").await.head }).collect();
    // Once squid has asked all of them for a ticket, each waits for the KDC.
    company.squid.passed_at_least(20).await;
    let mut longest = Duration::ZERO;
    for _ in 0..100 {
        let began = time::Instant::now();
        drop(connect(address, echo.address()).await.tunnel());
        longest = longest.max(began.elapsed());
    }
    assert!(waiting.try_join_next().is_none(), "the direct tunnels were slower: {longest:?}");
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
