//! `auth` of `kind: http-connect` for `http://` requests, which squid forwards by its own rules: it allows CONNECT to port
//! 443 only when it is not configured otherwise.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
};

use crate::support::{
    Double, HttpOrigin, PASSWORD, Passed, Proxy, Squid, SquidRules, Step, USERNAME, connect,
    exchange, fill, first_difference, free_address, head, open, rest,
};

const BODY_BYTES: usize = 300_000;

/// Makes six requests on one client connection: without a body, and with one that can't be sent twice.
pub(crate) async fn requests_pass(proxy: SocketAddr, origin: SocketAddr) {
    let mut client = open(proxy).await;
    for _ in 0..3 {
        let get = format!("GET http://{origin}/bytes/1000 HTTP/1.1\r\nHost: {origin}\r\n\r\n");
        client.write_all(get.as_bytes()).await.unwrap();
        let told = head(&mut client).await;
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
        let mut body = vec![0; 1000];
        client.read_exact(&mut body).await.unwrap();
        assert_eq!(first_difference(0, &body), None);
        let post = format!(
            "POST http://{origin}/verify HTTP/1.1\r\nHost: {origin}\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
        );
        client.write_all(post.as_bytes()).await.unwrap();
        client.write_all(&fill(BODY_BYTES)).await.unwrap();
        let told = head(&mut client).await;
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
        let words = format!("{BODY_BYTES} bytes as expected");
        let mut body = vec![0; words.len()];
        client.read_exact(&mut body).await.unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), words);
    }
}

/// Lets ten clients at once make requests through squid with these rules, and a first one before them. Returns what passed.
async fn all_pass(rules: SquidRules, auth: &str) -> Option<Squid> {
    // One HEAD shows that a connection which is logged on stays so, and the proxy passes it on.
    let heads = usize::from(matches!(rules, SquidRules::Ntlm));
    let squid = Squid::start(rules).await?;
    let origin = HttpOrigin::plain().await;
    let proxy = Proxy::start(&yaml(&squid, auth, PASSWORD)).await;
    let (address, target) = (proxy.address(), origin.address());
    requests_pass(address, target).await;
    let clients: JoinSet<_> = (0..10).map(|_| requests_pass(address, target)).collect();
    clients.join_all().await;
    let passed = squid.passed_at_least(66).await;
    assert!(passed.iter().all(|passed| passed.method != "CONNECT"), "{passed:?}");
    // No body was sent in vain, and the origin has seen no request twice.
    let count = |method, is_refused| {
        let is_it =
            |passed: &&Passed| passed.method == method && (passed.status == 407) == is_refused;
        passed.iter().filter(is_it).count()
    };
    assert_eq!((count("POST", true), count("POST", false), count("GET", false)), (0, 33, 33));
    assert_eq!(count("HEAD", false), heads, "{passed:?}");
    Some(squid)
}

#[tokio::test]
async fn plain_requests_pass_a_proxy_that_wants_basic() {
    let Some(squid) = all_pass(SquidRules::Basic, "basic").await else { return };
    assert_eq!(squid.passed().iter().filter(|passed| passed.status == 407).count(), 0);
}

#[tokio::test]
async fn plain_requests_pass_a_proxy_that_wants_digest() {
    all_pass(SquidRules::Digest, "digest").await;
}

#[tokio::test]
async fn plain_requests_pass_a_proxy_whose_nonces_are_used_up_soon() {
    all_pass(SquidRules::ScarceNonces, "digest").await;
}

#[tokio::test]
async fn plain_requests_pass_a_proxy_that_wants_ntlm() {
    let Some(squid) = all_pass(SquidRules::Ntlm, "ntlm").await else { return };
    // Each connection is logged on once, in two rounds. The first client of all has met the first challenge, and has two
    // connections, since a HEAD has used the first one up.
    let passed = squid.passed();
    let rounds = passed.iter().filter(|passed| passed.method == "HEAD").count();
    assert_eq!(rounds, 13, "{passed:?}");
    assert_eq!(passed.iter().filter(|passed| passed.authorization == "-").count(), 56);
}

#[tokio::test]
async fn plain_requests_pass_a_proxy_that_wants_the_one_of_two_schemes_that_works() {
    all_pass(SquidRules::Ntlm, "digest, ntlm").await;
}

#[tokio::test]
async fn a_wrong_password_of_plain_requests_reaches_the_proxy_once_for_twenty_clients() {
    for (rules, auth, proof) in [
        (SquidRules::Basic, "basic", "Basic "),
        (SquidRules::Digest, "digest", "Digest"),
        (SquidRules::Ntlm, "ntlm", "TlRMTVNTUAAD"),
    ] {
        let Some(squid) = Squid::start(rules).await else { return };
        let origin = HttpOrigin::plain().await;
        let proxy = Proxy::start(&yaml(&squid, auth, "wrong")).await;
        let (address, request) = (proxy.address(), origin.request("/bytes/1"));
        let clients: JoinSet<_> = (0..20)
            .map(|_| {
                let request = request.clone();
                async move { exchange(address, request.as_bytes()).await }
            })
            .collect();
        for told in clients.join_all().await {
            assert!(told.starts_with("HTTP/1.1 502 "), "{told}");
            assert!(told.contains("credentials rejected"), "{told}");
        }
        // A tunnel learns of it too.
        let told = connect(address, free_address()).await.head;
        assert!(told.starts_with("HTTP/1.1 502 ") && told.contains("Retry-After: "), "{told}");
        exchange(squid.address(), origin.request("/last").as_bytes()).await;
        let passed = squid.passed_until(&origin.url("/last")).await;
        let tries = passed.iter().filter(|passed| passed.authorization.contains(proof));
        assert_eq!(tries.count(), 1, "{auth}: {passed:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_asks_late_is_logged_in_to_by_the_next_request() {
    let challenge = "HTTP/1.1 407 Who\r\nProxy-Authenticate: Digest realm=a, nonce=b, qop=auth\r\nContent-Length: 0\r\n\r\n";
    let hop = Double::start([Step::Answer(OK.into()), Step::Answer(OK.into())]).await;
    let yaml = format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", auth: [digest], username: {USERNAME}, \
         password: {PASSWORD} }}\nchains: {{ default: [corporate] }}\n",
        hop.address()
    );
    let proxy = Proxy::start(&yaml).await;
    let mut client = open(proxy.address()).await;
    let post = |number: usize| {
        format!(
            "POST http://a.example/{number} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nbody"
        )
    };
    // The proxy takes the HEAD and this without credentials, and wants some for the next one.
    client.write_all(post(1).as_bytes()).await.unwrap();
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
    hop.becomes([Step::Answer(challenge.into())]);
    client.write_all(post(2).as_bytes()).await.unwrap();
    let told = head(&mut client).await;
    assert!(
        told.starts_with("HTTP/1.1 502 Bad Gateway (corporate: 407 Who, asks for credentials)"),
        "{told}"
    );
    let told = rest(&mut client).await;
    assert!(told.contains("Send the request again"), "{told}");
    assert!(!told.contains("Retry-After"), "{told}");
    hop.becomes([Step::Answer(challenge.into()), Step::Answer(OK.into())]);
    let told = exchange(
        proxy.address(),
        post(3).replace("\r\nHost", "\r\nConnection: close\r\nHost").as_bytes(),
    )
    .await;
    assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    let seen = hop.sent();
    let last = seen.rsplit("POST ").next().unwrap();
    assert!(last.contains("Proxy-Authorization: Digest ") && last.ends_with("body"), "{seen}");
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn a_target_that_answers_407_does_not_block_the_hop() {
    let imitation = "HTTP/1.1 407 Mine\r\nContent-Length: 0\r\n\r\n";
    let hop = Double::start([Step::Answer(imitation.into())]).await;
    let yaml = format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", username: {USERNAME}, password: {PASSWORD} }}\n\
         chains: {{ default: [corporate] }}\n",
        hop.address()
    );
    let proxy = Proxy::start(&yaml).await;
    let request = b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    for _ in 0..2 {
        let told = exchange(proxy.address(), request).await;
        assert!(told.starts_with("HTTP/1.1 502 "), "{told}");
        assert!(!told.contains("Retry-After"), "{told}");
    }
    assert_eq!(hop.record().now().len(), 2, "the second request has reached the hop as well");
}

fn yaml(squid: &Squid, auth: &str, password: &str) -> String {
    format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", auth: [{auth}], username: {USERNAME}, \
         password: {password} }}\nchains: {{ default: [corporate] }}\n",
        squid.address()
    )
}
