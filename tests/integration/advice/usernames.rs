//! Usernames of clients that name no session, or one that is not understood.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::reply;
use crate::support::{Double, Proxy, exchange, free_port};

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
