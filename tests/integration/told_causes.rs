//! Failures whose cause is not where a user looks first: a member of a pool that refuses everything, a hop that is switched
//! off, a silent proxy, a client with another scheme. The output alone has to name it.

mod members;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::io::AsyncWriteExt as _;

use crate::support::{
    ConfigDir, Double, Proxy, SHORT_WAIT, Step, exchange, open, outcome, pause, probe, run,
};
#[cfg(target_os = "linux")]
use crate::support::{EchoOrigin, connect, within};

const CONNECT: &[u8] = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n";
const GET: &[u8] =
    b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n";
const BLOCKED: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 15\r\n\r\naccount blocked";
const AGREED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn answer(text: &str) -> Step {
    Step::Answer(text.to_owned())
}

/// A pool of one member.
fn pool(member: &Double) -> String {
    format!(
        "timeouts: {{ response: {SHORT_WAIT}s }}\nhops:\n  exits:\n    kind: pool\n    \
         members: [{{ kind: http-connect, address: \"{}\" }}]\nchains: {{ default: [exits] }}\n",
        member.address()
    )
}

fn count(proxy: &Proxy, message: &str) -> usize {
    proxy.events().iter().filter(|event| event.message() == message).count()
}

fn shown(proxy: &Proxy) -> String {
    let (code, told, error) =
        outcome(&proxy.command_for(&["status", "--address", &proxy.address().to_string()]));
    assert_eq!(code, Some(0), "{error}");
    told
}

#[tokio::test]
async fn each_timeout_of_a_hop_is_named_in_the_log() {
    let silent = Double::start([Step::Listen]).await;
    for (more, setting) in [("", "timeouts.handshake"), (", tls: true", "timeouts.connect")] {
        let yaml = format!(
            "timeouts: {{ connect: 300ms, handshake: 400ms }}\nhops: {{ corporate: {{ kind: http-connect, address: \
             \"{}\"{more} }} }}\nchains: {{ default: [corporate] }}\n",
            silent.address()
        );
        let proxy = Proxy::start(&yaml).await;
        let told = exchange(proxy.address(), CONNECT).await;
        assert!(told.contains(&format!("00 ms (`{setting}`)")), "{told}");
        let failed = proxy.event("request failed").await;
        assert!(failed.field("error").contains(&format!("(`{setting}`)")), "{failed:?}");
    }
}

#[tokio::test]
async fn a_hop_that_is_switched_off_is_named_when_the_target_is_not_reached_without_it() {
    let yaml = "hops:\n  corporate: { kind: http-connect, address: \"a.test:1\", enabled: false }\n\
                chains: { default: [corporate] }\n";
    let proxy = Proxy::start(yaml).await;
    for request in [
        &b"CONNECT intra.invalid:443 HTTP/1.1\r\nHost: intra.invalid:443\r\n\r\n"[..],
        b"GET http://intra.invalid/ HTTP/1.1\r\nHost: intra.invalid\r\n\r\n",
    ] {
        let told = exchange(proxy.address(), request).await;
        let line = told.lines().next().unwrap();
        assert!(line.ends_with(": name lookup failed; off: corporate)"), "{line}");
        for words in [
            "Hop `corporate` of this chain is switched off, so the request went to the target without it",
            &*format!("`mooltiroute hop corporate on --address {}`", proxy.address()),
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
    }
    // With several, each has its own command, in the answer and in the log.
    let yaml = "hops:\n  corporate: { kind: http-connect, address: \"a.test:1\", enabled: false }\n  \
                other: { kind: http-connect, address: \"b.test:1\", enabled: false }\n\
                chains: { default: [corporate, other] }\n";
    let proxy = Proxy::start(yaml).await;
    let asked = b"CONNECT intra.invalid:443 HTTP/1.1\r\nHost: intra.invalid:443\r\n\r\n";
    let told = exchange(proxy.address(), asked).await;
    for name in ["corporate", "other"] {
        let command = format!("`mooltiroute hop {name} on --address {}`", proxy.address());
        assert!(told.contains(&command), "{command}: {told}");
    }
    let event = proxy.event("request failed").await;
    let advice = event.field("advice");
    assert!(advice.contains("are switched off"), "{advice}");
    // A hop that is left out says something about the others, but does not take their place in the status line.
    let hop = Double::start([answer(BLOCKED)]).await;
    let yaml = format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"a.test:1\", enabled: false }}\n  other: {{ kind: \
         http-connect, address: \"{}\" }}\nchains: {{ default: [corporate, other] }}\n",
        hop.address()
    );
    let proxy = Proxy::start(&yaml).await;
    let told = exchange(proxy.address(), CONNECT).await;
    assert!(told.starts_with("HTTP/1.1 502 Bad Gateway (other: 403 Forbidden"), "{told}");
    assert!(told.contains("Hop `corporate` of this chain is switched off, and left out"), "{told}");
    // Once it is gone from the chain, it is gone from the words.
    let seen = proxy.events().len();
    proxy.config().write("10-test.yaml", &yaml.replace("[corporate, other]", "[other]"));
    proxy.event_after(seen, "config reloaded").await;
    let told = exchange(proxy.address(), CONNECT).await;
    assert!(!told.contains("switched off"), "{told}");
}

#[tokio::test]
async fn a_client_with_another_scheme_hears_that_this_proxy_takes_basic() {
    let proxy = Proxy::start(
        "server: { auth: { username: dev, password: hunter2 } }\nchains: { default: [] }\n",
    )
    .await;
    let ask = async |value: &str| {
        let request =
            format!("CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n{value}\r\n");
        exchange(proxy.address(), request.as_bytes()).await
    };
    let told = ask("").await;
    assert!(
        told.starts_with("HTTP/1.1 407 Proxy Authentication Required (server.auth, by Basic)\r\n"),
        "{told}"
    );
    assert!(told.contains("by Basic authentication only"), "{told}");
    for (value, scheme) in [
        ("Digest username=\"dev\", response=\"0123\"", "Digest"),
        ("NTLM TlRMTVNTUAAB", "NTLM"),
        ("s3cret-token abc", "non-Basic"),
    ] {
        let seen = proxy.events().len();
        let told = ask(&format!("Proxy-Authorization: {value}\r\n")).await;
        let line = told.lines().next().unwrap();
        assert!(line.ends_with("Required (server.auth takes Basic only)"), "{line}");
        assert!(told.contains(&format!("The client sent {scheme} credentials")), "{told}");
        assert!(!told.contains("USER:PASSWORD") && !told.contains("s3cret"), "{told}");
        if scheme == "Digest" {
            let reason = proxy.event_after(seen, "request denied").await.field("reason");
            assert!(reason.contains("Digest") && reason.contains("Basic only"), "{reason}");
        }
    }
    let wrong = format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode("dev:wrong"));
    let told = ask(&wrong).await;
    assert!(told.lines().next().unwrap().ends_with("(not those of server.auth)"), "{told}");
}

#[tokio::test]
async fn a_status_line_has_the_cause_even_if_names_are_long() {
    let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"a\"\r\n\
                   Content-Length: 0\r\n\r\n";
    let hop = Double::start([answer(refusal), answer(refusal)]).await;
    let long = "the-proxy-of-the-department-in-the-second-building-on-the-left";
    let member = format!(
        "{{ kind: http-connect, address: \"{}\", username: u, password: p }}",
        hop.address()
    );
    for yaml in [
        format!("hops: {{ {long}: {member} }}\nchains: {{ default: [{long}] }}\n"),
        format!(
            "hops: {{ exits: {{ kind: pool, members: [{member}, {member}, {member}] }} }}\nchains: {{ default: [exits] }}\n"
        ),
        format!(
            "hops: {{ {long}: {{ kind: pool, members: [{member}, {member}] }} }}\nchains: {{ default: [{long}] }}\n"
        ),
    ] {
        let proxy = Proxy::start(&yaml).await;
        let told = exchange(proxy.address(), CONNECT).await;
        let line = told.lines().next().unwrap();
        assert!(line.contains("credentials rejected"), "{line}");
        let name = if yaml.contains(long) { &long[..13] } else { "exits.members[2]" };
        assert!(line.contains(name), "{line}");
        assert!(line.len() <= "HTTP/1.1 502 ".len() + 80 && line.is_ascii(), "{line}");
    }
}

#[tokio::test]
async fn a_hop_that_did_not_reach_the_next_stop_says_which() {
    let bad_gateway = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
    let portal = "HTTP/1.1 302 Found\r\nLocation: http://gate.test/login?token=s3cret\r\nContent-Length: 0\r\n\r\n";
    for (script, [one, two], words) in [
        (
            vec![answer(bad_gateway)],
            [
                "(first: 502, it did not reach the target)",
                "(first: 502, it did not reach hop second)",
            ],
            "asked for `",
        ),
        (
            vec![Step::End],
            [
                "(first: closed the connection)",
                "(first: closed the connection when asked for the next hop)",
            ],
            "Some proxies do so if they can't reach ",
        ),
        (
            vec![answer(portal)],
            ["(first: 302 Found)", "(first: 302 Found)"],
            "It redirects to `http://gate.test/`, which may be the login page",
        ),
    ] {
        let first = Double::start(script).await;
        let hops = format!(
            "hops:\n  first: {{ kind: http-connect, address: \"{}\" }}\n  second: {{ kind: http-connect, address: \
             \"second.test:1\" }}\n",
            first.address()
        );
        for (chain, line) in [("[first]", one), ("[first, second]", two)] {
            let proxy = Proxy::start(&format!("{hops}chains: {{ default: {chain} }}\n")).await;
            let told = exchange(proxy.address(), CONNECT).await;
            assert!(told.lines().next().unwrap().ends_with(line), "{told}");
            assert!(told.contains(words) && !told.contains("s3cret"), "{told}");
            if chain.contains("second") && one.contains("closed") {
                assert!(told.contains("the address of the next hop, `second`"), "{told}");
            }
        }
    }
}

#[tokio::test]
async fn a_country_that_no_hop_can_choose_is_told_as_such() {
    let proxy = Proxy::start(
        "hops: { gw: { kind: rotating, address: \"gw.test:1\", user: u, username: \"{user}[-{session}]\", sessions: \
         by-client } }\nchains: { default: [gw] }\n",
    )
    .await;
    let login = STANDARD.encode("country-us:x");
    let request = format!(
        "CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\nProxy-Authorization: Basic {login}\r\n\r\n"
    );
    let told = exchange(proxy.address(), request.as_bytes()).await;
    assert!(
        told.starts_with("HTTP/1.1 400 Bad Request (gw: can't choose a country)\r\n"),
        "{told}"
    );
    assert!(told.contains("`--country` of `mooltiroute exec`"), "{told}");
    assert!(!told.contains("not understood"), "{told}");
}

#[tokio::test]
async fn probe_tells_a_refusal_by_a_proxy_from_an_answer_of_the_target() {
    let probed_by = async |fields: &str| {
        let text = format!("HTTP/1.1 403 Forbidden\r\n{fields}Content-Length: 0\r\n\r\n");
        let hop = Double::start([answer(&text)]).await;
        let yaml = format!(
            "hops: {{ corporate: {{ kind: http-connect, address: \"{}\" }} }}\nchains: {{ default: [corporate] }}\n",
            hop.address()
        );
        probe(&yaml, &["http://target.test/"]).await
    };
    let probed = probed_by("").await;
    assert_eq!(probed.told["reached"], true, "{}", probed.told);
    assert_eq!(probed.told["perhaps_by"], "corporate", "{}", probed.told);
    assert!(
        probed.words.contains("of the target, or of `corporate`, which does not say"),
        "{}",
        probed.words
    );
    assert!(
        probed.words.contains("\nanswered in ") && !probed.words.contains("reached in"),
        "{}",
        probed.words
    );
    for sign in [
        "X-Squid-Error: ERR_ACCESS_DENIED 0",
        "Proxy-Status: squid.corp.test; error=http_request_denied",
    ] {
        let probed = probed_by(&format!("{sign}\r\n")).await;
        assert_eq!(probed.told["reached"], false, "{}", probed.told);
        assert_eq!(probed.told["failure"]["hop"], "corporate", "{}", probed.told);
        assert!(probed.words.contains(sign), "{}", probed.words);
        assert!(probed.words.contains("the target was not reached"), "{}", probed.words);
    }
    // A proxy that only passed the answer on says so without an error.
    let probed = probed_by("Proxy-Status: squid.corp.test; received-status=403\r\n").await;
    assert_eq!(probed.told["reached"], true, "{}", probed.told);
}

#[tokio::test]
async fn explain_says_what_a_hop_of_a_pac_file_gets_before_the_file_is_there() {
    let yaml = "hops:\n  office: { kind: pac, url: \"http://pac.invalid/proxy.pac\", hops: { \"*.corp.test\": corporate } }\n\
                \u{20} corporate: { kind: http-connect, address: \"a.corp.test:1\" }\nchains: { default: [office] }\n";
    let config = ConfigDir::new(yaml);
    let explain =
        |url: &str| outcome(&run(["explain", url, "-c", config.path().to_str().unwrap()])).1;
    let plain = explain("http://target.test/");
    assert!(
        plain.contains("gets the request in absolute-form, for http://target.test:80;"),
        "{plain}"
    );
    assert!(!plain.contains("CONNECT"), "{plain}");
    let tunnel = explain("https://target.test/");
    assert!(
        tunnel.contains("gets CONNECT target.test:443; or the PAC file chooses no hop"),
        "{tunnel}"
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn status_asks_before_it_shows_what_a_condition_depends_on() {
    let echo = EchoOrigin::start().await;
    let port = crate::support::free_port();
    let yaml = format!(
        "hops:\n  office: {{ kind: http-connect, address: \"127.0.0.1:{port}\", enabled: {{ when: {{ reachable: \
         \"127.0.0.1:{port}\" }} }} }}\nchains: {{ default: [office] }}\n"
    );
    let proxy = Proxy::start(&yaml).await;
    drop(connect(proxy.address(), echo.address()).await.tunnel());
    let path = proxy.config().path().to_str().unwrap();
    let told = || outcome(&proxy.command_for(&["status", "-c", path])).1;
    assert!(told().contains("office is off: "), "{}", told());
    // No request follows: only the question itself finds out that the port is open.
    let _office = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    within("the status has a new answer", async {
        while !told().contains("can be reached: true (the connection was accepted") {
            pause().await;
        }
    })
    .await;
    proxy.event("config reloaded").await;
}

#[tokio::test]
async fn statuses_of_providers_and_a_name_that_does_not_resolve_get_advice_of_their_own() {
    for (said, words) in [
        ("HTTP/1.1 402 Payment Required\r\n\r\n", "requires payment"),
        (
            "HTTP/1.1 402 Payment Required\r\n\r\n",
            "the plan has expired, or its traffic is used up",
        ),
        ("HTTP/1.1 509 Bandwidth Limit Exceeded\r\n\r\n", "a traffic limit is reached"),
        ("HTTP/1.1 511 Network Login\r\n\r\n", "This network has a captive portal"),
        ("HTTP/1.1 465 Sessions\r\n\r\n", "465 is not a standard status of HTTP"),
        ("HTTP/1.1 590 Non Success\r\n\r\n", "590 is not a standard status of HTTP"),
        ("HTTP/1.1 429 Slow\r\n\r\n", "send fewer at once, or send them more slowly"),
        ("HTTP/1.1 429 Slow\r\nRetry-After: 30\r\n\r\n", "It asks clients to wait 30 s."),
        (
            "HTTP/1.1 403 No\r\nContent-Type: text/plain\r\nContent-Length: 23\r\n\r\nIP is not whitelisted.\n",
            "If its own message does not say what to do: `exits.members[0]` refuses CONNECT",
        ),
        ("HTTP/1.1 502 Could not resolve host\r\n\r\n", "Check the host name first"),
        ("HTTP/1.1 503 No\r\nX-Error: no such host\r\n\r\n", "Check the host name first"),
        ("HTTP/1.1 502 Connection refused\r\n\r\n", "It could not reach the address"),
    ] {
        let member = Double::start([answer(said), Step::End]).await;
        let proxy = Proxy::start(&pool(&member)).await;
        let text = exchange(proxy.address(), CONNECT).await;
        assert!(text.contains(words), "{said}: {text}");
    }
}

#[tokio::test]
async fn the_line_of_a_plain_request_says_that_a_refusal_may_be_the_hops() {
    for status in [402, 403, 429, 465, 490, 502, 503, 504, 509, 511, 522, 590] {
        let head =
            format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let hop = Double::start([answer(&head), Step::End]).await;
        let proxy = Proxy::start(&pool(&hop)).await;
        let told = exchange(proxy.address(), GET).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
        let reason = proxy.event("request").await.field("reason");
        let words = format!("the {status} is from the target or from hop `exits.members[0]`");
        assert!(reason.contains(&words), "{reason}");
    }
    for status in [400, 404, 410, 500] {
        let head =
            format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let hop = Double::start([answer(&head), Step::End]).await;
        let proxy = Proxy::start(&pool(&hop)).await;
        exchange(proxy.address(), GET).await;
        assert_eq!(proxy.event("request").await.at("/reason"), None, "{status}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_during_tls_leaves_the_remedy_in_the_log() {
    let silent = Double::start([Step::Listen]).await;
    let proxy = Proxy::start(&format!(
        "hops: {{ corporate: {{ kind: http-connect, address: \"{}\", tls: true }} }}\n\
         chains: {{ default: [corporate] }}\n",
        silent.address()
    ))
    .await;
    let mut client = open(proxy.address()).await;
    client.write_all(CONNECT).await.unwrap();
    // The hop has the beginning of TLS.
    while silent.sent().is_empty() {
        pause().await;
    }
    drop(client);
    let reason = proxy.event("tunnel closed").await.field("reason");
    assert!(reason.starts_with("waited ") && reason.contains("TLS handshake"), "{reason}");
    assert!(reason.contains("This port may not speak TLS: then write `tls: false`"), "{reason}");
}

#[tokio::test]
async fn after_a_rejection_probe_repeats_what_check_says_of_the_credentials() {
    let rejecting =
        "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\n\r\n";
    let hop = Double::start([answer(rejecting), Step::End]).await;
    let ask = async |username: &str| {
        let yaml = format!(
            "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", username: {username}, password: p4ss }}\n\
             chains: {{ default: [corporate] }}\n",
            hop.address()
        );
        probe(&yaml, &["https://origin.test/"]).await
    };
    let odd = ask("'CORP\\\\joe'").await;
    let note = "`mooltiroute check` warns about this value: hops.corporate";
    assert!(odd.words.contains(note) && odd.words.contains("two backslashes"), "{}", odd.words);
    assert_eq!(odd.told["doubtful_credentials"].as_array().map(Vec::len), Some(1), "{}", odd.told);
    let plain = ask("joe").await;
    assert!(!plain.words.contains("`mooltiroute check` warns"), "{}", plain.words);
}

/// The texts name an address of this proxy as an example. A target, or the words of a hop, may look the same.
#[tokio::test]
async fn a_target_that_looks_like_the_example_is_named_as_it_is() {
    let words = "ask at http://localhost:8888/ or run `mooltiroute hop a on`";
    let refusal = format!(
        "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{words}",
        words.len()
    );
    let hop = Double::start(vec![Step::Answer(refusal); 2]).await;
    let proxy = Proxy::start(&format!(
        "hops: {{ corporate: {{ kind: http-connect, address: \"{}\", plain: absolute }} }}\n\
         chains: {{ default: [corporate] }}\n",
        hop.address()
    ))
    .await;
    for request in [
        "CONNECT localhost:8888 HTTP/1.1\r\nHost: localhost:8888\r\n\r\n",
        "CONNECT no.such.localhost:8888 HTTP/1.1\r\nHost: no.such.localhost:8888\r\n\r\n",
    ] {
        let told = exchange(proxy.address(), request.as_bytes()).await;
        let (_, text) = told.split_once("\r\n\r\n").unwrap();
        let target = request.split(' ').nth(1).unwrap();
        assert!(text.contains(target) && text.contains(words), "{told}");
        assert!(!told.contains(&proxy.address().to_string()), "{told}");
    }
    // A plain request that fails names its target, too.
    let hop = Double::start([Step::Hear("\r\n\r\n".into()), Step::End]).await;
    let proxy = Proxy::start(&format!(
        "hops: {{ corporate: {{ kind: http-connect, address: \"{}\", plain: absolute }} }}\n\
         chains: {{ default: [corporate] }}\n",
        hop.address()
    ))
    .await;
    let get =
        "GET http://localhost:8888/ HTTP/1.1\r\nHost: localhost:8888\r\nConnection: close\r\n\r\n";
    let told = exchange(proxy.address(), get.as_bytes()).await;
    assert!(told.contains("failure of `localhost:8888`"), "{told}");
    assert!(!told.contains(&proxy.address().to_string()), "{told}");
}
