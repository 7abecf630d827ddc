//! The answer that a client gets for each answer that proxies and providers are known to give, well-formed or not. The hop
//! that answers is one of two, so that a test shows which one is blamed.

use tokio::io::AsyncWriteExt as _;

use crate::support::{
    BASIC, Double, Proxy, Step, assert_reads, connect, exchange, open, rest, two_hops,
};

/// The answer that a client must get.
struct Told<'a> {
    status: u16,
    /// The start of the `Proxy-Status` field, after the proxy's name.
    field: &'a str,
    /// Of the paragraph: what happened, and what to do next.
    words: &'a [&'a str],
}

#[tokio::test]
async fn each_answer_of_webshare_has_its_meaning() {
    let unspecific = "proxy_configuration_error; next-hop=\"webshare\"; received-status=";
    let rows: [(&str, u16, &str, &[&str]); 9] = [
        (
            "402 Payment Required\r\nX-Webshare-Error: 402\r\nX-Webshare-Reason: bandwidthlimit",
            502,
            "proxy_configuration_error; next-hop=\"webshare\"; received-status=402; details=\"it answered 402 Payment \
             Required (bandwidthlimit)\"",
            &["bandwidth is used up", "wait until the plan renews"],
        ),
        (
            "403 Forbidden\r\nx-webshare-error: 403\r\nx-webshare-reason: client_connect_forbidden_host",
            403,
            "http_request_denied; next-hop=\"webshare\"; received-status=403; details=\"it answered 403 Forbidden \
             (client_connect_forbidden_host)\"",
            &["blocks this target on every exit", "route this host through another chain"],
        ),
        (
            "407 Proxy Authentication Required\r\nX-Webshare-Error: 407\r\nX-Webshare-Reason: no_proxies_allocated",
            502,
            "proxy_configuration_error; next-hop=\"webshare\"; received-status=407; details=\"it answered 407 Proxy \
             Authentication Required (no_proxies_allocated)\"",
            &["not in the proxy list any more", "`country` and `session`"],
        ),
        (
            "407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"login\"",
            502,
            unspecific,
            &["did not accept the username and password", "they belong to the proxy list"],
        ),
        (
            "429 Too Many Requests\r\nX-Webshare-Error: 429\r\nX-WEBSHARE-REASON: client_connect_high_concurrency",
            503,
            "connection_limit_reached; next-hop=\"webshare\"; received-status=429; details=\"it answered 429 Too Many \
             Requests (client_connect_high_concurrency)\"",
            &["too many connections", "Open fewer"],
        ),
        (
            "502 Bad Gateway\r\nX-Webshare-Error: 502\r\nX-Webshare-Reason: target_connect_resolve_failed",
            502,
            "dns_error; next-hop=\"webshare\"; received-status=502; details=\"it answered 502 Bad Gateway \
             (target_connect_resolve_failed)\"",
            &["can't look up the target's name", "Check it"],
        ),
        (
            "502 Bad Gateway\r\nX-Webshare-Error-Reason: target_connect_unknown_error",
            502,
            "destination_unavailable; next-hop=\"webshare\"; received-status=502; details=\"it answered 502 Bad Gateway \
             (target_connect_unknown_error)\"",
            &["could not reach the target", "check that the target is up"],
        ),
        (
            "502 Bad Gateway\r\nX-Webshare-Reason: internal_error_auth_circuit_breaker_open",
            502,
            "proxy_internal_error; next-hop=\"webshare\"; received-status=502; details=\"it answered 502 Bad Gateway \
             (internal_error_auth_circuit_breaker_open)\"",
            &["reported an internal error", "Try again later"],
        ),
        // A new code of a known family.
        (
            "400 Bad Request\r\nX-Webshare-Error: client_of_the_future",
            502,
            unspecific,
            &["(client_of_the_future)", "does not do this for the account"],
        ),
    ];
    for (answer, status, field, words) in rows {
        // The corporate proxy agrees, the provider answers.
        let text = format!(
            "HTTP/1.1 {answer}\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nsecret"
        );
        let hops = Double::start([Step::Answer(AGREED.into()), Step::Answer(text)]).await;
        let told = Told { status, field, words };
        check(&hops, "[corporate, webshare]", &[CONNECT, GET], &told).await;
        assert_eq!(hops.sent().matches(BASIC).count(), 2, "each was asked once: {}", hops.sent());
    }
}

#[tokio::test]
async fn a_refusal_for_credentials_names_the_schemes_on_offer() {
    for (answer, words) in [
        // Nothing offered, and closed at once.
        ("HTTP/1.1 407 Auth\r\n\r\n", WRITE_THEM),
        (
            "HTTP/1.0 407 Auth\r\nConnection: close\r\nProxy-Authenticate: NTLM\r\n\r\n",
            "only NTLM,",
        ),
        (
            "HTTP/1.1 407 Auth\r\nProxy-Connection: close\r\nProxy-Authenticate: Basic\r\n\r\n",
            WRITE_THEM,
        ),
        (
            "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\
             Proxy-Authenticate: Digest realm=\"a, b\", nonce=\"x=\", qop=\"auth\"\r\nContent-Length: 0\r\n\r\n",
            "only Negotiate, NTLM, Digest,",
        ),
        (
            "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\
             Proxy-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\n\r\n",
            WRITE_THEM,
        ),
        (
            "HTTP/1.1 407 Auth\r\nproxy-authenticate: Negotiate, NTLM, Bearer realm=\"Basic\"\r\n\r\n",
            "only Negotiate, NTLM, Bearer,",
        ),
        ("HTTP/1.1 407 Auth\r\nProxy-Authenticate: NTLM TlRMTVNTUAACAAAA==\r\n\r\n", "only NTLM,"),
        (
            "HTTP/1.1 407 Auth\r\nProxy-Authenticate: NTLM TlRMTVNTUAAC==, Basic realm=x\r\n\r\n",
            WRITE_THEM,
        ),
        (
            "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Negotiate oRUwE6ADCgED==\r\n\r\n",
            "only Negotiate,",
        ),
        // SPNEGO under the other name.
        ("HTTP/1.1 407 Auth\r\nProxy-Authenticate: NTLM oRUwE6ADCgED\r\n\r\n", "only NTLM,"),
        (
            "HTTP/1.1 407 Auth\r\nPROXY-AUTHENTICATE: nTLM\r\nProxy-Authenticate: NTLM\r\n\
             Proxy-Authenticate: negotiate\r\n\r\n",
            "only nTLM, negotiate,",
        ),
        ("HTTP/1.1 407 Auth\r\nproxy-AUTHENTICATE:bAsIc realm=\"a\"\r\n\r\n", WRITE_THEM),
        // Bodies of every make, whole or not: none of them matters.
        (
            "HTTP/1.1 407 Auth\r\nTransfer-Encoding: chunked\r\n\r\n6;a=b\r\nsecret\r\n0\r\nA: b\r\n\r\n",
            WRITE_THEM,
        ),
        ("HTTP/1.1 407 Auth\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nsecret", WRITE_THEM),
        ("HTTP/1.1 407 Auth\r\nContent-Length: 6\r\n\r\nsecret", WRITE_THEM),
        ("HTTP/1.1 407 Auth\r\nContent-Length: 9999\r\n\r\nsecret", WRITE_THEM),
        ("HTTP/1.1 407 Auth\r\n\r\nsecret", WRITE_THEM),
    ] {
        let told = Told {
            status: 502,
            field: "proxy_configuration_error; next-hop=\"corporate\"; received-status=407; \
                    details=\"it answered 407 Auth\"",
            words: &[
                "Mooltiroute: hop `corporate`, asked for `",
                "`, failed: it answered 407",
                words,
            ],
        };
        for steps in
            [vec![Step::Answer(answer.into()), Step::End], vec![Step::Answer(answer.into())]]
        {
            let hop = Double::start(steps).await;
            check(&hop, "[corporate, webshare]", &[CONNECT, GET], &told).await;
            assert!(!hop.sent().contains(BASIC), "those are for the provider: {}", hop.sent());
            check(&hop, "[corporate]", &[CONNECT, GET], &told).await;
            let asked = hop.record().now().len();
            assert_eq!(asked, 4, "a refusal is no reason to ask again");
        }
    }
}

#[tokio::test]
async fn a_proxy_that_says_401_means_407() {
    let answer =
        "HTTP/1.1 401 Unauthorized\r\nServer: tinyproxy/1.11.1\r\nContent-Length: 6\r\n\r\nsecret";
    let hop = Double::start([Step::Answer(answer.into())]).await;
    let field = "proxy_configuration_error; next-hop=\"corporate\"; received-status=401; ";
    let words: &[&str] =
        &[WRITE_THEM, "check that `hops.corporate.address` points to an HTTP proxy"];
    let told = Told { status: 502, field, words };
    check(&hop, "[corporate, webshare]", &[CONNECT, GET], &told).await;
}

#[tokio::test]
async fn a_corporate_proxy_that_breaks_off_its_answer_is_named() {
    for end in [Step::End, Step::Reset] {
        let answer = "HTTP/1.1 407 Auth\r\nProxy-Authenticate: NTLM\r\nContent-Le";
        let hop = Double::start([Step::Answer(answer.into()), end]).await;
        let field = "connection_terminated; next-hop=\"corporate\"; details=\"";
        let words: &[&str] = &["hop `corporate`, asked for `provider.test:80`", "look at its log"];
        let told = Told { status: 502, field, words };
        check(&hop, "[corporate, webshare]", &[CONNECT, GET], &told).await;
        let words: &[&str] = &["the answer of hop `corporate`", "before the answer was complete"];
        check(&hop, "[corporate]", &[GET], &Told { words, ..told }).await;
    }
}

#[tokio::test]
async fn all_bytes_after_the_head_of_a_200_are_the_tunnel() {
    for fields in [
        "",
        "Connection: close\r\n",
        "Proxy-Connection: close\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Proxy-Authenticate: Negotiate oRUwE6ADCgED\r\n",
    ] {
        for version in ["1.0", "1.1"] {
            // What the other end says first is in the same segment.
            let answer = format!("HTTP/{version} 200 OK\r\n{fields}\r\nSSH-2.0-x\r\n");
            let hop = Double::start([
                Step::Answer(answer),
                Step::Hear("hello".into()),
                Step::Say("bye".into()),
            ])
            .await;
            let proxy = start(&hop, "[corporate]").await;
            let mut tunnel = connect(proxy.address(), "target.test:22").await.tunnel();
            tunnel.write_all(b"hello").await.unwrap();
            assert_reads(&mut tunnel, "SSH-2.0-x\r\nbye").await;
        }
    }
}

#[tokio::test]
async fn the_head_of_a_200_matters_only_by_where_it_ends() {
    let many = "X-Field: y\r\n".repeat(150);
    let long = format!("X-Field: {}\r\n", "y".repeat(60_000));
    for fields in ["Proxy-Agent : x\r\n", "A: b\r\n c\r\n\td\r\n", "junk\r\n: x\r\n", &many, &long]
    {
        for line_end in ["\r\n", "\n"] {
            let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\nSSH-2.0-x\r\n");
            let answer = answer.replace("\r\n", line_end);
            let hop = Double::start([Step::Answer(answer.clone())]).await;
            let proxy = start(&hop, "[corporate]").await;
            let mut tunnel = connect(proxy.address(), "target.test:22").await.tunnel();
            assert_reads(&mut tunnel, &answer[answer.len() - 9 - line_end.len()..]).await;
        }
    }
}

#[tokio::test]
async fn a_head_over_the_limit_is_an_error_that_names_it() {
    let answer = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(3000));
    let hop = Double::start([Step::Answer(answer)]).await;
    let hops = two_hops(hop.address());
    let yaml =
        format!("{hops}chains: {{ default: [corporate] }}\nlimits: {{ header_bytes: 2KiB }}\n");
    let proxy = Proxy::start(&yaml).await;
    let told = exchange(proxy.address(), CONNECT.as_bytes()).await;
    assert!(told.contains("the head of its answer is over 2048 bytes"), "{told}");
}

#[tokio::test]
async fn the_time_that_a_hop_asks_for_is_handed_on() {
    for (field, expected) in [
        ("Retry-After: 120", Some("120")),
        ("retry-after:  0 ", Some("0")),
        ("Retry-After: 999999999", Some("86400")),
        ("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT", Some("0")),
        ("Retry-After: soon", Some("5")),
        ("Retry-After: -1", Some("5")),
        ("X: y", Some("5")),
    ] {
        let answer = format!("HTTP/1.1 429 Slow Down\r\n{field}\r\nContent-Length: 0\r\n\r\n");
        let hop = Double::start([Step::Answer(answer)]).await;
        let proxy = start(&hop, "[corporate]").await;
        let told = exchange(proxy.address(), CONNECT.as_bytes()).await;
        assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
        let wait = told.lines().find_map(|line| line.strip_prefix("Retry-After: "));
        assert_eq!(wait, expected, "{field}: {told}");
    }
    let answer = "HTTP/1.1 503 Down\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    let hop = Double::start([Step::Answer(answer.into())]).await;
    let proxy = start(&hop, "[corporate]").await;
    let told = exchange(proxy.address(), CONNECT.as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 502 ") && told.contains("\r\nRetry-After: 7\r\n"), "{told}");
    assert!(told.contains("It is overloaded or being maintained"), "{told}");
}

#[tokio::test]
async fn fields_about_the_clients_connection_are_not_passed_on() {
    let asked = "CONNECT target.test:443 HTTP/1.1\r\nHost: target.test:443\r\n\r\n";
    for fields in [
        "Connection: close\r\n",
        "Proxy-Connection: close\r\nConnection: X-Mine\r\nX-Mine: a\r\n",
        "proxy-connection: Keep-Alive\r\nKeep-Alive: timeout=5\r\n",
        "Content-Length: 0\r\nUser-Agent: a\r\nAccept: */*\r\n",
        "Proxy-Authorization: Basic c2Vzc2lvbi1hOg==\r\n",
    ] {
        let hop = Double::start([Step::Answer(AGREED.into())]).await;
        let proxy = start(&hop, "[corporate]").await;
        let mut client = open(proxy.address()).await;
        let request = format!(
            "CONNECT target.test:443 HTTP/1.1\r\nHost: target.test:443\r\n{fields}\r\nhello"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        hop.record().assert_sent(0, &format!("{asked}hello")).await;
        drop(client);
    }
}

#[tokio::test]
async fn an_https_url_without_connect_is_explained() {
    let hop = Double::start([Step::Listen]).await;
    let proxy = start(&hop, "[corporate, webshare]").await;
    for url in ["https://target.test/", "HTTPS://target.test:8443/a?b"] {
        let request = format!("GET {url} HTTP/1.1\r\nHost: target.test\r\n\r\n");
        let mut client = open(proxy.address()).await;
        client.write_all(request.as_bytes()).await.unwrap();
        let told = rest(&mut client).await;
        assert!(
            told.starts_with("HTTP/1.1 400 ") && told.contains("\r\nConnection: close\r\n"),
            "{told}"
        );
        assert!(told.contains("https:// URL") && told.contains("CONNECT"), "{told}");
    }
    assert_eq!(hop.sent(), "");
}

/// Has clients of `chain` make `requests`, and asserts what they are told.
async fn check(hops: &Double, chain: &str, requests: &[&str], expected: &Told<'_>) {
    let proxy = start(hops, chain).await;
    for request in requests {
        let told = exchange(proxy.address(), request.as_bytes()).await;
        let Told { status, field, words } = expected;
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
        assert!(
            told.contains(&format!("\r\nProxy-Status: mooltiroute; error={field}")),
            "{field}: {told}"
        );
        assert!(words.iter().all(|words| told.contains(words)), "{words:?}: {told}");
        assert_eq!(told.contains("\r\nRetry-After: "), *status == 503, "{told}");
        // It is explained, and not passed on.
        assert!(!told.contains("secret") && !told.contains("\r\nProxy-Authenticate"), "{told}");
    }
}

async fn start(hops: &Double, chain: &str) -> Proxy {
    let hops = two_hops(hops.address());
    Proxy::start(&format!("{hops}chains: {{ default: {chain} }}\n")).await
}

const AGREED: &str = "HTTP/1.1 200 OK\r\n\r\n";
const CONNECT: &str = "CONNECT target.test:443 HTTP/1.1\r\nHost: target.test:443\r\n\r\n";
const GET: &str =
    "GET http://target.test/ HTTP/1.1\r\nHost: target.test\r\nConnection: close\r\n\r\n";
/// The advice if Basic may help.
const WRITE_THEM: &str = "Write `username` and `password` for it; the client needs none";
