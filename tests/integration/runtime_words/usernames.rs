//! The words about the usernames of clients, which may name a session.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{logged, with_and_without_say};
use crate::support::{Proxy, exchange, outcome, run};

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
