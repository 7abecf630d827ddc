//! The advice in error texts: each names the setting, or the line of a list, that has to change.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::support::{
    ConfigDir, Double, Proxy, SHORT_TIMEOUTS, Step, exchange, free_port, outcome, probe, run,
};

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
async fn a_misspelt_session_is_explained_in_the_reason_phrase_and_the_log() {
    let proxy = Proxy::start(
        "hops: { exit: { kind: webshare, username: u, password: p, sessions: by-client } }\n\
         chains: { default: [exit] }\n",
    )
    .await;
    // session_alice:x
    let request = "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\
                   Proxy-Authorization: Basic c2Vzc2lvbl9hbGljZTp4\r\n\r\n";
    for _ in 0..3 {
        let answer = exchange(proxy.address(), request.as_bytes()).await;
        assert!(
            answer.starts_with(
                "HTTP/1.1 400 Bad Request (username takes only session-NAME and country-CC)\r\n"
            ),
            "{answer}"
        );
    }
    let line = proxy.event("request denied").await;
    assert_eq!((line.field("status"), line.field("target")), ("400".into(), "a.test:443".into()));
    assert!(line.field("reason").contains("is not understood"), "{line:?}");
    let lines = proxy.events().into_iter().filter(|line| line.message() == "request denied");
    assert_eq!(lines.count(), 1, "repeated attempts do not fill the log");
}

#[tokio::test]
async fn a_reason_phrase_says_what_is_wrong_with_a_username_and_never_repeats_it() {
    for (sessions, status) in [("by-client", "400"), ("by-client-required", "407")] {
        let proxy = Proxy::start(&format!(
            "hops: {{ exit: {{ kind: webshare, username: u, password: p, sessions: {sessions} }} }}\n\
             chains: {{ default: [exit] }}\n"
        ))
        .await;
        for (username, words) in [
            ("session-alice,country-usa", "a country is a code of two letters"),
            ("session-alice,country=us", "username takes only session-NAME and country-CC"),
            ("session-alice,city-paris", "username takes only session-NAME and country-CC"),
            ("session-alice, country-us", "username takes only session-NAME and country-CC"),
            ("session-al ice", "a session name takes only A-Z a-z 0-9 - _ ."),
            ("session-alice,session-bob", "one session and one country at most"),
            ("user-data-session-alice", "username takes only session-NAME and country-CC"),
        ] {
            let request = format!(
                "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nProxy-Authorization: Basic {}\r\n\r\n",
                STANDARD.encode(format!("{username}:x"))
            );
            let answer = exchange(proxy.address(), request.as_bytes()).await;
            let line = answer.lines().next().unwrap();
            assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{line}");
            assert!(line.ends_with(&format!(" ({words})")), "{username}: {line}");
            assert!(line.len() <= "HTTP/1.1 400 ".len() + 80, "{line}");
            assert!(!answer.contains("alice") && !answer.contains("paris"), "{answer}");
        }
        // The log has one line of a sort, so another proxy logs this one.
        let of_provider = Proxy::start(&format!(
            "hops: {{ exit: {{ kind: webshare, username: u, password: p, sessions: {sessions} }} }}\n\
             chains: {{ default: [exit] }}\n"
        ))
        .await;
        let request = format!(
            "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nProxy-Authorization: Basic {}\r\n\r\n",
            STANDARD.encode("user-data-session-alice:x")
        );
        exchange(of_provider.address(), request.as_bytes()).await;
        let reason = of_provider.event("request denied").await.field("reason");
        assert!(
            reason.contains("it looks like the username of an account at a provider"),
            "{reason}"
        );
        assert!(!reason.contains("alice"), "{reason}");
    }
}

#[tokio::test]
async fn a_field_of_credentials_that_is_not_understood_is_not_taken_for_none() {
    for (sessions, is_required) in [("by-client", false), ("by-client-required", true)] {
        for value in ["session-alice:x", "Basic session-alice:x", "Bearer abc", "Basic YWxpY2U="] {
            let exit = Double::start([reply("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]).await;
            let proxy = Proxy::start(&format!(
                "hops: {{ exit: {{ kind: webshare, address: \"{}\", username: u, password: p, sessions: {sessions} }} }}\n\
                 chains: {{ default: [exit] }}\n",
                exit.address()
            ))
            .await;
            let request = format!(
                "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\
                 Proxy-Authorization: {value}\r\n\r\n"
            );
            let words =
                "a `Proxy-Authorization` that is not `Basic` with the base64 of `session-NAME:x`";
            let mut told = String::new();
            for _ in 0..2 {
                told = exchange(proxy.address(), request.as_bytes()).await;
            }
            if is_required {
                let phrase = "(Proxy-Authorization is not Basic with base64)\r\n";
                assert!(told.starts_with("HTTP/1.1 407 ") && told.contains(phrase), "{told}");
                assert!(told.contains(words) && !told.contains("without one"), "{told}");
                let line = proxy.event("request denied").await;
                assert!(line.field("reason").contains(words), "{line:?}");
                assert!(!format!("{:?}", proxy.events()).contains("alice"));
                continue;
            }
            assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
            let line = proxy.event("the client's username has no effect").await;
            assert!(line.field("reason").contains(words), "{line:?}");
            assert!(line.field("reason").contains(&proxy.address().to_string()), "{line:?}");
            let shown = format!("{:?}", proxy.events());
            assert_eq!(shown.matches("the client's username has no effect").count(), 1, "{shown}");
            assert!(!shown.contains("alice") && !shown.contains("abc"), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_request_that_can_not_be_served_is_in_the_log_once() {
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    for (target, words) in [
        ("GET https://a.test/", "the client must open a tunnel"),
        ("CONNECT a.test", "not `host:port`"),
        ("GET ftp://a.test/", "the scheme of the target is not served"),
        ("GET nothing", "the target is neither"),
    ] {
        let seen = proxy.events().len();
        for _ in 0..2 {
            exchange(
                proxy.address(),
                format!("{target} HTTP/1.1\r\nHost: a.test\r\n\r\n").as_bytes(),
            )
            .await;
        }
        let line = proxy.event_after(seen, "request denied").await;
        assert!(line.field("reason").contains(words), "{target}: {line:?}");
        let lines = proxy.events().into_iter().skip(seen);
        assert_eq!(lines.filter(|line| line.message() == "request denied").count(), 1, "{target}");
    }
}

#[tokio::test]
async fn a_session_that_no_hop_takes_is_in_the_log_once() {
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let ask = async |credentials: &str| {
        let request = format!(
            "GET http://127.0.0.1:{}/ HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\
             Proxy-Authorization: Basic {}\r\n\r\n",
            free_port(),
            STANDARD.encode(credentials)
        );
        exchange(proxy.address(), request.as_bytes()).await
    };
    // A username that names no session may belong to another proxy.
    ask("joe:hunter2").await;
    for _ in 0..3 {
        ask("session-alice:x").await;
    }
    let line = proxy.event("the client's username has no effect").await;
    assert!(line.field("reason").contains("chain `default` has `sessions: by-client`"), "{line:?}");
    let lines = proxy.events().into_iter();
    let lines = lines.filter(|line| line.message() == "the client's username has no effect");
    assert_eq!(lines.count(), 1);
}

#[tokio::test]
async fn the_username_of_an_account_at_a_provider_is_noticed_and_not_shown() {
    for username in
        ["acct9-session-1", "acct9-country-us", "acct9-sessid-a1", "acct9-cc-US", "acct9-rotate"]
    {
        let proxy = Proxy::start("chains: { default: [] }\n").await;
        let request = format!(
            "GET http://127.0.0.1:{}/ HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\
             Proxy-Authorization: Basic {}\r\n\r\n",
            free_port(),
            STANDARD.encode(format!("{username}:hunter2"))
        );
        for _ in 0..3 {
            exchange(proxy.address(), request.as_bytes()).await;
        }
        let line = proxy.event("the client's username has no effect").await;
        assert!(line.field("reason").contains("`sessions: by-client`"), "{line:?}");
        let shown = format!("{:?}", proxy.events());
        assert!(!shown.contains("acct9") && !shown.contains("hunter2"), "{shown}");
        assert_eq!(shown.matches("the client's username has no effect").count(), 1, "{shown}");
    }
    // By SOCKS5 too, whose answer has no words.
    let proxy = Proxy::start("chains: { default: [] }\n").await;
    let login = b"\x05\x01\x02\x01\x0eacct-session-1\x01x\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x01";
    exchange(proxy.address(), login).await;
    proxy.event("the client's username has no effect").await;
}

#[tokio::test]
async fn refusals_of_socks_clients_are_logged_once_in_a_while() {
    let proxy = Proxy::start(
        "server: { auth: { username: joe, password: right } }\nchains: { default: [] }\n",
    )
    .await;
    for _ in 0..3 {
        let login = b"\x05\x01\x02\x01\x03joe\x05wrong";
        exchange(proxy.address(), login).await;
    }
    let line = proxy.event("request denied").await;
    assert!(line.field("reason").contains("`server.auth`"), "{line:?}");
    let lines = proxy.events().into_iter().filter(|line| line.message() == "request denied");
    assert_eq!(lines.count(), 1);
}

#[tokio::test]
async fn a_client_that_speaks_tls_to_a_plain_port_is_logged() {
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
    let error = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{error}");
    assert!(error.contains("Mooltiroute runs there already: process "), "{error}");
    assert!(error.contains(proxy.config().path().to_str().unwrap()), "{error}");
}

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

/// Asks a proxy whose chain has `outer`, in which `corporate` plays `step`. Returns the answer and the advice in the log.
async fn ask_within(outer: &str, corporate: &str, steps: &[Step]) -> String {
    let hop = match steps {
        [] => None,
        steps => Some(Double::start(steps).await),
    };
    let address = match &hop {
        Some(hop) => hop.address().to_string(),
        None => format!("127.0.0.1:{}", free_port()),
    };
    let address = if corporate.contains("address:") {
        String::new()
    } else {
        format!("address: \"{address}\"")
    };
    let config = ConfigDir::new(&format!(
        "{SHORT_TIMEOUTS}hops:\n  corporate: {{ {corporate}{address} }}\n  {outer}\nchains: {{ default: [office] }}\n"
    ));
    let script = "function FindProxyForURL(url, host) { return 'PROXY proxy.corp.example:80'; }";
    config.write("office.pac", script);
    let proxy = Proxy::on(config, &[]).await;
    let answer = exchange(proxy.address(), CONNECT).await;
    answer + &proxy.event("request failed").await.field("advice")
}

#[tokio::test]
async fn advice_has_the_path_of_a_hop_that_another_hop_chose() {
    let http = "kind: http-connect, ";
    for outer in [
        "office: { kind: pac, file: office.pac, hops: { \"*\": corporate } }",
        "office: { kind: pool, members: [corporate] }",
        "office: { kind: pool, members: [inner] }\n  inner: { kind: pool, members: [corporate] }",
        "office: { kind: pac, file: office.pac, hops: { \"*\": inner } }\n  inner: { kind: pool, members: [corporate] }",
    ] {
        for (corporate, step, words) in [
            (http, &[][..], "that `hops.corporate.address` is right"),
            (http, &[Step::Answer(String::new()), Step::End], "check `hops.corporate.address`"),
            (
                "kind: http-connect, address: 'unknown.invalid:80'",
                &[][..],
                "Check `hops.corporate.address`",
            ),
            (
                http,
                &[reply("HTTP/1.1 501 Not Implemented\r\n\r\n")],
                "check `hops.corporate.address`",
            ),
            (
                "kind: http-connect, username: u, password: p, ",
                &[reply("HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=x\r\n\r\n")],
                "Correct `hops.corporate`'s `username` and `password`",
            ),
            ("kind: socks5, ", &[Step::Listen], "write `kind: http-connect` for `hops.corporate`"),
        ] {
            let told = ask_within(outer, corporate, step).await;
            assert_eq!(told.matches(words).count(), 2, "{words}: {told}");
            assert!(!told.contains("`hops.office"), "{told}");
        }
    }
    // A member that is written below a pool which another hop chose.
    let outer = "office: { kind: pac, file: office.pac, hops: { \"*\": inner } }\n  \
                 inner: { kind: pool, members: [{ kind: http-connect, address: '127.0.0.1:1' }] }";
    let told = ask_within(outer, http, &[][..]).await;
    assert!(told.contains("the address of `hops.inner.members[0]` is right"), "{told}");
}

#[tokio::test]
async fn a_next_hop_is_named_by_the_path_of_its_address() {
    let first = Double::start([reply("HTTP/1.1 502 Bad Gateway\r\n\r\n")]).await;
    let config = ConfigDir::new(&format!(
        "{SHORT_TIMEOUTS}hops:\n  first: {{ kind: http-connect, address: \"{}\" }}\n  \
         corporate: {{ kind: http-connect, address: 'corporate.test:80' }}\n  \
         office: {{ kind: pac, file: office.pac, hops: {{ \"*\": corporate }} }}\n\
         chains: {{ default: [first, office] }}\n",
        first.address()
    ));
    let script = "function FindProxyForURL(url, host) { return 'PROXY proxy.corp.example:80'; }";
    config.write("office.pac", script);
    let proxy = Proxy::on(config, &[]).await;
    let told = exchange(proxy.address(), CONNECT).await;
    assert!(told.contains("check `hops.corporate`, and that this hop may reach it"), "{told}");
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
