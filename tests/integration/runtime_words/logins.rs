//! The words about the login of a hop: rejected, held back, or refused anyway.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{CONNECT, GET, answer, logged};
use crate::support::{ConfigDir, Double, Proxy, Step, exchange, outcome, probe, run, status};

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
    assert!(first.contains("does not send these credentials again for 30 s"), "{first}");
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
    assert!(first.contains("does not send these credentials again for 30 s"), "{first}");
    let later = exchange(proxy.address(), CONNECT).await;
    assert!(later.contains("credentials not sent: held back for another "), "{later}");
}

#[tokio::test]
async fn the_first_rejection_of_a_plain_request_names_the_wait_too() {
    let hop = Double::start([answer(BASIC_REJECTED)]).await;
    let proxy = Proxy::start(&with_login(&hop, "svc", "basic")).await;
    let first = exchange(proxy.address(), GET).await;
    assert!(first.contains("does not send these credentials again for 30 s"), "{first}");
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
    assert!(second.contains("does not send these credentials again for 35 m. Other"), "{second}");
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
        assert!(advice.contains("To avoid locking the account"), "{advice}");
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
        assert!(
            !probed.words.contains("does not send these credentials"),
            "{request}: {}",
            probed.words
        );
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
    assert!(told.contains("The account may be locked or not allowed to use `corporate`"), "{told}");
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
    // The page's full stop ends the sentence, and another one does not follow.
    assert!(told.contains("403 Forbidden (blocked_site) and says \"Blocked.\" "), "{told}");
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

const REJECTED: &str = "HTTP/1.1 407 Who\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n";

const BASIC_REJECTED: &str =
    "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\n\r\n";
