//! A canary goes through every way in which a credential could get out.

use crate::support::{Double, Proxy, Step, connect, exchange, run, status};

/// Spelled so that no other text holds it.
const CANARY: &str = "cAnArY-pAsSwOrD";
const CANARY_USER: &str = "cAnArY-uSeR";

#[tokio::test]
async fn no_credential_is_logged_or_sent_to_clients() {
    let hop = Double::start([Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into())]).await;
    let address = hop.address();
    let yaml = format!(
        "server: {{ auth: {{ username: {CANARY_USER}, password: {CANARY} }} }}\n\
         hops:\n  corporate: {{ kind: http-connect, address: \"{address}\", username: {CANARY_USER}, password: {CANARY} }}\n  \
         webshare: {{ kind: webshare, address: \"{address}\", username: {CANARY_USER}, password: {CANARY} }}\n\
         chains: {{ default: [corporate, webshare] }}\n"
    );
    for level in ["trace", "debug", "info"] {
        let proxy = Proxy::with_arguments(&yaml, &["--log-level", level]).await;
        let mut told = String::new();
        for script in scripts() {
            hop.becomes(script);
            for authorization in
                [basic(CANARY), basic("wrong-CANARY"), "Basic @@@".into(), "Bearer x".into()]
            {
                for line in ["CONNECT origin.test:443", "GET http://origin.test/"] {
                    let request = format!(
                        "{line} HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\
                         Proxy-Authorization: {authorization}\r\n\r\n"
                    );
                    told += &exchange(proxy.address(), request.as_bytes()).await;
                }
            }
        }
        assert!(told.contains(" 407 ") && told.contains(" 502 "), "{told}");
        assert_clean(&told);
        // A line for a request may still be on its way when its answer has come.
        drop(connect(proxy.address(), "origin.test:443").await);
        let events = proxy.events();
        assert!(events.len() > 10, "{events:?}");
        events.iter().for_each(|event| assert_clean(&event.text()));
        proxy.other_lines().iter().for_each(|line| assert_clean(line));
    }
    assert!(hop.sent().contains(&basic(CANARY)), "the hop was given the credentials");
}

#[tokio::test]
async fn a_hop_that_repeats_the_credentials_is_not_quoted() {
    let hop = Double::start([]).await;
    let address = hop.address();
    let login = format!("username: {CANARY_USER}, password: {CANARY}");
    let kinds = [
        format!("kind: http-connect, {login}"),
        format!("kind: http-connect, {login}, auth: [digest, basic]"),
        format!("kind: webshare, {login}"),
        format!("kind: rotating, user: {CANARY_USER}, pass: {CANARY}, username: \"{{user}}\""),
    ];
    let token = basic(CANARY).replace("Basic ", "");
    let repeated = [
        basic(CANARY),
        token,
        format!("user {CANARY_USER} has no password {CANARY}"),
        format!("http://{CANARY_USER}:{CANARY}@a.test/"),
    ];
    for kind in kinds {
        let yaml = format!(
            "hops: {{ h: {{ {kind}, address: \"{address}\" }} }}\nchains: {{ default: [h] }}\n"
        );
        // A rejected login is held back for a while, so each answer meets a proxy that has seen none.
        for status in [401, 402, 403, 407, 429, 502, 503] {
            let proxy = Proxy::with_arguments(&yaml, &["--log-level", "debug"]).await;
            let mut told = String::new();
            for text in &repeated {
                let words = text.split(' ').next_back().unwrap_or_default();
                let answer = format!(
                    "HTTP/1.1 {status} Denied {text}\r\nX-Squid-Error: ERR {text}\r\nX-Error: {text}\r\n\
                     X-Webshare-Reason: {text}\r\nProxy-Authenticate: {words} realm=\"{text}\"\r\n\
                     Proxy-Authenticate: Basic realm=\"{text}\"\r\nRetry-After: {text}\r\n\
                     Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
                    text.len()
                );
                hop.becomes([Step::Answer(answer)]);
                let request =
                    "CONNECT origin.test:443 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                told += &exchange(proxy.address(), request.as_bytes()).await;
                // The hop's own answer is relayed if it may be the target's, so only the head of ours counts.
                let request =
                    "GET http://origin.test/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                let relayed = exchange(proxy.address(), request.as_bytes()).await;
                if relayed.contains("Proxy-Status: mooltiroute") {
                    told += &relayed;
                }
            }
            assert!(told.contains("Proxy-Status: mooltiroute"), "{kind} {status}: {told}");
            assert_clean(&told);
            assert_clean(&super::support::status(proxy.address()).await.to_string());
            let events = proxy.events();
            assert!(!events.is_empty());
            events.iter().for_each(|event| assert_clean(&event.text()));
        }
    }
}

#[test]
fn no_credential_is_shown_by_a_command() {
    let config = tempfile::tempdir().unwrap();
    let path = config.path().to_str().unwrap();
    for yaml in [
        format!(
            "hops:\n  a: {{ kind: webshare, username: {CANARY_USER}, password: {CANARY} }}\nchains: {{ default: [a] }}\n"
        ),
        format!("hops:\n  a: {{ kind: webshare, username: {CANARY_USER}, pasword: {CANARY} }}\n"),
        format!(
            "hops:\n  a: {{ kind: webshare, username: [{CANARY_USER}], password: {{ a: {CANARY} }} }}\n"
        ),
        format!(
            "hops:\n  a: {{ kind: http-connect, address: \"http://{CANARY_USER}:{CANARY}@a.test:80\" }}\n"
        ),
        format!(
            "hops:\n  a: {{ kind: webshare, username: {CANARY_USER}, password: \"{CANARY}\\n\" }}\n"
        ),
        format!("hops:\n  a: {{ kind: webshare, username: {CANARY_USER}, password: \"{CANARY}\n"),
        format!(
            "server: {{ auth: {{ username: {CANARY_USER}, password: {CANARY} }}, listen: nowhere }}\n"
        ),
    ] {
        std::fs::write(config.path().join("a.yaml"), &yaml).unwrap();
        for arguments in [vec!["check", "-c", path], vec!["check", "--format", "json", "-c", path]]
        {
            let output = run(arguments);
            assert_ne!(output.status.code(), None, "{output:?}");
            for stream in [output.stdout, output.stderr] {
                assert_clean(&String::from_utf8(stream).unwrap());
            }
        }
    }
}

/// Each tag makes another part of the readers refuse the value: serde_yaml by itself, the types that are read, or the
/// parser that looks for undeclared handles.
#[test]
fn no_tag_has_check_quote_what_could_be_a_secret() {
    let tags = [
        "",
        "!!int",
        "!!float",
        "!!bool",
        "!!null",
        "!!binary",
        "!!str",
        "!!seq",
        "!custom",
        "!",
        "!<tag:yaml.org,2002:int>",
        "!undeclared!int",
        "&anchor !!int",
    ];
    let values = [
        CANARY.to_owned(),
        format!("\"{CANARY}\""),
        format!("[{CANARY}]"),
        format!("{{ a: {CANARY} }}"),
        format!("|\n      {CANARY}"),
    ];
    let config = tempfile::tempdir().unwrap();
    let path = config.path().to_str().unwrap();
    for tag in tags {
        for (number, value) in values.iter().enumerate() {
            let value = format!("{tag} {value}");
            for (position, yaml) in positions(value.trim_start()).into_iter().enumerate() {
                std::fs::write(config.path().join("a.yaml"), &yaml).unwrap();
                let format = ["human", "json"][(number + position) % 2];
                let output = run(["check", "--format", format, "-c", path]);
                assert!(matches!(output.status.code(), Some(0 | 1)), "{yaml}{output:?}");
                for stream in [output.stdout, output.stderr] {
                    let told = String::from_utf8(stream).unwrap();
                    assert!(!told.contains(CANARY), "{yaml}{told}");
                }
            }
        }
    }
}

/// Configurations with `value` at every place where a secret may be, or may be by mistake.
fn positions(value: &str) -> Vec<String> {
    let hop = "kind: http-connect, address: \"a.test:1\", username: u";
    let lines = "hops:\n  a:\n    kind: http-connect\n    address: \"a.test:1\"\n    username: u\n";
    let chain = "chains: { default: [a] }\n";
    let mut all = vec![
        format!("{lines}    password: {value}\n{chain}"),
        format!(
            "server:\n  auth:\n    username: u\n    password: {value}\nchains: {{ default: [] }}\n"
        ),
        format!("hops:\n  a:\n    kind: http-connect\n    address: {value}\n{chain}"),
        // An anchor at a secret, and aliases of it where values are shown otherwise.
        format!("{lines}    password: &secret {value}\nlog: {{ level: *secret }}\n{chain}"),
        format!("hops:\n  a:\n    password: &secret {value}\n    kind: *secret\n{chain}"),
        format!(
            "{lines}    password: &secret {value}\n{chain}routes: [{{ chain: *secret, hosts: *secret }}]\n"
        ),
        format!(
            "{lines}    password: &secret {value}\nchains: {{ default: *secret, b: [*secret] }}\n"
        ),
        format!("{lines}    password: &secret {value}\n    *secret : x\n    <<: *secret\n{chain}"),
    ];
    if !value.contains('\n') {
        all.extend([
            format!("hops: {{ a: {{ {hop}, password: {value} }} }}\n{chain}"),
            format!("hops: {{ a: {{ {hop}, {value}: x }} }}\n{chain}"),
            format!("hops: {{ a: {{ {hop}, {value}: x, {value}: y }} }}\n{chain}"),
            format!("hops: {{ a: {{ kind: pool, members: [{{ {hop}, password: {value} }}] }} }}\n{chain}"),
            format!("hops: {{ a: {{ kind: pool, members: [{value}] }} }}\n{chain}"),
        ]);
    }
    all
}

#[tokio::test]
async fn a_rejected_reload_tells_no_tagged_secret() {
    let proxy = Proxy::with_arguments("chains: { default: [] }\n", &["--log-level", "trace"]).await;
    for (number, tag) in ["!!int", "!!float", "!!bool", "!!null", "!custom"].into_iter().enumerate()
    {
        let hop = "kind: http-connect, address: \"a.test:1\", username: u";
        let yaml = format!(
            "hops: {{ a: {{ {hop}, password: {tag} {CANARY} }} }}\nchains: {{ default: [a] }}\n"
        );
        let seen = proxy.events().len();
        // Equal problems are logged once, so each has a line of its own.
        proxy.config().write("10-test.yaml", &("\n".repeat(number) + &yaml));
        proxy.event_after(seen, "config rejected").await;
        let told = status(proxy.address()).await.to_string();
        assert!(told.contains("10-test.yaml"), "{told}");
        assert_clean(&told);
    }
    proxy.events().iter().for_each(|event| assert_clean(&event.text()));
}

#[tokio::test]
async fn a_rejected_reload_tells_nothing_that_is_in_the_place_of_a_path() {
    let proxy = Proxy::with_arguments("chains: { default: [] }\n", &["--log-level", "trace"]).await;
    let settings = [
        format!("username: u, password_file: {CANARY}"),
        format!("username: u, password_file: \"{CANARY}/\\n{CANARY}\""),
        format!("auth: negotiate, kerberos: {{ keytab: {CANARY}, principal: u }}"),
        format!("auth: negotiate, kerberos: {{ ccache: {CANARY} }}"),
        format!("tls: {{ ca: \"-----BEGIN PRIVATE KEY-----\\n{CANARY}\" }}"),
        format!("tls: {{ ca: \"https://u:{CANARY}@a.test/ca.pem\" }}"),
    ];
    let of_hop = |settings: &String| {
        format!("a: {{ kind: http-connect, address: \"a.test:1\", {settings} }}")
    };
    let hops = settings.iter().map(of_hop).chain([
        format!("a: {{ kind: pool, members_from: {{ file: \"https://a.test/{CANARY}/-/\" }} }}"),
        format!("a: {{ kind: pac, file: \"https://a.test/?token={CANARY}\" }}"),
    ]);
    for (number, hop) in hops.enumerate() {
        let seen = proxy.events().len();
        let yaml = format!("hops: {{ {hop} }}\nchains: {{ default: [a] }}\n");
        // Equal problems are logged once, so each has a line of its own.
        proxy.config().write("10-test.yaml", &("\n".repeat(number) + &yaml));
        proxy.event_after(seen, "config rejected").await;
        let told = status(proxy.address()).await.to_string();
        assert!(told.contains("10-test.yaml"), "{told}");
        assert_clean(&told);
    }
    proxy.events().iter().for_each(|event| assert_clean(&event.text()));
    proxy.other_lines().iter().for_each(|line| assert_clean(line));
}

/// Manners of a hop that bring every kind of error about.
fn scripts() -> Vec<Vec<Step>> {
    let refuse =
        |status: &str| Step::Answer(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
    let agree = || Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into());
    vec![
        vec![refuse("407 No")],
        vec![refuse("403 No")],
        vec![agree(), refuse("407 No")],
        vec![agree(), refuse("502 No")],
        vec![agree(), Step::Answer(String::new()), Step::End],
        vec![
            agree(),
            Step::Answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into()),
            Step::End,
        ],
        vec![Step::Answer(String::new()), Step::Reset],
        vec![Step::Say("nonsense".into()), Step::End],
    ]
}

/// The value of a field with the canary's name and `password`, encoded here by other means than in the program.
fn basic(password: &str) -> String {
    format!("Basic {}", base64(format!("{CANARY_USER}:{password}").as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            (0..3).fold(0, |group, at| group << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// Asserts that `text` holds the canary neither plainly nor encoded.
#[track_caller]
fn assert_clean(text: &str) {
    // The user's name comes first, so all encodings of the pair begin alike.
    let encoded = base64(CANARY_USER.as_bytes());
    for secret in [CANARY, &encoded[..12]] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
