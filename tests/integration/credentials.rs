//! Credentials arrive at a hop as they were written, wherever they come from.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::support::{ConfigDir, Double, Proxy, Step, connect};

#[tokio::test]
async fn every_character_arrives() {
    let hop = accepting().await;
    for (username, password) in [
        ("joe", "a:b:c"),
        ("joe@corp.example", "p@ss%20word"),
        ("CORP\\joe", "back\\slash"),
        ("joe bloggs", " spaces around "),
        ("jöe", "pässwörd-€-🔑"),
        ("'joe'", "it's \"quoted\""),
        ("joe", "# {no} [yaml], &here: *nor !there | > %"),
        ("joe", "$${HOME} $HOME"),
        ("joe", "-"),
        ("joe", ""),
        ("", "password"),
        ("0123", "007"),
        ("true", "null"),
    ] {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let yaml =
            yaml(&hop, &format!("username: {}, password: {}", quoted(username), quoted(password)));
        let proxy = Proxy::start(&yaml).await;
        connect(proxy.address(), "origin.test:443").await.tunnel();
        let password = password.replace("$${", "${");
        assert_sent(&hop, username, &password);
    }
}

#[tokio::test]
async fn a_password_file_is_read_and_read_again() {
    let hop = accepting().await;
    let config = ConfigDir::new(&yaml(&hop, "username: joe, password_file: secret"));
    config.write("secret", "first: €\r\n");
    let proxy = Proxy::on(config, &[]).await;
    connect(proxy.address(), "origin.test:443").await.tunnel();
    assert_sent(&hop, "joe", "first: €");

    let seen = proxy.events().len();
    proxy.config().write("secret", " second");
    let reloaded = proxy.event_after(seen, "config reloaded").await;
    assert_eq!(reloaded.field("changed"), "hops.corporate");
    connect(proxy.address(), "origin.test:443").await.tunnel();
    assert_sent(&hop, "joe", " second");

    // One that is not a password any more changes nothing, and is not shown.
    let seen = proxy.events().len();
    proxy.config().write("secret", "hunter2\nhunter2\n");
    let rejected = proxy.event_after(seen, "config rejected").await;
    assert!(!rejected.text().contains("hunter2"), "{rejected:?}");
    assert!(!rejected.text().contains('\n'), "{rejected:?}");
    connect(proxy.address(), "origin.test:443").await.tunnel();
    assert_sent(&hop, "joe", " second");
}

#[tokio::test]
async fn clients_are_held_to_the_password_of_a_file() {
    let config = ConfigDir::new(
        "server: { auth: { username: dev, password_file: secret } }\nchains: { default: [] }\n",
    );
    config.write("secret", "first\n");
    let proxy = Proxy::on(config, &[]).await;
    let answer = async |password: &str| {
        let credentials = STANDARD.encode(format!("dev:{password}"));
        let request = format!(
            "GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\nConnection: close\r\nProxy-Authorization: Basic {credentials}\r\n\r\n"
        );
        let answer = crate::support::exchange(proxy.address(), request.as_bytes()).await;
        answer.split(' ').nth(1).map(str::to_owned)
    };
    assert_eq!(answer("first").await.as_deref(), Some("502"));
    assert_eq!(answer("second").await.as_deref(), Some("407"));
    let seen = proxy.events().len();
    fs::write(proxy.config().path().join("secret"), "second").unwrap();
    proxy.event_after(seen, "config reloaded").await;
    assert_eq!(answer("first").await.as_deref(), Some("407"));
    assert_eq!(answer("second").await.as_deref(), Some("502"));
}

async fn accepting() -> Double {
    Double::start([Step::Answer("HTTP/1.1 200 OK\r\n\r\n".into())]).await
}

fn yaml(hop: &Double, settings: &str) -> String {
    format!(
        "hops:\n  corporate: {{ kind: http-connect, address: \"{}\", {settings} }}\nchains: {{ default: [corporate] }}\n",
        hop.address()
    )
}

#[track_caller]
fn assert_sent(hop: &Double, username: &str, password: &str) {
    let credentials = STANDARD.encode(format!("{username}:{password}"));
    let sent = hop.sent();
    let last = sent.rsplit("CONNECT ").next().unwrap();
    assert!(
        last.contains(&format!("Proxy-Authorization: Basic {credentials}\r\n")),
        "{username:?} {password:?}: {last}"
    );
}
