//! The words of the running proxy about its hops, lists and credentials: each says what happens next, and what to do.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::support::{
    Certificates, ConfigDir, Double, Event, Proxy, Step, connect, exchange, outcome, pause, probe,
    run, status, within,
};

const CONNECT: &[u8] = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n";
const GET: &[u8] = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n";

fn answer(text: impl Into<String>) -> Step {
    Step::Answer(text.into())
}

/// A message 2 of NTLM whose sender belongs to this domain.
fn ntlm_challenge(domain: &str) -> String {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let name = utf16(domain);
    let length = u16::try_from(name.len()).unwrap().to_le_bytes();
    let info = [&[2, 0][..], &length, &name, &[0; 4]].concat();
    let field = |length: usize, offset: usize| {
        let length = u16::try_from(length).unwrap().to_le_bytes();
        let offset = u32::try_from(offset).unwrap().to_le_bytes();
        [&length[..], &length, &offset].concat()
    };
    let flags: u32 = 1 | 1 << 2 | 1 << 9 | 1 << 16 | 1 << 19 | 1 << 23 | 1 << 29;
    let message = [
        &b"NTLMSSP\0\x02\0\0\0"[..],
        &field(name.len(), 56),
        &flags.to_le_bytes(),
        &[7; 8],
        &[0; 8],
        &field(info.len(), 56 + name.len()),
        &[6, 0, 0x70, 0x17, 0, 0, 0, 15],
        &name,
        &info,
    ]
    .concat();
    STANDARD.encode(message)
}

/// The steps of a proxy that asks for NTLM and gives `verdict` on the login.
fn ntlm(verdict: &str) -> [Step; 3] {
    let challenge = |value: &str| {
        answer(format!(
            "HTTP/1.1 407 Who\r\nProxy-Authenticate: {value}\r\nContent-Length: 0\r\n\r\n"
        ))
    };
    [challenge("NTLM"), challenge(&format!("NTLM {}", ntlm_challenge("CORP"))), answer(verdict)]
}

fn with_login(hop: &Double, username: &str, auth: &str) -> String {
    format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", auth: {auth}, username: '{username}', \
         password: Hunter2x }}\nchains: {{ default: [corporate] }}\n",
        hop.address()
    )
}

/// Waits until the log has so many lines with this message.
async fn logged(proxy: &Proxy, message: &str, count: usize) -> Vec<Event> {
    within(&format!("{count} lines: {message}"), async {
        loop {
            let events = proxy.events();
            let found: Vec<_> =
                events.into_iter().filter(|event| event.message() == message).collect();
            if found.len() >= count {
                break found;
            }
            pause().await;
        }
    })
    .await
}

const REJECTED: &str = "HTTP/1.1 407 Who\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn a_username_without_a_domain_is_given_that_of_the_proxy() {
    let hop = Double::start(ntlm(REJECTED)).await;
    for (username, is_advised) in [("svc", true), (r"OTHER\svc", false), ("svc@corp.test", false)] {
        let proxy = Proxy::start(&with_login(&hop, username, "ntlm")).await;
        let told = exchange(proxy.address(), CONNECT).await;
        let advice = r"the proxy names `CORP`: try `username: 'CORP\NAME'`";
        assert_eq!(told.contains(advice), is_advised, "{username}: {told}");
        assert!(told.contains("the account may be locked or expired"), "{told}");
        assert!(!told.contains("svc"), "a username is a secret: {told}");
    }
}

#[tokio::test]
async fn a_rejection_names_the_key_that_the_secret_is_written_in() {
    let hash = "nt_hash: 0cb6948805f797bf2a82807973b89537";
    let not_found =
        "`username` and `nt_hash`, which is the hash that `cntlm -H` prints as `PassNT`";
    let basic = [answer(BASIC_REJECTED)];
    for (steps, auth, secret, words) in [
        (&ntlm(REJECTED)[..], "ntlm", hash, not_found),
        (&ntlm(REJECTED), "ntlm", "password_file: p.secret", "`username` and `password_file`"),
        (&basic, "basic", "password_file: p.secret", "`username` and `password_file`"),
        (&basic, "basic", "password: Hunter2x", "`username` and `password`"),
    ] {
        let hop = Double::start(steps.to_vec()).await;
        let yaml = with_login(&hop, r"CORP\svc", auth).replace("password: Hunter2x", secret);
        let config = ConfigDir::new(&yaml);
        std::fs::write(config.path().join("p.secret"), "Hunter2x").unwrap();
        let proxy = Proxy::on(config, &[]).await;
        let told = exchange(proxy.address(), CONNECT).await;
        assert!(told.contains(&format!("Correct this hop's {words}")), "{told}");
    }
}

#[tokio::test]
async fn credentials_that_are_held_back_are_not_said_to_be_sent() {
    let hop = Double::start(ntlm(REJECTED)).await;
    let proxy = Proxy::start(&with_login(&hop, r"CORP\svc", "ntlm")).await;
    let first = exchange(proxy.address(), CONNECT).await;
    assert!(first.contains("sends these credentials again in 30 s at the earliest"), "{first}");
    assert!(first.contains("\r\nRetry-After: 30\r\n"), "{first}");
    let sent = hop.sent().len();
    for request in [CONNECT, GET] {
        let later = exchange(proxy.address(), request).await;
        let words = "credentials not sent: held back for another ";
        assert!(later.contains(words) && later.contains("after it answered 407"), "{later}");
        assert!(!later.contains("received-status"), "nothing was received: {later}");
        assert!(later.contains("(corporate: held back; 407 Who, credentials rejected)"), "{later}");
    }
    let errors = logged(&proxy, "request failed", 3).await;
    let errors: Vec<_> = errors.iter().map(|event| event.field("error")).collect();
    assert!(!errors[0].contains("held back") && errors[1].contains("held back"), "{errors:?}");
    assert!(hop.sent()[sent..].find("TlRMTVNTUAAD").is_none(), "{}", hop.sent());
}

#[tokio::test]
async fn a_basic_password_is_held_back_with_the_same_words() {
    let hop = Double::start([answer("HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n")]).await;
    let proxy = Proxy::start(&with_login(&hop, "svc", "basic")).await;
    let first = exchange(proxy.address(), CONNECT).await;
    assert!(first.contains("sends these credentials again in 30 s at the earliest"), "{first}");
    let later = exchange(proxy.address(), CONNECT).await;
    assert!(later.contains("credentials not sent: held back for another "), "{later}");
}

const BASIC_REJECTED: &str =
    "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn the_first_rejection_of_a_plain_request_names_the_wait_too() {
    let hop = Double::start([answer(BASIC_REJECTED)]).await;
    let proxy = Proxy::start(&with_login(&hop, "svc", "basic")).await;
    let first = exchange(proxy.address(), GET).await;
    assert!(first.contains("sends these credentials again in 30 s at the earliest"), "{first}");
    assert!(first.contains("\r\nRetry-After: 30\r\n"), "{first}");
}

#[cfg(unix)]
#[tokio::test]
async fn an_order_to_reload_allows_one_more_logon_and_the_next_rejection_counts_for_longer() {
    let hop = Double::start([answer(BASIC_REJECTED)]).await;
    let mut proxy = Proxy::start(&with_login(&hop, "svc", "basic")).await;
    let logons = || hop.sent().matches("Proxy-Authorization: Basic").count();
    for _ in 0..3 {
        exchange(proxy.address(), CONNECT).await;
    }
    assert_eq!(logons(), 1);
    // A signal is an order too, even if nothing has changed.
    proxy.signal(rustix::process::Signal::HUP);
    logged(&proxy, "config unchanged", 1).await;
    let second = exchange(proxy.address(), CONNECT).await;
    assert!(
        second.contains("sends these credentials again in 35 m at the earliest. An edit"),
        "{second}"
    );
    assert!(second.contains("\r\nRetry-After: 2100\r\n"), "{second}");
    exchange(proxy.address(), CONNECT).await;
    assert_eq!(logons(), 2);
}

#[tokio::test]
async fn status_and_log_say_that_credentials_were_rejected_and_what_to_do() {
    let hop = Double::start(ntlm(REJECTED)).await;
    let proxy = Proxy::start(&with_login(&hop, r"CORP\svc", "ntlm")).await;
    for request in [CONNECT, CONNECT] {
        exchange(proxy.address(), request).await;
        let shown = status(proxy.address()).await;
        let corporate = &shown["hops"]["corporate"];
        assert_eq!(
            corporate["last_failure"]["cause"], "407 Who, credentials rejected",
            "{corporate}"
        );
        let held = corporate["held_back_seconds"].as_u64();
        assert!(held.is_some_and(|seconds| (20..=30).contains(&seconds)), "{corporate}");
    }
    for event in logged(&proxy, "request failed", 2).await {
        let advice = event.field("advice");
        assert!(advice.contains("Correct this hop's `username` and `password`"), "{advice}");
        assert!(advice.contains("To keep the account from being locked"), "{advice}");
    }
    let address = proxy.address().to_string();
    let (_, told, _) = outcome(&run(["status", "--address", &address]));
    assert!(
        told.contains("407 Who, credentials rejected; its credentials are held back for "),
        "{told}"
    );
}

#[tokio::test]
async fn a_probe_says_that_it_is_a_logon_of_its_own() {
    for request in ["origin.test:443", "http://origin.test/"] {
        let hop = Double::start([answer(BASIC_REJECTED)]).await;
        let probed = probe(&with_login(&hop, "svc", "basic"), &[request]).await;
        assert!(probed.words.contains("Each probe is one logon"), "{request}: {}", probed.words);
        assert!(!probed.words.contains("at the earliest"), "{request}: {}", probed.words);
    }
}

#[tokio::test]
async fn a_refusal_after_a_login_is_about_the_user_too_and_quotes_the_page() {
    let page = "<html><title>403 Forbidden</title><p>Your account is locked.</p></html>";
    let forbidden =
        format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{page}", page.len());
    let hop = Double::start(ntlm(&forbidden)).await;
    let yaml = with_login(&hop, r"CORP\svc", "ntlm");
    let proxy = Proxy::start(&yaml).await;
    let told = exchange(proxy.address(), CONNECT).await;
    let said =
        "it answered 403 Forbidden (after a login by NTLM) and says \"Your account is locked.\"";
    assert!(told.contains(said), "{told}");
    assert!(
        told.contains("The account may be locked, or not allowed to use `corporate`"),
        "{told}"
    );
    assert!(told.contains("(corporate: 403 Forbidden, Your account is locked.)"), "{told}");
    assert!(!told.contains("may allow 443"), "{told}");
    assert!(proxy.event("request failed").await.field("error").contains("Your account is locked."));
    let probed = probe(&yaml, &["origin.test:443"]).await;
    assert!(probed.words.contains("Your account is locked."), "{}", probed.words);
}

#[tokio::test]
async fn a_page_that_repeats_the_login_is_not_quoted() {
    for line in ["user svc is locked", "Hunter2x is wrong", "aHVudGVyMng6SHVudGVyMng", "hunter2X!"]
    {
        let refusal = format!("HTTP/1.1 403 Forbidden\r\nX-Error: {line}\r\n\r\n{line}");
        let hop = Double::start([answer(refusal), Step::End]).await;
        let proxy = Proxy::start(&with_login(&hop, "svc", "basic")).await;
        let told = exchange(proxy.address(), CONNECT).await;
        assert!(told.starts_with("HTTP/1.1 502 "), "{told}");
        for secret in ["svc", "unter2"] {
            assert!(!told.contains(secret), "{line}: {told}");
        }
        let events: String = proxy.events().iter().map(|event| event.field("error")).collect();
        assert!(!events.contains("svc") && !events.contains("unter2"), "{events}");
    }
    // Without a login, the page may say anything.
    let blocked =
        "HTTP/1.1 403 Forbidden\r\nX-Error: blocked_site\r\nContent-Length: 8\r\n\r\nBlocked.";
    let hop = Double::start([answer(blocked)]).await;
    let yaml = format!(
        "hops: {{ a: {{ kind: http-connect, address: \"{}\" }} }}\nchains: {{ default: [a] }}\n",
        hop.address()
    );
    let told = exchange(Proxy::start(&yaml).await.address(), CONNECT).await;
    assert!(told.contains("403 Forbidden (blocked_site) and says \"Blocked.\""), "{told}");
}

#[tokio::test]
async fn a_page_that_does_not_come_delays_the_refusal_by_a_moment_only() {
    let hop =
        Double::start([answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nhalf")]).await;
    let yaml = format!(
        "timeouts: {{ handshake: 5s }}\nhops: {{ a: {{ kind: http-connect, address: \"{}\" }} }}\n\
         chains: {{ default: [a] }}\n",
        hop.address()
    );
    let proxy = Proxy::start(&yaml).await;
    let began = std::time::Instant::now();
    let told = exchange(proxy.address(), CONNECT).await;
    assert!(told.contains("it answered 403 Forbidden."), "{told}");
    assert!(began.elapsed() < std::time::Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_failure_of_all_members_is_told_as_such() {
    // Bound and never listening, so that they refuse, and no other test can get them.
    let closed = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        (socket, port)
    };
    let ((_first, first), (_second, second)) = (closed(), closed());
    let yaml = format!(
        "hops:\n  exits:\n    kind: pool\n    members:\n      \
         - {{ kind: http-connect, address: \"127.0.0.1:{first}\" }}\n      \
         - {{ kind: http-connect, address: \"127.0.0.1:{second}\" }}\n\
         chains: {{ default: [exits] }}\n"
    );
    let proxy = Proxy::start(&yaml).await;
    for request in [CONNECT, GET] {
        let told = exchange(proxy.address(), request).await;
        let words = "Mooltiroute: all 2 members of `exits` failed (each refused the connection); the last: the \
                     connection to hop `exits.members[";
        assert!(told.contains(words), "{told}");
        assert!(told.contains("(exits: all 2 members failed; exits.members["), "{told}");
    }
    let error = proxy.event("request failed").await.field("error");
    assert!(
        error.contains(
            "(the last of all 2 members of `exits`, which failed: each refused the connection)"
        ),
        "{error}"
    );
    // Why each is left out is in the status too.
    let pool = status(proxy.address()).await["pools"]["exits"].clone();
    for member in pool["shown"].as_array().unwrap() {
        assert!(member["problem"].as_str().unwrap().contains("refused"), "{pool}");
    }
    let shown = proxy.command_for(&["status", "--address", &proxy.address().to_string()]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("exits.members[1] is left out: "), "{shown}");
    // One that fails alone is no failure of the pool.
    let member = Double::start([answer("HTTP/1.1 200 OK\r\n\r\n")]).await;
    let mixed = yaml.replace(&second.to_string(), &member.address().port().to_string());
    let proxy = Proxy::start(&mixed).await;
    drop(connect(proxy.address(), "origin.test:443").await.tunnel());
}

#[tokio::test]
async fn members_that_failed_in_different_ways_are_all_told() {
    let answering = async |status: &str| {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        Double::start([answer(head), Step::End]).await
    };
    let rejecting = answering("407 Who").await;
    let busy = answering("429 Slow").await;
    let closed = Double::start([Step::Hear("\r\n\r\n".into()), Step::End]).await;
    let member =
        |double: &Double| format!("{{ kind: http-connect, address: \"{}\" }}", double.address());
    let secret =
        "{ kind: http-connect, address: \"127.0.0.1:1\", username: svc, password: Hunter2x }";
    let pool = async |members: &[String]| {
        Proxy::start(&format!(
            "hops:\n  exits:\n    kind: pool\n    members: [{}]\nchains: {{ default: [exits] }}\n",
            members.join(", ")
        ))
        .await
    };
    let three = [secret.to_owned(), member(&rejecting), member(&closed)];
    let many = [&three[..], &[member(&busy), member(&rejecting)]].concat();
    // A 429 to a plain request may be the target's, and is passed on.
    for (requests, members, brief, how) in [
        (
            &[CONNECT, GET][..],
            &three[..],
            "(exits: 1 refused, 1 answered 407, 1 closed)",
            "`members[0]` refused the connection, `members[1]` answered 407, `members[2]` closed the connection",
        ),
        (
            &[CONNECT],
            &many[..],
            "(exits: 2 answered 407, 1 refused, 1 closed, 1 answered 429)",
            "2 answered 407, 1 refused the connection, 1 closed the connection, 1 answered 429",
        ),
    ] {
        for request in requests {
            let proxy = pool(members).await;
            let told = exchange(proxy.address(), request).await;
            let status = told.lines().next().unwrap().to_owned();
            assert!(status.ends_with(brief), "{told}");
            let phrase = status.splitn(3, ' ').nth(2).unwrap();
            assert!(phrase.is_ascii() && phrase.len() <= 80, "{phrase}");
            let count = members.len();
            let words = format!("all {count} members of `exits` failed ({how}); the last: ");
            assert!(told.contains(&words), "{told}");
            let field = told.lines().find(|line| line.starts_with("Proxy-Status: ")).unwrap();
            assert!(field.contains(&format!("; details=\"{words}")), "{field}");
            let error = proxy.event("request failed").await.field("error");
            let words = format!("the last of all {count} members of `exits`, which failed: {how}");
            assert!(error.contains(&words), "{error}");
            assert!(!told.contains("Hunter2x") && !error.contains("Hunter2x"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_refusal_says_whether_the_login_was_asked_for() {
    let forbidden = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let ask = async |steps: Vec<Step>, auth: &str| {
        let hop = Double::start(steps).await;
        let proxy = Proxy::start(&with_login(&hop, "svc", auth)).await;
        exchange(proxy.address(), CONNECT).await
    };
    // Basic alone is sent at once, so nothing says that the hop has looked at it.
    let told = ask(vec![answer(forbidden)], "basic").await;
    let unasked = "it answered 403 Forbidden (the request had credentials by Basic, which it had not asked for)";
    assert!(told.contains(unasked), "{told}");
    assert!(told.contains("It may not allow CONNECT to port 443 of `origin.test`"), "{told}");
    assert!(!told.contains("after a login") && !told.contains("after the login"), "{told}");
    // Beside another scheme, Basic waits for the challenge.
    let challenge =
        "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\n\r\n";
    let told = ask(vec![answer(challenge), answer(forbidden)], "[digest, basic]").await;
    assert!(told.contains("it answered 403 Forbidden (after a login by Basic)"), "{told}");
    // The first message of NTLM names no user.
    let challenge = challenge.replace("Basic realm=\"a\"", "NTLM");
    let told = ask(vec![answer(challenge), answer(forbidden)], "ntlm").await;
    assert!(told.contains("it answered 403 Forbidden.") && !told.contains("login"), "{told}");
}

#[tokio::test]
async fn each_reason_for_a_refused_certificate_has_its_own_advice() {
    let certificates = Certificates::new();
    let other = Certificates::new();
    let tls = |file: &std::path::Path| format!("tls: {{ ca: {:?} }}", file.to_str().unwrap());
    let hop = crate::support::HttpOrigin::tls(&certificates).await;
    let port = hop.address().port();
    let ask = async |host: &str, tls: &str| {
        let yaml = format!(
            "hops: {{ gate: {{ kind: http-connect, address: \"{host}:{port}\", {tls} }} }}\n\
             chains: {{ default: [gate] }}\n"
        );
        exchange(Proxy::start(&yaml).await.address(), CONNECT).await
    };
    let given = other.authority_file();
    let wrong = ask("localhost", &tls(&given)).await;
    for words in [
        "(gate: certificate of an unknown authority)",
        "its issuer is `",
        "no intermediate certificate came with it",
        "the file of `ca`, which holds `",
        &format!("`{}`", given.display()),
    ] {
        assert!(wrong.contains(words), "{words}: {wrong}");
    }
    let untrusted = ask("localhost", "tls: true").await;
    assert!(untrusted.contains("as `tls: { ca: FILE }`"), "{untrusted}");
    assert!(!untrusted.contains("server_name"), "{untrusted}");
    let trusted = tls(&certificates.authority_file()).replace(" }", ", server_name: other.test }");
    let named = ask("localhost", &trusted).await;
    assert!(named.contains("`tls: { server_name: "), "{named}");
    assert!(!named.contains("ca: FILE"), "{named}");
}

#[tokio::test]
async fn explain_tells_what_a_pool_gets() {
    let explain = |yaml: &str, arguments: &[&str]| {
        let config = ConfigDir::new(yaml);
        let path = config.path().to_str().unwrap().to_owned();
        let (status, out, _) = outcome(&run([&["explain", "-c", &path], arguments].concat()));
        (status, out)
    };
    let pool = |members: &str| {
        format!(
            "hops: {{ exits: {{ kind: pool, members: [{members}] }} }}\nchains: {{ default: [exits] }}\n"
        )
    };
    let http = "{ kind: http-connect, address: 'a.test:1' }";
    let socks = "{ kind: socks5, address: 'b.test:1' }";
    let (_, told) = explain(&pool(http), &["http://t.test/"]);
    assert!(told.contains("gets the request in absolute-form, for http://t.test:80\n"), "{told}");
    assert!(!told.contains("2. the target"), "{told}");
    let (_, told) = explain(&pool(socks), &["http://t.test/"]);
    assert!(told.contains("gets CONNECT t.test:80\n"), "{told}");
    let (_, told) = explain(&pool(&format!("{http}, {socks}")), &["http://t.test/"]);
    assert!(
        told.contains("if the proxy that it takes forwards plain requests; otherwise CONNECT"),
        "{told}"
    );
    let (_, told) = explain(&pool(http), &["https://t.test/"]);
    assert!(told.contains("gets CONNECT t.test:443\n"), "{told}");
}

#[tokio::test]
async fn explain_refuses_and_fills_in_sessions_as_the_proxy_does() {
    let yaml = |sessions: &str| {
        format!(
            "server: {{ listen: '127.0.0.1:8991' }}\nhops:\n  gw:\n    kind: rotating\n    address: 'gw.test:1'\n    \
             user: AccountName\n    pass: PassWord1\n    \
             username: '{{user}}[-session-{{session}}][-country-{{country}}]-Secret99'\n    sessions: {sessions}\n\
             chains: {{ default: [gw] }}\n"
        )
    };
    let explain = |yaml: &str, arguments: &[&str]| {
        let config = ConfigDir::new(yaml);
        let path = config.path().to_str().unwrap().to_owned();
        let (status, out, _) = outcome(&run([&["explain", "-c", &path], arguments].concat()));
        (status, out)
    };
    let required = yaml("by-client-required");
    let (status, told) = explain(&required, &["http://t.test/"]);
    assert!(status == Some(1) && told.contains("The client is refused with 407: "), "{told}");
    assert!(told.contains("http://session-NAME:x@127.0.0.1:8991"), "{told}");
    assert!(told.contains("add `--as session-NAME`"), "{told}");
    let probed = probe(&required, &["http://t.test/"]).await;
    assert!(probed.words.contains("http://session-NAME:x@127.0.0.1:8991"), "{}", probed.words);
    assert!(probed.words.contains("add `--as session-NAME`"), "{}", probed.words);
    let (status, told) = explain(&required, &["http://t.test/", "--as", "session-al,country-us"]);
    assert_eq!(status, Some(0), "{told}");
    let shape = told.lines().find(|line| line.contains("with the username `")).unwrap();
    assert!(shape.contains("{user}-session-") && shape.contains("-country-us-…`"), "{shape}");
    let (_, told) = explain(&yaml("by-client"), &["http://t.test/", "--as", "country-de"]);
    assert!(told.contains("with the username `{user}-country-de-…`"), "{told}");
    for secret in ["AccountName", "PassWord1", "Secret99"] {
        assert!(!told.contains(secret), "{told}");
    }
    let (_, json) = explain(&yaml("by-client"), &["http://t.test/", "--format", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["chain"]["steps"][0]["login"]["username"], "{user}-…", "{json:#}");
}

#[tokio::test]
async fn probe_and_explain_say_why_a_hop_is_off() {
    let yaml = "hops:\n  corporate:\n    kind: http-connect\n    address: 'a.test:1'\n    \
                enabled: { when: { interface: nosuch99 } }\n  other: { kind: http-connect, address: 'b.test:1' }\n\
                chains: { default: [corporate] }\n";
    let origin = crate::support::EchoOrigin::start().await;
    let target = origin.address().to_string();
    let probed = probe(yaml, &[&target]).await;
    let words = "corporate is off: an interface `nosuch99` is up: false (up are ";
    assert!(probed.words.contains(words), "{}", probed.words);
    let probed = probe(yaml, &[&target, "--no-corporate"]).await;
    assert!(probed.words.contains("corporate is off by `--no-corporate`"), "{}", probed.words);
    let config = ConfigDir::new(yaml);
    let path = config.path().to_str().unwrap();
    let (_, told, _) =
        outcome(&run(["explain", "-c", path, "--enable", "corporate", "t.test:443"]));
    assert!(
        told.contains("corporate is on by `--enable`, whatever the configuration says"),
        "{told}"
    );
    let (_, told, _) =
        outcome(&run(["explain", "-c", path, "--disable", "corporate", "t.test:443"]));
    assert!(told.contains("corporate is off by `--disable`"), "{told}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_proxy_without_its_socket_is_told_from_one_that_does_not_run() {
    let config = ConfigDir::new("chains: { default: [] }\n");
    let proxy = Proxy::on(config, &[]).await;
    let path = proxy.event("control socket").await.field("path");
    std::fs::remove_file(&path).unwrap();
    for command in ["ps", "reload"] {
        let output = proxy.command_for(&[command, "--address", &proxy.address().to_string()]);
        let (status, out, error) = outcome(&output);
        assert_ne!(status, Some(0), "{out}{error}");
        let words = format!("a proxy answers at {} (process ", proxy.address());
        assert!(
            error.contains(&words) && error.contains("restart the proxy"),
            "{command}: {error}"
        );
    }
}

/// Two chains: one whose hop takes the session of each client, and one whose hop takes none.
fn with_and_without_say(server: &str) -> String {
    format!(
        "server: {{ {server} }}\nhops:\n  gw: {{ kind: rotating, address: 'gw.test:1', user: u, \
         username: '{{user}}[-{{session}}]', sessions: by-client }}\n  plain: {{ kind: http-connect, address: 'p.test:1' }}\n\
         chains: {{ default: [gw], plain: [plain] }}\n\
         routes: [{{ hosts: [plain.test], chain: plain }}, {{ chain: default }}]\n"
    )
}

fn connect_as(target: &str, login: &str) -> String {
    let login = STANDARD.encode(login);
    format!(
        "CONNECT {target}:443 HTTP/1.1\r\nHost: {target}:443\r\nProxy-Authorization: Basic {login}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_session_beside_a_login_is_written_behind_a_plus() {
    let auth = "auth: { username: dev, password: s3cret }";
    let proxy = Proxy::start(&with_and_without_say(auth)).await;
    let ask = async |target: &str, login: &str| {
        exchange(proxy.address(), connect_as(target, login).as_bytes()).await
    };
    let told = ask("gw.test", "dev+alice:s3cret").await;
    let url = format!("`http://USER+session-NAME:PASSWORD@{}`", proxy.address());
    assert!(told.starts_with("HTTP/1.1 400 ") && told.contains(&url), "{told}");
    assert!(!told.contains("any password will do"), "{told}");
    let told = ask("plain.test", "dev+session-alice:s3cret").await;
    assert!(told.starts_with("HTTP/1.1 407 "), "{told}");
    assert!(
        told.contains("The credentials are right, but clients can't choose their session"),
        "{told}"
    );
    let told = ask("plain.test", "dev+session-alice:wrong").await;
    assert!(told.contains("is not that of `server.auth`"), "{told}");
    let path = proxy.config().path().to_str().unwrap().to_owned();
    let explain = ["explain", "-c", &path, "gw.test:443", "--as", "dev+session-alice-country-us"];
    let (_, told, _) = outcome(&run(explain));
    assert!(
        told.contains("a comma separates a country, as in `session-alice,country-us`"),
        "{told}"
    );
}

#[tokio::test]
async fn as_tells_a_username_of_a_provider() {
    let config = ConfigDir::new(&with_and_without_say(""));
    let path = config.path().to_str().unwrap().to_owned();
    for command in ["explain", "probe"] {
        for username in [
            "brd-customer-hl_4711-zone-isp",
            "acct4711-country-us-session-1",
            "customer-acct4711-cc-us",
        ] {
            let arguments = [command, "-c", &path, "plain.test:443", "--as", username];
            let (status, out, told) = outcome(&run(arguments));
            assert_eq!(status, Some(2), "{out}{told}");
            for words in [
                "--as: it looks like the username of an account at a provider",
                "Write the account into a hop of `kind: webshare` or `kind: rotating`",
                "`session-NAME,country-us`",
            ] {
                assert!(told.contains(words), "{words}: {told}");
            }
            assert!(!told.contains("4711"), "{told}");
        }
        let (_, _, told) = outcome(&run([command, "-c", &path, "plain.test:443", "--as", "joe"]));
        assert!(!told.contains("provider") && told.contains("`session-NAME`"), "{told}");
    }
}

#[tokio::test]
async fn a_country_in_the_name_of_a_session_is_logged() {
    let proxy = Proxy::start(&with_and_without_say("")).await;
    exchange(proxy.address(), connect_as("gw.test", "session-a,country-us:x").as_bytes()).await;
    exchange(proxy.address(), connect_as("gw.test", "session-alice-country-fr:x").as_bytes()).await;
    let event = proxy.event("a country in the name of a session has no effect").await;
    assert!(event.field("reason").contains("`session-NAME,country-fr`"), "{event:?}");
    assert!(!event.text().contains("alice"), "{event:?}");
}

#[tokio::test]
async fn each_reason_for_a_denial_is_logged() {
    let proxy = Proxy::start(&with_and_without_say("")).await;
    for login in ["alice:x", "session-a b:x", "country-usa:x", "alice:x"] {
        let told = exchange(proxy.address(), connect_as("gw.test", login).as_bytes()).await;
        assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
    }
    // SOCKS5 with a username: the method, then the login, then the request for gw.test:443.
    let mut socks = b"\x05\x01\x02\x01\x05alice\x01x".to_vec();
    socks.extend(b"\x05\x01\x00\x03\x07gw.test\x01\xbb");
    exchange(proxy.address(), &socks).await;
    let denied = logged(&proxy, "request denied", 4).await;
    let address = proxy.address().to_string();
    for event in denied {
        assert_eq!(event.field("skipped"), "0");
        assert!(event.field("reason").contains(&address), "{event:?}");
    }
    // The last one in HTTP was of the same sort as the first, and no other one comes.
    let left_out = proxy.event("more lines like this were left out").await;
    let told = ["like", "protocol", "reason", "skipped"].map(|field| left_out.field(field));
    assert_eq!(told, ["request denied", "http", "the username is not understood", "1"]);
}

#[tokio::test]
async fn a_list_that_does_not_load_names_the_setting_to_correct() {
    for (step, words) in [
        (
            answer("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"),
            "its token in the URL is wrong or has expired",
        ),
        (
            answer("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
            "Correct the path of the `url` below `members_from`",
        ),
        (answer("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), "The fault is with that server"),
        (answer("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"), "leads to the list itself"),
    ] {
        let server = Double::start([step]).await;
        let yaml = format!(
            "hops: {{ exits: {{ kind: pool, members_from: {{ url: \"http://{}/x\" }} }} }}\n\
             chains: {{ default: [exits] }}\n",
            server.address()
        );
        let told = exchange(Proxy::start(&yaml).await.address(), CONNECT).await;
        assert!(told.contains(words) && told.contains("asks for it again"), "{words}: {told}");
        assert!(!told.contains("whether this machine reaches it"), "{told}");
        assert!(told.contains("hop `exits` could not choose a proxy: "), "{told}");
    }
    let plain = Double::start([Step::Hear("\u{16}".into()), Step::End]).await;
    let yaml = format!(
        "hops: {{ exits: {{ kind: pool, members_from: {{ url: \"https://{}/x\" }} }} }}\n\
         chains: {{ default: [exits] }}\n",
        plain.address()
    );
    let told = exchange(Proxy::start(&yaml).await.address(), CONNECT).await;
    assert!(
        told.contains("may speak no TLS at this port: then begin the `url` with `http://`"),
        "{told}"
    );
}

#[tokio::test]
async fn a_hop_that_cuts_a_plain_request_may_speak_tls() {
    let hop = Double::start([Step::Hear("\r\n\r\n".into()), Step::Reset]).await;
    let yaml = format!(
        "hops: {{ a: {{ kind: http-connect, address: \"{}\" }} }}\nchains: {{ default: [a] }}\n",
        hop.address()
    );
    let told = exchange(Proxy::start(&yaml).await.address(), GET).await;
    assert!(
        told.contains("This port may speak TLS: then write `tls: true` for this hop"),
        "{told}"
    );
}

#[tokio::test]
async fn a_gateway_that_hangs_up_on_a_plain_request_gets_advice_of_keys_that_it_has() {
    let hop = Double::start([Step::Hear("\r\n\r\n".into()), Step::Reset]).await;
    let yaml = format!(
        "hops: {{ a: {{ kind: webshare, address: \"{}\", username: u, password: p }} }}\n\
         chains: {{ default: [a] }}\n",
        hop.address()
    );
    let request = b"GET http://a.test:443/ HTTP/1.1\r\nHost: a.test:443\r\n\r\n";
    let told = exchange(Proxy::start(&yaml).await.address(), request).await;
    assert!(told.contains("Port 443 usually speaks TLS: try `https://` in the URL"), "{told}");
    assert!(told.contains("check `hops.a.address`") && !told.contains("tls: true"), "{told}");
}
