//! `auth` of `kind: http-connect`, with squid and the helpers that check Digest and NTLM.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mooltiroute_hops::auth::channel_bindings::ChannelBindings;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{
    Certificates, Double, EchoOrigin, HttpOrigin, PASSWORD, Probed, Proxy, Squid, SquidRules, Step,
    USERNAME, connect, exchange, free_address, ping, probe,
};

#[tokio::test]
async fn tunnels_pass_a_proxy_that_wants_digest() {
    tunnels_pass(SquidRules::Digest, "digest").await;
}

#[tokio::test]
async fn tunnels_pass_a_proxy_that_wants_ntlm() {
    tunnels_pass(SquidRules::Ntlm, "ntlm").await;
}

#[tokio::test]
async fn a_wrong_password_reaches_a_digest_proxy_once_for_twenty_clients() {
    a_wrong_password_is_tried_once(SquidRules::Digest, "digest", "Digest").await;
}

#[tokio::test]
async fn a_wrong_password_reaches_an_ntlm_proxy_once_for_twenty_clients() {
    a_wrong_password_is_tried_once(SquidRules::Ntlm, "ntlm", NTLM_MESSAGE_3).await;
}

#[tokio::test]
async fn probe_shows_each_round() {
    let Some(squid) = Squid::start(SquidRules::Ntlm).await else { return };
    let yaml = yaml(&squid, "ntlm", PASSWORD, "[corporate]");
    let echo = EchoOrigin::start().await;
    let probed = probe(&yaml, &[&echo.address().to_string()]).await;
    let rounds = |probed: &Probed| -> Vec<_> {
        let steps = probed.told["steps"].as_array().unwrap().iter();
        let rounds = steps.filter(|step| step["step"] == "round");
        rounds.map(|step| (step["scheme"].clone(), step["status"].clone())).collect()
    };
    let tunnel =
        [(json!(null), json!(407)), (json!("NTLM"), json!(407)), (json!("NTLM"), json!(200))];
    assert_eq!(rounds(&probed), tunnel, "{:#}", probed.told);
    assert!(probed.words.contains("corporate, by NTLM: 407"), "{}", probed.words);
    // A plain request carries the last credentials itself.
    let origin = HttpOrigin::plain().await;
    let probed = probe(&yaml, &[&origin.url("/bytes/1")]).await;
    assert_eq!(probed.told["status"], 200, "{:#}", probed.told);
    assert_eq!(rounds(&probed), [(json!("NTLM"), json!(407))], "{:#}", probed.told);
}

/// Squid answers 407 to good credentials if the last element of the rule that denies the target is about the user.
#[tokio::test]
async fn a_target_that_squid_forbids_to_the_user_holds_back_no_other() {
    let Some(squid) = Squid::start(SquidRules::Basic).await else { return };
    let proxy = Proxy::start(&yaml(&squid, "basic", PASSWORD, "[corporate]")).await;
    let (echo, origin) = (EchoOrigin::start().await, HttpOrigin::plain().await);
    let forbidden = "127.0.0.9:9009";
    let get = |url: String| {
        let request =
            format!("GET {url} HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n");
        let address = proxy.address();
        async move { exchange(address, request.as_bytes()).await }
    };
    ping(&mut connect(proxy.address(), echo.address()).await.stream).await;
    let first = connect(proxy.address(), forbidden).await.head;
    assert!(first.contains("credentials rejected"), "{first}");
    // Another target shows a little later that the credentials are good.
    ping(&mut connect(proxy.address(), echo.address()).await.stream).await;
    let told = connect(proxy.address(), forbidden).await.head;
    assert!(told.contains("held back; 407, probably forbids this target"), "{told}");
    assert!(told.contains("though it accepts them for others"), "{told}");
    // The proxy is known to do this now, so a plain request to another such target delays nothing.
    let told = get("http://127.0.0.9:9010/".to_owned()).await;
    assert!(told.contains("credentials rejected"), "{told}");
    let begun = std::time::Instant::now();
    let told = get(origin.url("/bytes/1")).await;
    assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(3), "{:?}", begun.elapsed());
    let told = get("http://127.0.0.9:9010/".to_owned()).await;
    assert!(told.contains("probably forbids this target"), "{told}");
    let passed = squid.passed();
    let forbidden = passed.iter().filter(|passed| passed.target.contains("127.0.0.9"));
    assert_eq!(forbidden.count(), 2, "{passed:?}");
}

#[tokio::test]
async fn a_proxy_that_offers_nothing_of_the_list_gets_no_credentials() {
    let Some(squid) = Squid::start(SquidRules::Digest).await else { return };
    let proxy = Proxy::start(&yaml(&squid, "ntlm, basic", PASSWORD, "[corporate]")).await;
    let told = connect(proxy.address(), free_address()).await.head;
    assert!(told.starts_with("HTTP/1.1 502 "), "{told}");
    assert!(told.contains("it offers Digest, and `auth` of this hop allows NTLM, Basic"), "{told}");
    assert_eq!(squid.passed_at_least(1).await.len(), 1);
}

#[tokio::test]
async fn a_proxy_that_breaks_ntlm_off_is_not_said_to_offer_nothing() {
    let offer = "HTTP/1.1 407 Auth\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n";
    for (field, words, summary) in [
        (
            "Connection: close\r\n",
            "then answered the first message of NTLM without a challenge and closed the connection",
            "407, closes the connection during NTLM",
        ),
        (
            "Proxy-Authenticate: NTLM\r\n",
            "then answered the first message of NTLM without a challenge)",
            "407, does not go on with NTLM",
        ),
        (
            "",
            "then answered the first message of NTLM without a challenge)",
            "407, does not go on with NTLM",
        ),
    ] {
        let broken_off = format!(
            "HTTP/1.1 407 Proxy Authentication Required\r\n{field}Content-Length: 0\r\n\r\n"
        );
        let hop = Double::start([Step::Answer(offer.into()), Step::Answer(broken_off)]).await;
        let proxy = Proxy::start(&of_double(&hop, "ntlm, basic")).await;
        // The second request asks for the offer again, so what it says is still true.
        for _ in 0..2 {
            let told = exchange(proxy.address(), CONNECT).await;
            assert!(told.starts_with("HTTP/1.1 502 ") && told.contains(summary), "{told}");
            assert!(told.contains("it offered NTLM, ") && told.contains(words), "{told}");
            assert!(told.contains("look for a load balancer in front of the proxy"), "{told}");
            assert!(!told.contains("offers nothing"), "{told}");
        }
        assert!(!hop.sent().contains("Basic"), "{}", hop.sent());
    }
}

#[tokio::test]
async fn a_proxy_that_closes_after_its_challenge_may_be_behind_a_load_balancer() {
    let message = ntlm_challenge();
    let challenge = format!(
        "HTTP/1.1 407 Auth\r\nProxy-Authenticate: NTLM {message}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    let hop = Double::start([Step::Answer(challenge), Step::End]).await;
    let proxy = Proxy::start(&of_double(&hop, "ntlm")).await;
    let told = exchange(proxy.address(), CONNECT).await;
    assert!(told.contains("NTLM and Negotiate need one connection that stays open"), "{told}");
}

/// Returns the second message of NTLM (MS-NLMP section 2.2.1.2), with a domain in its list of pairs, as a field has it.
pub(crate) fn ntlm_challenge() -> String {
    let fixed = b"NTLMSSP\0\x02\0\0\0\0\0\0\0\x38\0\0\0\x15\x82\x89\xe2challeng\0\0\0\0\0\0\0\0";
    let pairs = b"\x02\0\x02\0D\0\0\0\0\0";
    let place = b"\x0a\0\x0a\0\x38\0\0\0\x0a\0\0\0\0\0\0\x0f";
    STANDARD.encode([&fixed[..], place, pairs].concat())
}

#[tokio::test]
async fn credentials_that_are_answered_without_an_offer_are_rejected() {
    let offer = |scheme: &str| {
        format!("HTTP/1.1 407 Auth\r\nProxy-Authenticate: {scheme}\r\nContent-Length: 0\r\n\r\n")
    };
    let none = "HTTP/1.1 407 Auth\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let digest = offer("Digest realm=\"a\", nonce=\"b\", qop=\"auth\"");
    for (auth, steps, words) in [
        (
            "digest",
            vec![Step::Answer(digest), Step::Answer(none.into())],
            "it rejected the credentials, by Digest",
        ),
        ("basic", vec![Step::Answer(none.into())], "It does not accept these credentials"),
        (
            "ntlm, basic",
            vec![Step::Answer(offer("Basic realm=\"a\"")), Step::Answer(none.into())],
            "it rejected the credentials, by Basic",
        ),
    ] {
        let hop = Double::start(steps).await;
        let proxy = Proxy::start(&of_double(&hop, auth)).await;
        let told = exchange(proxy.address(), CONNECT).await;
        assert!(told.contains(words) && !told.contains("offers nothing"), "{auth}: {told}");
    }
}

#[tokio::test]
async fn credentials_that_were_accepted_before_have_probably_changed() {
    let offer =
        "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\n\r\n";
    let agreed = "HTTP/1.1 200 OK\r\n\r\n";
    let script = |second: &str| [Step::Answer(offer.into()), Step::Answer(second.into())];
    let hop = Double::start(script(agreed)).await;
    let proxy = Proxy::start(&of_double(&hop, "ntlm, basic")).await;
    drop(connect(proxy.address(), "origin.test:443").await.tunnel());
    hop.becomes(script(offer));
    let told = exchange(proxy.address(), CONNECT).await;
    assert!(told.contains("it rejected the credentials"), "{told}");
    assert!(told.contains("has accepted these credentials before"), "{told}");
    assert!(told.contains("Correct `password`"), "{told}");
}

#[tokio::test]
async fn ntlm_is_bound_to_the_certificate_of_a_proxy_with_tls() {
    let certificates = Certificates::new();
    let Some(squid) = Squid::tls(SquidRules::Ntlm, &certificates).await else { return };
    let echo = EchoOrigin::start().await;
    let tls = format!("tls: {{ ca: {:?} }}, auth: [ntlm]", certificates.authority_file());
    let yaml = yaml(&squid, "ntlm", PASSWORD, "[corporate]").replace("auth: [ntlm]", &tls);
    let proxy = Proxy::start(&yaml).await;
    drop(connect(proxy.address(), echo.address()).await.tunnel());
    let passed = squid.passed_at_least(3).await;
    let sent =
        passed.iter().find_map(|passed| passed.authorization.strip_prefix("NTLM TlRMTVNTUAAD"));
    let sent = format!("TlRMTVNTUAAD{}", sent.unwrap());
    let message = STANDARD.decode(sent).unwrap();
    let [pem, _] = certificates.pem_texts();
    let encoded: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let certificate = STANDARD.decode(encoded).unwrap();
    let bindings = ChannelBindings::tls_server_end_point(&certificate).unwrap();
    // The pair MsvAvChannelBindings (MS-NLMP section 2.2.2.1), with its identifier and length.
    let pair = [&[10, 0, 16, 0][..], &bindings.ntlm_hash()].concat();
    assert!(message.windows(pair.len()).any(|window| window == pair), "{message:02x?}");
}

#[tokio::test]
async fn a_wrong_password_reaches_a_basic_proxy_once_for_twenty_clients() {
    a_wrong_password_is_tried_once(SquidRules::Basic, "basic", "Basic ").await;
}

/// Alone, before a hop that wants Basic, and warm.
async fn tunnels_pass(rules: SquidRules, auth: &str) {
    let Some(corporate) = Squid::start(rules).await else { return };
    let Some(last) = Squid::start(SquidRules::Basic).await else { return };
    let echo = EchoOrigin::start().await;
    for chain in ["[corporate]", "[corporate, last]", "{ hops: [corporate, last], warm: 2 }"] {
        let yaml = yaml(&corporate, auth, PASSWORD, chain).replace(
            "chains:",
            &format!(
                "  last: {{ kind: http-connect, address: \"{}\", username: {USERNAME}, password: {PASSWORD} }}\nchains:",
                last.address()
            ),
        );
        let proxy = Proxy::start(&yaml).await;
        let (address, target) = (proxy.address(), echo.address());
        let tunnels: JoinSet<_> = (0..10)
            .map(|_| async move {
                let mut tunnel = connect(address, target).await.tunnel();
                ping(&mut tunnel).await;
            })
            .collect();
        tunnels.join_all().await;
    }
}

/// Twenty clients at once make one request whose credentials hold `proof`.
async fn a_wrong_password_is_tried_once(rules: SquidRules, auth: &str, proof: &str) {
    let Some(squid) = Squid::start(rules).await else { return };
    let proxy = Proxy::start(&yaml(&squid, auth, "wrong", "[corporate]")).await;
    let (address, target, last) = (proxy.address(), free_address(), free_address());
    let clients: JoinSet<_> =
        (0..20).map(|_| async move { connect(address, target).await.head }).collect();
    for told in clients.join_all().await {
        assert!(told.starts_with("HTTP/1.1 502 "), "{told}");
        let words = if auth == "basic" { "407" } else { "it rejected the credentials" };
        assert!(told.contains(words), "{told}");
    }
    connect(squid.address(), last).await;
    let passed = squid.passed_until(&last.to_string()).await;
    let tries = passed.iter().filter(|passed| passed.authorization.contains(proof));
    assert_eq!(tries.count(), 1, "{passed:?}");
}

fn yaml(squid: &Squid, auth: &str, password: &str, chain: &str) -> String {
    format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", auth: [{auth}], username: {USERNAME}, \
         password: {password} }}\nchains: {{ default: {chain} }}\n",
        squid.address()
    )
}

/// Returns a configuration with the double as its only hop.
fn of_double(hop: &Double, auth: &str) -> String {
    format!(
        "hops: {{ corporate: {{ kind: http-connect, address: \"{}\", username: {USERNAME}, password: {PASSWORD}, auth: [{auth}] }} }}\n\
         chains: {{ default: [corporate] }}\n",
        hop.address()
    )
}

const CONNECT: &[u8] = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\n\r\n";

/// The beginning of the message that proves the password, in base64.
const NTLM_MESSAGE_3: &str = "TlRMTVNTUAAD";
