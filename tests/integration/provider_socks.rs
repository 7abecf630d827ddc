//! Providers that are asked by SOCKS5: the username chooses the exit as with HTTP.

use crate::support::{
    Double, EchoOrigin, Network, PASSWORD, Proxy, SocksProxy, Step, USERNAME, connect, exchange,
    ping, probe,
};

/// Plays a gateway that accepts a login and a request for port 80, and then answers one HTTP request.
fn gateway() -> Vec<Step> {
    vec![
        Step::Hear("\x05\x01\x02".into()),
        Step::Say("\x05\x02".into()),
        Step::Hear(PASSWORD.into()),
        Step::Say("\x01\0".into()),
        Step::Hear("target.test\0\x50".into()),
        Step::Say("\x05\0\0\x01\0\0\0\0\0\0".into()),
        Step::Answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into()),
    ]
}

fn basic(credentials: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(credentials))
}

/// Makes one plain request through a hop with `settings`, as a client with this username, and returns the answer.
async fn request(gateway: &Double, settings: &str, username: &str) -> String {
    let hop = format!("address: \"{}\", protocol: socks5, {settings}", gateway.address());
    let proxy =
        Proxy::start(&format!("hops: {{ exit: {{ {hop} }} }}\nchains: {{ default: [exit] }}\n"))
            .await;
    let credentials = basic(&format!("{username}:"));
    let request = format!(
        "GET http://target.test/ HTTP/1.1\r\nHost: target.test\r\n{credentials}Connection: close\r\n\r\n"
    );
    exchange(proxy.address(), request.as_bytes()).await
}

#[tokio::test]
async fn webshare_has_the_same_usernames_by_socks5_as_by_http() {
    for (more, client, username) in [
        ("session: rotate, country: [us, fr]", "", "dev-us-fr-rotate"),
        ("session: 7", "", "dev-7"),
        ("sessions: by-client, session_max: 100", "session-alice", "dev-73"),
    ] {
        let gateway = self::gateway();
        let gateway = Double::start(gateway).await;
        let settings =
            format!("kind: webshare, username: {USERNAME}, password: {PASSWORD}, {more}");
        let answer = request(&gateway, &settings, client).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{more}: {answer}");
        let sent = gateway.sent();
        let login = format!("\x01{}{username}\x06{PASSWORD}", char::from(username.len() as u8));
        assert!(sent.contains(&login), "{more}: {sent:?}");
        // The request is one to the target, without credentials of any kind.
        assert!(sent.contains("GET / HTTP/1.1\r\n") && !sent.contains("Authorization"), "{sent:?}");
    }
}

#[tokio::test]
async fn rotating_fills_its_templates_by_socks5() {
    let gateway = Double::start(gateway()).await;
    let settings = format!(
        "kind: rotating, user: joe, pass: {PASSWORD}, username: 'customer-{{user}}[-cc-{{COUNTRY}}][-sessid-{{session}}]', \
         sessions: by-client"
    );
    let answer = request(&gateway, &settings, "session-alice,country-us").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let sent = gateway.sent();
    assert!(sent.contains("customer-joe-cc-US-sessid-wkuh6ad4\x06secret"), "{sent:?}");
}

#[tokio::test]
async fn a_wrong_password_brings_the_advice_of_the_provider() {
    let Some(gateway) = SocksProxy::microsocks(true).await else { return };
    let yaml = format!(
        "hops: {{ webshare: {{ kind: webshare, protocol: socks5, address: \"{}\", username: {USERNAME}, password: wrong }} }}\n\
         chains: {{ default: [webshare] }}\n",
        gateway.address()
    );
    let proxy = Proxy::start(&yaml).await;
    let answer =
        exchange(proxy.address(), b"CONNECT a.test:1 HTTP/1.1\r\nHost: a.test:1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains("`webshare`") && answer.contains("dashboard"), "{answer}");
}

#[tokio::test]
async fn webshare_by_socks5_works_behind_a_corporate_proxy() {
    let Some(gateway) = SocksProxy::microsocks(true).await else { return };
    let Some(network) = Network::start().await else { return };
    let echo = EchoOrigin::start().await;
    let yaml = format!(
        "{}  exit: {{ kind: webshare, protocol: socks5, address: \"{}\", username: {USERNAME}, password: {PASSWORD} }}\n\
         chains: {{ default: [corporate, exit] }}\n",
        network.hops(true),
        gateway.address()
    );
    let proxy = Proxy::start(&yaml).await;
    let mut tunnel = connect(proxy.address(), echo.address()).await.tunnel();
    ping(&mut tunnel).await;
    let probed = probe(&yaml, &[&echo.address().to_string()]).await;
    assert_eq!(probed.told["reached"], true, "{:?}", probed.told);
}
