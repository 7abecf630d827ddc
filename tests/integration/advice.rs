//! The advice in error texts: each names the setting, or the line of a list, that has to change.

mod denied_requests;
mod hop_paths;
mod near_targets;
mod usernames;

use crate::support::{ConfigDir, Double, Proxy, SHORT_TIMEOUTS, Step, exchange};

const CONNECT: &[u8] = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n";
const GET: &[u8] = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n";

/// Asks a proxy whose only hop has these settings and plays `step`. Returns the answer.
async fn ask(settings: &str, step: Step, request: &[u8]) -> String {
    let hop = Double::start([step]).await;
    let proxy = Proxy::start(&format!(
        "{SHORT_TIMEOUTS}hops: {{ gate: {{ address: \"{}\", {settings} }} }}\nchains: {{ default: [gate] }}\n",
        hop.address()
    ))
    .await;
    exchange(proxy.address(), request).await
}

/// Asks a proxy whose only hop is a pool with the list `list`, in which `ADDRESS` plays `step`. Returns the answer.
async fn ask_pool(list: &str, step: Step, request: &[u8]) -> String {
    let hop = Double::start([step]).await;
    let config = ConfigDir::new(&format!(
        "{SHORT_TIMEOUTS}hops: {{ exits: {{ kind: pool, members_from: {{ file: exits.txt }} }} }}\n\
         chains: {{ default: [exits] }}\n"
    ));
    config.write("exits.txt", &list.replace("ADDRESS", &hop.address().to_string()));
    let proxy = Proxy::on(config, &[]).await;
    exchange(proxy.address(), request).await
}

#[track_caller]
fn assert_advice(answer: &str, advice: &str) {
    assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
    assert!(answer.contains(advice), "{advice}: {answer}");
}

fn socks_refusal() -> Step {
    Step::Say("\u{5}\u{7f}".into())
}

fn reply(text: &str) -> Step {
    Step::Answer(text.into())
}

#[tokio::test]
async fn tunnels_and_plain_requests_recognize_the_protocol_of_a_hop() {
    for request in [CONNECT, GET] {
        let answer = ask("kind: http-connect", socks_refusal(), request).await;
        assert_advice(&answer, "seems to be a SOCKS5 proxy: write `kind: socks5` for this hop");
        assert!(answer.contains("next-hop=\"gate\""), "{answer}");
        let answer = ask_pool("ADDRESS\n", socks_refusal(), request).await;
        assert_advice(&answer, "begin line 1 of exits.txt with `socks5://`");
    }
    let answer =
        ask("kind: socks5", Step::Say("HTTP/1.1 400 Bad Request\r\n\r\n".into()), CONNECT).await;
    assert_advice(&answer, "write `kind: http-connect` for this hop");
}

#[tokio::test]
async fn a_hop_that_says_nothing_may_speak_another_protocol() {
    let silent = ask("kind: socks5", Step::Listen, CONNECT).await;
    assert_advice(
        &silent,
        "may not speak SOCKS5: an HTTP proxy would wait for more. Then write `kind: http-connect`",
    );
    let silent = ask("kind: http-connect, tls: true", Step::Listen, CONNECT).await;
    assert_advice(&silent, "may not speak TLS: then write `tls: false` for this hop");
    let silent = ask_pool("https://ADDRESS\n", Step::Listen, CONNECT).await;
    assert_advice(&silent, "then begin line 1 of exits.txt with `http://`");
}

#[tokio::test]
async fn advice_names_only_keys_that_the_kind_has() {
    let webshare = "kind: webshare, username: u, password: p";
    let alert = || Step::Say("\u{15}\u{3}\u{3}".into());
    let answer = ask(webshare, alert(), CONNECT).await;
    assert_advice(&answer, "which this kind of hop never does: check `hops.gate.address`");
    let answer = ask(webshare, Step::Reset, CONNECT).await;
    assert_advice(&answer, "`hops.gate.address`");
    assert!(!answer.contains("tls: "), "{answer}");
    assert_advice(
        &ask("kind: http-connect", alert(), CONNECT).await,
        "write `tls: true` for this hop",
    );
}

#[tokio::test]
async fn a_hop_that_may_be_a_web_server_is_reported() {
    for status in ["501 Unsupported method ('CONNECT')", "404 Not Found", "405 Method Not Allowed"]
    {
        let answered = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let answer = ask("kind: http-connect", reply(&answered), CONNECT).await;
        assert_advice(&answer, "web server");
    }
}

#[tokio::test]
async fn an_error_says_how_to_give_a_hop_credentials() {
    let digest = "HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm=\"a\", nonce=\"b\", qop=\"auth\"\r\n\r\n";
    let basic = "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"a\"\r\n\r\n";
    let without = ask("kind: http-connect", reply(digest), CONNECT).await;
    assert_advice(
        &without,
        "this hop has no credentials. Write `username`, `password` and `auth: digest`",
    );
    let without = ask("kind: http-connect", reply(basic), CONNECT).await;
    assert_advice(&without, "this hop has none. Write `username` and `password`");
    let without = ask_pool("# exits\nADDRESS\n", reply(basic), CONNECT).await;
    assert_advice(
        &without,
        "line 2 of exits.txt has none. Write the line as `host:port:user:password`",
    );
    let wrong = ask_pool("ADDRESS:u:p\n", reply(basic), CONNECT).await;
    assert_advice(&wrong, "Correct those in line 1 of exits.txt");
    let none = ask_pool("socks5://ADDRESS\n", Step::Say("\u{5}\u{2}".into()), CONNECT).await;
    assert_advice(&none, "line 1 of exits.txt has none");
}

#[tokio::test]
async fn an_error_names_the_address_of_an_unreachable_next_hop() {
    for status in ["500 Unable to connect", "502 Bad Gateway", "503 Service Unavailable"] {
        let answered = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let corporate = Double::start([reply(&answered)]).await;
        let proxy = Proxy::start(&format!(
            "hops: {{ corporate: {{ kind: http-connect, address: \"{}\" }}, \
             external: {{ kind: http-connect, address: \"ext.test:43114\" }} }}\n\
             chains: {{ default: [corporate, external] }}\n",
            corporate.address()
        ))
        .await;
        let answer = exchange(proxy.address(), CONNECT).await;
        assert_advice(
            &answer,
            "`ext.test:43114` is the address of the next hop, `external`: check `hops.external`",
        );
    }
}

#[tokio::test]
async fn advice_has_the_address_that_the_client_used() {
    let proxy = Proxy::start(
        "server: { auth: { username: dev, password: secret } }\nchains: { default: [] }\n",
    )
    .await;
    let address = proxy.address();
    let answer = exchange(address, CONNECT).await;
    assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
    assert!(answer.contains(&format!("`http://USER:PASSWORD@{address}`")), "{answer}");
    let page = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let answer = exchange(address, page.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 407 ") && answer.contains("`basic_auth`"), "{answer}");
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let answer = exchange(proxy.address(), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(answer.contains(&format!("curl -x http://{} ", proxy.address())), "{answer}");
}

#[tokio::test]
async fn a_second_start_names_the_proxy_that_has_the_port() {
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let address = proxy.address().to_string();
    let second = proxy.command(&["run", "--listen", &address]);
    let error = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{error}");
    assert!(error.contains("Mooltiroute runs there already: process "), "{error}");
    assert!(error.contains(proxy.config().path().to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn a_hop_that_has_answered_before_is_not_said_to_speak_another_protocol() {
    let requests = [
        CONNECT,
        b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n",
        b"POST http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ];
    for (request, is_pool) in requests.into_iter().flat_map(|ask| [(ask, false), (ask, true)]) {
        let hung_up = [Step::Hear("\r\n\r\n".into()), Step::End];
        let hop = Double::start(hung_up.clone()).await;
        let one = format!("kind: http-connect, address: \"{}\"", hop.address());
        let gate = if is_pool { format!("kind: pool, members: [{{ {one} }}]") } else { one };
        let proxy = Proxy::start(&format!(
            "{SHORT_TIMEOUTS}hops: {{ gate: {{ {gate} }} }}\nchains: {{ default: [gate] }}\n"
        ))
        .await;
        let answer = exchange(proxy.address(), request).await;
        assert_advice(&answer, "This port may speak TLS");
        hop.becomes([reply("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")]);
        let answer = exchange(proxy.address(), request).await;
        assert!(answer.contains("403"), "{answer}");
        hop.becomes(hung_up);
        let answer = exchange(proxy.address(), request).await;
        assert_advice(&answer, "It hung up instead of answering, and has answered before");
        assert!(!answer.contains("TLS:") && !answer.contains("SOCKS5"), "{answer}");
    }
}
