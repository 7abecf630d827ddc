//! The configuration path by which advice names a hop that another hop chose.

use super::{CONNECT, reply};
use crate::support::{ConfigDir, Double, Proxy, SHORT_TIMEOUTS, Step, exchange, free_port};

/// Asks a proxy whose chain has `outer`, in which `corporate` plays `step`. Returns the answer and the advice in the log.
async fn ask_within(outer: &str, corporate: &str, steps: &[Step]) -> String {
    let hop = match steps {
        [] => None,
        steps => Some(Double::start(steps).await),
    };
    let address = match &hop {
        Some(hop) => hop.address().to_string(),
        None => format!("127.0.0.1:{}", free_port()),
    };
    let address = if corporate.contains("address:") {
        String::new()
    } else {
        format!("address: \"{address}\"")
    };
    let config = ConfigDir::new(&format!(
        "{SHORT_TIMEOUTS}hops:\n  corporate: {{ {corporate}{address} }}\n  {outer}\nchains: {{ default: [office] }}\n"
    ));
    let script = "function FindProxyForURL(url, host) { return 'PROXY proxy.corp.example:80'; }";
    config.write("office.pac", script);
    let proxy = Proxy::on(config, &[]).await;
    let answer = exchange(proxy.address(), CONNECT).await;
    answer + &proxy.event("request failed").await.field("advice")
}

#[tokio::test]
async fn advice_has_the_path_of_a_hop_that_another_hop_chose() {
    let http = "kind: http-connect, ";
    for outer in [
        "office: { kind: pac, file: office.pac, hops: { \"*\": corporate } }",
        "office: { kind: pool, members: [corporate] }",
        "office: { kind: pool, members: [inner] }\n  inner: { kind: pool, members: [corporate] }",
        "office: { kind: pac, file: office.pac, hops: { \"*\": inner } }\n  inner: { kind: pool, members: [corporate] }",
    ] {
        for (corporate, step, words) in [
            (http, &[][..], "that `hops.corporate.address` is right"),
            (http, &[Step::Answer(String::new()), Step::End], "check `hops.corporate.address`"),
            (
                "kind: http-connect, address: 'unknown.invalid:80'",
                &[][..],
                "Check `hops.corporate.address`",
            ),
            (
                http,
                &[reply("HTTP/1.1 501 Not Implemented\r\n\r\n")],
                "check `hops.corporate.address`",
            ),
            (
                "kind: http-connect, username: u, password: p, ",
                &[reply("HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=x\r\n\r\n")],
                "Correct `hops.corporate`'s `username` and `password`",
            ),
            ("kind: socks5, ", &[Step::Listen], "write `kind: http-connect` for `hops.corporate`"),
        ] {
            let told = ask_within(outer, corporate, step).await;
            assert_eq!(told.matches(words).count(), 2, "{words}: {told}");
            assert!(!told.contains("`hops.office"), "{told}");
        }
    }
    // A member that is written below a pool which another hop chose.
    let outer = "office: { kind: pac, file: office.pac, hops: { \"*\": inner } }\n  \
                 inner: { kind: pool, members: [{ kind: http-connect, address: '127.0.0.1:1' }] }";
    let told = ask_within(outer, http, &[][..]).await;
    assert!(told.contains("the address of `hops.inner.members[0]` is right"), "{told}");
}

#[tokio::test]
async fn a_next_hop_is_named_by_the_path_of_its_address() {
    let first = Double::start([reply("HTTP/1.1 502 Bad Gateway\r\n\r\n")]).await;
    let config = ConfigDir::new(&format!(
        "{SHORT_TIMEOUTS}hops:\n  first: {{ kind: http-connect, address: \"{}\" }}\n  \
         corporate: {{ kind: http-connect, address: 'corporate.test:80' }}\n  \
         office: {{ kind: pac, file: office.pac, hops: {{ \"*\": corporate }} }}\n\
         chains: {{ default: [first, office] }}\n",
        first.address()
    ));
    let script = "function FindProxyForURL(url, host) { return 'PROXY proxy.corp.example:80'; }";
    config.write("office.pac", script);
    let proxy = Proxy::on(config, &[]).await;
    let told = exchange(proxy.address(), CONNECT).await;
    assert!(told.contains("check `hops.corporate`, and that this hop may reach it"), "{told}");
}
