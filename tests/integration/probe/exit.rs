//! The exit of a probe: which one it asks for, and which one it got.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{TARGET, config};
use crate::support::{ConfigDir, Double, PASSWORD, Step, USERNAME, probe, run_probe};

#[tokio::test]
async fn the_exit_address_is_shown_if_the_target_returns_it() {
    for (body, expected) in [
        ("203.0.113.7\n", "203.0.113.7".into()),
        ("2001:db8::7", "2001:db8::7".into()),
        ("203.0.113.7 and more", Value::Null),
        ("<html>", Value::Null),
    ] {
        for head in [
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                body.len()
            ),
        ] {
            let origin = Double::start([Step::Answer(head), Step::End]).await;
            let url = format!("http://joe:{PASSWORD}@{}/", origin.address());
            let probed = probe("chains: { default: [] }\n", &[&url]).await;
            probed.reaches(200, &["TCP target", "first byte target"]);
            assert_eq!(probed.told["exit"], expected, "{:#}", probed.told);
            let line = expected.as_str().map(|exit| format!("exit address  {exit}\n"));
            assert_eq!(probed.words.contains("exit address"), line.is_some());
            assert!(line.is_none_or(|line| probed.words.contains(&line)), "{}", probed.words);
        }
    }
}

#[tokio::test]
async fn probe_as_sends_the_session_and_country_of_a_client() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n203.0.113.7";
    let provider = Double::start([Step::Answer(answer.into())]).await;
    let yaml = |more: &str| {
        format!(
            "hops: {{ webshare: {{ kind: webshare, address: \"{}\", username: {USERNAME}, password: {PASSWORD}{more} }} }}\n\
             chains: {{ default: [webshare] }}\n",
            provider.address()
        )
    };
    let by_client = yaml(", sessions: by-client, session_max: 100");
    for (said, username) in [("session-alice", "dev-73"), ("session-alice,country-us", "dev-us-73")]
    {
        for url in ["http://target.test/", "target.test:443"] {
            let probed = probe(&by_client, &[url, "--as", said]).await;
            assert!(probed.words.contains(&format!(" as {said}\n")), "{}", probed.words);
            assert_eq!((&probed.told["as"], &probed.told["reached"]), (&said.into(), &true.into()));
            let credentials = STANDARD.encode(format!("{username}:{PASSWORD}"));
            let sent = provider.record().now().pop().unwrap().text();
            assert!(sent.contains(&format!("Authorization: Basic {credentials}\r\n")), "{sent}");
        }
    }
    assert_eq!(probe(&by_client, &["target.test:443"]).await.told["as"], Value::Null);
    // A probe fails if the username asks for something that the chain can't do.
    let probed = probe(&by_client, &[TARGET, "--as", "country-us"]).await;
    assert!(probed.words.contains("a country only together with a session"), "{}", probed.words);
    let plain = "http://target.test/";
    let probed = probe(&yaml(""), &[plain, "--as", "session-alice"]).await;
    // The proxy serves a client whose username has no effect, and so does a probe, as `explain` says too.
    let words = "its username has no effect: clients can't choose their session or country here";
    assert!(probed.words.contains(words), "{}", probed.words);
    assert_eq!(probed.told["reached"], true);
    let why = probed.told["ignored"].as_str().unwrap();
    assert!(why.contains("no hop of chain `default` has `sessions: by-client`"), "{why}");
}

#[tokio::test]
async fn a_username_that_states_no_preference_is_wrong_usage() {
    let config = ConfigDir::new(&config(([127, 0, 0, 1], 1).into(), "[corporate]"));
    let path = config.path().to_str().unwrap();
    for (said, words) in [
        ("alice:secret", "--as: a preference is written `session-NAME` or `country-CC`"),
        ("session-a b", "--as: a session's name has letters"),
        ("country-usa", "--as: a country is written as its code of two letters"),
        ("", "--as: a preference is written"),
    ] {
        let output = run_probe(path, &[TARGET, "--as", said], "human").await;
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(words) && !told.contains(PASSWORD), "{told}");
    }
}
