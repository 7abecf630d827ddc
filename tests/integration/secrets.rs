//! A canary goes through every way in which a credential could get out.

use crate::support::{Double, Proxy, Step, connect, exchange, run};

/// Spelled so that no other text holds it.
const CANARY: &str = "cAnArY-pAsSwOrD";
const CANARY_USER: &str = "cAnArY-uSeR";

#[tokio::test]
async fn no_credential_is_logged_or_told() {
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
