//! Hops of the command line, between real proxies.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::support::{
    Double, EchoOrigin, HttpOrigin, PASSWORD, Proxy, Squid, SquidRules, Step, USERNAME, connect,
    exchange, free_address, free_port, ping,
};

#[tokio::test]
async fn hops_of_the_command_line_sign_on_in_the_order_of_travel() {
    let Some(first) = Squid::start(SquidRules::Basic).await else { return };
    let Some(second) = Squid::start(SquidRules::Basic).await else { return };
    // Every byte of a credential may be written as `%XX`.
    let encoded: String = PASSWORD.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let urls = [
        format!("http-connect://{USERNAME}:{PASSWORD}@{}", first.address()),
        format!("http://{USERNAME}:{encoded}@{}?auth=[basic]&plain=connect", second.address()),
    ];
    let echo = EchoOrigin::start().await;
    let proxy = Proxy::of_hops(&[&urls[0], &urls[1]]).await;
    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    ping(&mut tunnel).await;
    drop(tunnel);
    assert_eq!(first.passed_at_least(1).await[0].target, second.address().to_string());
    assert_eq!(second.passed_at_least(1).await[0].target, echo.address().to_string());
    assert_eq!(second.passed()[0].user, USERNAME);
}

#[tokio::test]
async fn a_plain_request_passes_a_hop_of_the_command_line_with_its_credentials() {
    let Some(squid) = Squid::start(SquidRules::Basic).await else { return };
    let origin = HttpOrigin::plain().await;
    let url = format!("http-connect://{USERNAME}:{PASSWORD}@{}", squid.address());
    let proxy = Proxy::of_hops(&[&url]).await;
    let answer = exchange(proxy.address(), origin.request("/bytes/9").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(squid.passed_at_least(1).await[0].user, USERNAME);
}

#[tokio::test]
async fn credentials_on_a_command_line_are_warned_of_and_never_logged() {
    const WRONG: &str = "hunter2-is-wrong";
    let Some(squid) = Squid::start(SquidRules::Basic).await else { return };
    let warns = |proxy: &Proxy| {
        proxy.events().iter().any(|event| event.message().starts_with("other users of this"))
    };
    let url = format!("http://{USERNAME}:{WRONG}@{}", squid.address());
    let proxy = Proxy::of_hops(&[&url]).await;
    let told = connect(proxy.address(), free_address()).await.head;
    assert!(told.starts_with("HTTP/1.1 502 ") && told.contains("407"), "{told}");
    proxy.event("request failed").await;
    assert!(warns(&proxy));
    let logged: String = proxy.events().iter().map(|event| event.text()).collect();
    assert!(!logged.contains(WRONG) && !told.contains(WRONG), "{logged}{told}");

    let open = Proxy::of_hops(&[&format!("http://{}", squid.address())]).await;
    assert!(!warns(&open));
}

const CONNECT: &[u8] = b"CONNECT 127.0.0.1:20009 HTTP/1.1\r\nHost: 127.0.0.1:20009\r\n\r\n";

/// Words of advice that help only with a configuration.
const FILE_WORDS: [&str; 5] = ["`hops.", "`tls: ", "`kind: ", "`username`", "reload"];

#[tokio::test]
async fn advice_on_a_hop_of_the_command_line_names_its_url() {
    let answer = |text: &str| Step::Answer(text.to_owned());
    let wants = |scheme: &str| {
        answer(&format!(
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: {scheme}\r\nContent-Length: 0\r\n\r\n"
        ))
    };
    // These say it before they have read anything.
    let alert = Step::Say("\u{15}\u{3}\u{3}".to_owned());
    let http = || Step::Say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_owned());
    let html = || answer("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let (plain, login) = ("http://", "http://joe:hunter2@");
    for (scheme, end, step, expected) in [
        (
            plain,
            "",
            wants("Basic"),
            "the URL of `--hop` has none. Write `http://USERNAME:PASSWORD@HOST:PORT` there",
        ),
        (login, "", wants("Basic"), "Correct the username and the password in the URL of `--hop`"),
        (plain, "", wants("NTLM"), "Write `http://USERNAME:PASSWORD@HOST:PORT?auth=ntlm` there"),
        (
            login,
            "",
            wants("NTLM"),
            "write `auth=ntlm` after a `?` at the end of the URL of `--hop`",
        ),
        (login, "?auth=[digest]", wants("NTLM"), "others after a `?`, as in `?auth=ntlm`"),
        (plain, "", alert, "begin the URL of `--hop` with `https://`"),
        ("https://", "", http(), "begin the URL of `--hop` with `http://`"),
        ("socks5://", "", http(), "begin the URL of `--hop` with `http://`"),
        (plain, "", html(), "check the address in the URL of `--hop`"),
    ] {
        let double = Double::start([step]).await;
        let url = format!("{scheme}{}{end}", double.address());
        let proxy = Proxy::of_hops(&[&url]).await;
        let told = exchange(proxy.address(), CONNECT).await;
        assert!(told.contains(expected), "{url}: {told}");
        assert!(!FILE_WORDS.iter().any(|words| told.contains(words)), "{url}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    // Nothing answers at these.
    let closed = free_port();
    for (urls, expected) in [
        (
            vec![format!("http://127.0.0.1:{closed}")],
            "that the address in the URL of `--hop` is right",
        ),
        (
            vec!["http://nowhere.invalid:1".to_owned()],
            "Check the address in the URL of `--hop`, and that this machine's name servers",
        ),
        (
            vec!["http://nowhere.invalid:1".to_owned(), "socks5://b.test:2".to_owned()],
            "Check the address in the first URL of `--hop`",
        ),
    ] {
        let urls: Vec<_> = urls.iter().map(String::as_str).collect();
        let proxy = Proxy::of_hops(&urls).await;
        let told = exchange(proxy.address(), CONNECT).await;
        assert!(told.contains(expected) && !told.contains("`hops."), "{told}");
    }
}

/// A setting of such a hop is a part of its URL, and no key of a file.
#[tokio::test]
async fn notes_on_sessions_name_the_url() {
    let ask = async |url: &str, login: &str, message: &str, field: &str| {
        let proxy = Proxy::of_hops(&[url]).await;
        let request = format!("CONNECT t.test:443 HTTP/1.1\r\nHost: t.test:443\r\n{login}\r\n");
        exchange(proxy.address(), request.as_bytes()).await;
        proxy.event(message).await.field(field)
    };
    let closed = free_port();
    let answer = Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into());
    let provider = Double::start([answer, Step::End]).await;
    let webshare = format!("webshare://user:hunter2@{}?sessions=by-client", provider.address());
    let advice = ask(&webshare, "", "the client names no session", "advice").await;
    for words in [
        "has `sessions=by-client` in its URL",
        "write `sessions=by-client-required` after the `?` of the URL of `--hop`",
    ] {
        assert!(advice.contains(words), "{words}: {advice}");
    }
    assert!(!advice.contains("sessions: ") && !advice.contains("hunter2"), "{advice}");
    for username in ["session-alice", "acct-session-1"] {
        let login =
            format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(format!("{username}:x")));
        let plain = format!("http://127.0.0.1:{closed}");
        let reason = ask(&plain, &login, "the client's username has no effect", "reason").await;
        let url = "`webshare://USERNAME:PASSWORD@HOST:PORT?sessions=by-client`";
        assert!(reason.contains(url) && !reason.contains("sessions: "), "{reason}");
    }
}
