//! `auth: [negotiate]` with a real KDC, squid and squid's own check of tickets.

mod clients;
mod diagnosis;
#[cfg(target_os = "linux")]
mod missing_library;
mod patience;
mod plain;

use std::process::Command;

use tokio::{io::AsyncWriteExt as _, task::JoinSet};

use crate::support::{
    ConfigDir, EchoOrigin, Kdc, PASSWORD, Proxy, Squid, SquidRules, USERNAME, Way, connect, head,
    open, ping, skip,
};

/// Registers NTLM as a mechanism of GSS-API.
const GSS_NTLMSSP: &str = "/etc/gss/mech.d/mech.ntlmssp.conf";
const SERVICE: &str = "HTTP/proxy.corp.test";

/// A KDC and a squid that wants its tickets.
#[derive(Debug)]
struct Company {
    kdc: Kdc,
    squid: Squid,
}

impl Company {
    async fn start() -> Option<Self> {
        let kdc = Kdc::start().await?;
        let (config, keytab) = (kdc.path("krb5.conf"), kdc.path("http.keytab"));
        let rules = SquidRules::Kerberos { config, keytab, service: SERVICE };
        let squid = Squid::start(rules).await?;
        Some(Self { kdc, squid })
    }

    /// A configuration with more settings of the hop, and a chain.
    fn yaml(&self, settings: &str, chain: &str) -> String {
        let address = self.squid.address();
        format!(
            "hops:\n  corporate: {{ kind: http-connect, address: \"{address}\", auth: [negotiate]{settings} }}\n\
             chains: {{ default: {chain} }}\n"
        )
    }

    /// Runs the proxy with tickets in the cache of this name.
    async fn proxy(&self, yaml: &str, cache: &str) -> Proxy {
        let (config, cache) = (self.kdc.shown("krb5.conf"), self.kdc.cache(cache));
        let environment = [("KRB5_CONFIG", &*config), ("KRB5CCNAME", &cache)];
        // At trace, so that a secret in any line fails the test.
        Proxy::in_environment(yaml, &["--log-level", "trace"], &environment).await
    }
}

const SPN: &str = ", kerberos: { spn: HTTP/proxy.corp.test }";

/// Asserts that nothing of a ticket or a password is in the log.
fn assert_no_secret(proxy: &Proxy) {
    for event in proxy.events() {
        let text = event.text();
        // The first bytes of every token with a ticket, in base64.
        for secret in ["YII", Kdc::PASSWORD] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[tokio::test]
async fn two_hundred_tunnels_at_once_cost_one_round_trip_each() {
    let Some(company) = Company::start().await else { return };
    company.kdc.kinit("cache");
    let echo = EchoOrigin::start().await;
    let proxy = company.proxy(&company.yaml(SPN, "[corporate]"), "cache").await;
    let (address, target) = (proxy.address(), echo.address());
    drop(connect(address, target).await.tunnel());
    let tunnels: JoinSet<_> = (0..200)
        .map(|_| async move {
            let mut tunnel = connect(address, target).await.tunnel();
            ping(&mut tunnel).await;
        })
        .collect();
    tunnels.join_all().await;
    // The bare request before the first challenge, and one for each tunnel.
    let passed = company.squid.passed_at_least(202).await;
    let refused = passed.iter().filter(|passed| passed.status == 407).count();
    assert_eq!((passed.len(), refused), (202, 1), "{passed:?}");
    assert!(passed.iter().all(|passed| passed.status == 407 || passed.user == "alice@CORP.TEST"));
    assert_no_secret(&proxy);
}

#[tokio::test]
async fn a_ticket_is_used_before_another_hop_and_for_warm_tunnels() {
    let Some(company) = Company::start().await else { return };
    let Some(last) = Squid::start(SquidRules::Basic).await else { return };
    company.kdc.kinit("cache");
    let echo = EchoOrigin::start().await;
    for chain in ["[corporate, last]", "{ hops: [corporate, last], warm: 2 }"] {
        let last = format!(
            "  last: {{ kind: http-connect, address: \"{}\", username: {USERNAME}, password: {PASSWORD} }}\nchains:",
            last.address()
        );
        let yaml = company.yaml(SPN, chain).replace("chains:", &last);
        let proxy = company.proxy(&yaml, "cache").await;
        for _ in 0..5 {
            let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
            ping(&mut tunnel).await;
        }
    }
    let passed = last.passed_at_least(1).await;
    let seen = passed.iter().map(|passed| &*passed.authorization);
    assert!(seen.clone().all(|seen| seen.starts_with("Basic ")), "{:?}", seen.collect::<Vec<_>>());
}

#[tokio::test]
async fn tickets_come_from_a_named_cache_a_keytab_or_a_password() {
    let Some(company) = Company::start().await else { return };
    company.kdc.kinit("cache");
    let echo = EchoOrigin::start().await;
    let (cache, keytab) = (company.kdc.cache("cache"), company.kdc.shown("alice.keytab"));
    for settings in [
        format!(", kerberos: {{ spn: {SERVICE}, ccache: \"{cache}\" }}"),
        format!(
            ", kerberos: {{ spn: {SERVICE}@CORP.TEST, keytab: \"{keytab}\", principal: alice@CORP.TEST }}"
        ),
        format!(", username: 'CORP\\alice', password: {}{SPN}", Kdc::PASSWORD),
        format!(", username: alice@CORP.TEST, password: {}{SPN}", Kdc::PASSWORD),
    ] {
        let proxy = company.proxy(&company.yaml(&settings, "[corporate]"), "no-such-cache").await;
        for _ in 0..3 {
            drop(connect(proxy.address(), echo.address()).await.tunnel());
        }
        assert_no_secret(&proxy);
    }
    // Each password gave one ticket, for three tunnels.
    let issued = company.kdc.log();
    let with_password = issued.matches("AS_REQ").count();
    assert!(with_password <= 8, "{issued}");
}

#[tokio::test]
async fn check_names_a_keytab_and_asks_the_kdc_for_nothing() {
    let Some(kdc) = Kdc::start().await else { return };
    let config = ConfigDir::new(&format!(
        "hops:\n  corporate:\n    kind: http-connect\n    address: proxy.corp.test:3128\n    auth: [negotiate]\n    \
         kerberos: {{ keytab: '{}', principal: alice@CORP.TEST }}\nchains: {{ default: [corporate] }}\n",
        kdc.shown("alice.keytab")
    ));
    let mut check = Command::new(env!("CARGO_BIN_EXE_mooltiroute"));
    check.args(["check", "-c"]).arg(config.path()).env("KRB5_CONFIG", kdc.path("krb5.conf"));
    let checked = check.output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("Negotiate: with the keytab"), "{said}");
    let log = kdc.log();
    assert!(!log.contains("AS_REQ"), "{log}");
}

#[tokio::test]
async fn a_ticket_that_is_got_while_the_proxy_runs_is_used() {
    let Some(company) = Company::start().await else { return };
    let echo = EchoOrigin::start().await;
    let proxy = company.proxy(&company.yaml(SPN, "[corporate]"), "late").await;
    for _ in 0..2 {
        let told = connect(proxy.address(), echo.address()).await.head;
        assert!(told.contains("no Kerberos ticket"), "{told}");
    }
    company.kdc.kinit("late");
    drop(connect(proxy.address(), echo.address()).await.tunnel());
}

/// A squid that wants NTLM inside of SPNEGO, and a proxy whose system has a password for it and no ticket.
struct SpnegoNtlm {
    proxy: Proxy,
    _squid: Squid,
    _scratch: tempfile::TempDir,
}

impl SpnegoNtlm {
    async fn start(password: &str) -> Option<Self> {
        if !std::path::Path::new(GSS_NTLMSSP).is_file() {
            skip("gss-ntlmssp");
            return None;
        }
        let squid = Squid::start(SquidRules::SpnegoNtlm).await?;
        let scratch = tempfile::tempdir().unwrap();
        let users = scratch.path().join("users").display().to_string();
        std::fs::write(&users, format!("CORP:{USERNAME}:{password}\n")).unwrap();
        let yaml = format!(
            "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", auth: [negotiate]{SPN} }}\n\
             chains: {{ default: [corporate] }}\n",
            squid.address()
        );
        let environment = [("NTLM_USER_FILE", &*users), ("KRB5CCNAME", "FILE:/nonexistent")];
        let proxy = Proxy::in_environment(&yaml, &[], &environment).await;
        Some(Self { proxy, _squid: squid, _scratch: scratch })
    }
}

#[tokio::test]
async fn ntlm_inside_of_spnego_takes_two_rounds() {
    let echo = EchoOrigin::start().await;
    for (password, status, words) in
        [(PASSWORD, "200", ""), ("wrong", "502", "it rejected the credentials, by Negotiate")]
    {
        let Some(spnego) = SpnegoNtlm::start(password).await else { return };
        let proxy = &spnego.proxy;
        for _ in 0..2 {
            let request = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", echo.address());
            let mut stream = open(proxy.address()).await;
            stream.write_all(request.as_bytes()).await.unwrap();
            let head = head(&mut stream).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert!(head.contains(words), "{head}");
        }
    }
}

#[tokio::test]
async fn schemes_are_added_and_removed_while_tunnels_stay_open() {
    let Some(company) = Company::start().await else { return };
    company.kdc.kinit("cache");
    let echo = EchoOrigin::start().await;
    let with = company.yaml(SPN, "[corporate]");
    let without = with.replace(", auth: [negotiate]", "").replace(SPN, "");
    let proxy = company.proxy(&with, "cache").await;
    let mut kept = connect(proxy.address(), echo.address()).await.tunnel();
    for (yaml, status) in [(&without, "502"), (&with, "200"), (&without, "502")] {
        let seen = proxy.events().len();
        proxy.config().save("10-test.yaml", yaml, Way::Rename);
        proxy.event_after(seen, "config reloaded").await;
        let head = connect(proxy.address(), echo.address()).await.head;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        ping(&mut kept).await;
    }
}
