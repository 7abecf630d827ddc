//! Reason phrases of refusals, which are all that most clients show of a refused CONNECT.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use crate::support::{
    Double, Program, Proxy, SHORT_TIMEOUTS, Step, exchange, free_port, skip, two_hops, within,
};

const CONNECT: &[u8] = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n";
const GET: &[u8] = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n";

#[tokio::test]
async fn the_reason_phrase_names_the_hop_and_the_cause() {
    for (answer, expected) in [
        ("403 Forbidden", "502 Bad Gateway (corporate: 403 Forbidden)"),
        ("407 Auth", "502 Bad Gateway (corporate: 407 Auth, credentials needed)"),
        (
            "407 Proxy Authentication Required\r\nX-Squid-Error: ERR_CACHE_ACCESS_DENIED 0",
            "502 Bad Gateway (corporate: 407, credentials needed)",
        ),
        ("407", "502 Bad Gateway (corporate: 407, credentials needed)"),
        (
            "407 Auth\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM",
            "502 Bad Gateway (corporate: 407, offers Negotiate, NTLM)",
        ),
        ("429 Slow", "503 Service Unavailable (corporate: 429 Slow)"),
        ("403 (a) b)", "502 Bad Gateway (corporate: 403 [a] b])"),
        ("403 a\tb\u{e9}", "502 Bad Gateway (corporate: 403 a?b??)"),
    ] {
        // An answer to a plain request is the target's unless it is a 407 or is marked as the hop's own.
        let requests = if answer.starts_with("407") { [CONNECT, GET] } else { [CONNECT; 2] };
        let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
        let hop = Double::start([Step::Answer(answer)]).await;
        let proxy = Proxy::start(&config(hop.address())).await;
        for request in requests {
            check(&proxy, request, expected).await;
        }
    }
}

#[tokio::test]
async fn the_reason_phrase_says_that_credentials_were_rejected() {
    let squid = "HTTP/1.1 407 Proxy Authentication Required\r\nX-Squid-Error: ERR_CACHE_ACCESS_DENIED 0\r\n\
                 Proxy-Authenticate: Basic realm=\"squid\"\r\nContent-Length: 0\r\n\r\n";
    for kind in [
        "kind: http-connect, username: joe, password: hunter2",
        "kind: http-connect, username: joe, password: hunter2, auth: basic",
        "kind: http-connect, username: joe, password: hunter2, auth: [ntlm, basic]",
        "kind: rotating, user: joe, pass: hunter2",
        "kind: webshare, username: joe, password: hunter2",
    ] {
        let hop = Double::start([Step::Answer(squid.into()), Step::Answer(squid.into())]).await;
        let config = format!(
            "hops: {{ corporate: {{ {kind}, address: \"{}\" }} }}\nchains: {{ default: [corporate] }}\n",
            hop.address()
        );
        let proxy = Proxy::start(&config).await;
        check(&proxy, CONNECT, "502 Bad Gateway (corporate: 407, credentials rejected)").await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn rejected_credentials_of_a_provider_are_named_by_their_keys_and_their_source() {
    let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\
                  Content-Length: 0\r\n\r\n";
    let hop = Double::start([Step::Answer(answer.into())]).await;
    let yaml = format!(
        "hops: {{ gate: {{ kind: rotating, address: \"{}\", user: joe, pass: \"${{GATE_PASSWORD}}\", \
         username: \"{{user}}[-cc-{{country}}]\" }} }}\nchains: {{ default: [gate] }}\n",
        hop.address()
    );
    let proxy = Proxy::in_environment(&yaml, &[], &[("GATE_PASSWORD", "hunter2")]).await;
    let told = exchange(proxy.address(), CONNECT).await;
    assert!(
        told.contains("`user` and `pass` (user as written, pass from $GATE_PASSWORD)"),
        "{told}"
    );
    assert!(told.contains("compare `username` with the provider's documentation"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[tokio::test]
async fn the_reason_phrase_names_the_schemes_that_a_hop_offers_and_is_not_allowed() {
    let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Negotiate\r\n\
                  Proxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n";
    let hop = Double::start([Step::Answer(answer.into())]).await;
    let config = format!(
        "hops: {{ corporate: {{ kind: http-connect, address: \"{}\", username: joe, password: hunter2, \
         auth: [digest] }} }}\nchains: {{ default: [corporate] }}\n",
        hop.address()
    );
    let proxy = Proxy::start(&config).await;
    check(&proxy, CONNECT, "502 Bad Gateway (corporate: 407, offers Negotiate, NTLM)").await;
}

#[tokio::test]
async fn a_long_reason_of_a_hop_is_cut() {
    let answer = format!("HTTP/1.1 403 {}\r\nContent-Length: 0\r\n\r\n", "a".repeat(500));
    let hop = Double::start([Step::Answer(answer)]).await;
    let proxy = Proxy::start(&config(hop.address())).await;
    let expected = format!("502 Bad Gateway (corporate: 403 {}...)", "a".repeat(48));
    assert_eq!(expected.len(), "502 ".len() + 80);
    check(&proxy, CONNECT, &expected).await;
}

#[tokio::test]
async fn the_reason_phrase_names_a_failure_without_an_answer() {
    let silent = Double::start([Step::Listen]).await;
    let proxy = Proxy::start(&config(silent.address())).await;
    check(&proxy, CONNECT, "504 Gateway Timeout (corporate: no answer to CONNECT)").await;

    let down = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let proxy = Proxy::start(&config(down)).await;
    check(&proxy, GET, "502 Bad Gateway (corporate: connection refused)").await;

    let proxy = Proxy::start("chains: { default: [] }").await;
    let request = format!("CONNECT {down} HTTP/1.1\r\nHost: {down}\r\n\r\n");
    let expected = format!("502 Bad Gateway ({down}: connection refused)");
    check(&proxy, request.as_bytes(), &expected).await;
}

#[tokio::test]
async fn curl_shows_the_reason_phrase() {
    let Some(curl) = Program::find_or_skip("curl") else { return };
    let arguments = ["-sSv", "--max-time", "20", "https://a.test/"];
    let shown = shown_by(Command::new(curl.path()).args(arguments)).await;
    assert!(shown.contains("502 Bad Gateway (corporate: 403 Forbidden)"), "{shown}");
    assert!(shown.contains("(56)"), "{shown}");
}

#[tokio::test]
async fn requests_shows_the_reason_phrase() {
    let Some(python) = python_with_requests().await else { return };
    let script = "import requests; requests.get('https://a.test/', timeout=20)";
    let shown = shown_by(Command::new(python).args(["-c", script])).await;
    assert!(shown.contains("502 Bad Gateway (corporate: 403 Forbidden)"), "{shown}");
}

/// Returns what a client writes to its standard error if a hop forbids its tunnel.
async fn shown_by(client: &mut Command) -> String {
    let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let hop = Double::start([Step::Answer(answer.to_owned())]).await;
    let proxy = Proxy::start(&config(hop.address())).await;
    client.env("https_proxy", format!("http://{}", proxy.address())).kill_on_drop(true);
    client.env_remove("no_proxy").env_remove("NO_PROXY");
    let output = within("the client", client.output()).await.unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns a Python that has `requests`: that of the environment which CI makes, or the system's.
async fn python_with_requests() -> Option<PathBuf> {
    let of_ci = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ci/venv/bin/python");
    for python in [of_ci, "python3".into()] {
        let looked = Command::new(&python).args(["-c", "import requests"]).output().await;
        if looked.is_ok_and(|output| output.status.success()) {
            return Some(python);
        }
    }
    skip("Python requests");
    None
}

async fn check(proxy: &Proxy, request: &[u8], expected: &str) {
    let told = exchange(proxy.address(), request).await;
    let line = told.lines().next().unwrap_or_default();
    assert_eq!(line, format!("HTTP/1.1 {expected}"), "{told}");
}

fn config(corporate: SocketAddr) -> String {
    format!("{SHORT_TIMEOUTS}{}chains: {{ default: [corporate] }}\n", two_hops(corporate))
}
