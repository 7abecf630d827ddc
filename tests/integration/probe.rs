//! `mooltiroute probe`: what it says of a way that works, and whom it blames for one that does not.

mod exit;

use std::net::SocketAddr;

use serde_json::Value;

use crate::support::{
    Certificates, ConfigDir, Double, HttpOrigin, Network, PASSWORD, Proxy, SHORT_TIMEOUTS,
    SHORT_WAIT, Squid, SquidRules, Step, Tinyproxy, USERNAME, WAYS, exchange, free_port, probe,
    run_probe, two_hops,
};

const AGREED: &str = "HTTP/1.1 200 OK\r\n\r\n";
/// Any target that only the last hop is asked for.
const TARGET: &str = "https://target.test/";

#[tokio::test]
async fn a_target_is_reached_through_any_number_of_hops() {
    let certificates = Certificates::new();
    let (Some(network), https, http) =
        (Network::start().await, HttpOrigin::tls(&certificates).await, HttpOrigin::plain().await)
    else {
        return;
    };
    let ca = certificates.authority_file();
    let ca = ca.to_str().unwrap();
    let expected: [&[&str]; 3] = [
        &["TCP target"],
        &["TCP corporate", "CONNECT corporate"],
        &["TCP corporate", "CONNECT corporate", "CONNECT webshare"],
    ];
    for (way, expected) in WAYS.into_iter().zip(expected) {
        let yaml = network.yaml(way);
        let probed = probe(&yaml, &[&https.url("/bytes/9"), "--ca", ca]).await;
        let end = ["TLS target", "first byte target"];
        probed.reaches(200, &[expected, &end].concat());
        // The last hop is given a plain request, and not asked for a tunnel.
        let probed = probe(&yaml, &[&http.url("/none?secret")]).await;
        let tunnels = expected.len().saturating_sub(1).max(1);
        let last = way.trim_matches(['[', ']']).rsplit(", ").next().unwrap();
        let last = if last.is_empty() { "target" } else { last };
        let end = format!("first byte {last}");
        probed.reaches(404, &[&expected[..tunnels], &[&*end]].concat());
        let tunnel = https.address().to_string();
        probe(&yaml, &[&tunnel]).await.told["status"].as_null().unwrap();
    }
}

#[tokio::test]
async fn another_make_of_proxy_and_tls_with_the_hop_are_passed() {
    let certificates = Certificates::new();
    let Some(tinyproxy) = Tinyproxy::start().await else { return };
    let Some(squid) = Squid::tls(SquidRules::Open, &certificates).await else { return };
    let origin = HttpOrigin::tls(&certificates).await;
    let ca = certificates.authority_file();
    let ca = ca.to_str().unwrap();
    let yaml = format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", tls: {{ ca: {ca:?} }} }}\n  \
         exit: {{ kind: http-connect, address: \"{}\", username: {USERNAME}, password: {PASSWORD} }}\n\
         chains: {{ default: [corporate, exit] }}\n",
        squid.address(),
        tinyproxy.address()
    );
    let probed = probe(&yaml, &[&origin.url("/bytes/1"), "--ca", ca]).await;
    let steps = ["TCP corporate", "TLS corporate", "CONNECT corporate", "CONNECT exit"];
    probed.reaches(200, &[&steps[..], &["TLS target", "first byte target"]].concat());
    let probed = probe(&yaml, &[&origin.url("/bytes/1")]).await;
    probed.blames("", "TLS", "its certificate is not accepted");
    let probed = probe(&yaml.replace(&format!("{{ ca: {ca:?} }}"), "true"), &[TARGET]).await;
    probed.blames("corporate", "TLS", "tls: { ca: FILE }");
    assert!(probed.words.contains("the TLS handshake with hop `corporate`"), "{}", probed.words);
}

#[tokio::test]
async fn the_first_hop_is_blamed_for_its_faults() {
    for (script, words) in [
        (answer("407 No\r\nProxy-Authenticate: Basic realm=\"a\""), "`username` and `password`"),
        (answer("407 No\r\nProxy-Authenticate: Negotiate, NTLM"), "only Negotiate, NTLM"),
        (
            answer("403 Forbidden"),
            "refuses CONNECT to port 80 of `provider.test`; it may allow 443",
        ),
        (answer("502 Bad Gateway"), "could not reach the address"),
        (vec![Step::Listen], "raise `timeouts.handshake`"),
        (vec![Step::Answer(String::new()), Step::End], "closed the connection"),
        (vec![Step::Answer(String::new()), Step::Reset], "hung up"),
        (vec![Step::Say("SSH-2.0-hop\r\n".into())], "not HTTP"),
    ] {
        let hop = Double::start(script).await;
        let probed = probe(&config(hop.address(), "[corporate, webshare]"), &[TARGET]).await;
        probed.blames("corporate", "CONNECT", words);
    }
    let down = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let probed = probe(&config(down, "[corporate, webshare]"), &[TARGET]).await;
    probed.blames("corporate", "TCP", "`hops.corporate.address`");
}

#[tokio::test]
async fn the_second_hop_is_blamed_for_its_faults() {
    for (script, words) in [
        (answer("407 No\r\nX-Webshare-Reason: no_proxies_allocated"), "not in the proxy list"),
        (
            answer("403 No\r\nX-Webshare-Reason: client_connect_forbidden_host"),
            "blocks this target",
        ),
        (
            answer("502 No\r\nX-Webshare-Reason: target_connect_resolve_failed"),
            "look up the target",
        ),
        (vec![Step::Listen], "raise `timeouts.handshake`"),
        (vec![Step::End], "closed the connection"),
        (vec![Step::Say("SSH-2.0-hop\r\n".into())], "not HTTP"),
    ] {
        let script = [vec![Step::Answer(AGREED.into())], script].concat();
        let hop = Double::start(script).await;
        let probed = probe(&config(hop.address(), "[corporate, webshare]"), &[TARGET]).await;
        probed.blames("webshare", "CONNECT", words);
    }
}

#[tokio::test]
async fn a_plain_request_blames_who_answers_it() {
    for (script, words) in [
        (answer("407 No\r\nProxy-Authenticate: Basic"), "`username` and `password`"),
        (answer("503 No\r\nX-Squid-Error: ERR_DNS_FAIL 0"), "Check the host name first"),
        (vec![Step::Listen], &*format!("no answer within {SHORT_WAIT} s (`timeouts.response`)")),
        (vec![Step::Answer(String::new()), Step::End], "closed before"),
        (vec![Step::Answer("SSH-2.0-hop\r\n".into())], "can't be passed on"),
    ] {
        let hop = Double::start(script).await;
        let probed = probe(&config(hop.address(), "[corporate]"), &["http://target.test/"]).await;
        let failure = &probed.told["failure"];
        assert_eq!(failure["hop"], "corporate", "{failure:#}");
        assert!(probed.words.contains(words), "{}", probed.words);
    }
}

#[tokio::test]
async fn an_answer_that_may_be_the_hops_is_marked() {
    let hop = Double::start(answer("503 Service Unavailable")).await;
    let probed = probe(&config(hop.address(), "[corporate]"), &["http://target.test/"]).await;
    probed.reaches(503, &["TCP corporate", "first byte corporate"]);
    let words = "of the target, or of `corporate`, which does not say";
    assert!(probed.words.contains(words), "{}", probed.words);
    let origin = Double::start(answer("503 Service Unavailable")).await;
    let url = format!("http://{}/", origin.address());
    let probed = probe("chains: { default: [] }\n", &[&url]).await;
    assert!(!probed.words.contains("which does not say"), "{}", probed.words);
}

#[tokio::test]
async fn a_target_is_blamed_for_its_own_faults() {
    let down = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let probed = probe("chains: { default: [] }\n", &[&format!("https://{down}/")]).await;
    probed.blames("", "TCP", "Check that the target is up");
    let probed = probe("chains: { default: [] }\n", &["http://no-such-host.invalid/"]).await;
    probed.blames("", "DNS", "Check the name");
    let plain = HttpOrigin::plain().await;
    let url = plain.url("/").replace("http:", "https:");
    let probed = probe("chains: { default: [] }\n", &[&url]).await;
    probed.blames("", "TLS", "speaks TLS at this port");
    let silent = Double::start([Step::Listen]).await;
    let yaml = format!("{SHORT_TIMEOUTS}chains: {{ default: [] }}\n");
    let probed = probe(&yaml, &[&format!("https://{}/", silent.address())]).await;
    probed.blames("", "TLS", "raise `timeouts.connect`");
    let probed = probe(&yaml, &[&format!("http://{}/", silent.address())]).await;
    probed.blames(
        "",
        "first byte",
        &format!("no answer within {SHORT_WAIT} s (`timeouts.response`)"),
    );
}

#[tokio::test]
async fn a_wait_is_told_while_it_lasts_and_only_to_people() {
    let silent = Double::start([Step::Listen]).await;
    let yaml = format!(
        "timeouts: {{ handshake: 3s, response: 3s }}\nhops:\n  exits:\n    kind: pool\n    members:\n      \
         - {{ kind: http-connect, address: \"{}\" }}\nchains: {{ default: [exits] }}\n",
        silent.address()
    );
    for (url, wait) in [
        ("http://target.test/", "the answer of `exits.members[0]`"),
        ("https://target.test/", "hop `exits.members[0]`, asked for `target.test:443`"),
    ] {
        let config = ConfigDir::new(&yaml);
        let path = config.path().to_str().unwrap();
        let human = run_probe(path, &[url], "human").await;
        let told = String::from_utf8(human.stderr).unwrap();
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(told, format!("mooltiroute: waiting for {wait} ..."));
        let json = run_probe(path, &[url], "json").await;
        assert!(json.stderr.is_empty(), "{json:?}");
    }
}

#[tokio::test]
async fn a_hop_whose_name_is_unknown_is_blamed() {
    let yaml = "hops: { corporate: { kind: http-connect, address: \"no-such-host.invalid:1\" } }\n\
                chains: { default: [corporate] }\n";
    let probed = probe(yaml, &[TARGET]).await;
    probed.blames("corporate", "DNS", "this machine's name servers answer and know the name");
}

#[tokio::test]
async fn each_port_that_a_stock_squid_refuses_is_a_step() {
    let Some(squid) = Squid::start(SquidRules::Stock).await else { return };
    let yaml = format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{}\" }}\n  \
         webshare: {{ kind: webshare, address: \"127.0.0.1:80\", ports: [3128, 1080], username: {USERNAME}, password: {PASSWORD} }}\n\
         chains: {{ default: [corporate, webshare] }}\n",
        squid.address()
    );
    let probed = probe(&yaml, &[TARGET]).await;
    let refused = ["TCP corporate", "CONNECT corporate failed"];
    assert_eq!(probed.steps(), [refused; 3].concat());
    probed.blames(
        "corporate",
        "CONNECT",
        "`corporate` refuses CONNECT to ports 80, 3128, 1080 of `127.0.0.1`; it may allow 443",
    );
}

#[tokio::test]
async fn the_port_that_a_hop_allows_is_seen() {
    let Some(squid) = Squid::start(SquidRules::Open).await else { return };
    let Some(provider) = Squid::start(SquidRules::Basic).await else { return };
    let port = provider.address().port();
    let yaml = format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{}\" }}\n  \
         webshare: {{ kind: webshare, address: \"127.0.0.1:80\", ports: [{port}], username: {USERNAME}, password: {PASSWORD} }}\n\
         chains: {{ default: [corporate, webshare] }}\n",
        squid.address()
    );
    let origin = HttpOrigin::plain().await;
    let probed = probe(&yaml, &[&origin.address().to_string()]).await;
    assert_eq!(
        probed.steps(),
        [
            "TCP corporate",
            "CONNECT corporate failed",
            "TCP corporate",
            "CONNECT corporate",
            "CONNECT webshare"
        ]
    );
    assert!(probed.words.contains("the tunnel is open"), "{}", probed.words);
}

#[tokio::test]
async fn the_diagnosis_is_the_one_that_clients_get() {
    let hop = Double::start(answer("403 Forbidden")).await;
    let yaml = config(hop.address(), "[corporate]");
    let probed = probe(&yaml, &[TARGET]).await;
    let proxy = Proxy::start(&yaml).await;
    let request = b"CONNECT target.test:443 HTTP/1.1\r\nHost: target.test:443\r\n\r\n";
    let told = exchange(proxy.address(), request).await;
    let text = probed.told["failure"]["text"].as_str().unwrap();
    assert_eq!(told.split_once("\r\n\r\n").unwrap().1.trim_end(), text);
}

#[tokio::test]
async fn hops_are_switched_as_for_run() {
    let origin = HttpOrigin::plain().await;
    let down = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let yaml = config(down, "[corporate]");
    for switch in [&["--no-corporate"][..], &["--disable", "corporate"]] {
        let probed = probe(&yaml, &[switch, &[&*origin.url("/bytes/1")]].concat()).await;
        probed.reaches(200, &["TCP target", "first byte target"]);
    }
}

#[tokio::test]
async fn unusable_arguments_are_wrong_usage() {
    let config = ConfigDir::new("chains: { default: [] }\n");
    let path = config.path().to_str().unwrap();
    for arguments in [
        &["ftp://joe:secret@a.test/"][..],
        &["https://a.test/ secret"],
        &["https://a.test/", "--ca", "no-such-file"],
    ] {
        let output = run_probe(path, arguments, "human").await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains(PASSWORD));
    }
    config.write("20-more.yaml", "hops: { a: { kind: x } }\n");
    let output = run_probe(path, &[TARGET], "human").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("hops.a.kind"), "{output:?}");
}

#[tokio::test]
async fn a_target_without_a_route_gets_the_reason() {
    let yaml = "chains: { default: [] }\nroutes: [{ hosts: [a.test], chain: default }]\n";
    let probed = probe(yaml, &[TARGET]).await;
    assert!(probed.words.contains("No route of the configuration matches"), "{}", probed.words);
    assert_eq!(probed.told["chain"], Value::Null);
}

fn answer(head: &str) -> Vec<Step> {
    vec![Step::Answer(format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n"))]
}

fn config(corporate: SocketAddr, chain: &str) -> String {
    format!("{SHORT_TIMEOUTS}{}chains: {{ default: {chain} }}\n", two_hops(corporate))
}
