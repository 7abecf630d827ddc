//! `auth` of `kind: http-connect`, with squid and the helpers that check Digest and NTLM.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mooltiroute_hops::auth::channel_bindings::ChannelBindings;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{
    Certificates, EchoOrigin, HttpOrigin, PASSWORD, Probed, Proxy, Squid, SquidRules, USERNAME,
    connect, ping, probe,
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

#[tokio::test]
async fn a_proxy_that_offers_nothing_of_the_list_gets_no_credentials() {
    let Some(squid) = Squid::start(SquidRules::Digest).await else { return };
    let proxy = Proxy::start(&yaml(&squid, "ntlm, basic", PASSWORD, "[corporate]")).await;
    let told = connect(proxy.address(), "127.0.0.1:20009").await.head;
    assert!(told.starts_with("HTTP/1.1 502 "), "{told}");
    assert!(told.contains("it offers Digest, and `auth` of this hop allows NTLM, Basic"), "{told}");
    assert_eq!(squid.passed_at_least(1).await.len(), 1);
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
    let address = proxy.address();
    let clients: JoinSet<_> =
        (0..20).map(|_| async move { connect(address, "127.0.0.1:20009").await.head }).collect();
    for told in clients.join_all().await {
        assert!(told.starts_with("HTTP/1.1 502 "), "{told}");
        let words = if auth == "basic" { "407" } else { "it rejected the credentials" };
        assert!(told.contains(words), "{told}");
    }
    connect(squid.address(), "127.0.0.1:20010").await;
    let passed = squid.passed_until("127.0.0.1:20010").await;
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

/// The beginning of the message that proves the password, in base64.
const NTLM_MESSAGE_3: &str = "TlRMTVNTUAAD";
