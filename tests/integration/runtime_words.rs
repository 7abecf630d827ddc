//! The words of the running proxy about its hops, lists and credentials: each says what happens next, and what to do.

mod logins;
mod usernames;

use std::net::SocketAddr;

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
    assert!(shown.contains("exits.members[1] failed: "), "{shown}");
    // One that fails alone is not a failure of the pool.
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
        assert!(error.contains(&words) && error.contains("`kill -HUP "), "{command}: {error}");
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
        (answer("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), "The problem is at that server"),
        (answer("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"), "leads to the list itself"),
    ] {
        let server = Double::start([step]).await;
        let yaml = format!(
            "hops: {{ exits: {{ kind: pool, members_from: {{ url: \"http://{}/x\" }} }} }}\n\
             chains: {{ default: [exits] }}\n",
            server.address()
        );
        let told = exchange(Proxy::start(&yaml).await.address(), CONNECT).await;
        assert!(told.contains(words) && told.contains("fetches it again"), "{words}: {told}");
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
        told.contains("may not speak TLS at this port: then begin the `url` with `http://`"),
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
