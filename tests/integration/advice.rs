//! What failures advise: each names the setting or the line of a list to change, and no other.

use crate::support::{ConfigDir, Double, Program, Proxy, Step, exchange, free_port, run};

const CONNECT: &[u8] = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n";
const GET: &[u8] = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n";
const IMPATIENT: &str = "timeouts: { connect: 500ms, handshake: 500ms }\n";

/// Asks a proxy whose only hop has these settings and plays `step`.
async fn told(settings: &str, step: Step, request: &[u8]) -> String {
    let hop = Double::start([step]).await;
    let proxy = Proxy::start(&format!(
        "{IMPATIENT}hops: {{ gate: {{ address: \"{}\", {settings} }} }}\nchains: {{ default: [gate] }}\n",
        hop.address()
    ))
    .await;
    exchange(proxy.address(), request).await
}

/// Asks a proxy whose only hop is a list of one line, which has the address of a hop that plays `step`.
async fn told_of_line(line: &str, step: Step, request: &[u8]) -> String {
    let hop = Double::start([step]).await;
    let config = ConfigDir::new(&format!(
        "{IMPATIENT}hops: {{ exits: {{ kind: pool, members_from: {{ file: exits.txt }} }} }}\n\
         chains: {{ default: [exits] }}\n"
    ));
    config.write("exits.txt", &line.replace("ADDRESS", &hop.address().to_string()));
    let proxy = Proxy::on(config, &[]).await;
    exchange(proxy.address(), request).await
}

#[track_caller]
fn check(told: &str, advice: &str) {
    assert!(told.starts_with("HTTP/1.1 50"), "{told}");
    assert!(told.contains(advice), "{advice}: {told}");
}

fn socks_refusal() -> Step {
    Step::Say("\u{5}\u{7f}".into())
}

fn answer(text: &str) -> Step {
    Step::Answer(text.into())
}

#[tokio::test]
async fn another_protocol_is_named_for_tunnels_and_for_plain_requests() {
    for request in [CONNECT, GET] {
        let told = told("kind: http-connect", socks_refusal(), request).await;
        check(&told, "seems to be a SOCKS5 proxy: write `kind: socks5` for this hop");
        assert!(told.contains("next-hop=\"gate\""), "{told}");
        let told = told_of_line("ADDRESS\n", socks_refusal(), request).await;
        check(&told, "begin line 1 of exits.txt with `socks5://`");
    }
    let told =
        told("kind: socks5", Step::Say("HTTP/1.1 400 Bad Request\r\n\r\n".into()), CONNECT).await;
    check(&told, "write `kind: http-connect` for this hop");
}

#[tokio::test]
async fn a_hop_that_says_nothing_may_speak_another_protocol() {
    let silent = told("kind: socks5", Step::Listen, CONNECT).await;
    check(
        &silent,
        "may not speak SOCKS5: an HTTP proxy would wait for more. Then write `kind: http-connect`",
    );
    let silent = told("kind: http-connect, tls: true", Step::Listen, CONNECT).await;
    check(&silent, "may not speak TLS: then write `tls: false` for this hop");
    let silent = told_of_line("https://ADDRESS\n", Step::Listen, CONNECT).await;
    check(&silent, "then begin line 1 of exits.txt with `http://`");
}

#[tokio::test]
async fn no_key_is_advised_that_the_kind_lacks() {
    let webshare = "kind: webshare, username: u, password: p";
    let alert = || Step::Say("\u{15}\u{3}\u{3}".into());
    let told_webshare = told(webshare, alert(), CONNECT).await;
    check(&told_webshare, "which this kind of hop never does: check `hops.gate.address`");
    let told_webshare = told(webshare, Step::Reset, CONNECT).await;
    check(&told_webshare, "`hops.gate.address`");
    assert!(!told_webshare.contains("tls: "), "{told_webshare}");
    check(&told("kind: http-connect", alert(), CONNECT).await, "write `tls: true` for this hop");
}

#[tokio::test]
async fn a_web_server_in_the_place_of_a_proxy_is_suspected() {
    for status in ["501 Unsupported method ('CONNECT')", "404 Not Found", "405 Method Not Allowed"]
    {
        let answered = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let told = told("kind: http-connect", answer(&answered), CONNECT).await;
        check(&told, "web server");
    }
}

#[tokio::test]
async fn a_hop_without_credentials_is_told_how_to_get_some() {
    let digest = "HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm=\"a\", nonce=\"b\", qop=\"auth\"\r\n\r\n";
    let basic = "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"a\"\r\n\r\n";
    let without = told("kind: http-connect", answer(digest), CONNECT).await;
    check(&without, "this hop has no credentials. Write `username`, `password` and `auth: digest`");
    let without = told("kind: http-connect", answer(basic), CONNECT).await;
    check(&without, "this hop has none. Write `username` and `password`");
    let without = told_of_line("# exits\nADDRESS\n", answer(basic), CONNECT).await;
    check(&without, "line 2 of exits.txt has none. Write the line as `host:port:user:password`");
    let wrong = told_of_line("ADDRESS:u:p\n", answer(basic), CONNECT).await;
    check(&wrong, "Correct those in line 1 of exits.txt");
    let none = told_of_line("socks5://ADDRESS\n", Step::Say("\u{5}\u{2}".into()), CONNECT).await;
    check(&none, "line 1 of exits.txt has none");
}

#[tokio::test]
async fn the_address_of_the_next_hop_is_what_to_check() {
    for status in ["500 Unable to connect", "502 Bad Gateway", "503 Service Unavailable"] {
        let answered = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let corporate = Double::start([answer(&answered)]).await;
        let proxy = Proxy::start(&format!(
            "hops: {{ corporate: {{ kind: http-connect, address: \"{}\" }}, \
             external: {{ kind: http-connect, address: \"ext.test:43114\" }} }}\n\
             chains: {{ default: [corporate, external] }}\n",
            corporate.address()
        ))
        .await;
        let told = exchange(proxy.address(), CONNECT).await;
        check(
            &told,
            "`ext.test:43114` is the address of the next hop, `external`: check `hops.external`",
        );
    }
}

#[tokio::test]
async fn examples_have_the_address_that_the_client_has_reached() {
    let proxy = Proxy::start(
        "server: { auth: { username: dev, password: secret } }\nchains: { default: [] }\n",
    )
    .await;
    let address = proxy.address();
    let told = exchange(address, CONNECT).await;
    assert!(told.starts_with("HTTP/1.1 407 "), "{told}");
    assert!(told.contains(&format!("`http://USER:PASSWORD@{address}`")), "{told}");
    let page = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let told = exchange(address, page.as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 407 ") && told.contains("`basic_auth`"), "{told}");
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let told = exchange(proxy.address(), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(told.contains(&format!("curl -x http://{} ", proxy.address())), "{told}");
}

#[tokio::test]
async fn a_username_that_is_not_understood_is_in_the_reason_phrase_and_the_log() {
    let proxy = Proxy::start(
        "hops: { exit: { kind: webshare, username: u, password: p, sessions: by-client } }\n\
         chains: { default: [exit] }\n",
    )
    .await;
    // session_alice:x
    let request = "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\
                   Proxy-Authorization: Basic c2Vzc2lvbl9hbGljZTp4\r\n\r\n";
    for _ in 0..3 {
        let told = exchange(proxy.address(), request.as_bytes()).await;
        assert!(
            told.starts_with("HTTP/1.1 400 Bad Request (write session-NAME as username)\r\n"),
            "{told}"
        );
    }
    let line = proxy.event("request denied").await;
    assert_eq!((line.field("status"), line.field("target")), ("400".into(), "a.test:443".into()));
    assert!(line.field("reason").contains("is not understood"), "{line:?}");
    let lines = proxy.events().into_iter().filter(|line| line.message() == "request denied");
    assert_eq!(lines.count(), 1, "a client that tries again and again does not fill the log");
}

#[tokio::test]
async fn a_client_that_speaks_tls_to_a_plain_port_is_in_the_log() {
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    exchange(proxy.address(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    let line = proxy.event("request denied").await;
    assert!(line.field("reason").contains("use http:// in the proxy URL"), "{line:?}");
}

#[tokio::test]
async fn a_second_start_names_the_proxy_that_has_the_port() {
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let address = proxy.address().to_string();
    let second = proxy.command(&["run", "--listen", &address]);
    let told = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{told}");
    assert!(told.contains("Mooltiroute runs there already: process "), "{told}");
    assert!(told.contains(proxy.config().path().to_str().unwrap()), "{told}");
}

#[test]
fn exec_says_that_no_proxy_listens() {
    let Some(_) = Program::find_or_skip("true") else { return };
    let (config, port) = (ConfigDir::new("chains: { default: [] }\n"), free_port());
    config.write("00-server.yaml", &format!("server: {{ listen: \"127.0.0.1:{port}\" }}\n"));
    let output = run(["exec", "-c", config.path().to_str().unwrap(), "--", "true"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "the command runs all the same: {told}");
    assert!(told.contains(&format!("no proxy listens on 127.0.0.1:{port}")), "{told}");
}
