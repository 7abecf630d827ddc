//! Targets on loopback or in a private network, which a hop reaches elsewhere or not at all.

use super::{ask, reply};
use crate::support::{ConfigDir, Double, Proxy, Step, exchange, outcome, probe, run};

const NOT_REACHED: &str = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";

/// Asks a proxy whose only hop has these settings for `target`, and the hop answers 502. Returns the advice of the answer
/// and the log to CONNECT, and the reason in the log of a plain request.
async fn told_of(settings: &str, target: &str) -> (String, String, String) {
    let (hop, other) =
        (Double::start([reply(NOT_REACHED)]).await, Double::start([reply(NOT_REACHED)]).await);
    let start = |hop: &Double| {
        let yaml = format!(
            "hops: {{ gate: {{ address: \"{}\", {settings} }} }}\nchains: {{ default: [gate] }}\n",
            hop.address()
        );
        async move { Proxy::start(&yaml).await }
    };
    let (proxy, plain) = (start(&hop).await, start(&other).await);
    let connect = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    let answer = exchange(proxy.address(), connect.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    let get =
        format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n");
    let passed_on = exchange(plain.address(), get.as_bytes()).await;
    assert!(passed_on.starts_with("HTTP/1.1 502"), "{passed_on}");
    let failed = proxy.event("request failed").await;
    let served = plain.event("request").await;
    (answer, failed.field("advice"), served.field("reason"))
}

#[tokio::test]
async fn a_target_on_loopback_is_the_hops_own_machine() {
    let route = "`- { hosts: [localhost, 127.0.0.0/8, \"::1\"], chain: direct }`";
    for target in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080"] {
        let (answer, advice, reason) = told_of("kind: http-connect", target).await;
        for told in [answer, advice, reason] {
            assert!(told.contains("means its own machine") && told.contains(route), "{told}");
        }
    }
    let (answer, advice, reason) = told_of("kind: http-connect", "10.1.2.3:80").await;
    for told in [answer, advice, reason] {
        assert!(!told.contains("chain: direct"), "the hop may be in that network: {told}");
    }
}

#[tokio::test]
async fn a_private_target_is_out_of_reach_of_a_provider() {
    for (target, host) in [("10.1.2.3:80", "10.1.2.3"), ("nas.local:80", "nas.local")] {
        let settings = "kind: webshare, username: u, password: p";
        let (answer, advice, reason) = told_of(settings, target).await;
        let route = format!("`- {{ hosts: [{host}], chain: direct }}`");
        for told in [answer, advice, reason] {
            assert!(told.contains("an address of your own network"), "{told}");
            assert!(told.contains(&route), "{told}");
        }
    }
}

#[tokio::test]
async fn probe_and_explain_say_what_a_near_target_is_for_the_hop() {
    for (target, is_near) in [("http://localhost:8080/", true), ("http://origin.test/", false)] {
        let hop = Double::start([reply(NOT_REACHED), reply(NOT_REACHED)]).await;
        let yaml = format!(
            "hops: {{ gate: {{ kind: http-connect, address: \"{}\" }} }}\nchains: {{ default: [gate] }}\n",
            hop.address()
        );
        let probed = probe(&yaml, &[target]).await;
        assert_eq!(probed.words.contains("chain: direct"), is_near, "{}", probed.words);
        assert_eq!(probed.told["note"].is_string(), is_near, "{:#}", probed.told);
        let config = ConfigDir::new(&yaml);
        let path = config.path().to_str().unwrap();
        let (_, told, _) = outcome(&run(["explain", target, "-c", path]));
        assert_eq!(
            told.contains("note: For `gate`, `localhost` means its own machine"),
            is_near,
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_silent_hop_gets_the_advice_about_its_protocol_before_that_about_loopback() {
    let request = b"CONNECT 127.0.0.1:8080 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
    let told = ask("kind: socks5", Step::Listen, request).await;
    let place = |words: &str| told.find(words).unwrap_or_else(|| panic!("{words}: {told}"));
    assert!(place("This port may not speak SOCKS5") < place("means its own machine"), "{told}");
    // A hop that speaks another protocol does not know the target.
    let http = "HTTP/1.1 400 Bad Request\r\n\r\n";
    let told = ask("kind: socks5", Step::Say(http.into()), request).await;
    assert!(told.contains("seems to be an HTTP proxy"), "{told}");
    assert!(!told.contains("its own machine"), "{told}");
}
